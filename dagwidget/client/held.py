"""`Held`: decisions that wait for the event of their gate, which may still be on its way from the engine."""

from __future__ import annotations

from typing import NamedTuple

from .. import protocol as p
from ..state import DagState
from .outbox import knows_gate, refuse_unknown
from .timing import HOLD


class Released(NamedTuple):
    """Decisions that wait no longer: those that can be sent, and the refusals of those that have waited in vain."""

    ready: list[p.HumanDecision]
    refused: list[p.CommandAck]


class Held:
    """Decisions whose gate is not known yet, each with the time until which it waits."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[p.HumanDecision, float]] = {}

    def __contains__(self, command_id: str) -> bool:
        return command_id in self._waiting

    @property
    def due(self) -> float | None:
        """When to call `release` at the latest; None if nothing waits."""
        return min((until for _, until in self._waiting.values()), default=None)

    def add(self, decision: p.HumanDecision, now: float) -> None:
        """Hold a decision from now on."""
        self._waiting[decision.id] = (decision, now + HOLD)

    def pop(self, command_id: str) -> p.HumanDecision | None:
        """Take out a decision; None if it does not wait."""
        held = self._waiting.pop(command_id, None)
        return None if held is None else held[0]

    def clear(self) -> list[p.HumanDecision]:
        """Take out all of them."""
        decisions = [decision for decision, _ in self._waiting.values()]
        self._waiting.clear()
        return decisions

    def release(self, state: DagState, now: float) -> Released:
        """Take out the decisions whose gate has arrived, and those that have waited long enough."""
        released = Released([], [])
        for decision, until in list(self._waiting.values()):
            # Of another run, only the server knows the gates.
            if decision.run_id not in (None, state.epoch) or knows_gate(decision, state):
                released.ready.append(decision)
            elif now >= until:
                released.refused.append(refuse_unknown(decision, state))
            else:
                continue
            del self._waiting[decision.id]
        return released
