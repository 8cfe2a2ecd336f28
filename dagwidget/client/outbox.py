"""Commands on their way, until the server has answered: a decision outlives the connection that it was made on."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from .. import protocol as p
from ..state import DagState


class Pending(Struct):
    """A command on its way: `queued` until the connection is in step, `sent` until the server's answer."""

    command: p.AnyCommand
    state: Literal["queued", "sent"] = "queued"


class Outbox:
    """The commands that the server has not answered, in the order in which they were asked."""

    def __init__(self) -> None:
        self._pending: dict[str, Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, command_id: str) -> bool:
        return command_id in self._pending

    def add(self, command: p.AnyCommand) -> None:
        """Keep a command until it is answered; one that is already here is the same command."""
        self._pending.setdefault(command.id, Pending(command))

    def pending(self) -> list[Pending]:
        """All of them."""
        return list(self._pending.values())

    def sent(self, command_id: str) -> None:
        """A command has gone out."""
        self._pending[command_id].state = "sent"

    def settle(self, ack: p.CommandAck) -> bool:
        """Take an answer; says whether anybody still waited for it."""
        return self._pending.pop(ack.id, None) is not None


def exact(command: p.AnyCommand, state: DagState) -> p.AnyCommand:
    """A decision names the gate that was open when it was made, so that it can't hit one that opened later."""
    if not isinstance(command, p.HumanDecision) or command.gate_id is not None:
        return command
    gates = [gate.gate_id for gate in state.gates.values() if gate.node_id == command.node_id]
    return replace(command, gate_id=gates[0]) if len(gates) == 1 else command


def too_late(command: p.AnyCommand, state: DagState) -> p.CommandAck | None:
    """Why a decision that had to wait is not sent any more."""
    if not isinstance(command, p.HumanDecision):
        return None
    if any(_is_about(command, gate.node_id, gate.gate_id) for gate in state.gates.values()):
        return None
    for made in reversed(state.decisions):
        if _is_about(command, made.node_id, made.gate_id):
            return refusal(command, "already_decided", f"{made.by} was first: {made.decision}")
    return refusal(command, "no_such_gate", "this gate is no longer open")


def refusal(command: p.AnyCommand, code: str, message: str) -> p.CommandAck:
    """A refusal that needed no server."""
    return p.CommandAck(id=command.id, ok=False, code=code, message=message)


def _is_about(command: p.HumanDecision, node_id: str, gate_id: str) -> bool:
    return node_id == command.node_id and command.gate_id in (None, gate_id)
