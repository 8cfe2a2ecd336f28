"""`Frames`: a log as the frames that bring a client to its head, encoded once for everybody."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

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
    """The frames of a log: ranges of its events, and the compacted state, each encoded once.

    `lost` says whether they are for clients that know `lost` as the status of a run.
    """

    def __init__(self, log: MemoryLog, batch_events: int) -> None:
        self._log = log
        self._batch_events = batch_events
        self._ranges: OrderedDict[tuple[int, int, bool], bytes] = OrderedDict()
        self._compacted: dict[bool, tuple[int, Sequence[bytes]]] = {}

    def catch_up(self, after: int | None, state: DagState, *, lost: bool = True) -> CatchUp:
        """The shortest way to the head: the tail after `after`, or the whole state."""
        head = self._log.head
        if after is not None and self._log.holds(after):
            tail = self._log.size(after)
            if tail <= _SMALL_TAIL or tail <= sum(map(len, self._compact(state, lost=lost))):
                return CatchUp(False, head, [*self._tail(after, head, lost=lost)])
        return CatchUp(True, head, self._compact(state, lost=lost))

    def frame(self, after: int, upto: int, *, lost: bool = True) -> bytes:
        """The events with `after < seq <= upto` as one frame."""
        key = (after, upto, lost or not self._log.has_lost)
        frame = self._ranges.get(key)
        if frame is None:
            entries = self._log.read(after, upto)
            frame = _join([entry.data if key[2] else entry.without_lost or entry.data for entry in entries])
            self._ranges[key] = frame
            if len(self._ranges) > _FRAMES:
                self._ranges.popitem(last=False)
        return frame

    def _tail(self, after: int, head: int, *, lost: bool) -> Iterator[bytes]:
        for start in range(after, head, self._batch_events):
            yield self.frame(start, min(start + self._batch_events, head), lost=lost)

    def _compact(self, state: DagState, *, lost: bool) -> Sequence[bytes]:
        lost = lost or state.status != "lost"
        known = self._compacted.get(lost)
        if known is None or known[0] != self._log.head:
            shown = state if lost else replace(state, status="running")
            known = (self._log.head, [*_chunks([entry.data for entry in compacted(shown)])])
            self._compacted[lost] = known
        return known[1]


def compacted(state: DagState) -> list[Entry]:
    """The fewest events that add up to a state, one by one."""
    return [entry_of(p.encode(event), event) for event in compact(state)]


def entry_of(data: bytes, event: p.Event) -> Entry:
    """An encoded event, and who may read it."""
    lost = isinstance(event, p.ExecutionState) and event.status == "lost"
    # To clients that don't know the status the run goes on: the same that they are told of its state.
    without = p.encode(p.ExecutionState(status="running", seq=event.seq, ts=event.ts)) if lost else None
    return Entry(data, isinstance(event, p.PLAIN_EVENTS), isinstance(event, _FOR_ENGINES) and not lost, without)


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
