"""A made-up run of any size, played as a real one is: for demos, and to see what a large graph looks like."""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections import defaultdict
from typing import Any, Final

from ..errors import RunCancelled
from ..publisher.run import Run
from ..publisher.start import start_run

_WORKERS: Final = 64
_TICK_SECONDS: Final = 0.05
# Of all executions, how many fail and are tried again.
_FLAKY: Final = 0.01
_GATE: Final = "review"
_FAULT: Final = "TimeoutError: the worker did not answer in 30 s"

Graph = tuple[list[dict[str, Any]], list[tuple[str, str]]]


def graph(nodes: int, seed: int = 7) -> Graph:
    """A graph of `nodes` nodes: parallel lanes of steps, each of which fans out over shards and joins again.

    Args:
        nodes: How many there are; at least 5.
        seed: Makes another graph of the same kind.

    Returns:
        Its nodes, and its edges as (from, to).
    """
    if nodes < 5:
        raise ValueError(f"a rehearsal has at least 5 nodes, not {nodes}")
    chance = random.Random(seed)  # noqa: S311
    specs: list[dict[str, Any]] = [{"id": "start"}]
    edges: list[tuple[str, str]] = []
    lanes = max(1, round((nodes / 100) ** 0.5))
    ends = ["start"] * lanes
    step = 0
    # What is left for shards and their joins: `start`, the gate and `report` are always there.
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


def rehearse(dag_id: str, nodes: int = 10_000, seconds: float = 60.0, *, seed: int = 7, **options: Any) -> Run:
    """Play a run of `nodes` nodes in about `seconds` seconds, in a thread of its own.

    It has costs, retries, and a gate at the end; it can be paused and cancelled.

    Args:
        dag_id: The DAG to publish as.
        nodes: How many nodes it has; at least 5.
        seconds: How long it takes, without the gate.
        seed: Makes another run of the same kind.
        options: As for `dagwidget.start_run`.

    Returns:
        The run.
    """
    specs, edges = graph(nodes, seed)
    run = start_run(dag_id, specs, edges, budget=round(nodes * 0.0012, 2), **options)
    player = _Player(run, [spec["id"] for spec in specs], edges, seconds, seed)
    threading.Thread(target=player.play, name=f"rehearsal-{dag_id}", daemon=True).start()
    return run


class _Player:
    """Runs what is ready on a fixed number of workers, in made-up time."""

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
        # When each that runs will end, its name, when it began, and which attempt it is.
        self._running: list[tuple[float, str, float, int]] = []

    def _makespan(self) -> float:
        """How long it would take with the times as they were drawn."""
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
            while self._ready or self._running:
                self._run.checkpoint().result()
                self._begin()
                time.sleep(_TICK_SECONDS)
                self._report()
                self._end(time.monotonic())
            self._run.complete({"nodes": len(self._missing)})
        except RunCancelled:
            self._run.cancelled()

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
        for ends, name, began, attempt in self._chance.sample(self._running, min(8, len(self._running))):
            progress = min(0.99, (now - began) / max(ends - began, 1e-9))
            self._run.update(name, "running", attempt=attempt, progress=round(progress, 2))

    def _end(self, now: float) -> None:
        while self._running and self._running[0][0] <= now:
            _, name, began, attempt = heapq.heappop(self._running)
            measured = {"duration_ms": round((now - began) * 1000), "rows": self._chance.randrange(10_000)}
            self._run.cost(round(self._chance.uniform(0.0002, 0.0018), 6), node_id=name)
            if attempt == 1 and self._chance.random() < _FLAKY:
                self._run.update(name, "failed", attempt=attempt, metrics=measured, error=_FAULT)
                self._start(name, attempt + 1)
                continue
            self._run.update(name, "completed", attempt=attempt, metrics=measured)
            self._leave(name)

    def _leave(self, name: str) -> None:
        for target in self._next[name]:
            self._missing[target] -= 1
            if self._missing[target] == 0:
                self._ready.append(target)
