"""What an engine waits for, with `await` or in plain code: the decision of a gate, and the end of a pause."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from .. import protocol as p
from ..errors import GateTimeout, RunCancelled
from ..state import Decision

T = TypeVar("T")


async def _wait_for(future: Future[T]) -> T:
    """Wait for a future. Cancelling the task that waits does not cancel the future."""
    # Imported by now if there is an event loop: plain code does without asyncio.
    import asyncio

    waiting = asyncio.wrap_future(future)
    # Nobody reads the outcome of a cancelled wait, and asyncio reports an exception that nobody reads.
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(waiting)


class Awaitable(Generic[T]):
    """A future value: use `await` in a coroutine, and `result()` in plain code."""

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    def result(self, timeout: float | None = None) -> T:
        """Wait in plain code.

        Args:
            timeout: How many seconds to wait; None for no limit.

        Returns:
            The value.

        Raises:
            TimeoutError: The value is not available after `timeout` seconds.
        """
        raise NotImplementedError

    async def _wait(self) -> T:
        raise NotImplementedError


class OpenGate(Awaitable[Decision]):
    """A gate that waits for a person. Its value is the `Decision`.

    If the gate has a deadline, the server decides when it has passed.

    Attributes:
        gate_id: The gate's id.
        node_id: The node that asks.
        presentation: What the gate shows.

    Example:
        >>> gate = run.gate("review", title="Ship it?")
        >>> decision = await gate
        >>> decision.decision
        'approve'
    """

    def __init__(
        self,
        gate_id: str,
        node_id: str,
        presentation: p.Presentation,
        *,
        outcome: Future[Decision],
        settle: Callable[[OpenGate, Decision | None], None],
    ) -> None:
        """A published gate.

        Args:
            gate_id: The gate's id.
            node_id: The node that asks.
            presentation: What the gate shows.
            outcome: The decision.
            settle: Called once with the decision, or with None if the wait was cancelled.
        """
        self.gate_id = gate_id
        self.node_id = node_id
        self.presentation = presentation
        self._outcome = outcome
        self._settle = settle
        self._settled = False

    def __repr__(self) -> str:
        return f"<gate {self.gate_id!r} of node {self.node_id!r}: {'closed' if self._settled else 'open'}>"

    def result(self, timeout: float | None = None) -> Decision:
        """Wait for the decision in plain code.

        Args:
            timeout: How many seconds to wait; None for no limit. The gate stays open after that.

        Returns:
            The decision.

        Raises:
            TimeoutError: Nobody has decided after `timeout` seconds.
            GateTimeout: The gate's deadline has passed, and `on_timeout` is `fail`.
            NotConnected: Nobody can decide any more. `RunEnded`: the run has ended or was replaced. `ServerRefused`:
                the server refused the publisher.
            RunCancelled: A person cancelled the run.

        Example:
            >>> run.gate("review", title="Ship it?").result(timeout=60).decision
            'approve'
        """
        try:
            decision = self._outcome.result(timeout)
        except concurrent.futures.TimeoutError:
            raise TimeoutError(f"gate {self.gate_id!r} is still open after {timeout:g} s: nobody has decided") from None
        except RunCancelled:
            self._settle_once(None)
            raise
        return self._take(decision)

    async def _wait(self) -> Decision:
        import asyncio

        try:
            decision = await _wait_for(self._outcome)
        except (asyncio.CancelledError, RunCancelled):
            self._settle_once(None)
            raise
        return self._take(decision)

    def _take(self, decision: Decision) -> Decision:
        self._settle_once(decision)
        if decision.source == "timeout" and self.presentation.on_timeout in (None, "fail"):
            raise GateTimeout(
                f"nobody decided at gate {self.gate_id!r} before its deadline",
                node_id=self.node_id,
                gate_id=self.gate_id,
            )
        return decision

    def _settle_once(self, decision: Decision | None) -> None:
        if not self._settled:
            self._settled = True
            self._settle(self, decision)


class Checkpoint(Awaitable[None]):
    """A point where the run pauses or cancels, if a person asked for that. Otherwise waiting returns at once.

    Example:
        >>> await run.checkpoint()
    """

    def __init__(self, pause: Future[None] | None, check: Callable[[], None]) -> None:
        """A checkpoint that the run has reached.

        Args:
            pause: Done when the pause ends; None if there is no pause.
            check: Raises `RunCancelled` if the run was cancelled.
        """
        self._pause = pause
        self._check = check

    def result(self, timeout: float | None = None) -> None:
        """Pause or cancel in plain code, if that was requested.

        Args:
            timeout: How many seconds to wait for the end of a pause; None for no limit.

        Raises:
            RunCancelled: A person cancelled the run.
            TimeoutError: The run is still paused after `timeout` seconds.

        Example:
            >>> run.checkpoint().result()
        """
        if self._pause is not None:
            try:
                self._pause.result(timeout)
            except concurrent.futures.TimeoutError:
                raise TimeoutError(f"the run is still paused after {timeout:g} s") from None
        self._check()

    async def _wait(self) -> None:
        if self._pause is not None:
            await _wait_for(self._pause)
        self._check()
