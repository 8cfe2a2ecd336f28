"""Runs a graph, and lets a person steer it: gates, pause and cancel."""

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
from .watch import Asked, Watch

Answer: TypeAlias = "Callable[[Any, Decision], Any]"
T = TypeVar("T")


class Driver:
    """Runs the graph from pass to pass: until it pauses, asks, or ends."""

    def __init__(self, run: Run, graph: Any, watch: Watch, *, answer: Answer | None, breakpoints: bool) -> None:
        self._run = run
        self._graph = graph
        self._watch = watch
        self._answer = answer
        self._breakpoints = breakpoints
        self._loop = asyncio.get_running_loop()
        self._control = RunControl()
        self._passing: asyncio.Task[Any] | None = None
        # The interrupts that wait or were just answered, by their id, and which of them have been.
        self._asked: dict[str, Asked] = {}
        self._answered: set[str] = set()
        # A pause is asked for, then the superstep ends, then it is there.
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
                    # LangGraph has taken none of it, so it can be answered anew.
                    for name in self._answered:
                        self._ask_again(name, error)
                    given = Command(resume=await self._decisions())
                    continue
                if self._watch.gates:
                    self._asked, self._watch.gates = self._watch.gates, {}
                    given = Command(resume=await self._decisions())
                elif await self._at_breakpoint(config):
                    given = None
                else:
                    return output
        finally:
            stop()

    def _control_from_thread(self, asked: str) -> None:
        self._loop.call_soon_threadsafe(self._hear, asked)

    def _hear(self, asked: str) -> None:
        if asked == "pausing":
            self._pausing = True
            self._control.request_drain("pause")
        elif asked == "resuming":
            self._pausing = False
            if self._pause is None:
                # The superstep has not ended yet; when it has, the next one begins at once.
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
                self._watch.take(part["type"], part["ns"], part["data"])
        return output

    async def _interruptible(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do what a person's cancelling ends."""
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
        """Wait for a decision; gives what each interrupt that has one is resumed with, by its id."""
        while True:
            waiting = {asyncio.create_task(_wait_for(asked.gate)): name for name, asked in self._asked.items()}
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
                    replies[name] = self._reply(self._asked[name], task.result())
                except ValueError as error:
                    self._ask_again(name, error)
            if replies:
                self._answered = set(replies)
                return replies

    def _reply(self, asked: Asked, decision: Decision) -> Any:
        return self._answer(asked.value, decision) if self._answer is not None else asked.answer(decision)

    def _ask_again(self, name: str, error: ValueError) -> None:
        asked = self._asked[name]
        self._run.error(f"this answer does not fit: {error}", node_id=asked.task.node_id, code="invalid_answer")
        # The gate was answered and is closed, so this is another one.
        asked.gate = self._watch.ask(asked.task, asked.gate.presentation, gate_id=f"{asked.gate.gate_id}+")

    async def _at_breakpoint(self, config: Any) -> bool:
        """Whether the graph stands before a node that it was compiled to stop at; a person lets it go on."""
        if not self._breakpoints:
            return False
        upcoming = (await self._graph.aget_state(config)).next
        if not upcoming:
            return False
        names = " and ".join(upcoming)
        shown = p.Presentation(title=f"Go on with {names}?", allowed=["approve", "reject"])
        decision = await self._run.ask(upcoming[0], shown)
        if decision.decision == "reject":
            raise self._cancelled(f"{decision.by} stopped the run before {names}")
        return True


async def _wait_for(awaitable: Awaitable[T]) -> T:
    return await awaitable
