"""`Frames`: a log as the frames that bring a client to its head, encoded once for everybody."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from .. import protocol as p
from ..state import DagState, compact
from .storage.memory_log import Entry, MemoryLog

# What a frame of a compacted state holds, in bytes, where its events allow.
_CHUNK: Final = 64 * 1024


# How many encoded ranges of the log are kept for the clients that are a moment behind the first.
_FRAMES: Final = 32
# A tail below this is sent without looking whether the state would be smaller.
_SMALL_TAIL: Final = 64 * 1024

_FOR_ENGINES: Final = (p.HumanGateResolved, p.ExecutionState)


class CatchUp(NamedTuple):
    """What brings a client to `seq`: the tail that it lacks or, after a reset, the whole state. One frame each."""

    reset: bool
    seq: int
    frames: Sequence[bytes]


class Frames:
    """The frames of a log: ranges of its events, and the compacted state, each encoded once."""

    def __init__(self, log: MemoryLog, batch_events: int) -> None:
        self._log = log
        self._batch_events = batch_events
        self._ranges: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._compacted: tuple[int, Sequence[bytes]] | None = None

    def catch_up(self, after: int | None, state: DagState) -> CatchUp:
        """The shortest way to the head: the tail after `after`, or the whole state."""
        head = self._log.head
        if after is not None and self._log.holds(after):
            tail = self._log.size(after)
            if tail <= _SMALL_TAIL or tail <= sum(map(len, self._compact(state))):
                return CatchUp(False, head, [*self._tail(after, head)])
        return CatchUp(True, head, self._compact(state))

    def frame(self, after: int, upto: int) -> bytes:
        """The events with `after < seq <= upto` as one frame."""
        frame = self._ranges.get((after, upto))
        if frame is None:
            frame = _join([entry.data for entry in self._log.read(after, upto)])
            self._ranges[after, upto] = frame
            if len(self._ranges) > _FRAMES:
                self._ranges.popitem(last=False)
        return frame

    def _tail(self, after: int, head: int) -> Iterator[bytes]:
        for start in range(after, head, self._batch_events):
            yield self.frame(start, min(start + self._batch_events, head))

    def _compact(self, state: DagState) -> Sequence[bytes]:
        if self._compacted is None or self._compacted[0] != self._log.head:
            self._compacted = (self._log.head, [*_chunks([entry.data for entry in compacted(state)])])
        return self._compacted[1]


def compacted(state: DagState) -> list[Entry]:
    """The fewest events that add up to a state, one by one."""
    return [entry_of(p.encode(event), event) for event in compact(state)]


def entry_of(data: bytes, event: p.Event) -> Entry:
    """An encoded event, and who may read it."""
    return Entry(data, isinstance(event, p.PLAIN_EVENTS), isinstance(event, _FOR_ENGINES))


def _join(events: Sequence[bytes]) -> bytes:
    return events[0] if len(events) == 1 else b"[" + b",".join(events) + b"]"


def _chunks(events: Sequence[bytes]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    size = 0
    for event in events:
        if chunk and size + len(event) > _CHUNK:
            yield _join(chunk)
            chunk, size = [], 0
        chunk.append(event)
        size += len(event)
    if chunk:
        yield _join(chunk)
