"""What a gate takes from whom: pure rules, without a log or a clock."""

from __future__ import annotations

from .. import protocol as p
from ..protocol.json_schema import validation_error
from ..state import Gate


def refusal(gate: Gate, asked: p.HumanDecision, by: str) -> tuple[str, str] | None:
    """Why a decision on an open gate is refused, as a code and a sentence; None where it is good."""
    shown = gate.presentation
    if shown.assignees and by not in shown.assignees:
        return "not_assigned", f"this gate is for {' or '.join(shown.assignees)}; you are {by}"
    allowed = allowed_by(shown)
    if asked.decision not in allowed:
        return "not_allowed", f"this gate takes {' or '.join(allowed)}, not {asked.decision}"
    if asked.decision == "approve" and by in (approval.by for approval in gate.approvals or ()):
        return "already_approved", f"{by} has approved this already; it needs somebody else"
    if asked.decision == "modify" and asked.value is None:
        return "invalid_value", "a modification needs its value"
    mismatch = None if asked.value is None else validation_error(shown.schema, asked.value)
    if mismatch is not None:
        return "invalid_value", f"this does not fit what the gate asks for: {mismatch}"
    return None


def allowed_by(shown: p.Presentation) -> list[p.Verdict]:
    """The decisions that a gate takes. Several people approve of what is there, not of what each makes of it."""
    allowed = shown.allowed or ["approve", "reject", "modify"]
    return [verdict for verdict in allowed if verdict != "modify"] if (shown.required or 1) > 1 else allowed


def is_late(gate: Gate, now: int) -> bool:
    """Whether the gate's deadline has passed."""
    deadline = gate.presentation.deadline
    return deadline is not None and deadline <= now


def resolved(gate: Gate, asked: p.HumanDecision, by: str, now: int) -> p.HumanGateResolved:
    """The gate, closed by a person."""
    return p.HumanGateResolved(
        node_id=gate.node_id,
        gate_id=gate.gate_id,
        decision=asked.decision,
        by=by,
        at=now,
        source=asked.source or "widget",
        feedback=asked.feedback,
        value=asked.value,
        approvals=approvals(gate, asked, by, now) if gate.approvals and asked.decision == "approve" else gate.approvals,
    )


def timed_out(gate: Gate, now: int) -> p.HumanGateResolved:
    """The gate, closed as it said it would be at its deadline: rejected, unless it said otherwise."""
    shown = gate.presentation
    verdicts: dict[str | None, p.Verdict] = {"approve": "approve", "default": "modify"}
    verdict = verdicts.get(shown.on_timeout, "reject")
    return p.HumanGateResolved(
        node_id=gate.node_id,
        gate_id=gate.gate_id,
        decision=verdict,
        by="deadline",
        at=now,
        source="timeout",
        value=shown.default if verdict == "modify" else None,
        approvals=gate.approvals,
    )


def approvals(gate: Gate, asked: p.HumanDecision, by: str, now: int) -> list[p.Approval]:
    """The approvals that a gate has with this one."""
    return [*(gate.approvals or ()), p.Approval(by=by, at=now, feedback=asked.feedback)]


def still_open(gate: Gate, given: list[p.Approval]) -> p.HumanGateWaiting:
    """The gate, with the approvals that it has so far."""
    return p.HumanGateWaiting(
        node_id=gate.node_id,
        gate_id=gate.gate_id,
        presentation=gate.presentation,
        instance=gate.instance,
        approvals=given,
    )
