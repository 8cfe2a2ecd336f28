"""A command on its way from Python to the server, and what became of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

from .. import protocol as p
from ..cross_loop import Waiters


class SentCommand:
    """A command on its way: what `decide`, `pause`, `resume` and `cancel` return. Awaitable.

    Awaiting it gives it back once the server has answered; a refusal is an answer, not an exception.

    Attributes:
        id: The command's id, a UUID.
        command: The command itself.
        state: `waiting` (no front end yet), `sent`, `accepted` or `refused`.
        code: Why it was refused, as a word: `already_decided`, `no_such_gate` …
        message: Why it was refused, as a sentence.
        winner: Where somebody else was first, their decision.
    """

    def __init__(self, command: p.AnyCommand) -> None:
        self.id = command.id
        self.state: Literal["waiting", "sent", "accepted", "refused"] = "waiting"
        self.code: str | None = None
        self.message: str | None = None
        self.winner: p.HumanGateResolved | None = None
        self.command = command
        self._waiters = Waiters()

    def __repr__(self) -> str:
        asked = str(self.command.__struct_config__.tag)
        if isinstance(self.command, p.HumanDecision):
            asked = f"{self.command.decision} {self.command.node_id!r}"
        said = {
            "waiting": "waits until the widget is shown: run a cell that ends with it",
            "sent": "sent, not yet confirmed",
            "accepted": "accepted",
            "refused": f"refused: {self.message or self.code}",
        }
        return f"<{asked}: {said[self.state]}>"

    def __await__(self) -> Generator[Any, None, SentCommand]:
        yield from self._waiters.wait(lambda: self.state in ("accepted", "refused"), None, "").__await__()
        return self

    def answer(self, ack: p.CommandAck) -> None:
        """Take the server's answer, and wake whoever awaits it."""
        self.code, self.message, self.winner = ack.code, ack.message, ack.winner
        self.state = "accepted" if ack.ok else "refused"
        self._waiters.wake()
