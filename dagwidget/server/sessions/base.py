"""Sessions: one client's conversation with a DAG's rooms, in one of three dialects. Sans-I/O; times are Unix ms.

A client is a cursor into its room's log, not a queue. The shell around a session hands it what came (`receive`), and
then takes what may go out (`pull`) for as long as the transport has room for it; `tick` is called now and then.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from ... import protocol as p
from ...errors import ProtocolError
from ...version import __version__
from ..auth.grant import EXPIRED, MISSING, WRONG, Authorize, Grant
from ..auth.rate_limit import Throttle
from ..room import Refused, Room
from ..run_list import RunList


class Seek(NamedTuple):
    """The room that a session asks for.

    Attributes:
        run_id: The run. Without one, a viewer follows the DAG, and a publisher joins the DAG's only live run.
        current: The run that a viewer is at which follows the DAG.
        begins: Whether the run begins where there is none: its publisher starts it.
        fresh: Whether no server has ever acknowledged anything of that run to its publisher.
        waits: Whether the client waits where there is no such run yet; otherwise it is refused.
    """

    run_id: str | None
    current: str | None = None
    begins: bool = False
    fresh: bool = False
    waits: bool = True


class Session:
    """What the three dialects share: who the client is, how its messages are handled, and how it ends.

    Attributes:
        room: The room that the client is in. It has no run until the client has said which run it means.
        grant: What the client may do, once that is known.
        ended: Set once the session is over; the shell sends what is left, and closes with its code.
        abort: Whether the shell should drop the connection: an orderly close hangs on a peer that does not read.
        seek: The room to find for the client, until it has entered it.
        forwarded: Commands for other runs than the room's, until somebody has them answered (`answer`).
        follows: Whether the client is moved to another run once its own is over, lost or gone.
        awaits: The run that the client waits for, as it has not begun.
        leaves: Whether to look for another room as soon as the client has been sent all of this one.
    """

    # A server holds a thousand of them: without a dict each, they take half the memory.
    __slots__ = (
        "_authorize",
        "_control",
        "_cursor",
        "_fixed_run",
        "_heard",
        "_opened",
        "_pending_acks",
        "_pings",
        "_runs",
        "_said",
        "_throttle",
        "_token",
        "abort",
        "awaits",
        "ended",
        "follows",
        "forwarded",
        "grant",
        "leaves",
        "room",
        "seek",
    )

    def __init__(
        self,
        room: Room,
        authorize: Authorize,
        now: int,
        token: str | None = None,
        *,
        run_id: str | None = None,
        runs: RunList | None = None,
    ) -> None:
        """A client that has just connected.

        Args:
            room: The DAG's room without a run.
            authorize: Says what a token permits.
            now: Unix milliseconds.
            token: What came with the handshake.
            run_id: The run that the address names.
            runs: The DAG's run list.
        """
        self.room = room
        self.grant: Grant | None = None
        self.ended: p.Bye | None = None
        self.abort = False
        self.seek: Seek | None = None
        self.forwarded: list[tuple[str, p.Command]] = []
        self.follows = False
        self.awaits: str | None = None
        self.leaves = False
        self._fixed_run = run_id
        self._runs = runs
        self._authorize = authorize
        self._token = token
        self._throttle = Throttle(room.limits.commands_burst, room.limits.commands_per_second)
        self._cursor = 0
        self._opened = now
        self._heard = now
        self._said = now
        # How many pings were sent.
        self._pings = 0
        # Here and below, lists: they are short, and an empty deque of each of 1,000 clients would have 760 bytes.
        self._control: list[bytes] = []
        # Messages to send once a room's log is durable up to a seq; and whether one was sent while the store failed, so
        # that it is to be sent again.
        self._pending_acks: list[tuple[Room, int, Struct, bool]] = []

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
            self._handle(frame, now)
        except ProtocolError as error:
            self._end(4400, str(error))
        except Refused as refused:
            self._end(refused.code, refused.reason, after_ms=refused.after_ms)

    def pull(self, now: int) -> bytes | None:
        """The next frame to the client, or None where there is none, or none that it has room for."""
        if self._control:
            frame: bytes | None = self._control.pop(0)
        elif self._pending_acks and (ack := self._next_ack()) is not None:
            frame = p.encode(ack)
        else:
            frame = self._next(now) if self.ended is None else None
        if frame is not None:
            self._said = now
        elif self.leaves and self.seek is None and self.ended is None and self._has_all:
            self.leaves = False
            self.seek = Seek(self.awaits, current=self.room.epoch or None)
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
            self._ping()

    def enter(self, room: Room, now: int) -> None:
        """Be in `room` from now on. Entering the same room again changes nothing."""
        raise NotImplementedError

    @property
    def has_pending_acks(self) -> bool:
        """Whether a message waits until a room's log is durable."""
        return bool(self._pending_acks)

    def stop(self, bye: p.Bye) -> None:
        """The server ends the session."""
        if self.ended is None:
            self._end(bye.code, bye.reason, after_ms=bye.after_ms)

    def stop_instead(self, bye: p.Bye) -> None:
        """End the session with this, in place of what has ended it and was not sent yet."""
        self._control.clear()
        self.ended = None
        self.stop(bye)

    # What the dialects fill in

    _needed: p.Role = "view"

    @property
    def _answers_pings(self) -> bool:
        """Whether the client answers `ping`, so that its silence says something."""
        return True

    def _largest_frame(self) -> int:
        return self.room.limits.frame_bytes

    def _handle(self, frame: str | bytes, now: int) -> None:
        """Decode a frame and handle its messages."""
        raise NotImplementedError

    def _next(self, now: int) -> bytes | None:
        raise NotImplementedError

    @property
    def _has_all(self) -> bool:
        """Whether the client was sent everything up to the head of its room."""
        return self._cursor >= self.room.head

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

    def _check_hello(self, hello: p.Hello, now: int) -> None:
        """Let in who says `hello`, not too often, and in this protocol."""
        if hello.protocol < p.PROTOCOL:
            raise Refused(4409, f"this server speaks protocol {p.PROTOCOL}, the client {hello.protocol}: update it")
        if not self._throttle.take(now / 1000):
            # The answer to it may be the whole state.
            raise Refused(4429, "too many hellos", after_ms=5000)
        self._admit(hello.token, now)

    def _welcome(self, now: int, *, log: str | None = None, features: list[str] | None = None) -> None:
        """Answer a `hello` with where the client is, and what it may do."""
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
                server=__version__,
                log=log,
                features=features,
            )
        )

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
            run_id = command.run_id or self._meant_run()
            if run_id == self.room.epoch:
                self.answer(self.room, command, now)
            else:
                self.forwarded.append((run_id, command))
            return
        self._acknowledge_command(self.room, ack)

    def answer(self, room: Room | None, command: p.Command, now: int, fault: str | None = None) -> None:
        """Answer a command that is meant for the run of `room`; None where there is no such run, or a `fault`."""
        assert self.grant is not None
        if fault is not None:
            self._acknowledge_command(
                None, p.CommandAck(id=command.id, ok=False, code="run_unavailable", message=fault)
            )
        elif room is None:
            run_id, dag_id = command.run_id or self._meant_run(), self.room.dag_id
            text = f"{dag_id!r} has no run {run_id!r}" if run_id else f"no run of {dag_id!r} has been started yet"
            self._acknowledge_command(None, p.CommandAck(id=command.id, ok=False, code="unknown_run", message=text))
        else:
            self._acknowledge_command(room, room.command(command, self.grant.user, now))

    def _acknowledge_command(self, room: Room | None, ack: p.CommandAck) -> None:
        """Send the answer to a command, once what it says of `room` is durable."""
        if room is None:
            self._say(ack)
        else:
            self._send_when_durable(room, ack)

    def _meant_run(self) -> str:
        """The run of a command that names none."""
        return self.room.epoch

    def _ping(self) -> None:
        self._pings += 1
        self._say(p.Ping(head=self._cursor))

    def _say(self, message: p.Control) -> None:
        self._control.append(p.encode(message))

    def _send_when_durable(self, room: Room, message: Struct) -> None:
        """Send a message once everything in the room up to now is durable."""
        self._pending_acks.append((room, room.head, message, False))
        if room.head > room.on_disk:
            room.waiters.add(self)

    def _next_ack(self) -> Struct | None:
        """The next message that waited for its room's log. One that is sent while the store fails says so."""
        for index, (room, seq, message, sent) in enumerate(self._pending_acks):
            if seq <= room.on_disk:
                return self._pending_acks.pop(index)[2]
            if seq > room.durable:
                return None
            match message:
                case p.CommandAck(ok=True) if sent:
                    continue
                case p.CommandAck(ok=True):
                    self._pending_acks[index] = (room, seq, message, True)
                    why = f"not on disk yet: {room.fault}"
                    text = f"{message.message}; {why}" if message.message else why
                    return replace(message, durable=False, message=text)
                case p.Ack() if sent:
                    continue
                case p.Ack():
                    # Only the newest is acknowledged again: it stands for those before it.
                    self._pending_acks[index] = (room, seq, message, True)
                    self._pending_acks[:index] = [
                        each for each in self._pending_acks[:index] if not isinstance(each[2], p.Ack)
                    ]
                    return replace(message, durable=False)
                case _:
                    return self._pending_acks.pop(index)[2]
        return None

    def _end(self, code: int, reason: str, *, abort: bool = False, after_ms: int | None = None) -> None:
        retry = next((row.retry for row in p.CLOSE_CODES if row.code == code), True)
        self.ended = p.Bye(code=code, reason=reason, retry=retry, after_ms=after_ms)
        self.abort = abort
        self._say(self.ended)
