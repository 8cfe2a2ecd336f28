"""Simulated runs of any size, published as real ones are: for demos, and to see a large graph in the widget."""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections import defaultdict
from typing import Any, Final

from ..errors import NotConnected, RunCancelled
from ..publisher.run import Run
from ..publisher.start import start_run

_WORKERS: Final = 64
_TICK_SECONDS: Final = 0.05
# The share of executions that fail and are retried.
_FLAKY: Final = 0.01
_GATE: Final = "review"
_ERROR: Final = "TimeoutError: the worker did not answer within 30 s"

Graph = tuple[list[dict[str, Any]], list[tuple[str, str]]]


def graph(nodes: int, seed: int = 7) -> Graph:
    """Make a graph of parallel lanes. Each lane is a row of steps that fan out over shards and join again.

    Args:
        nodes: The number of nodes, at least 5.
        seed: Selects one of many graphs of that size.

    Returns:
        The nodes, and the edges as pairs (from, to).

    Raises:
        ValueError: There are fewer than 5 nodes.

    Example:
        >>> from dagwidget.demo.simulate import graph
        >>> nodes, edges = graph(5)
        >>> [node["id"] for node in nodes]
        ['start', 'lane 1/step 1/1', 'lane 1/step 1/join', 'review', 'report']
    """
    if nodes < 5:
        raise ValueError(f"a simulated run must have at least 5 nodes, got {nodes}")
    chance = random.Random(seed)  # noqa: S311
    specs: list[dict[str, Any]] = [{"id": "start"}]
    edges: list[tuple[str, str]] = []
    lanes = max(1, round((nodes / 100) ** 0.5))
    ends = ["start"] * lanes
    step = 0
    # The rest are shards and their joins: `start`, the gate and `report` are always there.
    while (left := nodes - len(specs) - 2) > 0:
        lane = step % lanes
        width = min(chance.choice((1, 3, 6, 12, 24, 48)), left - 1)
        name = f"lane {lane + 1}/step {step // lanes + 1}"
        join = {"id": f"{name}/join", "label": "join", "group": name}
        shards = [{"id": f"{name}/{i + 1}", "label": f"shard {i + 1}", "group": name} for i in range(width)]
        specs += [*shards, join]
        edges += [(ends[lane], shard["id"]) for shard in shards]
        edges += [(shard["id"], join["id"]) for shard in shards] or [(ends[lane], join["id"])]
        ends[lane] = join["id"]
        step += 1
    specs += [{"id": _GATE, "label": "Review", "kind": "gate"}, {"id": "report"}]
    edges += [(end, _GATE) for end in dict.fromkeys(ends)]
    edges.append((_GATE, "report"))
    return specs, edges


def simulate(dag_id: str, nodes: int = 10_000, seconds: float = 60.0, *, seed: int = 7, **options: Any) -> Run:
    """Start a simulated run, in a thread of its own. It has costs, retries and a gate, and can be paused and cancelled.

    Args:
        dag_id: The DAG.
        nodes: The number of nodes, at least 5.
        seconds: How long the run takes, without the gate.
        seed: Selects one of many runs of that size.
        options: More arguments of `dagwidget.start_run`.

    Returns:
        The run. It ends by itself.

    Raises:
        ValueError: There are fewer than 5 nodes.

    Example:
        >>> from dagwidget.demo.simulate import simulate
        >>> run = simulate("my-dag", nodes=100, seconds=0.1)
    """
    specs, edges = graph(nodes, seed)
    run = start_run(dag_id, specs, edges, budget=round(nodes * 0.0012, 2), **options)
    simulation = _Simulation(run, [spec["id"] for spec in specs], edges, seconds, seed)
    threading.Thread(target=simulation.play, name=f"simulation-{dag_id}", daemon=True).start()
    return run


class _Simulation:
    """Executes nodes that are ready on a fixed number of simulated workers."""

    def __init__(self, run: Run, nodes: list[str], edges: list[tuple[str, str]], seconds: float, seed: int) -> None:
        self._run = run
        self._chance = random.Random(seed)  # noqa: S311
        self._next: dict[str, list[str]] = defaultdict(list)
        self._missing: dict[str, int] = dict.fromkeys(nodes, 0)
        for source, target in edges:
            self._next[source].append(target)
            self._missing[target] += 1
        self._ready = [name for name, missing in self._missing.items() if missing == 0]
        self._takes = {name: self._chance.uniform(0.2, 1.8) for name in nodes}
        self._pace = seconds / self._makespan()
        # The running executions: when each ends, its node, when it started, and its attempt.
        self._running: list[tuple[float, str, float, int]] = []

    def _makespan(self) -> float:
        """The run's duration, with the drawn durations of its nodes."""
        missing, ready = dict(self._missing), list(self._ready)
        running: list[tuple[float, str]] = []
        now = 0.0
        while ready or running:
            while ready and len(running) < _WORKERS:
                name = ready.pop(0)
                heapq.heappush(running, (now + self._takes[name], name))
            now, name = heapq.heappop(running)
            for target in self._next[name]:
                missing[target] -= 1
                if missing[target] == 0:
                    ready.append(target)
        return now

    def play(self) -> None:
        try:
            # The caller may end the run.
            while (self._ready or self._running) and not self._run.is_over:
                self._run.checkpoint().result()
                self._begin()
                time.sleep(_TICK_SECONDS)
                self._report()
                self._end(time.monotonic())
            if not self._run.is_over:
                self._run.complete({"nodes": len(self._missing)})
        except RunCancelled:
            self._run.cancelled()
        except NotConnected:
            # The caller has ended the run, or the server refused it: nobody can decide at the gate.
            self._run.close()

    def _begin(self) -> None:
        while self._ready and len(self._running) < _WORKERS:
            name = self._ready.pop(0)
            if name == _GATE:
                self._review()
            else:
                self._start(name, 1)

    def _review(self) -> None:
        decision = self._run.gate(_GATE, title="Publish the report?", data={"nodes": len(self._missing)}).result()
        if decision.decision == "reject":
            raise RunCancelled(f"{decision.by} rejected the report")
        self._leave(_GATE)

    def _start(self, name: str, attempt: int) -> None:
        now = time.monotonic()
        heapq.heappush(self._running, (now + self._takes[name] * self._pace, name, now, attempt))
        self._run.update(name, "running", attempt=attempt)

    def _report(self) -> None:
        now = time.monotonic()
        for ends, name, started, attempt in self._chance.sample(self._running, min(8, len(self._running))):
            progress = min(0.99, (now - started) / max(ends - started, 1e-9))
            self._run.update(name, "running", attempt=attempt, progress=round(progress, 2))

    def _end(self, now: float) -> None:
        while self._running and self._running[0][0] <= now:
            _, name, started, attempt = heapq.heappop(self._running)
            measured = {"duration_ms": round((now - started) * 1000), "rows": self._chance.randrange(10_000)}
            self._run.cost(round(self._chance.uniform(0.0002, 0.0018), 6), node_id=name)
            if attempt == 1 and self._chance.random() < _FLAKY:
                self._run.update(name, "failed", attempt=attempt, metrics=measured, error=_ERROR)
                self._start(name, attempt + 1)
                continue
            self._run.update(name, "completed", attempt=attempt, metrics=measured)
            self._leave(name)

    def _leave(self, name: str) -> None:
        for target in self._next[name]:
            self._missing[target] -= 1
            if self._missing[target] == 0:
                self._ready.append(target)
