"""`Outgoing`: the commands of a client, from the moment that they are asked for until they are answered."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from .. import protocol as p
from ..state import DagState
from .held import Held
from .outbox import Outbox, Pending, knows_gate, pin_gate, refusal, refuse_overtaken
from .outputs import Output, Send, Sent

# The largest frame that a server accepts, until its `welcome` says otherwise.
FRAME_BYTES: Final = 64 * 1024

Way: TypeAlias = Literal["shut", "v1", "plain"]
"""Whether commands can go out now, and to what kind of server."""


class Outgoing:
    """Commands that are held, queued, or sent. What comes of them goes to `outputs`.

    Attributes:
        frame_limit: The largest frame that the server accepts.
    """

    def __init__(self, outputs: list[Output]) -> None:
        self.frame_limit = FRAME_BYTES
        self._outputs = outputs
        self._outbox = Outbox()
        self._held = Held()
        # Commands that were accepted, and are not on the server's disk yet: a server that ends would forget them.
        self._unsafe: dict[str, p.AnyCommand] = {}

    @property
    def pending(self) -> list[p.AnyCommand]:
        """The commands that the server has not answered."""
        return [pending.command for pending in self._outbox.pending()]

    @property
    def due(self) -> float | None:
        """When to call `release` next; None if nothing waits."""
        return self._held.due

    def add(self, command: p.AnyCommand, state: DagState, way: Way, now: float, *, hold: bool) -> bool:
        """Take a command: refuse it, hold it until its gate has arrived, or queue it, and send it where there is a way.

        Returns:
            Whether it was queued.
        """
        if command.id in self._outbox or (hold and command.id in self._held):
            return False
        self._held.pop(command.id)
        command = pin_gate(command, state)
        if self._refuse_too_large(command):
            return False
        here = command.run_id in (None, state.epoch)
        if hold and way != "shut" and isinstance(command, p.HumanDecision) and here and not knows_gate(command, state):
            self._held.add(command, now)
            return False
        return self._queue(command, way)

    def refuse(self, command: p.AnyCommand, why: str) -> None:
        """Refuse a command: there is no connection, and will be none."""
        self._outputs.append(refusal(command, "not_connected", f"not connected: {why}"))

    def withdraw(self, command_id: str) -> bool:
        """Take back a command that was not sent yet. False if it was sent, or answered."""
        held = self._held.pop(command_id)
        pending = next((each for each in self._outbox.pending() if each.command.id == command_id), None)
        if held is None and (pending is None or pending.state == "sent"):
            return False
        self._outbox.settle(p.CommandAck(id=command_id, ok=False))
        return True

    def release(self, state: DagState, way: Way, now: float) -> None:
        """Send the decisions whose gate has arrived, and refuse those that have waited long enough."""
        ready, refused = self._held.release(state, now)
        for decision in ready:
            self._queue(pin_gate(decision, state), way)
        self._outputs += refused

    def flush(self, state: DagState, way: Way) -> None:
        """Send what is queued, and again what has no answer, where there is a way."""
        if way == "shut":
            return
        for pending in self._outbox.pending():
            refused = _refuse_pending(pending, state, way)
            if refused is None:
                self._transmit(pending.command, way)
            else:
                self.settle(refused)
        if way == "v1":
            self._outputs += [Send(p.encode(command)) for command in self._unsafe.values()]

    def unhold(self) -> None:
        """The connection is gone: what was held for its gate waits for the next connection."""
        for decision in self._held.clear():
            self._outbox.add(decision)

    def stop(self, why: str) -> None:
        """There will be no more connection."""
        for pending in self._outbox.pending():
            if pending.state == "sent":
                self.settle(refusal(pending.command, "unconfirmed", f"sent, and not answered: {why}"))
        for command in self.pending:
            self.settle(refusal(command, "not_connected", f"not connected: {why}"))

    def settle(self, ack: p.CommandAck) -> None:
        """A command was answered; again, where the first answer was not on the server's disk yet."""
        command = self._outbox.settle(ack) or self._unsafe.pop(ack.id, None)
        if command is not None:
            self._outputs.append(ack)
            if ack.ok and ack.durable is False:
                self._unsafe[ack.id] = command

    def _queue(self, command: p.AnyCommand, way: Way) -> bool:
        if self._refuse_too_large(command):
            return False
        self._outbox.add(command)
        if way != "shut":
            self._transmit(command, way)
        return True

    def _refuse_too_large(self, command: p.AnyCommand) -> bool:
        size = len(p.encode(command))
        if size <= self.frame_limit:
            return False
        text = f"the command has {size:,} bytes, and the server accepts {self.frame_limit:,}"
        self._outputs.append(refusal(command, "too_large", text))
        return True

    def _transmit(self, command: p.AnyCommand, way: Way) -> None:
        self._outbox.mark_sent(command.id)
        self._outputs += [Send(p.encode(command)), Sent(command.id)]
        if way == "plain":
            # A plain server does not answer.
            self.settle(p.CommandAck(id=command.id, ok=True, code="unconfirmed"))


def _refuse_pending(pending: Pending, state: DagState, way: Way) -> p.CommandAck | None:
    """Why a command that had to wait is not sent any more."""
    queued = pending.state == "queued"
    if way == "plain" and pending.command.run_id is not None:
        text = "it was meant for another server"
        return refusal(pending.command, "unknown_run" if queued else "unconfirmed", text)
    return refuse_overtaken(pending.command, state) if queued else None
