"""The session of an engine."""

from __future__ import annotations

from ... import protocol as p
from ..auth.grant import Authorize
from ..room import Refused, Room
from .base import Session

# How long `attach` may take to arrive, in milliseconds. A publisher's clock that is further behind is wrong.
_TRANSIT = 2000


class PublisherSession(Session):
    """For an engine: `attach` first, then its events; it is sent what its run was told."""

    _needed: p.Role = "publish"

    def __init__(
        self, room: Room, authorize: Authorize, now: int, token: str | None = None, run_id: str | None = None
    ) -> None:
        super().__init__(room, authorize, now, token, run_id)
        self._publisher: str | None = None
        self._epoch = ""
        # How far our clock is ahead of the publisher's, in milliseconds; 0 where the difference may be transit time.
        self._ahead = 0

    @property
    def ready(self) -> bool:
        return self._publisher is not None

    def leave(self) -> None:
        """The connection is gone."""
        if self._publisher is not None:
            self._publisher = None
            self.room.engines -= 1

    def _largest_frame(self) -> int:
        return self.room.limits.publish_bytes

    def _handle(self, frame: str | bytes, now: int) -> None:
        messages = p.decode_publisher(frame)
        if self._publisher is None:
            self._attach(messages[0] if messages else None, now)
            messages = messages[1:]
        # What has no number, and a type from the future, is no event.
        known = [message for message in messages if not isinstance(message, p.Unknown) or message.seq is not None]
        events: list[p.Event] = [message for message in known if isinstance(message, p.Event)]
        if events:
            self._publish(events, now)

    def _attach(self, request: p.PublisherMessage | p.Unknown | None, now: int) -> None:
        if not isinstance(request, p.Attach):
            raise Refused(4400, "the first message of a publisher must be attach")
        if request.protocol < p.PROTOCOL:
            raise Refused(
                4409, f"this server speaks protocol {p.PROTOCOL}, the publisher {request.protocol}: update it"
            )
        self._admit(request.token, now)
        if request.now is not None:
            self._ahead = _ahead(request.now, now)
        if request.start is not None and request.start.started_at is not None:
            request.start.started_at += self._ahead
        attached = self.room.attach(request, now)
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


def _ahead(publisher_now: int, now: int) -> int:
    """How far our clock is ahead of the publisher's; 0 where the difference may be transit time."""
    ahead = now - publisher_now
    # Nothing arrives before it was sent: a publisher's clock that is ahead of ours is wrong.
    return 0 if 0 <= ahead <= _TRANSIT else ahead


def _move(event: p.Event, by: int) -> None:
    """Move the times of an event."""
    if event.ts is not None:
        event.ts += by
    match event:
        case p.NodeState(started_at=int(started_at)):
            event.started_at = started_at + by
        case p.HumanGateWaiting() if event.presentation.deadline is not None:
            event.presentation.deadline += by
        case p.HumanGateResolved():
            event.at += by
