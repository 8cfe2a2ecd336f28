"""`Uplink`: a publisher's connection to its room, in a thread of its own.

What the engine publishes goes into a bounded buffer; the thread numbers it, sends it, and keeps it until the room has
said that it has it. So a connection that was cut goes on where it was, and the engine's own thread never waits.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
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
from .buffer import Backlog

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

_log = logging.getLogger("dagwidget")

# How many events may wait for the room, and in how many bytes they go at once.
_BUFFERED: Final = 200_000
# So many events wait that nothing large is added to them.
_LAGS: Final = 2_000
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


class Uplink:
    """Delivers events to a room, in order, each once.

    Args:
        dag_id: The room.
        locate: Finds the server; called in the thread, before each attempt. May block, and raise `DagwidgetError`.
        start: How to open the run, where this publisher does; `epoch` is its id.
        epoch: The run; None joins whichever is the current one.
        hear: Called in the thread with each decision and each change of what is asked of the engine.
        lost: Called in the thread with the reason, once the room will take nothing more.
    """

    def __init__(
        self,
        dag_id: str,
        locate: Callable[[], Endpoint],
        *,
        start: p.RunStart | None,
        epoch: str | None,
        hear: Callable[[p.HumanGateResolved | p.ExecutionState], None],
        lost: Callable[[str], None],
    ) -> None:
        self.name = uuid.uuid4().hex
        self.refused: str | None = None
        """Why the room takes nothing more from this publisher."""
        self.refused_code: int | None = None
        """The close code with which the room refused it; None where the publisher itself was closed."""
        self._dag_id = dag_id
        self._locate = locate
        self._start = start
        self._epoch = epoch
        self._hear = hear
        self._lost = lost
        self._published = Backlog(_BUFFERED)
        self._unacknowledged: deque[tuple[int, bytes]] = deque()
        self._numbered = 0
        self._acknowledged = 0
        # A run that was started is there once the room knows of it, also where nothing has happened in it.
        self._expected = start is None
        self._asleep = False
        self._closing: float | None = None
        self._delivered = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._news = asyncio.Event()
        self._closed = asyncio.Event()
        self._attached_at: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"dagwidget-{dag_id}", daemon=True)
        self._thread.start()
        _uplinks.add(self)

    def publish(self, event: p.Event) -> None:
        """Take an event, in any thread, at once; stamps it with the time where it has none."""
        if self._closing is not None or self.refused is not None:
            return
        if event.ts is None:
            event.ts = time.time_ns() // 1_000_000
        if self._published.append(event):
            # In our thread: the engine's has no time for it.
            self._call(self._published.thin)
        if self._asleep:
            self._wake()

    @property
    def lags(self) -> bool:
        """Whether much waits to be delivered."""
        return len(self._published) + len(self._unacknowledged) > _LAGS

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
            self._loop.run_until_complete(self._deliver())
        except Exception:
            _log.exception("publishing to %r ended with a fault of dagwidget's own", self._dag_id)
        finally:
            left = len(self._published) + len(self._unacknowledged)
            if left and self.refused is None:
                _log.warning("%d events of %r were not delivered", left, self._dag_id)
            self.refused = self.refused or "closed"
            self._lost(self.refused)
            self._loop.close()
            self._tell_delivered()

    def _wake(self) -> None:
        self._asleep = False
        self._call(self._news.set)

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
                await self._converse(self._locate())
                return
            except _Ended as ended:
                if not ended.bye.retry:
                    self.refused, self.refused_code = str(ended), ended.bye.code
                    _log.error("the room %r takes nothing more from this run: %s", self._dag_id, ended)
                    return
                reason, after = str(ended), (ended.bye.after_ms or 0) / 1000
            except (OSError, asyncio.TimeoutError, EOFError, DagwidgetError) as error:
                reason = f"{type(error).__name__}: {error}"
            except Exception as error:
                if not _is_of_websockets(error):
                    raise
                reason = f"{type(error).__name__}: {error}"
            stood = self._attached_at is not None and time.monotonic() - self._attached_at > _STABLE_SECONDS
            failures = 1 if stood else failures + 1
            delay = after + backoff(failures)
            _log.info("not connected to the room %r (%s); again in %.1f s", self._dag_id, reason, delay)
            await self._sleep(delay)

    async def _sleep(self, seconds: float) -> None:
        """Sleep; but who closes wants to see whether what is left can be delivered."""
        if self._closing is not None:
            await asyncio.sleep(min(seconds, 1.0))
            return
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)

    def _is_over(self) -> bool:
        if self._closing is None:
            return False
        return self._is_delivered() or time.monotonic() - self._closing > _CLOSE_SECONDS

    async def _converse(self, endpoint: Endpoint) -> None:
        from websockets.asyncio.client import connect

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
            listening = asyncio.create_task(self._listen(socket, heartbeat))
            sending = asyncio.create_task(self._send(socket))
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
            now=time.time_ns() // 1_000_000,
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
        self._expected = True
        if first.seq < self._acknowledged:
            self._begin_anew(first.seq)
        self._trim(first.seq)
        for message in rest:
            self._take(message)
        return first.heartbeat_ms / 1000

    def _begin_anew(self, has: int) -> None:
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

    async def _send(self, socket: ClientConnection) -> None:
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
                await self._until_news()

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

    async def _until_news(self) -> None:
        self._news.clear()
        self._asleep = True
        # Something may have come between our last look and falling asleep.
        if not self._published or not self._has_room():
            await self._news.wait()
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
        self._published.append(p.RunError(message=text, code="events_lost", ts=time.time_ns() // 1_000_000))

    def _has_room(self) -> bool:
        return len(self._unacknowledged) < 4 * _FRAME_EVENTS

    async def _listen(self, socket: ClientConnection, heartbeat: float) -> None:
        stuck: int | None = None
        while True:
            frame = await asyncio.wait_for(socket.recv(), 2 * heartbeat + _ANSWER_SECONDS)
            for message in p.decode_reply(frame):
                if isinstance(message, p.Ping):
                    oldest = self._unacknowledged[0][0] if self._unacknowledged else None
                    if oldest is not None and oldest == stuck:
                        # It pings after a silence: what we sent has not come there.
                        raise asyncio.TimeoutError(f"the server has not acknowledged event {oldest}")
                    stuck = oldest
                    await socket.send(p.encode(p.Pong(seq=self._acknowledged)), text=True)
                else:
                    self._take(message)

    def _take(self, message: p.PublishReply | p.Unknown) -> None:
        match message:
            case p.Ack():
                self._trim(message.seq)
                self._news.set()
            case p.Bye():
                raise _Ended(message)
            case p.HumanGateResolved() | p.ExecutionState():
                self._hear(message)
            case p.Ping() | p.Attached() | p.Unknown():
                # `_listen` answers pings, and the others come from a newer server.
                pass
            case _:
                assert_never(message)

    def _trim(self, seq: int) -> None:
        while self._unacknowledged and self._unacknowledged[0][0] <= seq:
            self._unacknowledged.popleft()
        self._acknowledged = max(self._acknowledged, seq)
        if self._is_delivered():
            self._tell_delivered()

    def _is_delivered(self) -> bool:
        return self._expected and not self._published and not self._unacknowledged

    def _tell_delivered(self) -> None:
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


_uplinks: weakref.WeakSet[Uplink] = weakref.WeakSet()


def _deliver_at_exit() -> None:
    deadline = time.monotonic() + _EXIT_SECONDS
    for uplink in tuple(_uplinks):
        uplink.close()
    for uplink in tuple(_uplinks):
        uplink.join(max(0.0, deadline - time.monotonic()))


atexit.register(_deliver_at_exit)
