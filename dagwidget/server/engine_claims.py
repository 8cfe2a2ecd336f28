"""What a publisher may claim: pure rules. What only the room knows, or a person must have done, is not taken from it.

An engine may answer at its own gates, that of its budget too; the audit trail then names its token, and never a person.
"""

from __future__ import annotations

from collections.abc import Mapping

from .. import protocol as p
from ..state import Gate
from .room_codes import ROOM_CODES


def checked(event: p.Event, by: str, gates: Mapping[str, Gate], now: int) -> p.Event:
    """An event, without what a publisher can't know of it.

    Args:
        event: What the publisher has sent; its times are corrected already.
        by: The name of the publisher's token.
        gates: The open gates.
        now: Unix milliseconds.
    """
    event.ts = _past(event.ts, now)
    if isinstance(event, p.NodeState):
        event.started_at = _past(event.started_at, now)
        event.ended_at = _past(event.ended_at, now)
    match event:
        case p.ExecutionState(status="lost"):
            return p.Unknown(type="run_lost")
        case p.NodeState() | p.ExecutionState() | p.ExecutionComplete():
            # Only the room infers; what an engine says is so.
            event.inferred = None
        case p.HumanGateWaiting():
            # Those that the gate has stay, and what they were given for. For another node it is another question.
            event.approvals = None
            gate = gates.get(event.gate_id or event.node_id)
            if gate is not None and gate.approvals and gate.is_of(event.node_id, event.instance):
                event.presentation = gate.presentation
        case p.HumanGateResolved() if event.gate_id in gates:
            gate = gates[event.gate_id]
            event.node_id, event.source, event.by = gate.node_id, "engine", by
            event.at, event.approvals = min(event.at, now), gate.approvals
        case p.RunError() if event.code in ROOM_CODES:
            event.code = None
    return event


def _past(at: int | None, now: int) -> int | None:
    """A time of a publisher, which can't be later than now."""
    return None if at is None else min(at, now)
