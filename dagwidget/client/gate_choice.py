"""Which gate a person means, and whether it accepts what was decided: checked before anything is sent."""

from __future__ import annotations

from typing import get_args

from .. import protocol as p
from ..errors import InvalidDecision, UnknownGate
from ..state import FINAL, DagState, Gate


def open_gate(state: DagState, node_id: str, gate_id: str | None) -> Gate | None:
    """The gate that a decision means; None where its event may still be on its way."""
    matching = [g for g in state.gates.values() if g.node_id == node_id and gate_id in (None, g.gate_id)]
    if len(matching) == 1:
        return matching[0]
    open_gates = {gate.gate_id: gate.node_id for gate in state.gates.values()}
    asked = f"{node_id!r}" if gate_id is None else f"{node_id!r} with gate_id {gate_id!r}"
    if matching:
        ids = ", ".join(repr(gate.gate_id) for gate in matching)
        raise UnknownGate(
            f"{len(matching)} gates are open at {asked}: name one with gate_id=… ({ids})",
            node_id=node_id,
            gate_id=gate_id,
            open_gates=open_gates,
        )
    if state.status in FINAL:
        raise UnknownGate(
            f"no gate is open at {asked}: the run is {state.status}",
            node_id=node_id,
            gate_id=gate_id,
            open_gates=open_gates,
        )
    return None


def check_allowed(gate: Gate, decision: p.Verdict) -> None:
    """Refuse a decision that the gate does not accept.

    Raises:
        InvalidDecision: It does not.
    """
    allowed = gate.presentation.allowed
    if allowed is not None and decision not in allowed:
        raise InvalidDecision(
            f"gate {gate.gate_id!r} does not accept {decision!r}; it accepts {' or '.join(allowed)}",
            node_id=gate.node_id,
            decision=decision,
            allowed=tuple(allowed),
        )


def check_decision(node_id: object, decision: object, value: object) -> None:
    """Refuse what no gate accepts.

    Raises:
        TypeError: `node_id` is not a string.
        InvalidDecision: it is not a decision, or its value is missing.
    """
    if not isinstance(node_id, str):
        raise TypeError(f"node_id must be a string, not {type(node_id).__name__}: {node_id!r}")
    verdicts = get_args(p.Verdict)

    def invalid(text: str) -> InvalidDecision:
        return InvalidDecision(text, node_id=node_id, decision=decision, allowed=verdicts)

    if decision not in verdicts:
        raise invalid(f"decision must be {', '.join(map(repr, verdicts[:-1]))} or {verdicts[-1]!r}, got {decision!r}")
    if decision == "modify" and value is None:
        raise invalid("modify needs the answer: decide(…, 'modify', value=…)")
