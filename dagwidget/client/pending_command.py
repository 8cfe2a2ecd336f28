"""`SentCommand`: a handle on a command that was sent, and on the server's answer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, Literal

from .. import protocol as p
from ..errors import NotConnected
from ..visible import visible
from .cross_loop import Waiters

_WORDS: Final = {
    "waiting": "waits for a connection, or for its gate to open",
    "sent": "sent, not yet confirmed",
    "accepted": "accepted",
}


class SentCommand:
    """What `decide`, `pause`, `resume` and `cancel` return.

    Await it for the server's answer: the result is the handle itself. A refusal is an answer, not an exception.

    Attributes:
        id: The command's id, a UUID.
        command: The command.
        state: `waiting` until it was sent, then `sent`, and at last `accepted` or `refused`.
        code: Why it was refused, as one word: `already_decided`, `no_such_gate` …
        message: Why it was refused, as a sentence.
        winner: The decision that was first, if there was one.
        durable: Whether the answer is on the server's disk: None until there is one, False while the server can't write
            it, and True once it could.

    Example:
        >>> sent = await client.decide("review", "approve")
        >>> sent
        <approve 'review': accepted>
        >>> sent.state, sent.code
        ('accepted', None)
    """

    def __init__(self, command: p.AnyCommand, withdraw: Callable[[str], bool] = lambda _id: False) -> None:
        self.id = command.id
        self.state: Literal["waiting", "sent", "accepted", "refused"] = "waiting"
        self.code: str | None = None
        self.message: str | None = None
        self.winner: p.HumanGateResolved | None = None
        self.durable: bool | None = None
        self.command = command
        # It was sent, and no answer can come any more.
        self._is_unconfirmed = False
        self._withdrawers = [withdraw]
        self._waiters = Waiters()

    def __repr__(self) -> str:
        name = str(self.command.__struct_config__.tag)
        if isinstance(self.command, p.HumanDecision):
            name = f"{self.command.decision} {self.command.node_id!r}"
        said = _WORDS.get(self.state) or f"refused: {visible(self.message or self.code or '')}"
        return f"<{name}: {said}>"

    def __await__(self) -> Generator[Any, None, SentCommand]:
        return self.answered().__await__()

    async def answered(self, timeout: float | None = None) -> SentCommand:
        """Wait for the server's answer.

        Args:
            timeout: The longest wait in seconds. By default there is no limit.

        Returns:
            The handle itself.

        Raises:
            NotConnected: The command was sent, and the connection has ended for good before the answer: it may have
                been accepted.
            TimeoutError: `timeout` seconds have passed. The command may still be answered.

        Example:
            >>> sent = await client.decide("review", "approve").answered(timeout=10)
            >>> sent.state
            'accepted'
        """
        await self._waiters.wait(
            lambda: self._is_unconfirmed or self.state in ("accepted", "refused"), timeout, "the answer"
        )
        if self._is_unconfirmed:
            raise NotConnected(self.message or "the connection has ended before the server answered")
        return self

    def withdraw(self) -> None:
        """Take the command back, if it was not sent yet: it is then `refused` with the code `withdrawn`.

        Example:
            >>> client.decide("review", "approve").withdraw()
        """
        for withdraw in self._withdrawers:
            if withdraw(self.id):
                settle(
                    self, p.CommandAck(id=self.id, ok=False, code="withdrawn", message="withdrawn before it was sent")
                )
                return

    def on_withdraw(self, withdraw: Callable[[str], bool]) -> None:
        """Ask `withdraw` too when the command is to be taken back; it says whether the command was not sent yet.

        Example:
            >>> from dagwidget import protocol
            >>> sent = client.handle(protocol.PauseExecution(id="pause-1"))
            >>> sent.on_withdraw(lambda command_id: True)
            >>> sent.withdraw()
            >>> sent.code
            'withdrawn'
        """
        self._withdrawers.append(withdraw)


def mark_sent(sent: SentCommand) -> None:
    """Note that the command was sent. May be called in any thread."""
    if sent.state == "waiting":
        sent.state = "sent"
        sent._waiters.wake()


def settle(sent: SentCommand, ack: p.CommandAck) -> None:
    """Store the server's answer in the handle, and wake the coroutines that await it. May be called in any thread."""
    sent.code, sent.message, sent.winner = ack.code, ack.message, ack.winner
    sent.durable = ack.durable is not False if ack.ok else None
    if ack.code == "unconfirmed" and not ack.ok:
        sent.state, sent._is_unconfirmed = "sent", True
    else:
        sent.state = "accepted" if ack.ok else "refused"
    sent._waiters.wake()
