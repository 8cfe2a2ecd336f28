"""A viewer that knows only the seven basic events and the four commands."""

from __future__ import annotations

from collections import deque
from typing import Final, assert_never

from ... import protocol as p
from ..auth.grant import MISSING, Authorize
from ..catch_up import entry_of
from ..room import Refused, Room
from ..run_list import RunList
from ..storage.memory_log import Entry
from .base import Seek, Session

# How long after it was moved to another run a client's commands must name their gate, in milliseconds.
_MOVED_MS: Final = 2000


class PlainSession(Session):
    """For a client that knows the seven basic events and the four commands: one event a frame, the state first."""

    _answers_pings = False

    __slots__ = (
        "_first",
        "_moved_at",
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
        self._first: deque[Entry] = deque()
        self._moved_at: int | None = None
        self.follows = run_id is None
        self.seek = Seek(run_id)
        self.grant = authorize(token)

    @property
    def ready(self) -> bool:
        return self.grant is not None

    def enter(self, room: Room, now: int) -> None:
        before, self.room = self.room, room
        self._cursor = room.head
        self._first = deque(room.compacted())
        if before.epoch and before is not room:
            self._moved_at = now
            self._first.extendleft(reversed(_leaving(before, room)))

    def _handle(self, frame: str | bytes, now: int) -> None:
        for message in p.decode_client(frame):
            match message:
                case p.Hello():
                    # A browser can't set a header: its token comes here, and the rest of hello does not concern it.
                    self._admit(message.token, now)
                case _ if self.grant is None:
                    raise Refused(4401, MISSING)
                case p.HumanDecision(gate_id=None) if self._was_just_moved(now):
                    text = "another run is shown since a moment ago: look again, or name the gate"
                    self._control.append(p.encode(p.CommandAck(id=message.id, ok=False, code="moved", message=text)))
                case p.Command() | p.Unknown():
                    self._command(message, now)
                case p.Ack() | p.Pong():
                    # A plain client is not expected to send them.
                    pass
                case _:
                    assert_never(message)

    def _was_just_moved(self, now: int) -> bool:
        return self._moved_at is not None and now - self._moved_at < _MOVED_MS

    def _next(self, now: int) -> bytes | None:  # noqa: ARG002
        if self.grant is None or self.seek is not None:
            return None
        if not self.room.holds(self._cursor):
            self._cursor = self.room.head
            self._first = deque(self.room.compacted())
        if self._cursor > self.room.durable:
            return None
        while self._first:
            if (entry := self._first.popleft()).plain:
                return entry.data
        for entry in self.room.entries(self._cursor, self.room.durable):
            self._cursor += 1
            if entry.plain:
                return entry.data
        return None


def _leaving(before: Room, after: Room) -> list[Entry]:
    """What takes a plain client, which can't be told to start over, from one run to another."""
    events: list[p.Event] = []
    if before.state.nodes:
        events.append(p.DagMutated(mutation=p.Mutation(remove_nodes=[*before.state.nodes])))
    if after.state.cost is None:
        events.append(p.CostUpdate(spent=0.0, budget=None, remaining=None))
    return [entry_of(p.encode(event), event) for event in events]
