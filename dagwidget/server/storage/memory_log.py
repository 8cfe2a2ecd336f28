"""A log in memory: the events of one epoch, encoded once, the oldest of which may be gone."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One event as it goes over the wire, and who may read it."""

    data: bytes
    plain: bool
    """Whether a client that knows only the seven basic events may read it."""
    engine: bool
    """Whether it is news to the engine: a decision, or what a person asked of the run."""
    without_lost: bytes | None = None
    """The event for clients that don't know `lost` as a status, where it differs."""


class MemoryLog:
    """Events by `seq`, dense; all of them up to a bound, then the newest."""

    def __init__(self, most: int, after: int = 0, *, begins: int | None = None) -> None:
        """Keep at least the newest `most` of the events that follow `after`.

        Args:
            most: How many.
            after: The `seq` before the first event.
            begins: The `seq` before the run's first event, where those up to `after` are not here.
        """
        self._most = most
        self._entries: list[Entry] = []
        # The bytes of all events up to and with the one at the same index, counted from the first ever.
        self._bytes: list[int] = []
        self.begins = after if begins is None else begins
        """The `seq` before the first event that there ever was."""
        self._dropped = after
        self._dropped_bytes = 0
        self.has_lost = False
        """Whether some event differs for clients that don't know `lost`."""

    @property
    def head(self) -> int:
        """The `seq` of the newest event; 0 where there is none."""
        return self._dropped + len(self._entries)

    def append(self, entry: Entry) -> None:
        before = self._bytes[-1] if self._bytes else self._dropped_bytes
        self._entries.append(entry)
        self.has_lost = self.has_lost or entry.without_lost is not None
        self._bytes.append(before + len(entry.data))
        # Half as many again may pile up, so that the list is not shifted at each event.
        if len(self._entries) > self._most + self._most // 2:
            surplus = len(self._entries) - self._most
            self._dropped_bytes = self._bytes[surplus - 1]
            del self._entries[:surplus], self._bytes[:surplus]
            self._dropped += surplus

    def holds(self, after: int) -> bool:
        """Whether every event after `after` is still here."""
        return self._dropped <= after <= self.head

    def size(self, after: int) -> int:
        """How many bytes the events after `after` have."""
        if not self._bytes:
            return 0
        start = self._bytes[after - self._dropped - 1] if after > self._dropped else self._dropped_bytes
        return self._bytes[-1] - start

    def at(self, seq: int) -> Entry:
        """The event with that `seq`."""
        return self._entries[seq - self._dropped - 1]

    def read(self, after: int, upto: int) -> list[Entry]:
        """The events with `after < seq <= upto`."""
        return self._entries[after - self._dropped : upto - self._dropped]
