"""A viewer that may know only the seven basic events and the four commands."""

from __future__ import annotations

import uuid
from collections import deque
from typing import Any, Final, assert_never, get_args

import msgspec

from ... import protocol as p
from ..auth.grant import MISSING, Authorize
from ..catch_up import entry_of
from ..room import Refused, Room
from ..run_list import RunList
from ..storage.memory_log import Entry
from .base import Seek
from .viewer import ViewerSession

# How long after a move to another run a command that may mean the run before is refused, in milliseconds.
_MOVED_MS: Final = 2000

_COMMANDS: Final = frozenset(command.__struct_config__.tag for command in get_args(p.AnyCommand))


class PlainSession(ViewerSession):
    """For a client that came without the subprotocol: one basic event a frame, the state first.

    It is sent nothing else, but for the answers to commands that have an `id`. A client that says `hello` was never
    plain, but had its offer lost on the way: from then on it is served as any `ViewerSession`.

    Attributes:
        is_plain: Whether the client has not said `hello`.
    """

    __slots__ = (
        "_first",
        "_moved_at",
        "_open_when_moved",
        "_unnamed",
        "is_plain",
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
        self.is_plain = True
        self._first: deque[Entry] = deque()
        # When the client was moved to another run, and the gates that were open there.
        self._moved_at: int | None = None
        self._open_when_moved: frozenset[str] = frozenset()
        # The ids of commands that came without one: nobody waits for their answers.
        self._unnamed: set[str] = set()
        self.follows = run_id is None
        self.grant = authorize(token)
        if self.grant is not None:
            self.seek = Seek(run_id, waits=False)

    @property
    def ready(self) -> bool:
        return self.grant is not None if self.is_plain else super().ready

    def enter(self, room: Room, now: int) -> None:
        if not self.is_plain:
            super().enter(room, now)
            return
        before, self.room = self.room, room
        if room is before:
            return
        self._cursor = room.head
        self._first = deque(room.compacted())
        if before.epoch:
            self._moved_at, self._open_when_moved = now, frozenset(room.state.gates)
            self._first.extendleft(reversed(_leaving(before, room)))

    def _handle(self, frame: str | bytes, now: int) -> None:
        if not self.is_plain:
            super()._handle(frame, now)
            return
        said = _parsed(frame)
        if any(each.get("type") == "hello" for each in said):
            self.is_plain = False
            self._first.clear()
            super()._handle(frame, now)
            return
        for message in p.decode_client(p.encode_value(said) if self._name(said) else frame):
            match message:
                case _ if self.grant is None:
                    raise Refused(4401, MISSING)
                case p.Command() if self._may_mean_the_run_before(message, now):
                    text = "another run has just taken the place of the one before: look again, or name the run"
                    self._acknowledge_command(
                        self.room, p.CommandAck(id=message.id, ok=False, code="moved", message=text)
                    )
                case p.Command() | p.Unknown():
                    self._command(message, now)
                case p.Hello() | p.Ack() | p.Pong():
                    # A plain client is not expected to send them.
                    pass
                case _:
                    assert_never(message)

    def _name(self, said: list[dict[str, Any]]) -> bool:
        """Give an id to the commands that have none; whether there are any."""
        unnamed = [each for each in said if str(each.get("type")) in _COMMANDS and each.get("id") is None]
        for command in unnamed:
            command["id"] = uuid.uuid4().hex
            self._unnamed.add(command["id"])
        return bool(unnamed)

    def _acknowledge_command(self, room: Room | None, ack: p.CommandAck) -> None:
        if ack.id in self._unnamed:
            self._unnamed.remove(ack.id)
        else:
            super()._acknowledge_command(room, ack)

    def _say(self, message: p.Control) -> None:
        # The close frame says why; a plain client does not know `bye`.
        if not (self.is_plain and isinstance(message, p.Bye)):
            super()._say(message)

    @property
    def _answers_pings(self) -> bool:
        return not self.is_plain

    def _may_mean_the_run_before(self, command: p.Command, now: int) -> bool:
        if command.run_id is not None or self._moved_at is None or now - self._moved_at >= _MOVED_MS:
            return False
        gate_id = command.gate_id if isinstance(command, p.HumanDecision) else None
        return gate_id is None or gate_id in self._open_when_moved

    def _meant_run(self) -> str:
        return self.room.epoch if self.is_plain else super()._meant_run()

    @property
    def _has_all(self) -> bool:
        return not self._first and super()._has_all

    def _next(self, now: int) -> bytes | None:
        if not self.is_plain:
            return super()._next(now)
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


def _parsed(frame: str | bytes) -> list[dict[str, Any]]:
    """The messages of a frame; none where it is not one, as its decoder then says."""
    try:
        said = msgspec.json.decode(frame)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []
    messages = said if isinstance(said, list) else [said]
    return messages if all(isinstance(each, dict) for each in messages) else []


def _leaving(before: Room, after: Room) -> list[Entry]:
    """What takes a plain client, which can't be told to start over, from one run to another."""
    events: list[p.Event] = []
    if before.state.nodes:
        events.append(p.DagMutated(mutation=p.Mutation(remove_nodes=[*before.state.nodes])))
    if after.state.cost is None:
        events.append(p.CostUpdate(spent=0.0, budget=None, remaining=None))
    return [entry_of(p.encode(event), event) for event in events]
