"""What an engine waits for: a person's decision at a gate, and the end of a pause; in `async` and in plain code."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from . import protocol as p
from .errors import GateTimeout, RunCancelled
from .state import Decision

T = TypeVar("T")


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

    With a deadline, the gate is answered in their place when that has passed; it is the room that says who was first,
    so that a decision made in time counts even where the engine hears of it late.
    """

    def __init__(
        self,
        gate_id: str,
        node_id: str,
        presentation: p.Presentation,
        *,
        publish: Callable[[p.Event], None],
        settle: Callable[[OpenGate, Decision | None], None],
    ) -> None:
        """A gate that has been published.

        Args:
            gate_id: Its id.
            node_id: The node that asks.
            presentation: What it shows.
            publish: How to answer it when its deadline has passed.
            settle: Called once with the decision; with None where nobody waits for it any more.
        """
        self.gate_id = gate_id
        self.node_id = node_id
        self.presentation = presentation
        self._publish = publish
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
            RunCancelled: a person has cancelled the run.
        """
        try:
            return self._take(self._decision(timeout))
        except RunCancelled:
            self._settle_once(None)
            raise

    def _decision(self, timeout: float | None) -> Decision:
        end = None if timeout is None else time.monotonic() + timeout
        until = self._until_deadline()
        if until is not None and (timeout is None or until < timeout):
            with contextlib.suppress(concurrent.futures.TimeoutError):
                return self._future.result(until)
            self._answer_at_deadline()
        try:
            return self._future.result(None if end is None else max(0.0, end - time.monotonic()))
        except concurrent.futures.TimeoutError:
            raise TimeoutError(f"no decision at the gate {self.gate_id!r} in {timeout:g} s; it is still open") from None

    async def _wait(self) -> Decision:
        try:
            return self._take(await self._decision_async())
        except (asyncio.CancelledError, RunCancelled):
            self._settle_once(None)
            raise

    async def _decision_async(self) -> Decision:
        future = asyncio.wrap_future(self._future)
        with contextlib.suppress(asyncio.TimeoutError):
            return await asyncio.wait_for(asyncio.shield(future), self._until_deadline())
        self._answer_at_deadline()
        return await future

    def _until_deadline(self) -> float | None:
        deadline = self.presentation.deadline
        return None if deadline is None else max(0.0, deadline / 1000 - time.time())

    def _answer_at_deadline(self) -> None:
        shown = self.presentation
        verdict: p.Verdict = "reject"
        if shown.on_timeout == "approve":
            verdict = "approve"
        elif shown.on_timeout == "default":
            verdict = "modify"
        self._publish(
            p.HumanGateResolved(
                node_id=self.node_id,
                gate_id=self.gate_id,
                decision=verdict,
                by="deadline",
                at=time.time_ns() // 1_000_000,
                source="timeout",
                value=shown.default if verdict == "modify" else None,
            )
        )

    def _take(self, decision: Decision) -> Decision:
        self._settle_once(decision)
        if decision.source == "timeout" and self.presentation.on_timeout in (None, "fail"):
            raise GateTimeout(f"nobody decided at the gate {self.gate_id!r} before its deadline")
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
            await asyncio.shield(asyncio.wrap_future(self._pause))
        self._check()
