"""A viewer that knows only the seven basic events and the four commands."""

from __future__ import annotations

from collections import deque
from typing import assert_never

from ... import protocol as p
from ..auth.grant import MISSING, Authorize
from ..room import Refused, Room
from ..storage.memory_log import Entry
from .base import Session


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

    def _handle(self, frame: str | bytes, now: int) -> None:
        for message in p.decode_client(frame):
            match message:
                case p.Hello():
                    # A browser can't set a header: its token comes here, and the rest of hello does not concern it.
                    self._admit(message.token, now)
                case _ if self.grant is None:
                    raise Refused(4401, MISSING)
                case p.Command() | p.Unknown():
                    self._command(message, now)
                case p.Ack() | p.Pong():
                    # A plain client is not expected to send them.
                    pass
                case _:
                    assert_never(message)

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
