"""The gates at which a run waits for people, and the decisions that have arrived for them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .. import protocol as p
from ..state import Decision
from .handles import OpenGate


class Gates:
    """The open gates of a run. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Code may ask twice at a gate of one id: each waits for its decision.
        self._open: dict[str, list[OpenGate]] = {}
        self._decided: dict[str, Decision] = {}
        self._counts: dict[str, int] = {}

    def count(self, node_id: str) -> int:
        """The number of the next gate at a node: 1, 2, 3 …"""
        with self._lock:
            number = self._counts[node_id] = self._counts.get(node_id, 0) + 1
            return number

    def add(self, gate: OpenGate) -> bool:
        """Let a gate wait for its decision. Returns whether it has arrived already, for an earlier gate of that id."""
        with self._lock:
            decision = self._decided.get(gate.gate_id)
            if decision is None:
                self._open.setdefault(gate.gate_id, []).append(gate)
        if decision is not None:
            gate.decided(decision)
        return decision is not None

    def decide(self, event: p.HumanGateResolved) -> None:
        """Give a decision to the gate that waits for it. The first one for a gate counts."""
        decision = Decision(**{name: getattr(event, name) for name in Decision.__struct_fields__})
        with self._lock:
            decision = self._decided.setdefault(event.gate_id, decision)
            gates = self._open.pop(event.gate_id, ())
        for gate in gates:
            gate.decided(decision)

    def abandon(self, why: Callable[[OpenGate], BaseException]) -> None:
        """Let everything that waits at a gate fail, each with its error."""
        with self._lock:
            gates = [gate for gates in self._open.values() for gate in gates]
            self._open.clear()
        for gate in gates:
            gate.give_up(why(gate))
