"""LangGraph: `await dagwidget.engines.langgraph.run(graph, input, dag_id="…")` streams a compiled graph.

It listens to what `graph.astream` says of its tasks, and to what models report of their tokens. An `interrupt()`
becomes a gate, and its decision resumes the graph; see `dagwidget.engines.hitl` for the forms that are recognised.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeAlias, TypeVar, cast

from msgspec import Struct

from .. import protocol as p
from ..asking import OpenGate
from ..errors import RunCancelled
from ..node import describe
from ..preview import Redact
from ..pricing import Price
from ..pricing import price as list_price
from ..publisher import Run, start_run
from ..state import Decision
from . import hitl

try:
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.runnables.config import RunnableConfig, merge_configs
    from langgraph.errors import GraphDrained, is_invalid_resume
    from langgraph.runtime import RunControl
    from langgraph.types import Command
except ImportError as error:
    raise ImportError(
        f'dagwidget.engines.langgraph needs LangGraph 1.2 or newer: pip install "dagwidget[langgraph]" ({error})'
    ) from error

__all__ = ["run"]

Answer: TypeAlias = "Callable[[Any, Decision], Any]"
T = TypeVar("T")

# The ends of LangGraph's pictures: nothing runs in them.
_ENDS: Final = frozenset({"__start__", "__end__"})
_PUSHED: Final = "__pregel_push"


async def run(
    graph: Any,
    input: Any,
    *,
    dag_id: str,
    config: Mapping[str, Any] | None = None,
    context: Any = None,
    budget: float | None = None,
    url: str | None = None,
    token: str | None = None,
    redact: Redact | None = None,
    price: Price = list_price,
    answer: Answer | None = None,
) -> Any:
    """Run a compiled graph, as `graph.ainvoke` does, and publish what happens.

    Pausing works between supersteps and, like `interrupt()`, needs a checkpointer. A decision resumes the graph at
    once, also while other gates are open; LangGraph then runs each node that still waits from its start.

    A node tells how far it has come with LangGraph's `get_stream_writer()` or `dispatch_custom_event`: a mapping with
    `progress` (0 to 1) or `message`. A stream writer does not say which of several nodes wrote, so where several run
    at once, it needs a `node` too; everything else that is written goes to the node's log.

    Args:
        graph: A compiled graph.
        input: Its input.
        dag_id: The DAG to publish as.
        config: A `RunnableConfig`. Where the graph has a checkpointer and there is no `thread_id`, a new one is made.
        context: The graph's context.
        budget: How much may be spent, in US dollars; shown, not enforced.
        url: Base URL of the stream server; see `dagwidget.start_run`.
        token: What the server asks for.
        redact: Takes each output, and gives what may be shown of it.
        price: `price(model, usage)`; by default from the table of `genai-prices`.
        answer: `answer(value, decision)` makes of a person's decision what `interrupt(value)` returns, in place of the
            forms that are recognised.

    Returns:
        The graph's output.

    Raises:
        RunCancelled: a person cancelled the run.
        Exception: whatever the graph raises.
    """
    has_checkpointer = bool(getattr(graph, "checkpointer", None))
    capabilities = p.Capabilities(
        pause="native" if has_checkpointer else "none", cancel="native", gate="native" if has_checkpointer else "none"
    )
    handle = start_run(
        dag_id, budget=budget, url=url, token=token, capabilities=capabilities, redact=redact, price=price
    )
    with handle:
        watch = _Watch(handle, graph)
        driver = _Driver(handle, graph, watch, answer)
        settings = merge_configs(cast(RunnableConfig, config), {"callbacks": [_Usage(watch)]})
        if has_checkpointer:
            settings = merge_configs({"configurable": {"thread_id": uuid.uuid4().hex}}, settings)
        try:
            output = await driver.drive(input, settings, context)
        except asyncio.CancelledError:
            handle.cancelled()
            raise
        handle.complete(output)
        return output


class _Driver:
    """Runs the graph from pass to pass: until it pauses, asks, or ends."""

    def __init__(self, run: Run, graph: Any, watch: _Watch, answer: Answer | None) -> None:
        self._run = run
        self._graph = graph
        self._watch = watch
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._control = RunControl()
        self._passing: asyncio.Task[Any] | None = None
        # The interrupts that wait or were just answered, by their id, and which of them have been.
        self._asked: dict[str, _Asked] = {}
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
            raise self._cancellation()
        passing = self._passing = asyncio.create_task(work)
        try:
            return await passing
        except asyncio.CancelledError:
            if self._run.cancelling and passing.cancelled():
                raise self._cancellation() from None
            raise
        finally:
            self._passing = None

    def _cancellation(self) -> RunCancelled:
        return RunCancelled(f"the run of {self._run.dag_id!r} was cancelled")

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

    def _reply(self, asked: _Asked, decision: Decision) -> Any:
        return self._answer(asked.value, decision) if self._answer is not None else asked.answer(decision)

    def _ask_again(self, name: str, error: ValueError) -> None:
        asked = self._asked[name]
        self._run.error(f"this answer does not fit: {error}", node_id=asked.task.node_id, code="invalid_answer")
        # The gate was answered and is closed, so this is another one.
        asked.gate = self._watch.ask(asked.task, asked.gate.presentation, gate_id=f"{asked.gate.gate_id}+")

    async def _at_breakpoint(self, config: Any) -> bool:
        """Whether the graph stands before a node that it was compiled to stop at; a person lets it go on."""
        if not self._graph.checkpointer:
            return False
        upcoming = (await self._graph.aget_state(config)).next
        if not upcoming:
            return False
        names = " and ".join(upcoming)
        shown = p.Presentation(title=f"Go on with {names}?", allowed=["approve", "reject"])
        decision = await self._run.ask(upcoming[0], shown)
        if decision.decision == "reject":
            raise RunCancelled(f"{decision.by} stopped the run before {names}")
        return True


async def _wait_for(awaitable: Awaitable[T]) -> T:
    return await awaitable


class _Task(Struct):
    """A task of LangGraph, as a node's execution or as one of its instances."""

    node_id: str
    instance: str | None
    attempt: int | None
    began: float
    ended: bool = False
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    model: str | None = None

    def metrics(self) -> dict[str, float | str]:
        """What is known of it, at its end."""
        metrics: dict[str, float | str] = {"duration_ms": round((time.perf_counter() - self.began) * 1000, 3)}
        for name in ("tokens_in", "tokens_out", "cost", "model"):
            value = getattr(self, name)
            if value:
                metrics[name] = value
        return metrics


