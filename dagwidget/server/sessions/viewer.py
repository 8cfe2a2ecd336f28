"""A viewer that speaks the whole protocol."""

from __future__ import annotations

from typing import Final, assert_never, get_args

from ... import protocol as p
from ..auth.grant import Authorize
from ..room import Refused, Room
from ..run_list import RunList
from .base import Seek, Session

_FEATURES: Final = frozenset(get_args(p.Feature))
RUNS_MS: Final = 1000
"""How often a client is sent what changed in the run list, in milliseconds."""


class ViewerSession(Session):
    """The whole protocol: `hello` first, then catching up, then batches as far as the client acknowledges them."""

    __slots__ = (
        "_catching_up",
        "_confirms",
        "_engine",
        "_epoch",
        "_features",
        "_greeted",
        "_hello",
        "_in_flight",
        "_meant",
        "_pongs",
        "_runs_sent",
        "_runs_version",
        "_stalled",
        "_unacknowledged",
        "_unconfirmed",
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
        super().__init__(room, authorize, now, token, run_id=run_id, runs=runs)
        self._greeted = False
        # The hello that is answered once its room is there.
        self._hello: p.Hello | None = None
        self._features: frozenset[str] = frozenset()
        self._epoch = ""
        # Frames that bring the client to `_cursor`, and the `synced` after them.
        self._catching_up: list[bytes] = []
        # What is on its way: the seq that acknowledges it, and its size.
        self._unacknowledged: list[tuple[int, int]] = []
        self._in_flight = 0
        # Since when the window has been full without an acknowledgement.
        self._stalled: int | None = None
        # The run of commands that name none: that of the last `synced` which the client is known to have. A ping after
        # the `synced` of another run shows when it has that: its pong comes after every command that was sent before.
        self._meant: str | None = None
        # Whether such a ping is to follow `_catching_up`; the numbers of those that were sent, and their runs.
        self._confirms = False
        self._unconfirmed: list[tuple[int, str]] = []
        self._pongs = 0
        self._engine: p.EngineState | None = None
        self._runs_version: int | None = None
        self._runs_sent = 0

    @property
    def ready(self) -> bool:
        return self._greeted

    def tick(self, now: int) -> None:
        super().tick(now)
        seconds = self.room.limits.stalled_seconds
        if self.ended is None and self._stalled is not None and now - self._stalled > seconds * 1000:
            self._end(4001, f"nothing was acknowledged in {seconds:g} s", abort=True)

    def _handle(self, frame: str | bytes, now: int) -> None:
        for message in p.decode_client(frame):
            match message:
                case p.Hello():
                    self._say_hello(message, now)
                case _ if not self._greeted:
                    raise Refused(4400, "the first message must be hello")
                case p.Ack():
                    self._acknowledge(message.seq)
                case p.Command() | p.Unknown():
                    self._command(message, now)
                case p.Pong():
                    self._confirm()
                case _:
                    assert_never(message)

    # --- Greeting

    def _say_hello(self, hello: p.Hello, now: int) -> None:
        self._check_hello(hello, now)
        self._greeted, self._hello = True, hello
        self._features = _FEATURES.intersection(hello.features or ())
        self._runs_version, self._engine = None, None
        run_id = hello.run or (None if hello.follow else self._fixed_run)
        self.follows = run_id is None or hello.follow is True
        last = hello.last.epoch if hello.last is not None else None
        waits = self._fixed_run is None or run_id != self._fixed_run
        self.seek = Seek(run_id, current=last or self.room.epoch or None, waits=waits)

    def enter(self, room: Room, now: int) -> None:
        before, self.room = self.room, room
        if self._hello is not None:
            hello, self._hello = self._hello, None
            self._welcome(now, log=room.log_id, features=sorted(self._features) or None)
            self._sync(hello.last)
        elif room is not before:
            self._sync(None)

    # --- Catching up

    def _sync(self, last: p.Cursor | None) -> None:
        way = self.room.catch_up(last, lost="lost" in self._features)
        self._epoch, self._cursor = self.room.epoch, way.seq
        opening = p.Sync(epoch=self._epoch, seq=way.seq, reset=way.reset, log=self.room.log_id)
        self._catching_up = [p.encode(opening), *way.frames, p.encode(p.Synced(seq=way.seq))]
        # Whatever was on its way before, one acknowledgement of the new place settles it.
        self._unacknowledged = [(way.seq, sum(map(len, way.frames)))]
        self._in_flight = self._unacknowledged[0][1]
        self._engine = None
        if not self._meant and not self._unconfirmed:
            self._meant = self._epoch
        self._confirms = self._epoch != (self._unconfirmed[-1][1] if self._unconfirmed else self._meant)

    def _catch_up(self) -> bytes:
        """The next frame of catching up."""
        frame = self._catching_up.pop(0)
        if self._confirms and not self._catching_up:
            self._confirms = False
            self._ping()
            self._unconfirmed.append((self._pings, self._epoch))
        return frame

    def _confirm(self) -> None:
        """The client answers pings in their order."""
        self._pongs += 1
        if self._unconfirmed and self._unconfirmed[0][0] <= self._pongs:
            self._meant = self._unconfirmed.pop(0)[1]

    def _acknowledge(self, seq: int) -> None:
        self._stalled = None
        settled = 0
        for at, size in self._unacknowledged:
            if at > seq:
                break
            self._in_flight -= size
            settled += 1
        del self._unacknowledged[:settled]

    def _meant_run(self) -> str:
        return self._meant or ""

    # --- Sending

    def _next(self, now: int) -> bytes | None:
        if not self._greeted or self._hello is not None:
            return None
        if self._epoch != self.room.epoch or not self.room.holds(self._cursor):
            self._sync(None)
        if self._catching_up:
            # It leads up to the cursor, and that may be ahead of what is durable.
            return self._catch_up() if self._cursor <= self.room.durable else None
        return self._news(now) or self._events(now)

    @property
    def _has_all(self) -> bool:
        return not self._catching_up and super()._has_all

    def _news(self, now: int) -> bytes | None:
        """What changed beside the log: the engine, and the run list."""
        if "engine" in self._features and self._epoch:
            engine = self.room.engine(now)
            if engine != self._engine:
                self._engine = engine
                return p.encode(self.room.engine_message(now))
        runs = self._runs
        if runs is None or "runs" not in self._features or runs.version == self._runs_version:
            return None
        if self._runs_version is not None and now - self._runs_sent < RUNS_MS:
            return None
        since, self._runs_version, self._runs_sent = self._runs_version, runs.version, now
        return runs.encoded(since or 0)

    def _events(self, now: int) -> bytes | None:
        head = self.room.durable
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
        frame = self.room.frame(self._cursor, head, lost="lost" in self._features)
        self._cursor = head
        self._unacknowledged.append((head, len(frame)))
        self._in_flight += len(frame)
        return frame
