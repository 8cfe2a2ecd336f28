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

# How long after a move to another run a command that may mean the run before is refused, in milliseconds.
_MOVED_MS: Final = 2000


class PlainSession(Session):
    """For a client that knows the seven basic events and the four commands: one event a frame, the state first."""

    _answers_pings = False

    __slots__ = (
        "_first",
        "_moved_at",
        "_open_when_moved",
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
        # When the client was moved to another run, and the gates that were open there.
        self._moved_at: int | None = None
        self._open_when_moved: frozenset[str] = frozenset()
        self.follows = run_id is None
        self.grant = authorize(token)
        if self.grant is not None:
            self.seek = Seek(run_id, waits=False)

    @property
    def ready(self) -> bool:
        return self.grant is not None

    def enter(self, room: Room, now: int) -> None:
        before, self.room = self.room, room
        if room is before:
            return
        self._cursor = room.head
        self._first = deque(room.compacted())
        if before.epoch:
            self._moved_at, self._open_when_moved = now, frozenset(room.state.gates)
            self._first.extendleft(reversed(_leaving(before, room)))

    def _handle(self, frame: str | bytes, now: int) -> None:
        for message in p.decode_client(frame):
            match message:
                case p.Hello():
                    # A browser can't set a header: its token comes here, and the rest of hello does not concern it.
                    admitted = self.grant is not None
                    self._admit(message.token, now)
                    if not admitted:
                        self.seek = Seek(self._fixed_run, waits=False)
                case _ if self.grant is None:
                    raise Refused(4401, MISSING)
                case p.Command() if self._may_mean_the_run_before(message, now):
                    text = "another run has just taken the place of the one before: look again, or name the run"
                    self._say(p.CommandAck(id=message.id, ok=False, code="moved", message=text))
                case p.Command() | p.Unknown():
                    self._command(message, now)
                case p.Ack() | p.Pong():
                    # A plain client is not expected to send them.
                    pass
                case _:
                    assert_never(message)

    def _may_mean_the_run_before(self, command: p.Command, now: int) -> bool:
        if command.run_id is not None or self._moved_at is None or now - self._moved_at >= _MOVED_MS:
            return False
        gate_id = command.gate_id if isinstance(command, p.HumanDecision) else None
        return gate_id is None or gate_id in self._open_when_moved

    @property
    def _has_all(self) -> bool:
        return not self._first and super()._has_all

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
