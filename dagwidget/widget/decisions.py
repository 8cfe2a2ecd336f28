"""`Decisions`: the way of a decision from Python to the server, through the browser's connection while that is live.

The same command may go out twice, on the page's connection and on the kernel's own: its id makes the server answer the
same, and decide once.
"""

from __future__ import annotations

import threading
from typing import Final

from .. import protocol as p
from ..client.client import StreamClient
from ..client.outbox import checked, knows_gate, refusal
from ..client.pending_command import SentCommand, mark_sent, settle
from ..state import DagState
from .kernel_bridge import KernelBridge

# How long a decision waits for the event of its gate.
_HOLD_SECONDS: Final = 5.0
# How long the page's connection has, before the kernel's own sends the same command.
_RELAY_SECONDS: Final = 2.0


class Decisions:
    """The decisions that are on their way. Its methods may be called in any thread."""

    def __init__(self, client: StreamClient, bridge: KernelBridge) -> None:
        self._client = client
        self._bridge = bridge
        self._lock = threading.Lock()
        # Those that wait for their gate, and those that a page has sent.
        self._held: dict[str, p.HumanDecision] = {}
        self._relayed: dict[str, p.HumanDecision] = {}

    def send(self, command: p.HumanDecision) -> SentCommand:
        """Send a decision, at once or as soon as its gate is known here."""
        sent = self._client.handle(checked(command))
        if knows_gate(command, self._client.state) and not self._client.is_behind:
            self._route(command)
        else:
            sent.on_withdraw(self._withdraw)
            with self._lock:
                self._held[command.id] = command
            self._client.call_later(_HOLD_SECONDS, lambda: self._give_up_holding(command))
            # It may have come in between.
            self.check()
        return sent

    def close(self) -> None:
        """Nothing more is sent, and no answer comes: say so of each decision that is on its way."""
        with self._lock:
            held, self._held = self._held, {}
            relayed, self._relayed = self._relayed, {}
        for command in held.values():
            why = "not sent: the widget was closed, or shows another run, before its gate was known"
            settle(self._client.handle(command), refusal(command, "withdrawn", why))
        for command in relayed.values():
            why = "a page was asked to send it, and no answer can come: the widget was closed, or shows another run"
            settle(self._client.handle(command), refusal(command, "unconfirmed", why))

    def check(self) -> None:
        """Events have arrived: send what has waited for them, and ask for the answers that they announce."""
        if not self._held and not self._relayed:
            return
        state = self._client.state
        with self._lock:
            ready = [each for each in self._held.values() if knows_gate(each, state) and not self._client.is_behind]
            for command in ready:
                del self._held[command.id]
            answered = [each for each in self._relayed.values() if not _is_open(each, state)]
        for command in ready:
            self._route(command)
        for command in answered:
            self._confirm(command)

    def _route(self, command: p.HumanDecision) -> None:
        if not self._bridge.sends(command):
            self._client.send(command)
            return
        with self._lock:
            self._relayed[command.id] = command
        self._client.call_later(_RELAY_SECONDS, lambda: self._confirm(command))

    def mark_sent(self, command_id: str) -> None:
        """A page has sent it."""
        with self._lock:
            command = self._relayed.get(command_id)
        if command is not None:
            mark_sent(self._client.handle(command))

    def _confirm(self, command: p.HumanDecision) -> None:
        """Get the server's answer to what a page has sent, by sending the same command."""
        with self._lock:
            known = self._relayed.pop(command.id, None)
        if known is not None:
            self._client.send(command, hold=False)

    def _withdraw(self, command_id: str) -> bool:
        with self._lock:
            return self._held.pop(command_id, None) is not None

    def _give_up_holding(self, command: p.HumanDecision) -> None:
        with self._lock:
            known = self._held.pop(command.id, None)
        if known is not None:
            # The server refuses it, and says why.
            self._client.send(command, hold=False)


def _is_open(command: p.HumanDecision, state: DagState) -> bool:
    gates = state.gates
    if command.gate_id is not None:
        gate = gates.get(command.gate_id)
        return gate is not None and not gate.approvals
    return any(gate.node_id == command.node_id and not gate.approvals for gate in gates.values())
