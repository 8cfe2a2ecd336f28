"""`Commands`: what a person asks of the run that a client watches."""

from __future__ import annotations

import uuid
from typing import Any

from .. import protocol as p
from .outbox import checked
from .pending_command import SentCommand


class Commands:
    """Each command returns a handle on the server's answer."""

    def send(self, command: p.AnyCommand, *, hold: bool = True) -> SentCommand:
        """Send a command. See `StreamClient.send`."""
        raise NotImplementedError

    def decide(
        self,
        node_id: str,
        decision: p.Verdict,
        *,
        feedback: str | None = None,
        value: Any = None,
        gate_id: str | None = None,
    ) -> SentCommand:
        """Decide at the open gate of a node. Without a connection, the decision is queued.

        Args:
            node_id: The node.
            decision: `approve`, `reject` or `modify`.
            feedback: A comment for other people and for the engine.
            value: The modified value; any JSON. `modify` needs it.
            gate_id: The gate, where the node has several open ones.

        Returns:
            A handle. Await it for the server's answer; a refusal is an answer, not an exception.

        Raises:
            InvalidDecision: No server would accept it.
            ClientClosed: The client is not open yet.

        Example:
            >>> sent = await client.decide("review", "approve", feedback="looks good")
            >>> sent.state
            'accepted'
            >>> (await client.decide("review", "reject")).code
            'already_decided'
        """
        command = p.HumanDecision(
            id=str(uuid.uuid4()),
            node_id=node_id,
            decision=decision,
            gate_id=gate_id,
            feedback=feedback,
            value=value,
            source="python",
        )
        return self.send(checked(command))

    def pause(self) -> SentCommand:
        """Ask the engine to start no further node.

        Returns:
            A handle. Await it for the server's answer.

        Example:
            >>> (await client.pause()).state
            'accepted'
        """
        return self.send(p.PauseExecution(id=str(uuid.uuid4())))

    def resume(self) -> SentCommand:
        """Ask the engine to go on after a pause.

        Returns:
            A handle. Await it for the server's answer.

        Example:
            >>> (await client.resume()).state
            'accepted'
        """
        return self.send(p.ResumeExecution(id=str(uuid.uuid4())))

    def cancel(self) -> SentCommand:
        """Ask the engine to stop the run for good.

        Returns:
            A handle. Await it for the server's answer.

        Example:
            >>> (await client.cancel()).state
            'accepted'
        """
        return self.send(p.CancelExecution(id=str(uuid.uuid4())))
