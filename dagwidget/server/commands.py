"""What becomes of a command: pure rules over a room's state, without a log or a clock.

The first valid decision for an open gate wins; a late one is refused, with the winner (`refuse_late`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import protocol as p
from ..state import FINAL, DagState, Decision
from .budget import BUDGET_NODE
from .gate_rules import approvals, refusal, resolved, still_open


class Outcome(NamedTuple):
    """The answer to a command, and the event that it causes."""

    ack: p.CommandAck
    event: p.Event | None = None


def decide(state: DagState, command: p.HumanDecision, by: str, now: int, *, engine: p.EngineState) -> Outcome:
    """Judge a decision. Gates whose deadline has passed must be closed already."""
    gates = [
        gate
        for gate in state.gates.values()
        if gate.node_id == command.node_id and command.gate_id in (None, gate.gate_id)
    ]
    if not gates:
        return refuse_late(state, command)
    if len(gates) > 1:
        ids = ", ".join(gate.gate_id for gate in gates)
        return refuse(command, "ambiguous_gate", f"{command.node_id!r} has several open gates; name one: {ids}")
    gate = gates[0]
    refused = refusal(gate, command, by)
    if refused is not None:
        return refuse(command, *refused)
    given, required = approvals(gate, command, by, now), gate.presentation.required or 1
    if command.decision == "approve" and len(given) < required:
        ack = p.CommandAck(id=command.id, ok=True, message=f"{len(given)} of {required} approvals")
        return Outcome(ack, still_open(gate, given))
    # Nothing is lost: an engine that comes back reads the decisions that it missed.
    message = "taken; the engine is gone, and reads it when it is back" if engine == "gone" else None
    return Outcome(p.CommandAck(id=command.id, ok=True, message=message), resolved(gate, command, by, now))


def refuse_late(state: DagState, command: p.HumanDecision) -> Outcome:
    """Refuse a decision on a gate that is not open: it was decided before, or never existed."""
    for decision in reversed(state.decisions):
        if decision.node_id == command.node_id and command.gate_id in (None, decision.gate_id):
            outcome = refuse(command, "already_decided", f"{decision.by} was first: {decision.decision}")
            outcome.ack.winner = resolved_event(decision)
            return outcome
    which = f"{command.node_id!r}" if command.gate_id is None else f"{command.node_id!r} ({command.gate_id})"
    return refuse(command, "no_such_gate", f"no gate is open at {which}")


def give_up(state: DagState, command: p.CancelExecution, by: str, *, engine: p.EngineState) -> Outcome:
    """Judge a cancel that does not wait for the engine: a person ends a run whose engine is gone."""
    if state.status == "pending" or state.status in FINAL:
        return refuse(command, "not_running", f"the run is {state.status}: there is nothing to give up")
    if engine != "gone":
        return refuse(command, "engine_connected", "the engine is connected: cancel the run instead")
    end = p.ExecutionComplete(results=None, status="cancelled", reason=f"given up by {by}", inferred=True)
    return Outcome(p.CommandAck(id=command.id, ok=True), end)


def steer(state: DagState, command: p.Command, *, engines: int) -> Outcome:
    """Judge a pause, resume or cancel; `engines` is how many publishers are connected."""
    status, can = state.status, state.capabilities or p.Capabilities()
    target: p.LiveStatus
    done: tuple[str, ...]
    match command:
        case p.PauseExecution():
            verb, ability, done, target = "paused", can.pause, ("pausing", "paused"), "pausing"
        case p.ResumeExecution():
            verb, ability, done, target = "resumed", can.pause, ("running", "resuming"), "resuming"
        case p.CancelExecution():
            verb, ability, done, target = "cancelled", can.cancel, ("cancelling",), "cancelling"
        case _:
            return refuse(command, "unknown_command", "this server does not know that command")
    if status == "pending" or status in FINAL:
        return refuse(command, "not_running", f"no run is under way, so none can be {verb}: it is {status}")
    if ability == "none":
        return refuse(command, "not_supported", f"the engine of this run can't be {verb}")
    if engines == 0:
        return refuse(command, "engine_gone", f"the engine is not connected, so the run can't be {verb} now")
    if target == "resuming" and any(gate.node_id == BUDGET_NODE for gate in state.gates.values()):
        return refuse(command, "budget_spent", "the budget is spent: say at its gate whether to go on")
    if status == "cancelling" and target != "cancelling":
        return refuse(command, "not_running", f"the run is being cancelled, so it can't be {verb}")
    ack = p.CommandAck(id=command.id, ok=True)
    return Outcome(ack) if status in done else Outcome(ack, p.ExecutionState(status=target))


def resolved_event(decision: Decision) -> p.HumanGateResolved:
    """A decision of the state, as the event that it came from."""
    fields: dict[str, Any] = {name: getattr(decision, name) for name in Decision.__struct_fields__}
    return p.HumanGateResolved(**fields, ts=decision.at)


def refuse(command: p.Command, code: str, message: str) -> Outcome:
    """Refuse a command, and say why."""
    return Outcome(p.CommandAck(id=command.id, ok=False, code=code, message=message))
