"""`Transport`: a publisher's connection to its room, in a thread of its own.

What the engine publishes goes into a bounded buffer; the thread numbers it, sends it, and keeps it until the room has
said that it has it. So a connection that was cut goes on where it was, and the engine's own thread never waits.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import socket
import sys
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, assert_never
from urllib.parse import urlsplit

import msgspec

from .. import protocol as p
from ..backoff import backoff
from ..discovery import LOOPBACK, Endpoint
from ..errors import DagwidgetError, ProtocolError
from ..protocol.limits import Limits
from ..protocol.truncate import truncate
from .buffer import SendBuffer
from .clock import now_ms

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

_log = logging.getLogger("dagwidget")

# How many events may wait for the room, and in how many bytes they go at once.
_BUFFERED: Final = 200_000
# So many events wait that nothing large is added to them.
_BEHIND: Final = 2_000
# What a room takes of one event; cut by us, it fits into a frame.
_EVENT_BYTES: Final = Limits().event_bytes
_FRAME_BYTES: Final = 512 * 1024
_FRAME_EVENTS: Final = 1000
# While an engine is busy, what it says in this time goes out together.
_GATHER_SECONDS: Final = 0.002
_ANSWER_SECONDS: Final = 5.0
# A connection that stood this long was a success.
_STABLE_SECONDS: Final = 5.0
# How long a publisher that has nothing more to say tries to deliver the rest; at the exit of the process, how long that
# may hold it up.
_CLOSE_SECONDS: Final = 30.0
_EXIT_SECONDS: Final = 3.0


class _Ended(Exception):
    """The server ended the conversation."""

    def __init__(self, bye: p.Bye) -> None:
        super().__init__(f"{bye.reason} (code {bye.code})")
        self.bye = bye


class Transport:
    """Delivers events to a room, in order, each once.

    Args:
        dag_id: The room.
        locate: Finds the server; called in the thread, before each attempt. May block, and raise `DagwidgetError`.
        start: How to open the run, where this publisher does; `epoch` is its id.
        epoch: The run; None joins the DAG's only live run.
    """

    def __init__(
        self,
        dag_id: str,
        locate: Callable[[], Endpoint],
        *,
        start: p.RunStart | None,
        epoch: str | None,
    ) -> None:
        self.name = uuid.uuid4().hex
        self.refused: str | None = None
        """Why the room takes nothing more from this publisher."""
        self.refused_code: int | None = None
        """The close code with which the room refused it; None where the publisher itself was closed."""
        self.finished = False
        """Whether it takes no more events: another transport has to."""
        self._dropped = 0
        # Why the last attempt to deliver has failed.
        self._failure: str | None = None
        self._ending = threading.Lock()
        self._dag_id = dag_id
        self._locate = locate
        self._start = start
        self._epoch = epoch
        self.url: str | None = None
        """Where the server was last found."""
        self._receive: Callable[[p.HumanGateResolved | p.ExecutionState], None] = lambda _event: None
        self._abandon: Callable[[], None] = lambda: None
        self._published = SendBuffer(_BUFFERED)
        self._unacknowledged: deque[tuple[int, bytes]] = deque()
        self._numbered = 0
        self._acknowledged = 0
        # A run that was started is there once the room knows of it, also where nothing has happened in it.
        self._known_to_room = start is None
        self._asleep = False
        self._closing: float | None = None
        self._delivered = threading.Condition()
        self._loop = asyncio.new_event_loop()
        # asyncio resolves names in an executor, which takes no work at exit. This thread has nothing else to do.
        self._loop.getaddrinfo = _getaddrinfo  # type: ignore[method-assign]
        self._wakeup = asyncio.Event()
        self._closed = asyncio.Event()
        self._attached_at: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"dagwidget-{dag_id}", daemon=True)

    def open(
        self, *, receive: Callable[[p.HumanGateResolved | p.ExecutionState], None], abandon: Callable[[], None]
    ) -> None:
        """Start to deliver.

        Args:
            receive: Called in the thread with each decision and each change of what is asked of the engine.
            abandon: Called in the thread once the room will take nothing more; `refused` says why.
        """
        self._receive = receive
        self._abandon = abandon
        self._thread.start()
        _transports.add(self)

    def publish(self, event: p.Event) -> bool:
        """Take an event, in any thread, at once; stamps it with the time where it has none. False: it has finished."""
        if self.refused_code is not None:
            self._dropped += 1
            return True
        if self._closing is not None:
            with self._ending:
                if self.finished:
                    return False
                self._append(event)
                return True
        self._append(event)
        return True

    def _append(self, event: p.Event) -> None:
        if event.ts is None:
            event.ts = now_ms()
        if self._published.append(event):
            # In our thread: the engine's has no time for it.
            self._call(self._published.thin)
        if self._asleep:
            self._wake()

    @property
    def is_behind(self) -> bool:
        """Whether much waits to be delivered."""
        return len(self._published) + len(self._unacknowledged) > _BEHIND

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the room has everything, or for `timeout` seconds; says whether it has."""
        with self._delivered:
            self._delivered.wait_for(lambda: self._is_delivered() or not self._thread.is_alive(), timeout)
            return self._is_delivered()

    def close(self) -> None:
        """Deliver what is left, then end. Returns at once."""
        if self._closing is None:
            self._closing = time.monotonic()
            self._call(self._closed.set)
            self._wake()

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, for at most `timeout` seconds."""
        self._thread.join(timeout)

    # --- In the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            while not self.finished:
                self._loop.run_until_complete(self._deliver())
                with self._ending:
                    # What was published while the last events went out goes out as well.
                    self.finished = not self._published or not self._may_go_on()
        except Exception:
            _log.exception("publishing to %r ended with a fault of dagwidget's own", self._dag_id)
        finally:
            self.finished = True
            if self.undelivered and self.refused is None:
                _log.warning("%d events of %r were not delivered", self.undelivered, self._dag_id)
            self.refused = self.refused or "closed"
            self._abandon()
            self._loop.close()
            self._notify_delivered()

    def _may_go_on(self) -> bool:
        return self.refused is None and not self._is_out_of_time()

    @property
    def undelivered(self) -> int:
        """How many events the room does not have."""
        return len(self._published) + len(self._unacknowledged) + self._dropped

    def report(self) -> str | None:
        """One line that says what was not delivered, and why; None where the room has everything."""
        if self._is_delivered():
            return None
        count = f"{self.undelivered:,} events" if self.undelivered != 1 else "1 event"
        what = count if self.undelivered else "the run itself"
        why = self.refused if self.refused_code is not None else self._failure
        run = f"run {self._epoch!r}" if self._epoch else "a run"
        were = "were" if self.undelivered > 1 else "was"
        reason = why or "no answer in time"
        return f"dagwidget: {what} of {run} of {self._dag_id!r} {were} not delivered: {reason}"

    def _wake(self) -> None:
        self._asleep = False
        self._call(self._wakeup.set)

    def _call(self, function: Callable[[], None]) -> None:
        # The loop may have been closed just now: then there is nobody to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    async def _deliver(self) -> None:
        failures = 0
        while not self._is_over():
            after = 0.0
            self._attached_at = None
            try:
                await self._connect(self._locate())
                return
            except _Ended as ended:
                if not ended.bye.retry:
                    self.refused, self.refused_code = str(ended), ended.bye.code
                    _log.error("the room %r takes nothing more from this run: %s", self._dag_id, ended)
                    return
                reason, after = str(ended), (ended.bye.after_ms or 0) / 1000
            except (OSError, EOFError, DagwidgetError) as error:
                reason = f"{type(error).__name__}: {error}"
            except Exception as error:
                if not _is_of_websockets(error):
                    raise
                reason = f"{type(error).__name__}: {error}"
            stood = self._attached_at is not None and time.monotonic() - self._attached_at > _STABLE_SECONDS
            failures = 1 if stood else failures + 1
            delay = after + backoff(failures)
            self._failure = reason
            _log.info("not connected to the room %r (%s); again in %.1f s", self._dag_id, reason, delay)
            await self._sleep(delay)

    async def _sleep(self, seconds: float) -> None:
        """Sleep; but who closes wants to see whether what is left can be delivered."""
        if self._closing is not None:
            await asyncio.sleep(min(seconds, 1.0))
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)

    def _is_over(self) -> bool:
        if self._closing is None:
            return False
        return self._is_delivered() or self._is_out_of_time()

    def _is_out_of_time(self) -> bool:
        return self._closing is not None and time.monotonic() - self._closing > _CLOSE_SECONDS

    async def _connect(self, endpoint: Endpoint) -> None:
        from websockets.asyncio.client import connect

        self.url = endpoint.url
        async with connect(
            endpoint.publish_url(self._dag_id),
            open_timeout=_ANSWER_SECONDS,
            close_timeout=1,
            compression=None,
            ping_interval=None,
            # A loopback server is on no other side of any proxy.
            proxy=None if urlsplit(endpoint.url).hostname in LOOPBACK else True,
        ) as socket:
            heartbeat = await self._attach(socket, endpoint.token)
            listening = asyncio.create_task(self._receive_loop(socket, heartbeat))
            sending = asyncio.create_task(self._send_loop(socket))
            try:
                await asyncio.wait({listening, sending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (listening, sending):
                    task.cancel()
                ends = await asyncio.gather(listening, sending, return_exceptions=True)
            for end in ends:
                if isinstance(end, Exception):
                    raise end

    async def _attach(self, socket: ClientConnection, token: str | None) -> float:
        attach = p.Attach(
            protocol=p.PROTOCOL,
            publisher=self.name,
            token=token,
            epoch=self._epoch,
            start=self._start,
            now=now_ms(),
            acknowledged=self._acknowledged or None,
        )
        await socket.send(p.encode(attach), text=True)
        frame = await asyncio.wait_for(socket.recv(), _ANSWER_SECONDS)
        first, *rest = p.decode_reply(frame)
        if isinstance(first, p.Bye):
            raise _Ended(first)
        if not isinstance(first, p.Attached):
            raise ProtocolError(f"the server answered attach with {type(first).__name__}")
        self._epoch = first.epoch
        self._attached_at = time.monotonic()
        self._known_to_room = True
        if first.seq < self._acknowledged:
            self._restart_numbering(first.seq)
        self._trim(first.seq)
        for message in rest:
            self._handle(message)
        return first.heartbeat_ms / 1000

    def _restart_numbering(self, has: int) -> None:
        _log.warning(
            "the server has lost what it had of the run %r (%d of %d events): it was restarted without its log",
            self._dag_id,
            self._acknowledged - has,
            self._acknowledged,
        )
        # Under another name the numbers may start again, at what the server has not been given yet.
        self.name = uuid.uuid4().hex
        self._published.put_back([_decoded(data) for _, data in self._unacknowledged])
        self._unacknowledged.clear()
        self._numbered = self._acknowledged = 0
        raise _Ended(p.Bye(code=4003, reason="the server lost its place in the log", retry=True))

    async def _send_loop(self, socket: ClientConnection) -> None:
        sent = self._unacknowledged[0][0] - 1 if self._unacknowledged else self._numbered
        while True:
            self._number()
            frame = self._frame(sent)
            if frame:
                sent += len(frame)
                await socket.send(b"[" + b",".join(frame) + b"]", text=True)
                await asyncio.sleep(_GATHER_SECONDS)
            elif self._closing is not None and self._is_delivered():
                return
            else:
                await self._wait_for_events()

    def _frame(self, sent: int) -> list[bytes]:
        """The next events after number `sent`, as far as a frame takes them."""
        frame: list[bytes] = []
        size = 0
        skip = sent + 1 - self._unacknowledged[0][0] if self._unacknowledged else 0
        for _, data in islice(self._unacknowledged, skip, skip + _FRAME_EVENTS):
            size += len(data)
            if frame and size > _FRAME_BYTES:
                break
            frame.append(data)
        return frame

    async def _wait_for_events(self) -> None:
        self._wakeup.clear()
        self._asleep = True
        # Something may have come between our last look and falling asleep.
        if not self._published or not self._has_room():
            await self._wakeup.wait()
        self._asleep = False

    def _number(self) -> None:
        """Give the next events their numbers, as far as a few frames go."""
        with self._published.lock:
            while self._published and self._has_room():
                event = self._published.first()
                event.seq = self._numbered + 1
                try:
                    data = _encoded(event)
                    if len(data) > _EVENT_BYTES and not isinstance(event, p.NodeOutput):
                        data = _encoded(truncate(event, len(data), _EVENT_BYTES))
                    # The room would turn the whole publisher away for it.
                    p.decode_publisher(data)
                except (TypeError, ValueError, ProtocolError) as error:
                    _log.error("%r: an event %s was left out: %s", self._dag_id, type(event).__name__, error)
                else:
                    self._numbered += 1
                    self._unacknowledged.append((self._numbered, data))
                # Only now, so that at no moment it is nowhere, and taken for delivered.
                self._published.drop_first()
            if self._published.lost and not self._published:
                self._report_lost()

    def _report_lost(self) -> None:
        lost = self._published.lost
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in lost.most_common())
        text = (
            f"{lost.total():,} events were lost: the server could not be reached, and the buffer was full. "
            f"Of these types: {kinds}"
        )
        lost.clear()
        _log.warning("%r: %s", self._dag_id, text)
        self._published.append(p.RunError(message=text, code="events_lost", ts=now_ms()))

    def _has_room(self) -> bool:
        return len(self._unacknowledged) < 4 * _FRAME_EVENTS

    async def _receive_loop(self, socket: ClientConnection, heartbeat: float) -> None:
        stuck: int | None = None
        while True:
            frame = await asyncio.wait_for(socket.recv(), 2 * heartbeat + _ANSWER_SECONDS)
            for message in p.decode_reply(frame):
                if isinstance(message, p.Ping):
                    oldest = self._unacknowledged[0][0] if self._unacknowledged else None
                    if oldest is not None and oldest == stuck:
                        # It pings after a silence: what we sent has not come there.
                        raise TimeoutError(f"the server has not acknowledged event {oldest}")
                    stuck = oldest
                    await socket.send(p.encode(p.Pong(seq=self._acknowledged)), text=True)
                else:
                    self._handle(message)

    def _handle(self, message: p.PublishReply | p.Unknown) -> None:
        match message:
            case p.Ack():
                self._trim(message.seq)
                self._wakeup.set()
            case p.Bye():
                raise _Ended(message)
            case p.HumanGateResolved() | p.ExecutionState():
                self._receive(message)
            case p.Ping() | p.Attached() | p.Unknown():
                # `_receive_loop` answers pings, and the others come from a newer server.
                pass
            case _:
                assert_never(message)

    def _trim(self, seq: int) -> None:
        while self._unacknowledged and self._unacknowledged[0][0] <= seq:
            self._unacknowledged.popleft()
        self._acknowledged = max(self._acknowledged, seq)
        if self._is_delivered():
            self._notify_delivered()

    def _is_delivered(self) -> bool:
        return self._known_to_room and not self._published and not self._unacknowledged and not self._dropped

    def _notify_delivered(self) -> None:
        with self._delivered:
            self._delivered.notify_all()


def _decoded(data: bytes) -> p.Event:
    (event,) = p.decode_publisher(data)
    assert isinstance(event, p.Event)
    return event


def _encoded(event: p.Event) -> bytes:
    try:
        return p.encode(event)
    except UnicodeEncodeError:
        # A file name or an error may hold half of a character.
        return p.encode_value(_printable(msgspec.to_builtins(event)))


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_printable(name): _printable(item) for name, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def _is_of_websockets(error: Exception) -> bool:
    from websockets.exceptions import WebSocketException

    return isinstance(error, WebSocketException)


_transports: weakref.WeakSet[Transport] = weakref.WeakSet()


def deliver_at_exit() -> None:
    """Deliver what is left, for a few seconds; what could not be delivered is said on stderr, a line for each run."""
    deadline = time.monotonic() + _EXIT_SECONDS
    transports = tuple(_transports)
    for transport in transports:
        transport.close()
    for transport in transports:
        transport.join(max(0.0, deadline - time.monotonic()))
    for transport in transports:
        line = transport.report()
        if line is not None:
            print(line, file=sys.stderr, flush=True)


def forget_all() -> None:
    """Forget the transports of the parent: their threads are not in a forked child."""
    _transports.clear()


async def _getaddrinfo(*args: Any, **kwargs: Any) -> Any:
    return socket.getaddrinfo(*args, **kwargs)


atexit.register(deliver_at_exit)
