"""The session of an engine."""

from __future__ import annotations

from ... import protocol as p
from ...protocol.bounds import within_bounds
from ..auth.grant import Authorize
from ..room import Refused, Room
from ..run_list import RunList
from .base import Seek, Session

# How long `attach` may take to arrive, in milliseconds. A publisher's clock that is further behind is wrong.
_TRANSIT = 2000


class PublisherSession(Session):
    """For an engine: `attach` first, then its events; it is sent what its run was told."""

    _needed: p.Role = "publish"

    __slots__ = (
        "_ahead",
        "_held",
        "_offset",
        "_owns",
        "_publisher",
        "_request",
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
        self._publisher: str | None = None
        self._owns = False
        # What waits until the room is there: the request, and what came after it.
        self._request: p.Attach | None = None
        self._held: list[p.Event] = []
        # How far our clock is ahead of the publisher's, in milliseconds: at least, and 0 where that may be transit.
        self._offset = self._ahead = 0

    @property
    def ready(self) -> bool:
        return self.grant is not None

    def leave(self) -> None:
        """The connection is gone."""
        if self._publisher is not None:
            self._publisher = None
            self.room.engines -= 1
            if self._owns:
                self.room.presence.disconnect()

    def _largest_frame(self) -> int:
        return self.room.limits.publish_bytes

    def _handle(self, frame: str | bytes, now: int) -> None:
        messages = p.decode_publisher(frame)
        if self._publisher is None and self.seek is None:
            self._ask_to_attach(messages[0] if messages else None, now)
            messages = messages[1:]
        if self._owns:
            self.room.presence.hear(now)
        # What has no number, and a type from the future, is no event.
        known = [message for message in messages if not isinstance(message, p.Unknown) or message.seq is not None]
        events: list[p.Event] = [message for message in known if isinstance(message, p.Event)]
        if self._publisher is None:
            self._held += events
        elif events:
            self._publish(events, now)

    def _ask_to_attach(self, request: p.PublisherMessage | p.Unknown | None, now: int) -> None:
        if not isinstance(request, p.Attach):
            raise Refused(4400, "the first message of a publisher must be attach")
        if request.protocol < p.PROTOCOL:
            raise Refused(
                4409, f"this server speaks protocol {p.PROTOCOL}, the publisher {request.protocol}: update it"
            )
        self._admit(request.token, now)
        if request.start is not None and request.epoch is None:
            raise Refused(4400, "attach: a publisher that starts a run must name it: `epoch`")
        if request.now is not None:
            measured = now - request.now
            # It was sent after the connection was asked for, and before it came. Of what is possible, the least:
            # the runs of one machine then keep their order, however long each was under way.
            self._offset = min(max(0, self._opened - request.now), measured)
            # Nothing arrives before it was sent: a publisher's clock that is ahead of ours is wrong.
            self._ahead = 0 if 0 <= measured <= _TRANSIT else measured
        self._request = request
        self.seek = Seek(request.epoch, begins=request.start is not None, fresh=not request.acknowledged)

    def enter(self, room: Room, now: int) -> None:
        self.room = room
        request, self._request = self._request, None
        if request is None:
            return
        try:
            attached = room.attach(request, now, ahead=self._ahead, offset=self._offset)
            self._publisher, self._owns = request.publisher, request.start is not None
            self._cursor = room.head
            room.engines += 1
            if self._owns:
                room.presence.connect(now)
            self._send_when_durable(room, attached)
            self._send_news()
            held, self._held = self._held, []
            if held:
                self._publish(held, now)
        except Refused as refused:
            self._end(refused.code, refused.reason, after_ms=refused.after_ms)

    def _publish(self, events: list[p.Event], now: int) -> None:
        assert self._publisher is not None
        if self.room.is_replaced(self._publisher):
            raise Refused(4006, f"another process has taken over the run {self.room.epoch!r}")
        if self._ahead:
            for event in events:
                _move(event, self._ahead)
        by = self.grant.user if self.grant is not None else "engine"
        ack = p.Ack(seq=self.room.publish(self._publisher, events, now, by))
        self._send_when_durable(self.room, ack)

    def _next(self, now: int) -> bytes | None:
        if self._publisher is None:
            return None
        if self.room.is_replaced(self._publisher):
            self._end(4006, f"another process has taken over the run {self.room.epoch!r}")
            return self._control.pop(0)
        if not self.room.holds(self._cursor):
            self._send_news()
            self._cursor = self.room.head
            return self.pull(now)
        for entry in self.room.entries(self._cursor, self.room.durable):
            self._cursor += 1
            if entry.engine:
                return entry.data
        return None

    def _send_news(self) -> None:
        for event in self.room.news_for_engines():
            self._send_when_durable(self.room, event)


def _move(event: p.Event, by: int) -> None:
    """Move the times of an event."""
    if event.ts is not None:
        event.ts = within_bounds(event.ts + by)
    match event:
        case p.NodeState():
            event.started_at = None if event.started_at is None else within_bounds(event.started_at + by)
            event.ended_at = None if event.ended_at is None else within_bounds(event.ended_at + by)
        case p.HumanGateWaiting() if event.presentation.deadline is not None:
            event.presentation.deadline = within_bounds(event.presentation.deadline + by)
        case p.HumanGateResolved():
            event.at = within_bounds(event.at + by)
