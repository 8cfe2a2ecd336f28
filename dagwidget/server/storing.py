"""`Storing`: a room's way to its store. Sans-I/O: it says what to append next, and hears what became of it.

What the store has not confirmed stays here, and is given again until it is stored. While the store fails, what is held
is bounded: past that the records are dropped, and a checkpoint of the room's state takes their place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator
from itertools import islice
from typing import Final, NamedTuple, Protocol

from ..protocol import NodeOutput
from ..protocol.limits import Limits
from .storage.event_store import Conflict, Record, Result, Stored
from .storage.faults import Unavailable

_APPEND: Final = 5_000
RETRY_MS: Final = 2_000
# A checkpoint is due after so many events, and so many for each node of the state: then checkpoints are a fraction of
# the log.
CHECKPOINT_EVENTS: Final = 10_000
CHECKPOINT_SHARE: Final = 4


class Backlog:
    """What the rooms of a server hold until it is stored."""

    def __init__(self, limits: Limits) -> None:
        self.events = 0
        self.bytes = 0
        self._limits = limits

    @property
    def is_full(self) -> bool:
        """Whether no more may be held while the store fails."""
        return self.events >= self._limits.unstored_events or self.bytes >= self._limits.unstored_bytes

    def count(self, record: Record, sign: int = 1) -> None:
        """Add a record, or with -1 take it out."""
        self.events += sign
        self.bytes += sign * record.size


class Waiter(Protocol):
    """A client that waits until something in a room's log is durable."""

    @property
    def has_pending_acks(self) -> bool:
        """Whether it still waits."""


class Next(NamedTuple):
    """What to append next: records, or a checkpoint in their place."""

    after: int
    records: list[Record]
    checkpoint: bool
    rebase: bool
    sync: bool


class Storing:
    """What of one room is not stored yet, and how far the store has got.

    Attributes:
        durable: The `seq` up to which the log is stored.
        fault: Why the store can't write; None while it can.
        usurped: Whether another log than the room's is stored, which the room knows nothing of.
        rebases: Whether a checkpoint has to take the place of the records.
    """

    def __init__(self, backlog: Backlog, head: int = 0) -> None:
        self.durable = head
        self.fault: str | None = None
        self.usurped = False
        self.rebases = False
        self._backlog = backlog
        self._records: deque[Record] = deque()
        # What the store was given and has not answered, in order, and how many of the records that are.
        self._pending: deque[Next] = deque()
        self._given = 0
        # Whether one of these failed: then those after it do too, and all is given again once they are answered.
        self._failed = False
        # When it failed last, in Unix milliseconds.
        self._failed_at = 0
        # The newest decision, and the newest checkpoint.
        self._decided = 0
        self._checkpointed = head

    @property
    def is_done(self) -> bool:
        """Whether the store has everything."""
        return not self._records and not self._pending and not self.rebases and self.fault is None

    @property
    def is_waiting(self) -> bool:
        """Whether the store has not answered yet."""
        return bool(self._pending)

    @property
    def is_full(self) -> bool:
        """Whether no more records can be held: a checkpoint has to take their place."""
        return self.fault is not None and not self.rebases and self._backlog.is_full

    def add(self, record: Record, *, decides: bool) -> None:
        """Take a record; `decides` says whether it must survive the end of the machine's power."""
        if decides:
            self._decided = record.seq
        if not self.rebases:
            self._records.append(record)
            self._backlog.count(record)

    def rebase(self) -> None:
        """Have a checkpoint take the place of what is not stored."""
        self.rebases = True
        self._drop(len(self._records))

    def retry(self) -> None:
        """Try again at once where the store has failed."""
        self._failed_at = -RETRY_MS

    def forget(self) -> None:
        """The room is gone."""
        self._drop(len(self._records))

    def next(self, head: int, size: int, now: int) -> Next | None:
        """What to append now, if anything. `answered` is called for each, in order.

        Args:
            head: The `seq` of the room's newest event.
            size: How many nodes the room's state has.
            now: Unix milliseconds.
        """
        waits = self.fault is not None and abs(now - self._failed_at) < RETRY_MS
        alone = self.rebases or self._failed or any(given.rebase for given in self._pending)
        if self.usurped or waits or (alone and self._pending):
            return None
        following = None
        if self.rebases:
            self.rebases = False
            following = Next(head, [], checkpoint=True, rebase=True, sync=True)
        elif len(self._records) > self._given:
            records = list(islice(self._records, self._given, self._given + _APPEND))
            self._given += len(records)
            after, last = records[0].seq - 1, records[-1].seq
            due = max(CHECKPOINT_EVENTS, CHECKPOINT_SHARE * size)
            checkpoint = last == head and last - self._checkpointed >= due
            sync = after < self._decided
            following = Next(after, records, checkpoint=checkpoint, rebase=False, sync=sync)
        if following is not None:
            self._pending.append(following)
        return following

    def answered(self, result: Result, head: int, lineage: Container[str | None], now: int) -> None:
        """The store has answered.

        Args:
            result: Its answer.
            head: The `seq` of the room's newest event.
            lineage: The incarnations of the room's log.
            now: Unix milliseconds.
        """
        given = self._pending.popleft()
        self._failed = self._failed or not isinstance(result, Stored)
        match result:
            case Stored(stored):
                self.fault = None
                self._confirm(stored)
                if given.checkpoint:
                    self._checkpointed = stored
            case Unavailable():
                self.fault, self._failed_at = str(result), now
                if given.rebase:
                    self.rebase()
            case Conflict(stored, log):
                if stored is not None and (log not in lineage or stored > head):
                    self.usurped = True
                elif stored is None or stored < self.durable or given.rebase:
                    # The log has lost its end, or all of it.
                    self.rebase()
                else:
                    # One before it failed; or one was stored that had seemed to fail.
                    self._confirm(stored)
        if self._failed and not self._pending:
            self._failed, self._given = False, 0

    def strip(self) -> Iterator[NodeOutput]:
        """Take the outputs from the records: they may be of any size, and this is no place for them to wait."""
        for index, record in enumerate(self._records):
            if record.output is not None:
                self._backlog.count(record, -1)
                self._records[index] = record.bare()
                self._backlog.count(self._records[index])
                yield record.output

    def _confirm(self, stored: int) -> None:
        self.durable = max(self.durable, stored)
        self._drop(next((i for i, record in enumerate(self._records) if record.seq > stored), len(self._records)))

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._backlog.count(self._records.popleft(), -1)
        self._given = max(0, self._given - count)