class _Asked(Struct):
    """An interrupt that waits for a person."""

    task: _Task
    gate: OpenGate
    value: Any
    answer: Callable[[Decision], Any]


class _Watch:
    """Turns what a graph's stream says into a run's events."""

    def __init__(self, run: Run, graph: Any) -> None:
        self.gates: dict[str, _Asked] = {}
        """The interrupts of this pass, by their id."""
        self._run = run
        self._tasks: dict[str, _Task] = {}
        # When each node was last begun and last completed, in the order of events.
        self._moment = 0
        self._begun: dict[str, int] = {}
        self._completed: dict[str, int] = {}
        self._visits: dict[str, int] = {}
        self._instances: dict[str, int] = {}
        self._nodes: set[str] = set()
        self._sources: dict[str, list[str]] = {}
        self._groups: set[str] = set()
        self._draw(graph)

    def _draw(self, graph: Any) -> None:
        picture = graph.get_graph(xray=True)
        nodes = [name for name in picture.nodes if name.rpartition(":")[2] not in _ENDS]
        edges = [edge for edge in picture.edges if edge.source in nodes and edge.target in nodes]
        self._nodes.update(nodes)
        self._groups.update(name.rpartition(":")[0] for name in nodes)
        for edge in edges:
            self._sources.setdefault(edge.target, []).append(edge.source)
        self._run.mutate(
            add_nodes=[_spec(name) for name in nodes],
            add_edges=[
                p.EdgeSpec(
                    from_=edge.source,
                    to=edge.target,
                    label=None if edge.data is None else str(edge.data),
                    conditional=edge.conditional or None,
                )
                for edge in edges
            ],
        )

    def take(self, kind: str, namespace: tuple[str, ...], data: Any) -> None:
        if kind == "custom":
            self._written(namespace, data)
        elif "result" not in data:
            self._start(namespace, data)
        else:
            self._end(data)

    def _start(self, namespace: tuple[str, ...], data: Mapping[str, Any]) -> None:
        name = _path(namespace, data["name"])
        if name in self._groups and name not in self._nodes:
            # A subgraph: its nodes speak for it.
            return
        task = self._tasks.get(data["id"])
        if task is not None and task.ended:
            # A sibling was resumed. This one is not run again.
            return
        if task is None:
            task = self._tasks[data["id"]] = self._first_seen(name, namespace, data)
        task.began = time.perf_counter()
        self._run.update(name, "running", instance=task.instance, attempt=task.attempt)

    def _first_seen(self, name: str, namespace: tuple[str, ...], data: Mapping[str, Any]) -> _Task:
        if name not in self._nodes:
            self._nodes.add(name)
            self._run.mutate(add_nodes=[_spec(name)])
        instance = self._instance(name, namespace, data)
        attempt = None
        if instance is None:
            visits = self._visits[name] = self._visits.get(name, 0) + 1
            attempt = visits if visits > 1 else None
        began = self._begun.get(name, -1)
        for source in self._sources.get(name, ()):
            if self._completed.get(source, -1) > began:
                self._run.edge(source, name)
        self._moment += 1
        self._begun[name] = self._moment
        return _Task(node_id=name, instance=instance, attempt=attempt, began=0.0)

    def _instance(self, name: str, namespace: tuple[str, ...], data: Mapping[str, Any]) -> str | None:
        """A task that was sent is one of many; so is a node of a subgraph that was sent."""
        parents = [self._tasks.get(part.rpartition(":")[2]) for part in namespace]
        sent = [task.instance for task in parents if task is not None and task.instance is not None]
        if _PUSHED in data["triggers"]:
            number = self._instances[name] = self._instances.get(name, 0) + 1
            sent.append(str(number))
        return "/".join(sent) or None

    def _end(self, data: Mapping[str, Any]) -> None:
        task = self._tasks.get(data["id"])
        if task is None:
            return
        if data["interrupts"]:
            for interrupt in data["interrupts"]:
                self._interrupted(task, interrupt)
            return
        task.ended = True
        error = data["error"]
        state: dict[str, Any] = {"instance": task.instance, "attempt": task.attempt, "metrics": task.metrics()}
        if error is None:
            self._moment += 1
            self._completed[task.node_id] = self._moment
            self._run.update(task.node_id, "completed", output=data["result"], **state)
        elif isinstance(error, BaseException):
            self._run.update(task.node_id, "failed", error=describe(error), **state)
            self._run.error(error, node_id=task.node_id)
        else:
            self._run.update(task.node_id, "failed", error=str(error), **state)

    def _interrupted(self, task: _Task, interrupt: Mapping[str, Any]) -> None:
        # A subgraph's interrupt is told by each graph that it is in; the innermost is the first.
        if interrupt["id"] not in self.gates:
            shown, answer = hitl.question(interrupt["value"], interrupt.get("response_schema"))
            gate = self.ask(task, shown, gate_id=interrupt["id"])
            self.gates[interrupt["id"]] = _Asked(task, gate, interrupt["value"], answer)

    def ask(self, task: _Task, shown: p.Presentation, *, gate_id: str) -> OpenGate:
        """Open a gate at the task's node, which waits meanwhile."""
        self._run.update(task.node_id, "waiting", instance=task.instance, attempt=task.attempt)
        return self._run.ask(task.node_id, shown, gate_id=gate_id, instance=task.instance)

    # --- What nodes say of themselves

    def _written(self, namespace: tuple[str, ...], data: Any) -> None:
        running = [
            task
            for task in self._tasks.values()
            if not task.ended and task.node_id.rpartition(":")[0] == _group(namespace)
        ]
        named = data.get("node") if isinstance(data, Mapping) else None
        if named is not None:
            running = [task for task in running if task.node_id.rpartition(":")[2] == named]
        if len(running) == 1:
            self.report(running[0], data)

    def report(self, task: _Task, data: Any) -> None:
        """Show what a node wrote: how far it has come or, failing that, in its log."""
        progress, message = (data.get("progress"), data.get("message")) if isinstance(data, Mapping) else (None, None)
        if isinstance(progress, (int, float)) and 0 <= progress <= 1:
            self._run.update(
                task.node_id,
                "running",
                instance=task.instance,
                attempt=task.attempt,
                progress=float(progress),
                message=None if message is None else str(message),
            )
        else:
            self._run.log(task.node_id, message if message is not None else data)

    def task_of(self, metadata: Mapping[str, Any] | None) -> _Task | None:
        """The task that a callback of LangChain's comes from."""
        namespace = str((metadata or {}).get("langgraph_checkpoint_ns", ""))
        return self._tasks.get(namespace.rpartition("|")[2].rpartition(":")[2])

    def spent(self, task: _Task | None, model: str | None, usage: Mapping[str, Any]) -> None:
        tokens_in, tokens_out = int(usage.get("input_tokens") or 0), int(usage.get("output_tokens") or 0)
        details = usage.get("input_token_details") or {}
        amount = self._run.cost(
            node_id=None if task is None else task.node_id,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            model=model,
            cache_read=int(details.get("cache_read") or 0),
            cache_write=int(details.get("cache_creation") or 0),
        )
        if task is not None:
            task.tokens_in += tokens_in
            task.tokens_out += tokens_out
            task.cost += amount or 0.0
            task.model = model


