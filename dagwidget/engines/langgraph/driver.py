"""Runs a graph, and handles its gates, pauses and cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from langgraph.errors import GraphDrained, is_invalid_resume
from langgraph.runtime import RunControl
from langgraph.types import Command

from ... import protocol as p
from ...errors import RunCancelled
from ...publisher.run import Run
from ...state import Decision
from .watch import Interrupt, Watch

Answer: TypeAlias = "Callable[[Any, Decision], Any]"
T = TypeVar("T")


class Driver:
    """Runs a graph in passes. A pass ends when the graph pauses, asks, or ends.

    Args:
        run: The run to publish to.
        graph: The compiled graph.
        watch: Reports the graph's stream.
        answer: Makes the value that `interrupt` returns.
        breakpoints: Whether the graph can stop at breakpoints: it has a checkpointer.
    """

    def __init__(self, run: Run, graph: Any, watch: Watch, *, answer: Answer | None, breakpoints: bool) -> None:
        self._run = run
        self._graph = graph
        self._watch = watch
        self._answer = answer
        self._breakpoints = breakpoints
        self._loop = asyncio.get_running_loop()
        self._control = RunControl()
        self._passing: asyncio.Task[Any] | None = None
        # The interrupts that are open or were just answered, by id, and those that were just answered.
        self._interrupts: dict[str, Interrupt] = {}
        self._answered: set[str] = set()
        # A pause begins at the end of the superstep in which it was requested.
        self._pausing = False
        self._pause: asyncio.Future[None] | None = None

    async def drive(self, given: Any, config: Any, context: Any) -> Any:
        stop = self._run.on_control(self._control_from_thread)
        try:
            while True:
                if self._pausing:
                    await self._paused()
                try:
                    self._control = RunControl()
                    output = await self._interruptible(self._stream(given, config, context))
                except GraphDrained:
                    given = None
                    continue
                except ValueError as error:
                    if not is_invalid_resume(error):
                        raise
                    # LangGraph has applied nothing: all answers can be given again.
                    for name in self._answered:
                        self._ask_again(name, error)
                    given = Command(resume=await self._decisions())
                    continue
                if self._watch.interrupts:
                    self._interrupts, self._watch.interrupts = self._watch.interrupts, {}
                    given = Command(resume=await self._decisions())
                elif await self._at_breakpoint(config):
                    given = None
                else:
                    return output
        finally:
            stop()

    def _control_from_thread(self, request: str) -> None:
        self._loop.call_soon_threadsafe(self._handle_request, request)

    def _handle_request(self, request: str) -> None:
        if request == "pausing":
            self._pausing = True
            self._control.request_drain("pause")
        elif request == "resuming":
            self._pausing = False
            if self._pause is None:
                # The superstep has not ended. The next one follows without a pause.
                self._run.status("running")
            elif not self._pause.done():
                self._pause.set_result(None)
        elif self._passing is not None:
            self._passing.cancel()

    async def _paused(self) -> None:
        self._run.status("paused")
        self._pause = self._loop.create_future()
        try:
            await self._interruptible(_wait_for(self._pause))
        finally:
            self._pause = None
        self._run.status("running")

    async def _stream(self, given: Any, config: Any, context: Any) -> Any:
        output = None
        parts = self._graph.astream(
            given,
            config,
            context=context,
            stream_mode=["tasks", "custom", "values"],
            subgraphs=True,
            version="v2",
            control=self._control,
        )
        async for part in parts:
            if part["type"] == "values":
                if not part["ns"]:
                    output = part["data"]
            else:
                self._watch.handle(part["type"], part["ns"], part["data"])
        return output

    async def _interruptible(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do some work, which ends when a person cancels the run."""
        if self._run.cancelling:
            work.close()
            raise self._cancelled()
        passing = self._passing = asyncio.create_task(work)
        try:
            return await passing
        except asyncio.CancelledError:
            if self._run.cancelling and passing.cancelled():
                raise self._cancelled() from None
            raise
        finally:
            self._passing = None

    def _cancelled(self, why: str | None = None) -> RunCancelled:
        message = why or f"the run of {self._run.dag_id!r} was cancelled"
        return RunCancelled(message, dag_id=self._run.dag_id, run_id=self._run.run_id)

    async def _decisions(self) -> dict[str, Any]:
        """Wait for a decision. Returns what each decided interrupt returns in its node, by the interrupt's id."""
        while True:
            waiting = {
                asyncio.create_task(_wait_for(interrupt.gate)): name for name, interrupt in self._interrupts.items()
            }
            try:
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
            replies = {}
            for task in done:
                name = waiting[task]
                try:
                    replies[name] = self._reply(self._interrupts[name], task.result())
                except ValueError as error:
                    self._ask_again(name, error)
            if replies:
                self._answered = set(replies)
                return replies

    def _reply(self, interrupt: Interrupt, decision: Decision) -> Any:
        return self._answer(interrupt.value, decision) if self._answer is not None else interrupt.answer(decision)

    def _ask_again(self, name: str, error: ValueError) -> None:
        interrupt = self._interrupts[name]
        message = f"the decision does not fit: {error}"
        self._run.error(message, node_id=interrupt.task.node_id, code="invalid_answer")
        # The decided gate is closed, so this is another one.
        gate_id = f"{interrupt.gate.gate_id}+"
        interrupt.gate = self._watch.ask(interrupt.task, interrupt.gate.presentation, gate_id=gate_id)

    async def _at_breakpoint(self, config: Any) -> bool:
        """Whether the graph has stopped at a breakpoint. Asks a person whether to continue."""
        if not self._breakpoints:
            return False
        upcoming = (await self._graph.aget_state(config)).next
        if not upcoming:
            return False
        names = " and ".join(upcoming)
        shown = p.Presentation(title=f"Continue with {names}?", allowed=["approve", "reject"])
        decision = await self._run.ask(upcoming[0], shown)
        if decision.decision == "reject":
            raise self._cancelled(f"{decision.by} stopped the run before {names}")
        return True


async def _wait_for(awaitable: Awaitable[T]) -> T:
    return await awaitable
