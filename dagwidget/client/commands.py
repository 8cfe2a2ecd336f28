"""`Commands`: what a person asks of the run that a client or a widget shows."""

from __future__ import annotations

import uuid
from typing import Any

from .. import protocol as p
from .followed import Followed
from .gate_choice import check_allowed, check_decision, open_gate
from .pending_command import SentCommand


class Commands:
    """Each command returns a handle on the server's answer. It goes to the run that is shown when it is given."""

    @property
    def _followed(self) -> Followed:
        """The client whose run is shown."""
        raise NotImplementedError

    def _command(self, command: p.AnyCommand) -> SentCommand:
        """Send a command.

        Raises:
            ClientClosed: Nothing can be sent any more, or yet.
        """
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
        """Decide at a gate. Never blocks; may be called in any cell and thread.

        A widget's decision goes out on the browser's connection while that is live, else on the kernel's own. Where the
        gate is not known here yet, as its engine opened it just now, the decision waits for it for a few seconds.
        Without a connection, it is queued.

        Args:
            node_id: The node that waits.
            decision: `approve`, `reject` or `modify`.
            feedback: A comment for other people and for the engine.
            value: The answer itself, JSON-safe; needed to `modify`.
            gate_id: The gate, if several are open at the node.

        Returns:
            A handle: `state` is `waiting`, `sent`, `accepted` or `refused`. Await it for the server's answer; a refusal
            is an answer, not an exception.

        Raises:
            TypeError: `node_id` is not a string.
            InvalidDecision: The gate does not accept this decision.
            UnknownGate: The run has ended, or several gates are open at the node.
            ClientClosed: The widget or the client is closed, or not open yet.

        Example:
            >>> gate = run.gate("review", title="Ship it?")
            >>> sent = await w.decide("review", "approve", feedback="looks good")
            >>> sent.state
            'accepted'
        """
        check_decision(node_id, decision, value)
        client = self._followed
        with client.lock:
            gate = None if client.is_behind else open_gate(client.state, node_id, gate_id)
            run_id = client.run_id
        if gate is not None:
            check_allowed(gate, decision)
            gate_id = gate.gate_id
        return self._command(
            p.HumanDecision(
                id=str(uuid.uuid4()),
                run_id=run_id,
                node_id=node_id,
                gate_id=gate_id,
                decision=decision,
                feedback=feedback,
                value=value,
                source="python",
            )
        )

    def pause(self) -> SentCommand:
        """Ask the engine to start nothing new.

        Example:
            >>> (await w.pause()).state
            'accepted'
        """
        return self._command(p.PauseExecution(id=str(uuid.uuid4()), run_id=self._followed.run_id))

    def resume(self) -> SentCommand:
        """Ask the engine to go on after a pause.

        Example:
            >>> (await w.resume()).state
            'accepted'
        """
        return self._command(p.ResumeExecution(id=str(uuid.uuid4()), run_id=self._followed.run_id))

    def cancel(self) -> SentCommand:
        """Ask the engine to stop the run for good.

        Example:
            >>> (await w.cancel()).state
            'accepted'
        """
        return self._command(p.CancelExecution(id=str(uuid.uuid4()), run_id=self._followed.run_id))
