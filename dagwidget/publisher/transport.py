"""`Transport`: a publisher's connection to its room, in a thread of its own.

The engine's threads put events into a bounded buffer and never wait. The transport's thread numbers the events, sends
them, and stores them until the room has acknowledged them. After a cut it reconnects and sends the rest.
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

import msgspec

from .. import protocol as p
from ..backoff import backoff
from ..clock import now_ms
from ..discovery import Endpoint, proven
from ..errors import DagwidgetError, ProtocolError, ServerRefused
from ..protocol.limits import Limits
from ..protocol.truncate import truncate
from ..visible import visible
from .buffer import SendBuffer

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

_log = logging.getLogger("dagwidget")

# The capacity of the buffer, in events.
_BUFFERED: Final = 200_000
# With more unsent events than this, nothing large is published.
_BEHIND: Final = 2_000
# The largest event that a room accepts: larger ones are truncated here.
_EVENT_BYTES: Final = Limits().event_bytes
# The size of a frame.
_FRAME_BYTES: Final = 512 * 1024
_FRAME_EVENTS: Final = 1000
# The events that a busy engine publishes in this time go out in one frame.
_GATHER_SECONDS: Final = 0.002
_ANSWER_SECONDS: Final = 5.0
# After this time, a connection counts as successful, and the next retry is soon.
_STABLE_SECONDS: Final = 5.0
# How long a closed publisher tries to deliver the remaining events, and how long that may delay the process's exit. A
# connection that swallows everything is noticed after two pings, and must not use up all of it.
_CLOSE_SECONDS: Final = 90.0
_EXIT_SECONDS: Final = 3.0


class _Ended(Exception):
    """The server ended the connection."""

    def __init__(self, bye: p.Bye) -> None:
        super().__init__(f"{visible(bye.reason)} (code {bye.code})")
        self.bye = bye


class Transport:
    """Delivers events to a room, in order and exactly once.

    Args:
        dag_id: The room's DAG.
        locate: Finds the server. Called in the thread before each attempt; may block, and raise `DagwidgetError`.
        start: How to start the run; None for a worker.
        epoch: The id of the run; None for a worker that joins the DAG's only live run.

    Attributes:
        name: Identifies the publisher to the server.
        refused: Why the transport accepts no more events; None while it does.
        refused_code: The close code with which the server refused the publisher; None if the publisher was closed.
        finished: Whether it accepts no more events because its thread has ended.
        url: Where the server was last found.
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
        self.refused_code: int | None = None
        self.finished = False
        self._dropped = 0
        # Why the last attempt to deliver has failed.
        self._failure: str | None = None
        self._ending = threading.RLock()
        self._dag_id = dag_id
        self._locate = locate
        self._start = start
        self._epoch = epoch
        self.url: str | None = None
        self._receive: Callable[[p.HumanGateResolved | p.ExecutionState], None] = lambda _event: None
        self._abandon: Callable[[], None] = lambda: None
        # Not numbered yet.
        self._published = SendBuffer(_BUFFERED)
        # Numbered and encoded, in order.
        self._unacknowledged: deque[tuple[int, bytes]] = deque()
        self._numbered = 0
        self._acknowledged = 0
        # Whether the server has said that it can't write what it has acknowledged last.
        self._in_memory = False
        # A run without events is delivered once the room knows it.
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
        """Start the thread.

        Args:
            receive: Called in the thread with each decision and each requested status.
            abandon: Called in the thread when the transport ends; `refused` says why.
        """
        self._receive = receive
        self._abandon = abandon
        self._thread.start()
        _transports.add(self)

    def publish(self, event: p.Event) -> bool:
        """Add an event to the buffer. Returns at once: False if the transport has finished.

        An event without a time gets the current time.
        """
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
            # In the transport's thread, because the engine must not wait.
            self._call(self._published.thin)
        if self._asleep:
            self._wake()

    @property
    def is_behind(self) -> bool:
        """Whether many events are not delivered yet."""
        return len(self._published) + len(self._unacknowledged) > _BEHIND

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the room has acknowledged all events. Returns whether it has, and has them on its disk."""
        with self._delivered:
            self._delivered.wait_for(lambda: self._is_delivered() or not self._thread.is_alive(), timeout)
            return self._is_stored()

    def close(self) -> None:
        """Deliver the remaining events, then end. Returns at once."""
        if self._closing is None:
            self._closing = time.monotonic()
            self._call(self._closed.set)
            self._wake()

    def join(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the end of the thread."""
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
            _log.exception("%r: publishing stopped because of an error in dagwidget", self._dag_id)
        finally:
            self.finished = True
            if self.undelivered and self.refused is None:
                _log.warning("%r: %d events were not delivered", self._dag_id, self.undelivered)
            self.refused = self.refused or "the publisher was closed"
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
        if self._is_stored():
            return None
        if self._is_delivered():
            run = f"run {self._epoch!r} of {self._dag_id!r}"
            return f"dagwidget: the last events of {run} are in the server's memory only: its log can't be written"
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
        # The loop may have just been closed.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    async def _deliver(self) -> None:
        failures = 0
        while not self._is_over():
            after = 0.0
            self._attached_at = None
            try:
                await self._connect_or_refuse(proven(self._locate()))
                return
            except _Ended as ended:
                if not ended.bye.retry:
                    self.refused, self.refused_code = str(ended), ended.bye.code
                    _log.error("%r: the server refused the publisher: %s", self._dag_id, ended)
                    return
                reason, after = str(ended), (ended.bye.after_ms or 0) / 1000
            except ServerRefused as refused:
                # Of a token that was not sent: who says so has not proven to be the server.
                reason = str(refused)
                if reason != self._failure:
                    _log.warning("%r: %s; it is tried again", self._dag_id, reason)
            except (OSError, EOFError, DagwidgetError) as error:
                reason = f"{type(error).__name__}: {error}"
            except Exception as error:
                if not _is_of_websockets(error):
                    raise
                reason = f"{type(error).__name__}: {error}"
            stable = self._attached_at is not None and time.monotonic() - self._attached_at > _STABLE_SECONDS
            failures = 1 if stable else failures + 1
            delay = after + backoff(failures)
            self._failure = reason
            _log.info("%r: not connected (%s); retry in %.1f s", self._dag_id, reason, delay)
            await self._sleep(delay)

    async def _sleep(self, seconds: float) -> None:
        """Sleep until the next attempt. `close` ends the sleep: the remaining events are tried once more."""
        if self._closing is not None:
            await asyncio.sleep(min(seconds, 1.0))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()

    def _is_over(self) -> bool:
        if self._closing is None:
            return False
        return self._is_delivered() or self._is_out_of_time()

    def _is_out_of_time(self) -> bool:
        return self._closing is not None and time.monotonic() - self._closing > _CLOSE_SECONDS

    async def _connect_or_refuse(self, endpoint: Endpoint) -> None:
        from ..handshake import refusal

        try:
            await self._connect(endpoint)
        except Exception as error:
            bye = refusal(error)
            if bye is None:
                raise
            raise _Ended(bye) from error

    async def _connect(self, endpoint: Endpoint) -> None:
        from ..handshake import open_socket

        self.url = endpoint.url
        async with open_socket(
            endpoint.publish_url(self._dag_id), endpoint.token, open_timeout=_ANSWER_SECONDS, close_timeout=1
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
        async with asyncio.timeout(_ANSWER_SECONDS):
            frame = await socket.recv()
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
            "%r: the server lost %d of the %d events that it had acknowledged: it was restarted without its log",
            self._dag_id,
            self._acknowledged - has,
            self._acknowledged,
        )
        # A new name starts new numbers, from the first event that was not acknowledged.
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
        """The events of the next frame, after number `sent`."""
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
        # An event may have arrived since the buffer was read.
        if not self._published or not self._has_room():
            await self._wakeup.wait()
        self._asleep = False

    def _number(self) -> None:
        """Number and encode the events of the next few frames."""
        with self._published.lock:
            while self._published and self._has_room():
                event = self._published.first()
                event.seq = self._numbered + 1
                try:
                    data = _encoded(event)
                    if len(data) > _EVENT_BYTES and not isinstance(event, p.NodeOutput):
                        data = _encoded(truncate(event, len(data), _EVENT_BYTES))
                    # The server would disconnect the publisher for an invalid event.
                    p.decode_publisher(data)
                except (TypeError, ValueError, ProtocolError) as error:
                    _log.error("%r: an invalid %s was not sent: %s", self._dag_id, type(event).__name__, error)
                else:
                    self._numbered += 1
                    self._unacknowledged.append((self._numbered, data))
                # Only now: an event in neither queue would count as delivered.
                self._published.drop_first()
            if self._published.lost and not self._published:
                self._report_lost()

    def _report_lost(self) -> None:
        lost = self._published.lost
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in lost.most_common())
        text = (
            f"{lost.total():,} events were lost: the server was unreachable and the buffer was full. By type: {kinds}"
        )
        lost.clear()
        _log.warning("%r: %s", self._dag_id, text)
        self._published.append(p.RunError(message=text, code="events_lost", ts=now_ms()))

    def _has_room(self) -> bool:
        return len(self._unacknowledged) < 4 * _FRAME_EVENTS

    async def _receive_loop(self, socket: ClientConnection, heartbeat: float) -> None:
        stuck: int | None = None
        while True:
            async with asyncio.timeout(2 * heartbeat + _ANSWER_SECONDS):
                frame = await socket.recv()
            for message in p.decode_reply(frame):
                if isinstance(message, p.Ping):
                    oldest = self._unacknowledged[0][0] if self._unacknowledged else None
                    if oldest is not None and oldest == stuck:
                        # The server pings when it has received nothing: the events have not arrived.
                        raise TimeoutError(f"the server has not acknowledged event {oldest}")
                    stuck = oldest
                    await socket.send(p.encode(p.Pong(seq=self._acknowledged)), text=True)
                else:
                    self._handle(message)

    def _handle(self, message: p.PublishReply | p.Unknown) -> None:
        match message:
            case p.Ack():
                self._in_memory = message.durable is False
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

    def _is_stored(self) -> bool:
        return self._is_delivered() and not self._in_memory

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
        # A file name or an error may contain lone surrogates.
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
