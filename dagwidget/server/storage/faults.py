"""What can be wrong with a store. None of these is ever answered with the value that means "empty"."""

from __future__ import annotations

from ...errors import DagwidgetError


class StoreError(DagwidgetError):
    """The store can't answer."""


class Unavailable(StoreError):
    """The store can't be read or written now. Another attempt may succeed."""


class Missing(StoreError):
    """Events of a run are not in its log: they were never stored, or are damaged.

    Attributes:
        after: The `seq` before the first of them.
        upto: The `seq` of the last of them.
    """

    def __init__(self, after: int, upto: int, why: str) -> None:
        super().__init__(f"the events {after + 1:,} to {upto:,} {why}")
        self.after = after
        self.upto = upto
