"""What an engine waits for: a person's decision at a gate, and the end of a pause; in `async` and in plain code."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from .. import protocol as p
from ..errors import GateTimeout, RunCancelled
from ..state import Decision

T = TypeVar("T")


async def _outcome(future: Future[T]) -> T:
    """Wait for a future, which goes on when the task that waits is cancelled."""
    import asyncio

    waiting = asyncio.wrap_future(future)
    # After a cancellation nobody reads the outcome, and asyncio must not report that as a mistake.
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(waiting)


class Awaitable(Generic[T]):
    """Something to come: `await` it in a coroutine, or ask for its `result()` in plain code."""

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    def result(self, timeout: float | None = None) -> T:
        """Wait for it in plain code, for at most `timeout` seconds.

        Raises:
            TimeoutError: the time is over; it may still come.
        """
        raise NotImplementedError

    async def _wait(self) -> T:
        raise NotImplementedError


class OpenGate(Awaitable[Decision]):
    """A gate that waits for a person; what it gives is their `Decision`.

    With a deadline, the room answers it in their place when that has passed.
    """

    def __init__(
        self,
        gate_id: str,
        node_id: str,
        presentation: p.Presentation,
        *,
        settle: Callable[[OpenGate, Decision | None], None],
    ) -> None:
        """A gate that has been published.

        Args:
            gate_id: Its id.
            node_id: The node that asks.
            presentation: What it shows.
            settle: Called once with the decision; with None where nobody waits for it any more.
        """
        self.gate_id = gate_id
        self.node_id = node_id
        self.presentation = presentation
        self._settle = settle
        self._future: Future[Decision] = Future()
        self._settled = False

    def __repr__(self) -> str:
        return f"<gate {self.gate_id!r} at {self.node_id!r}: {'settled' if self._settled else 'open'}>"

    def decided(self, decision: Decision) -> None:
        """Take the decision. Callable from any thread."""
        if not self._future.done():
            self._future.set_result(decision)

    def give_up(self, error: BaseException) -> None:
        """Let whoever waits fail with `error`. Callable from any thread."""
        if not self._future.done():
            self._future.set_exception(error)

    def result(self, timeout: float | None = None) -> Decision:
        """Wait for the decision in plain code.

        Args:
            timeout: Seconds to wait; for ever when absent. The gate stays open.

        Raises:
            TimeoutError: no decision in `timeout` seconds.
            GateTimeout: the gate's deadline has passed, and it was to fail then.
            NotConnected: nobody can answer any more: the run is over, or was replaced.
            RunCancelled: a person has cancelled the run.
        """
        try:
            decision = self._future.result(timeout)
        except concurrent.futures.TimeoutError:
            raise TimeoutError(f"no decision at the gate {self.gate_id!r} in {timeout:g} s; it is still open") from None
        except RunCancelled:
            self._settle_once(None)
            raise
        return self._take(decision)

    async def _wait(self) -> Decision:
        # Loaded by then: plain code that only publishes does without it.
        import asyncio

        try:
            decision = await _outcome(self._future)
        except (asyncio.CancelledError, RunCancelled):
            self._settle_once(None)
            raise
        return self._take(decision)

    def _take(self, decision: Decision) -> Decision:
        self._settle_once(decision)
        if decision.source == "timeout" and self.presentation.on_timeout in (None, "fail"):
            raise GateTimeout(
                f"nobody decided at the gate {self.gate_id!r} before its deadline",
                node_id=self.node_id,
                gate_id=self.gate_id,
            )
        return decision

    def _settle_once(self, decision: Decision | None) -> None:
        if not self._settled:
            self._settled = True
            self._settle(self, decision)


class Checkpoint(Awaitable[None]):
    """A place where the engine honours what it was asked: it goes on at once, when a pause ends, or not at all."""

    def __init__(self, pause: Future[None] | None, check: Callable[[], None]) -> None:
        """`pause` is done when the pause ends; `check` raises where the run was cancelled."""
        self._pause = pause
        self._check = check

    def result(self, timeout: float | None = None) -> None:
        """Honour it in plain code.

        Raises:
            RunCancelled: a person cancelled the run.
            TimeoutError: the pause has not ended in `timeout` seconds.
        """
        if self._pause is not None:
            try:
                self._pause.result(timeout)
            except concurrent.futures.TimeoutError:
                raise TimeoutError(f"the pause has not ended in {timeout:g} s") from None
        self._check()

    async def _wait(self) -> None:
        if self._pause is not None:
            await _outcome(self._pause)
        self._check()
