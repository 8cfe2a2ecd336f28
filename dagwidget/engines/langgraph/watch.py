"""Reports the stream of a graph's tasks as a run's events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from ... import protocol as p
from ...errors import DagwidgetError
from ...publisher.handles import OpenGate
from ...publisher.run import Run
from ...publisher.tracebacks import describe
from ...state import Decision
from . import hitl

# The entry and exit nodes of a LangGraph drawing, which never run.
_ENDS: Final = frozenset({"__start__", "__end__"})
# The trigger of a task that `Send` made.
_PUSHED: Final = "__pregel_push"


class Task(Struct):
    """A LangGraph task: an execution of a node, or of an instance of it."""

    node_id: str
    instance: str | None
    attempt: int | None
    started: float
    ended: bool = False
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    model: str | None = None

    def metrics(self) -> dict[str, float | str]:
        """The task's metrics at its end."""
        metrics: dict[str, float | str] = {"duration_ms": round((time.perf_counter() - self.started) * 1000, 3)}
        for name in ("tokens_in", "tokens_out", "cost", "model"):
            value = getattr(self, name)
            if value:
                metrics[name] = value
        return metrics


class Interrupt(Struct):
    """An interrupt that waits for a decision."""

    task: Task
    gate: OpenGate
    value: Any
    answer: Callable[[Decision], Any]


class Watch:
    """Reports a graph's stream as a run's events.

    Args:
        run: The run to publish to.
        graph: The compiled graph.

    Attributes:
        interrupts: The interrupts of the current pass, by id.
    """

    def __init__(self, run: Run, graph: Any) -> None:
        self.interrupts: dict[str, Interrupt] = {}
        self._run = run
        self._resumable = bool(getattr(graph, "checkpointer", None))
        self._tasks: dict[str, Task] = {}
        # When each node last started and last completed, as a counter of such events.
        self._moment = 0
        self._started: dict[str, int] = {}
        self._completed: dict[str, int] = {}
        self._visits: dict[str, int] = {}
        self._instances: dict[str, int] = {}
        self._nodes: set[str] = set()
        self._sources: dict[str, list[str]] = {}
        self._groups: set[str] = set()
        self._publish_graph(graph)

    def _publish_graph(self, graph: Any) -> None:
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

    def handle(self, kind: str, namespace: tuple[str, ...], data: Any) -> None:
        """Report a part of the stream: a task's start or end, or what a stream writer wrote."""
        if kind == "custom":
            self._handle_custom(namespace, data)
        elif "result" not in data:
            self._start(namespace, data)
        else:
            self._end(data)

    def _start(self, namespace: tuple[str, ...], data: Mapping[str, Any]) -> None:
        name = _path(namespace, data["name"])
        if name in self._groups and name not in self._nodes:
            # A subgraph, which is shown by its nodes.
            return
        task = self._tasks.get(data["id"])
        if task is not None and task.ended:
            # LangGraph repeats ended tasks when it resumes a sibling.
            return
        if task is None:
            task = self._tasks[data["id"]] = self._first_seen(name, namespace, data)
        task.started = time.perf_counter()
        self._run.update(name, "running", instance=task.instance, attempt=task.attempt)

    def _first_seen(self, name: str, namespace: tuple[str, ...], data: Mapping[str, Any]) -> Task:
        if name not in self._nodes:
            self._nodes.add(name)
            self._run.mutate(add_nodes=[_spec(name)])
        instance = self._instance(name, namespace, data)
        attempt = None
        if instance is None:
            visits = self._visits[name] = self._visits.get(name, 0) + 1
            attempt = visits if visits > 1 else None
        started = self._started.get(name, -1)
        for source in self._sources.get(name, ()):
            if self._completed.get(source, -1) > started:
                self._run.edge(source, name)
        self._moment += 1
        self._started[name] = self._moment
        return Task(node_id=name, instance=instance, attempt=attempt, started=0.0)

    def _instance(self, name: str, namespace: tuple[str, ...], data: Mapping[str, Any]) -> str | None:
        """The instance of a task that `Send` made, or of a node in a subgraph that `Send` made."""
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

    def _interrupted(self, task: Task, interrupt: Mapping[str, Any]) -> None:
        # Each graph around a subgraph repeats its interrupt. The innermost comes first.
        if not self._resumable:
            raise DagwidgetError(
                f"node {task.node_id!r} calls interrupt(), which requires a checkpointer: "
                "compile the graph with one, such as graph.compile(checkpointer=InMemorySaver())"
            )
        if interrupt["id"] not in self.interrupts:
            shown, answer = hitl.question(interrupt["value"], interrupt.get("response_schema"))
            gate = self.ask(task, shown, gate_id=interrupt["id"])
            self.interrupts[interrupt["id"]] = Interrupt(task, gate, interrupt["value"], answer)

    def ask(self, task: Task, shown: p.Presentation, *, gate_id: str) -> OpenGate:
        """Open a gate, and set the task to waiting."""
        self._run.update(task.node_id, "waiting", instance=task.instance, attempt=task.attempt)
        return self._run.ask(task.node_id, shown, gate_id=gate_id, instance=task.instance)

    # --- Reports by nodes

    def _handle_custom(self, namespace: tuple[str, ...], data: Any) -> None:
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

    def report(self, task: Task, data: Any) -> None:
        """Report what a node wrote: as its progress if it is that, or else in its log."""
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

    def task_of(self, metadata: Mapping[str, Any] | None) -> Task | None:
        """The task that a LangChain callback belongs to."""
        namespace = str((metadata or {}).get("langgraph_checkpoint_ns", ""))
        return self._tasks.get(namespace.rpartition("|")[2].rpartition(":")[2])

    def add_tokens(self, task: Task | None, model: str | None, usage: Mapping[str, Any]) -> None:
        """Report the tokens of a call to a model."""
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


def _path(namespace: tuple[str, ...], name: str) -> str:
    """The name of a node in the drawing: `sub:inner` for `("sub:<task>",)` and `inner`."""
    group = _group(namespace)
    return f"{group}:{name}" if group else name


def _group(namespace: tuple[str, ...]) -> str:
    return ":".join(part.rpartition(":")[0] for part in namespace)


def _spec(name: str) -> p.NodeSpec:
    path, _, label = name.rpartition(":")
    return p.NodeSpec(id=name, label=label if path else None, group=path.replace(":", "/") or None)
