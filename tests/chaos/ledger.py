"""`Ledger`: which of the numbers that an engine said have come to a viewer, and which not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dagwidget import protocol as p
from dagwidget.client.outputs import Batch


class Ledger:
    """Counts what comes.

    Attributes:
        last: The newest number.
        lost: How many numbers were left out.
        doubled: How many came again.
        resets: How often the state came in place of what was missed.
    """

    def __init__(self) -> None:
        self.last = -1
        self.lost = self.doubled = self.resets = 0

    def take(self, batch: Batch) -> None:
        """Count what a client was told."""
        numbers = list(numbers_of(batch.events))
        if batch.reset:
            self.resets += 1
            if numbers:
                newest = max(numbers)
                # What was seen is part of every later state.
                self.lost += max(0, self.last - newest)
                self.last = newest
            return
        for number in numbers:
            self.count(number)

    def count(self, number: int) -> None:
        """Count one number."""
        self.lost += max(0, number - self.last - 1)
        self.doubled += number <= self.last
        self.last = max(self.last, number)


def numbers_of(events: Iterable[object]) -> Iterator[int]:
    """The numbers in events: each `node_state` with a message carries one."""
    for event in events:
        if isinstance(event, p.NodeState) and event.message is not None:
            yield int(event.message)
