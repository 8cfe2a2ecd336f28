"""`SendBuffer`: the events that a publisher could not send yet. When it is full, it drops what later events replace.

What goes changes nothing of the state that the run adds up to, but for the lines of its logs: steps of progress on the
way to a later one, an edge's earlier activity, log lines that newer ones push out. Costs are added up.
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

# As a share of what may wait: what is left where enough can go, and how much comes until it is looked at again.
_LEFT: Final = 0.75
_STEP: Final = 0.25
# How many times what may wait, before only that comes in which is never left out.
_CEILING: Final = 5


class _Step(NamedTuple):
    """One of several like it: where it is, and where the one after it."""

    at: int
    event: p.NodeState
    successor: int | None


_NEVER_LOST: Final = (p.HumanGateWaiting, p.HumanGateResolved, p.RunError, p.ExecutionComplete)


class SendBuffer:
    """Events in their order: appended by any thread without a lock, taken by one.

    It holds about `most` events, and more only of those that can't go without changing the run's state.

    Attributes:
        lock: Held by whoever takes events from the left.
        lost: How many events went, by type; whoever reports them clears it.
    """

    def __init__(self, most: int) -> None:
        self.lock = threading.RLock()
        self.lost: Counter[str] = Counter()
        self._most = most
        # How many there are when it is next thinned out.
        self._mark = most
        self._asked = False
        self._events: deque[p.Event] = deque()
        # How many are being looked through, and so in no deque.
        self._aside = 0

    def __len__(self) -> int:
        return len(self._events) + self._aside

    def __bool__(self) -> bool:
        return self._aside > 0 or bool(self._events)

    def append(self, event: p.Event) -> bool:
        """Add an event; says, once, when it is time that another thread calls `thin`."""
        count = len(self._events)
        if count >= self._mark or count >= self._most * _CEILING:
            if count >= self._mark * 2:
                # Nobody came to it, and there must be an end.
                self.thin()
            elif count >= self._most * _CEILING and not isinstance(event, _NEVER_LOST):
                self.lost[_kind(event)] += 1
                return False
            self._events.append(event)
            asked, self._asked = self._asked, True
            return not asked
        self._events.append(event)
        return False

    def first(self) -> p.Event:
        """The oldest event. To be called, like `drop_first`, with the lock held."""
        return self._events[0]

    def drop_first(self) -> None:
        """Let the oldest event go: it is on its way."""
        self._events.popleft()
        if self._mark != self._most and len(self._events) < self._most:
            self._mark = self._most

    def put_back(self, events: Sequence[p.Event]) -> None:
        """Put events ahead of all others, in their order."""
        with self.lock:
            self._events.extendleft(reversed(events))

    def thin(self) -> None:
        """Let go of what later events have overtaken, the oldest first, until enough is gone or no more can go."""
        with self.lock:
            count = len(self._events)
            if count >= self._mark:
                self._aside = count
                kept, lost = thinned([self._events.popleft() for _ in range(count)], int(self._most * _LEFT))
                self._events.extendleft(reversed(kept))
                self._aside = 0
                self.lost += lost
                self._mark = max(self._most, int(max(len(kept) * (1 + _STEP), len(kept) + self._most * _STEP)))
            self._asked = False


def thinned(events: Sequence[p.Event], left: int) -> tuple[list[p.Event], Counter[str]]:
    """`events` without the oldest of those that were overtaken, `left` of them where so many can go.

    Returns:
        The rest, and how many were lost, by type. Costs that were added up are not lost.
    """
    into, logs = _overtaken(events)
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


def _overtaken(events: Sequence[p.Event]) -> tuple[dict[int, int | None], list[int]]:
    """Which events were overtaken, and which later one carries what they said; and the log lines that may go as well.

    From the newest to the oldest: an event is judged by what came after it.
    """
    overtaken: dict[int, int | None] = {}
    logs: list[int] = []
    steps: dict[str, dict[str | None, _Step]] = {}
    # Whether something is known to have flowed.
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
                    # The first step stays: it is what began, and ended, something else.
                    if later.successor is not None:
                        overtaken[later.at] = later.successor
                    step = _Step(index, event, later.at)
                known[event.instance] = step
            case p.EdgeActive():
                edge, active = (event.from_, event.to), event.active is not False
                # That something once flowed must stay known.
                if edge in edges and (edges[edge] or not active):
                    overtaken[index] = None
                edges[edge] = edges.get(edge, False) or active
            case p.CostDelta():
                what = (event.node_id, event.amount is None)
                if what in costs:
                    overtaken[index] = costs[what]
                costs[what] = index
            case p.NodeLog():
                if lines.get(event.node_id, 0) >= LOG_TAIL:
                    overtaken[index] = None
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
    return overtaken, logs


def _alike(event: p.NodeState, later: p.NodeState) -> bool:
    """Whether `later` only brings an execution further on."""
    return event.status == later.status and event.attempt == later.attempt and event.status not in p.TERMINAL


def _joined(event: p.Event, later: p.Event) -> p.Event:
    """`later`, with what only `event` said."""
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
