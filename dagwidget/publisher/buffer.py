"""`SendBuffer`: the events that a publisher has not sent yet. When it is full, it drops what later events replace.

Dropping does not change the run's final state, except for log lines. It drops progress that a later event repeats,
earlier activity of an edge, and log lines that newer ones push out. It adds up costs.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar

from msgspec.structs import replace

from .. import protocol as p
from ..state import LOG_TAIL

N = TypeVar("N", int, float)

# As shares of the capacity: how many events are left after thinning, and how many more trigger the next thinning.
_LEFT: Final = 0.75
_STEP: Final = 0.25
# At this multiple of the capacity, only events that are never dropped are accepted.
_CEILING: Final = 5


class _Step(NamedTuple):
    """A step of an execution: its index, and the index of the next step like it."""

    at: int
    event: p.NodeState
    successor: int | None


# Never dropped.
_NEVER_LOST: Final = (p.HumanGateWaiting, p.HumanGateResolved, p.RunError, p.ExecutionComplete)


class SendBuffer:
    """Events in order. Any thread appends, without a lock; one thread takes.

    Args:
        most: The capacity. The buffer exceeds it only with events that would change the run's state if dropped.

    Attributes:
        lock: Held by the thread that takes events.
        lost: How many events were dropped, by type. The thread that reports them clears it.
    """

    def __init__(self, most: int) -> None:
        self.lock = threading.RLock()
        self.lost: Counter[str] = Counter()
        self._most = most
        # The number of events at which the buffer is thinned next.
        self._mark = most
        self._thinning_requested = False
        self._events: deque[p.Event] = deque()
        # The number of events that are being thinned, and so are not in the deque.
        self._aside = 0

    def __len__(self) -> int:
        return len(self._events) + self._aside

    def __bool__(self) -> bool:
        return self._aside > 0 or bool(self._events)

    def append(self, event: p.Event) -> bool:
        """Add an event. Returns True once when another thread should call `thin`."""
        count = len(self._events)
        if count >= self._mark or count >= self._most * _CEILING:
            if count >= self._mark * 2:
                # No other thread has done it in time.
                self.thin()
            elif count >= self._most * _CEILING and not isinstance(event, _NEVER_LOST):
                self.lost[_kind(event)] += 1
                return False
            self._events.append(event)
            requested, self._thinning_requested = self._thinning_requested, True
            return not requested
        self._events.append(event)
        return False

    def first(self) -> p.Event:
        """The oldest event. Hold the lock to call this, or `drop_first`."""
        return self._events[0]

    def drop_first(self) -> None:
        """Remove the oldest event."""
        self._events.popleft()
        if self._mark != self._most and len(self._events) < self._most:
            self._mark = self._most

    def put_back(self, events: Sequence[p.Event]) -> None:
        """Insert events before all others, in order."""
        with self.lock:
            self._events.extendleft(reversed(events))

    def thin(self) -> None:
        """Drop events that later ones replace, oldest first, until enough are dropped or no more can be."""
        with self.lock:
            count = len(self._events)
            if count >= self._mark:
                self._aside = count
                kept, lost = thinned([self._events.popleft() for _ in range(count)], int(self._most * _LEFT))
                self._events.extendleft(reversed(kept))
                self._aside = 0
                self.lost += lost
                self._mark = max(self._most, int(max(len(kept) * (1 + _STEP), len(kept) + self._most * _STEP)))
            self._thinning_requested = False


def thinned(events: Sequence[p.Event], left: int) -> tuple[list[p.Event], Counter[str]]:
    """Drop the oldest events that later ones replace.

    Args:
        events: The events.
        left: How many events to leave, if enough can be dropped.

    Returns:
        The remaining events, and how many were dropped, by type. Costs that were added up do not count as dropped.
    """
    into, logs = _replaceable(events)
    surplus = len(events) - left
    gone = set(sorted(into)[:surplus])
    gone.update(logs[: max(0, surplus - len(gone))])
    carried: dict[int, p.Event] = {}
    kept: list[p.Event] = []
    lost: Counter[str] = Counter()
    for index, event in enumerate(events):
        whole = _joined(carried.pop(index), event) if index in carried else event
        if index not in gone:
            kept.append(whole)
            continue
        successor = into.get(index)
        if successor is not None:
            carried[successor] = whole
        if not isinstance(event, p.CostDelta):
            lost[_kind(event)] += 1
    return kept, lost


def _replaceable(events: Sequence[p.Event]) -> tuple[dict[int, int | None], list[int]]:
    """Find the events that later ones replace, from the newest to the oldest.

    Returns:
        The index of each event that can be dropped, with the index of the event that takes over its fields, if any; and
        the indices of log lines that can be dropped too.
    """
    replaceable: dict[int, int | None] = {}
    logs: list[int] = []
    steps: dict[str, dict[str | None, _Step]] = {}
    # Whether a later event says that the edge was active.
    edges: dict[tuple[str, str], bool] = {}
    costs: dict[tuple[str | None, bool], int] = {}
    lines: dict[str, int] = {}
    for index in range(len(events) - 1, -1, -1):
        event = events[index]
        match event:
            case p.NodeState():
                known = steps.setdefault(event.node_id, {})
                step, later = _Step(index, event, None), known.get(event.instance)
                if later is not None and _alike(event, later.event):
                    # The first step stays: it starts the execution and ends what was before.
                    if later.successor is not None:
                        replaceable[later.at] = later.successor
                    step = _Step(index, event, later.at)
                known[event.instance] = step
            case p.EdgeActive():
                edge, active = (event.from_, event.to), event.active is not False
                # The state records that the edge was active once.
                if edge in edges and (edges[edge] or not active):
                    replaceable[index] = None
                edges[edge] = edges.get(edge, False) or active
            case p.CostDelta():
                what = (event.node_id, event.amount is None)
                if what in costs:
                    replaceable[index] = costs[what]
                costs[what] = index
            case p.NodeLog():
                if lines.get(event.node_id, 0) >= LOG_TAIL:
                    replaceable[index] = None
                elif event.node_id in lines:
                    logs.append(index)
                lines[event.node_id] = lines.get(event.node_id, 0) + len(event.lines)
            case p.HumanGateWaiting() | p.HumanGateResolved():
                steps.pop(event.node_id, None)
            case p.CostUpdate():
                costs.clear()
            case p.ExecutionComplete():
                for each in (steps, edges, costs, lines):
                    each.clear()
            case p.DagMutated() if event.mutation.remove_nodes or event.mutation.remove_edges:
                for each in (steps, edges, lines):
                    each.clear()
    logs.reverse()
    return replaceable, logs


def _alike(event: p.NodeState, later: p.NodeState) -> bool:
    """Whether `later` only continues the execution of `event`."""
    return event.status == later.status and event.attempt == later.attempt and event.status not in p.TERMINAL


def _joined(event: p.Event, later: p.Event) -> p.Event:
    """`later`, with the fields that only `event` has."""
    match event, later:
        case p.NodeState(), p.NodeState():
            return replace(
                later,
                output=_newer(event.output, later.output),
                metrics={**(event.metrics or {}), **(later.metrics or {})} or None,
                error=_newer(event.error, later.error),
                progress=_newer(event.progress, later.progress),
                started_at=_newer(event.started_at, later.started_at),
            )
        case p.CostDelta(), p.CostDelta():
            return replace(
                later,
                amount=_sum(event.amount, later.amount),
                tokens_in=_sum(event.tokens_in, later.tokens_in),
                tokens_out=_sum(event.tokens_out, later.tokens_out),
            )
    return later


def _newer(value: Any, later: Any) -> Any:
    return later if later is not None else value


def _sum(value: N | None, later: N | None) -> N | None:
    return later if value is None else value if later is None else value + later


def _kind(event: p.Event) -> str:
    return str(type(event).__struct_config__.tag)
