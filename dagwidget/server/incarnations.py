"""`Incarnations`: which positions in the earlier logs of a run are positions in its log of now.

A log whose end may be gone goes on as another log, under another name. A client's cursor in an earlier one still fits
up to where the two are the same; past that its client is given the state anew.
"""

from __future__ import annotations

import uuid
from typing import Final

from ..protocol import Cursor

_REMEMBERED: Final = 16


class Incarnations:
    """The name of a run's log, and those that it went on from, each with the last `seq` that both have."""

    def __init__(self, log: str | None = None, earlier: tuple[tuple[str, int], ...] = ()) -> None:
        self.log = log or uuid.uuid4().hex
        self.earlier = earlier

    @property
    def names(self) -> set[str | None]:
        """All of them."""
        return {self.log, *(log for log, _ in self.earlier)}

    def renew(self, head: int) -> None:
        """Go on under another name after `head`."""
        earlier = [(log, min(until, head)) for log, until in (*self.earlier, (self.log, head))]
        self.log, self.earlier = uuid.uuid4().hex, tuple(earlier[-_REMEMBERED:])

    def cut(self) -> None:
        """Go on under another name, without what was stored last: no cursor of before fits."""
        self.renew(-1)

    def fits(self, cursor: Cursor) -> bool:
        """Whether a cursor is a position in this log."""
        if cursor.log == self.log:
            return True
        if cursor.log is None:
            # An earlier client's: good where all of them are the same.
            return all(cursor.seq <= until for _, until in self.earlier)
        return any(cursor.log == log and cursor.seq <= until for log, until in self.earlier)
