"""The commands that the server has not answered yet. They outlive the connection on which they were sent."""

from __future__ import annotations

import json
from typing import Literal, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from .. import protocol as p
from ..errors import InvalidDecision, ProtocolError
from ..state import DagState, Decision, Gate


class Pending(Struct):
    """A command without an answer: `queued` until the connection is live, then `sent`."""

    command: p.AnyCommand
    state: Literal["queued", "sent"] = "queued"


class Outbox:
    """The commands that the server has not answered, the oldest first."""

    def __init__(self) -> None:
        self._pending: dict[str, Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, command_id: str) -> bool:
        return command_id in self._pending

    def add(self, command: p.AnyCommand) -> None:
        """Add a command. One with the same id is the same command, and stays."""
        self._pending.setdefault(command.id, Pending(command))

    def pending(self) -> list[Pending]:
        """All of them, the oldest first."""
        return list(self._pending.values())

    def mark_sent(self, command_id: str) -> None:
        """Note that a command was sent."""
        self._pending[command_id].state = "sent"

    def settle(self, ack: p.CommandAck) -> p.AnyCommand | None:
        """Remove the command that was answered. None if there is none."""
        pending = self._pending.pop(ack.id, None)
        return None if pending is None else pending.command


def pin_gate(command: p.AnyCommand, state: DagState) -> p.AnyCommand:
    """Add the run and the gate that the person saw, so that the command can't apply to another run or a later gate."""
    if command.run_id is None and state.epoch:
        command = replace(command, run_id=state.epoch)
    if not isinstance(command, p.HumanDecision) or command.gate_id is not None or command.run_id != state.epoch:
        return command
    gates = [gate.gate_id for gate in state.gates.values() if gate.node_id == command.node_id]
    return replace(command, gate_id=gates[0]) if len(gates) == 1 else command


def knows_gate(command: p.HumanDecision, state: DagState) -> bool:
    """Whether the gate that a decision is about is open, or was decided before."""
    known: list[Gate | Decision] = [*state.gates.values(), *state.decisions]
    return any(_names(command, each.node_id, each.gate_id) for each in known)


def refuse_overtaken(command: p.AnyCommand, state: DagState) -> p.CommandAck | None:
    """The refusal of a queued decision whose gate has closed meanwhile; None if it can still be sent."""
    if not isinstance(command, p.HumanDecision) or command.run_id not in (None, state.epoch):
        # Only the server knows the gates of another run.
        return None
    if any(_names(command, gate.node_id, gate.gate_id) for gate in state.gates.values()):
        return None
    for made in reversed(state.decisions):
        if _names(command, made.node_id, made.gate_id):
            return refusal(command, "already_decided", f"{made.by} was first: {made.decision}")
    return refusal(command, "no_such_gate", "this gate is no longer open")


def refuse_unknown(command: p.HumanDecision, state: DagState) -> p.CommandAck:
    """The refusal of a decision whose gate has never opened."""
    others = ", ".join(sorted({f"{gate.node_id!r} ({gate.gate_id!r})" for gate in state.gates.values()})) or "none"
    which = "" if command.gate_id is None else f" with gate_id {command.gate_id!r}"
    hint = "" if command.node_id in state.nodes or not state.nodes else " (there is no such node)"
    return refusal(
        command, "no_such_gate", f"no gate is open at {command.node_id!r}{which}{hint}; open gates: {others}"
    )


def refusal(command: p.AnyCommand, code: str, message: str) -> p.CommandAck:
    """A refusal by the client itself."""
    return p.CommandAck(id=command.id, ok=False, code=code, message=message)


def _names(command: p.HumanDecision, node_id: str, gate_id: str) -> bool:
    return node_id == command.node_id and command.gate_id in (None, gate_id)


def checked(command: p.HumanDecision) -> p.HumanDecision:
    """Refuse a decision that no server would accept: it would end the connection.

    Raises:
        InvalidDecision: It is not one, or its value is not JSON.
    """
    try:
        json.dumps(msgspec.to_builtins(command.value), allow_nan=False)
        p.decode_client(p.encode(command))
    except (ProtocolError, TypeError, ValueError, RecursionError) as error:
        allowed = get_args(p.Verdict)
        raise InvalidDecision(str(error), node_id=command.node_id, decision=command.decision, allowed=allowed) from None
    return command