class _Usage(BaseCallbackHandler):
    """Hears from LangChain's models what they used, and from nodes what they dispatch."""

    # In the thread of whoever calls, so that it comes before the node has ended.
    run_inline = True

    def __init__(self, watch: _Watch) -> None:
        self._watch = watch
        self._calls: dict[uuid.UUID, tuple[_Task | None, str | None]] = {}

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],  # noqa: ARG002
        messages: Any,  # noqa: ARG002
        *,
        run_id: uuid.UUID,
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        self._calls[run_id] = (self._watch.task_of(metadata), (metadata or {}).get("ls_model_name"))

    on_llm_start = on_chat_model_start  # type: ignore[assignment]

    def on_llm_end(self, response: Any, *, run_id: uuid.UUID, **_: Any) -> None:
        task, model = self._calls.pop(run_id, (None, None))
        for generations in response.generations:
            message = getattr(generations[0], "message", None) if generations else None
            usage = getattr(message, "usage_metadata", None)
            if usage:
                answered = message.response_metadata.get("model_name") if message is not None else None
                self._watch.spent(task, answered or model, usage)

    def on_llm_error(self, error: BaseException, *, run_id: uuid.UUID, **_: Any) -> None:  # noqa: ARG002
        self._calls.pop(run_id, None)

    def on_custom_event(
        self,
        name: str,  # noqa: ARG002
        data: Any,
        *,
        run_id: uuid.UUID,  # noqa: ARG002
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        task = self._watch.task_of(metadata)
        if task is not None:
            self._watch.report(task, data)


def _path(namespace: tuple[str, ...], name: str) -> str:
    """`sub:inner`, as in the graph's picture, of `("sub:<task>",)` and `inner`."""
    group = _group(namespace)
    return f"{group}:{name}" if group else name


def _group(namespace: tuple[str, ...]) -> str:
    return ":".join(part.rpartition(":")[0] for part in namespace)


def _spec(name: str) -> p.NodeSpec:
    path, _, label = name.rpartition(":")
    return p.NodeSpec(id=name, label=label if path else None, group=path.replace(":", "/") or None)
