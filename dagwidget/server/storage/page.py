"""`Page`: a part of a run's log, as it went over the wire."""

from __future__ import annotations

from typing import NamedTuple


class Page(NamedTuple):
    """Events that follow one another. The last page is the one that ends at `head`."""

    after: int
    """The `seq` that the first of them follows."""
    head: int
    """The `seq` of the run's newest event."""
    events: list[bytes]

    def within(self, size: int) -> Page:
        """As many of the events as have `size` bytes, but at least one."""
        room = size
        for count, event in enumerate(self.events):
            room -= len(event)
            if room < 0:
                return self._replace(events=self.events[: max(1, count)])
        return self
