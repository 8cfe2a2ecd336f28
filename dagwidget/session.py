"""Sessions: one client's conversation with a room, in one of three dialects. Sans-I/O; times are Unix milliseconds.

A client is a cursor into its room's log, not a queue. The shell around a session hands it what came (`receive`), and
then takes what may go out (`pull`) for as long as the transport has room for it; `tick` is called now and then.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from . import protocol as p
from .errors import ProtocolError
from .grant import EXPIRED, MISSING, WRONG, Authorize, Grant
from .log import Entry
from .room import Refused, Room
from .throttle import Throttle

# How far two clocks may be apart before their times are not taken as they are, in milliseconds.
_CLOCKS_AGREE = 2000


class Session:
    """What the three dialects share: who the client is, how it is heard, and how it ends."""

    def __init__(
        self, room: Room, authorize: Authorize, now: int, token: str | None = None, run_id: str | None = None
    ) -> None:
        """A client of `room`; `token` is what came with the handshake. It is shown one run, where that is named."""
        self.room = room
        self._run_id = run_id
        # Once it is known who the client is.
        self.grant: Grant | None = None
        # Set once the session is over; the shell sends what is left, and closes with its code.
        self.ended: p.Bye | None = None
        # Whether the shell should drop the connection: an orderly close hangs on a peer that does not read.
        self.abort = False
        self._authorize = authorize
        self._token = token
        self._throttle = Throttle(room.limits.commands_burst, room.limits.commands_per_second)
        self._opened = now
        self._heard = now
        self._said = now
        # Here and below, lists: they are short, and an empty deque of each of 1,000 clients would have 760 bytes.
        self._control: list[bytes] = []
        # What may be said once the room's log has kept what it is about: the run, the seq, and the frame.
        self._promised: list[tuple[str, int, bytes]] = []

    @property
    def ready(self) -> bool:
        """Whether the client has said who it is."""
        raise NotImplementedError

    def receive(self, frame: str | bytes, now: int) -> None:
        """Take a frame from the client."""
        self._heard = now
        if self.ended is not None:
            return
        try:
            self._measure(frame)
            self._take_all(self._decode(frame), now)
        except ProtocolError as error:
            self._end(4400, str(error))
        except Refused as refused:
            self._end(refused.code, refused.reason, after_ms=refused.after_ms)

    def pull(self, now: int) -> bytes | None:
        """The next frame to the client, or None where there is none, or none that it has room for."""
        if self._control:
            frame: bytes | None = self._control.pop(0)
        elif self._promised and self._is_kept(*self._promised[0][:2]):
            frame = self._promised.pop(0)[2]
        elif self._run_id not in (None, self.room.epoch) and self.ended is None:
            # What it lacks of its run is in the log.
            self._end(4003, f"a newer run of {self.room.dag_id!r} has begun")
            frame = self._control.pop(0)
        else:
            frame = self._next(now) if self.ended is None else None
        if frame is not None:
            self._said = now
        return frame

    def tick(self, now: int) -> None:
        """Look after silence: no hello, no sign of life, no progress; and whether the token is still good."""
        limits = self.room.limits
        if self.ended is not None:
            return
        if self.grant is not None:
            try:
                self._admit(None, now)
            except Refused as refused:
                self._end(refused.code, refused.reason)
                return
        if not self.ready:
            if now - self._opened > limits.hello_seconds * 1000:
                self._end(4408, f"no hello in {limits.hello_seconds:g} s")
        elif now - self._heard > limits.dead_seconds * 1000 and self._answers_pings:
            self._end(4001, f"no sign of life in {limits.dead_seconds:g} s", abort=True)
        elif now - self._said >= limits.heartbeat_seconds * 1000 and self._answers_pings:
            self._say(p.Ping(head=self._cursor))

    @property
    def has_promised(self) -> bool:
        """Whether something waits to be said until it is kept."""
        return bool(self._promised)

    def stop(self, bye: p.Bye) -> None:
        """The server ends the session."""
        if self.ended is None:
            self._end(bye.code, bye.reason, after_ms=bye.after_ms)

    # What the dialects fill in

    _answers_pings = True
    _needed: p.Role = "view"
    _cursor = 0

    def _decode(self, frame: str | bytes) -> list[Any]:
        return p.decode_client(frame)

    def _largest_frame(self) -> int:
        return self.room.limits.frame_bytes

    def _take_all(self, messages: list[Any], now: int) -> None:
        raise NotImplementedError

    def _next(self, now: int) -> bytes | None:
        raise NotImplementedError

    # What they use

    def _measure(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            raise Refused(4400, "a message must come as a text frame, not a binary one")
        size = len(frame) if frame.isascii() else len(frame.encode("utf-8", "surrogatepass"))
        if size > self._largest_frame():
            raise Refused(4413, f"a frame of {size:,} bytes: at most {self._largest_frame():,} are taken")

    def _admit(self, token: str | None, now: int) -> None:
        """Let in who shows `token`, by default the one that is known already."""
        token = self._token if token is None else token
        grant = self._authorize(token)
        if grant is None:
            raise Refused(4401, MISSING if token is None else WRONG)
        if grant.is_over(now):
            raise Refused(4005, EXPIRED)
        if not grant.permits(self._needed):
            raise Refused(4403, f"this token may {grant.role}, not {self._needed}")
        self._token, self.grant = token, grant

    def _command(self, command: p.Command | p.Unknown, now: int) -> None:
        if isinstance(command, p.Unknown):
            # Only what carries an id asks for an answer.
            if not isinstance(command.id, str):
                return
            text = f"this server does not know {command.type[:200]!r}"
            ack = p.CommandAck(id=command.id, ok=False, code="unknown_command", message=text)
        elif not self._throttle.take(now / 1000):
            limit = self.room.limits.commands_per_second
            ack = p.CommandAck(
                id=command.id, ok=False, code="too_often", message=f"at most {limit:g} commands a second are taken"
            )
        elif self.grant is None or not self.grant.permits("operate"):
            ack = p.CommandAck(
                id=command.id, ok=False, code="forbidden", message="you may watch this run, not steer it"
            )
        else:
            ack = self.room.command(command, self.grant.user, now)
        self._promise(p.encode(ack))

    def _say(self, message: p.Control) -> None:
        self._control.append(p.encode(message))

    def _promise(self, frame: bytes) -> None:
        """Say it once everything up to now is kept."""
        self._promised.append((self.room.epoch, self.room.head, frame))

    def _is_kept(self, epoch: str, seq: int) -> bool:
        return epoch != self.room.epoch or seq <= self.room.told

    def _end(self, code: int, reason: str, *, abort: bool = False, after_ms: int | None = None) -> None:
        retry = next((row.retry for row in p.CLOSE_CODES if row.code == code), True)
        self.ended = p.Bye(code=code, reason=reason, retry=retry, after_ms=after_ms)
        self.abort = abort
        self._say(self.ended)


class ViewerSession(Session):
    """The whole protocol: `hello` first, then catching up, then batches as far as the client acknowledges them."""

    def __init__(
        self, room: Room, authorize: Authorize, now: int, token: str | None = None, run_id: str | None = None
    ) -> None:
        super().__init__(room, authorize, now, token, run_id)
        self._greeted = False
        self._epoch = ""
        # Frames that bring the client to `_cursor`, and the `synced` after them.
        self._catching_up: list[bytes] = []
        # What is on its way: the seq that acknowledges it, and its size.
        self._unacknowledged: list[tuple[int, int]] = []
        self._in_flight = 0
        # Since when the window has been full without an acknowledgement.
        self._stalled: int | None = None

    @property
    def ready(self) -> bool:
        return self._greeted

    def tick(self, now: int) -> None:
        super().tick(now)
        seconds = self.room.limits.stalled_seconds
        if self.ended is None and self._stalled is not None and now - self._stalled > seconds * 1000:
            self._end(4001, f"nothing was acknowledged in {seconds:g} s", abort=True)

    def _take_all(self, messages: list[Any], now: int) -> None:
        for message in messages:
            match message:
                case p.Hello():
                    self._hello(message, now)
                case _ if not self._greeted:
                    raise Refused(4400, "the first message must be hello")
                case p.Ack():
                    self._acknowledge(message.seq)
                case p.Command() | p.Unknown():
                    self._command(message, now)

    def _hello(self, hello: p.Hello, now: int) -> None:
        if hello.protocol < p.PROTOCOL:
            raise Refused(4409, f"this server speaks protocol {p.PROTOCOL}, the client {hello.protocol}: update it")
        if not self._throttle.take(now / 1000):
            # The answer to it may be the whole state.
            raise Refused(4429, "too many hellos", after_ms=5000)
        self._admit(hello.token, now)
        assert self.grant is not None
        limits = self.room.limits
        self._say(
            p.Welcome(
                protocol=p.PROTOCOL,
                dag_id=self.room.dag_id,
                epoch=self.room.epoch,
                head=self.room.head,
                role=self.grant.role,
                heartbeat_ms=round(limits.heartbeat_seconds * 1000),
                window=limits.window_bytes,
                limits={"frame_bytes": limits.frame_bytes, "event_bytes": limits.event_bytes},
                now=now,
                expires_at=self.grant.expires_at,
            )
        )
        self._greeted = True
        self._sync(hello.last)

    def _sync(self, last: p.Cursor | None) -> None:
        way = self.room.catch_up(last)
        self._epoch, self._cursor = self.room.epoch, way.seq
        opening = p.Sync(epoch=self._epoch, seq=way.seq, reset=way.reset)
        self._catching_up = [p.encode(opening), *way.frames, p.encode(p.Synced(seq=way.seq))]
        # Whatever was on its way before, one acknowledgement of the new place settles it.
        self._unacknowledged = [(way.seq, sum(map(len, way.frames)))]
        self._in_flight = self._unacknowledged[0][1]

    def _acknowledge(self, seq: int) -> None:
        self._stalled = None
        settled = 0
        for at, size in self._unacknowledged:
            if at > seq:
                break
            self._in_flight -= size
            settled += 1
        del self._unacknowledged[:settled]

    def _next(self, now: int) -> bytes | None:
        if not self._greeted:
            return None
        if self._epoch != self.room.epoch or not self.room.holds(self._cursor):
            self._sync(None)
        if self._catching_up:
            # It leads up to the cursor, and that may be ahead of what is kept.
            return self._catching_up.pop(0) if self._is_kept(self._epoch, self._cursor) else None
        head = self.room.told
        if self._cursor >= head:
            return None
        limits = self.room.limits
        if self._in_flight >= limits.window_bytes:
            self._stalled = self._stalled or now
            return None
        if head - self._cursor > limits.batch_events:
            # Far behind: the state may be a shorter way than all that was missed.
            self._sync(p.Cursor(epoch=self._epoch, seq=self._cursor))
            return self._next(now)
        frame = self.room.frame(self._cursor, head)
        self._cursor = head
        self._unacknowledged.append((head, len(frame)))
        self._in_flight += len(frame)
        return frame


class PlainSession(Session):
    """For a client that knows the seven basic events and the four commands: one event a frame, the state first."""

    _answers_pings = False

    def __init__(
        self, room: Room, authorize: Authorize, now: int, token: str | None = None, run_id: str | None = None
    ) -> None:
        super().__init__(room, authorize, now, token, run_id)
        self._epoch: str | None = None
        self._first: deque[Entry] = deque()
        self.grant = authorize(token)

    @property
    def ready(self) -> bool:
        return self.grant is not None

    def _take_all(self, messages: list[Any], now: int) -> None:
        for message in messages:
            match message:
                case p.Hello():
                    # A browser can't set a header: its token comes here, and the rest of hello does not concern it.
                    self._admit(message.token, now)
                case _ if self.grant is None:
                    raise Refused(4401, MISSING)
                case p.Command() | p.Unknown():
                    self._command(message, now)

    def _next(self, now: int) -> bytes | None:  # noqa: ARG002
        if self.grant is None:
            return None
        if self._epoch != self.room.epoch or not self.room.holds(self._cursor):
            self._epoch, self._cursor = self.room.epoch, self.room.head
            self._first = deque(self.room.compacted())
        if not self._is_kept(self._epoch, self._cursor):
            return None
        while self._first:
            if (entry := self._first.popleft()).plain:
                return entry.data
        for entry in self.room.entries(self._cursor, self.room.told):
            self._cursor += 1
            if entry.plain:
                return entry.data
        return None


class PublisherSession(Session):
    """For an engine: `attach` first, then its events; it is sent what its run was told."""

    _needed: p.Role = "publish"

    def __init__(
        self, room: Room, authorize: Authorize, now: int, token: str | None = None, run_id: str | None = None
    ) -> None:
        super().__init__(room, authorize, now, token, run_id)
        self._publisher: str | None = None
        self._epoch = ""
        # How far our clock is ahead of the publisher's, in milliseconds, where that is no matter of the way here.
        self._ahead = 0

    @property
    def ready(self) -> bool:
        return self._publisher is not None

    def leave(self) -> None:
        """The connection is gone."""
        if self._publisher is not None:
            self._publisher = None
            self.room.engines -= 1

    def _decode(self, frame: str | bytes) -> list[Any]:
        return p.decode_publisher(frame)

    def _largest_frame(self) -> int:
        return self.room.limits.publish_bytes

    def _take_all(self, messages: list[Any], now: int) -> None:
        if self._publisher is None:
            self._attach(messages[0] if messages else None, now)
            messages = messages[1:]
        # What has no number, and a type from the future, is no event.
        known = [message for message in messages if not isinstance(message, p.Unknown) or message.seq is not None]
        events = [message for message in known if isinstance(message, p.Event)]
        if events:
            self._publish(events, now)

    def _attach(self, request: Any, now: int) -> None:
        if not isinstance(request, p.Attach):
            raise Refused(4400, "the first message of a publisher must be attach")
        if request.protocol < p.PROTOCOL:
            raise Refused(
                4409, f"this server speaks protocol {p.PROTOCOL}, the publisher {request.protocol}: update it"
            )
        self._admit(request.token, now)
        attached = self.room.attach(request, now)
        if request.now is not None and abs(now - request.now) > _CLOCKS_AGREE:
            self._ahead = now - request.now
        self._publisher, self._epoch = request.publisher, attached.epoch
        self._cursor = self.room.head
        self.room.engines += 1
        self._promise(p.encode(attached))
        self._promise_news()

    def _publish(self, events: list[p.Event], now: int) -> None:
        assert self._publisher is not None
        if self._epoch != self.room.epoch:
            raise Refused(4006, f"a newer run of {self.room.dag_id!r} has begun")
        if self._ahead:
            for event in events:
                _move(event, self._ahead)
        self._promise(p.encode(p.Ack(seq=self.room.publish(self._publisher, events, now))))

    def _next(self, now: int) -> bytes | None:
        if self._publisher is None:
            return None
        if self._epoch != self.room.epoch:
            self._end(4006, f"a newer run of {self.room.dag_id!r} has begun")
            return self._control.pop(0)
        if not self.room.holds(self._cursor):
            self._promise_news()
            self._cursor = self.room.head
            return self.pull(now)
        for entry in self.room.entries(self._cursor, self.room.told):
            self._cursor += 1
            if entry.engine:
                return entry.data
        return None

    def _promise_news(self) -> None:
        for frame in self.room.news_for_engines():
            self._promise(frame)


def _move(event: p.Event, by: int) -> None:
    """Move the times of an event."""
    if event.ts is not None:
        event.ts += by
    match event:
        case p.NodeState(started_at=int(started_at)):
            event.started_at = started_at + by
        case p.HumanGateWaiting() if event.presentation.deadline is not None:
            event.presentation.deadline += by
