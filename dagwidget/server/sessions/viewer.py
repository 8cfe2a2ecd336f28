"""A viewer that speaks the whole protocol."""

from __future__ import annotations

from typing import assert_never

from ... import protocol as p
from ..auth.grant import Authorize
from ..room import Refused, Room
from .base import Session


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

    def _handle(self, frame: str | bytes, now: int) -> None:
        for message in p.decode_client(frame):
            match message:
                case p.Hello():
                    self._hello(message, now)
                case _ if not self._greeted:
                    raise Refused(4400, "the first message must be hello")
                case p.Ack():
                    self._acknowledge(message.seq)
                case p.Command() | p.Unknown():
                    self._command(message, now)
                case p.Pong():
                    # Any frame is a sign of life.
                    pass
                case _:
                    assert_never(message)

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
