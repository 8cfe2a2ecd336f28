"""The gates of a run, and the decisions that have arrived for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from .. import protocol as p
from ..state import Decision


class Gates:
    """The decision of each gate, as a future, by the gate's id. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._outcomes: dict[str, Future[Decision]] = {}
        self._counts: dict[str, int] = {}
        # The nodes of the gates that are open, or were a moment ago.
        self._nodes: dict[str, str] = {}

    def next_number(self, node_id: str) -> int:
        """The number of the next gate of a node: 1, 2, 3 …"""
        with self._lock:
            number = self._counts[node_id] = self._counts.get(node_id, 0) + 1
            return number

    def opened(self, gate_id: str, node_id: str) -> None:
        """A gate of a node was published."""
        with self._lock:
            self._nodes[gate_id] = node_id

    def is_open_at(self, node_id: str) -> bool:
        """Whether any gate of a node waits for its decision."""
        with self._lock:
            here = [gate_id for gate_id, node in self._nodes.items() if node == node_id]
            waiting = [gate_id for gate_id in here if not self._outcomes[gate_id].done()]
            for gate_id in here:
                if gate_id not in waiting:
                    del self._nodes[gate_id]
            return bool(waiting)

    def outcome(self, gate_id: str) -> Future[Decision]:
        """The decision of a gate, to be waited for. It is done if the decision has arrived."""
        with self._lock:
            outcome = self._outcomes.get(gate_id)
            if outcome is None or _has_failed(outcome):
                outcome = self._outcomes[gate_id] = Future()
            return outcome

    def decide(self, event: p.HumanGateResolved) -> None:
        """Record the decision of a gate. Later decisions of the same gate are ignored."""
        decision = Decision(**{name: getattr(event, name) for name in Decision.__struct_fields__})
        with self._lock:
            outcome = self._outcomes.get(event.gate_id)
            if outcome is None or _has_failed(outcome):
                outcome = self._outcomes[event.gate_id] = Future()
            if not outcome.done():
                outcome.set_result(decision)

    def fail(self, gate_id: str, error: BaseException) -> None:
        """Raise `error` in all code that waits at a gate, unless it is decided."""
        with self._lock:
            outcome = self._outcomes[gate_id]
            if not outcome.done():
                outcome.set_exception(error)

    def fail_all(self, error: Callable[[str], BaseException]) -> None:
        """Raise `error(gate_id)` in all code that waits at any gate."""
        with self._lock:
            waiting = [gate_id for gate_id, outcome in self._outcomes.items() if not outcome.done()]
        for gate_id in waiting:
            self.fail(gate_id, error(gate_id))


def _has_failed(outcome: Future[Decision]) -> bool:
    return outcome.done() and outcome.exception() is not None
