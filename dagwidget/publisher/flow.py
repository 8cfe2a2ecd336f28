"""Which nodes run in this process, as which attempt and instance, and which edges have carried something to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from .. import protocol as p
from .lifecycle import Origin, note_exit, whereabouts


class Entered(Protocol):
    """An execution of a node: its instance and attempt are given when it begins."""

    node_id: str
    instance: str | None
    attempt: int | None
    started_at: int


class _Calls:
    """The executions of one node that are open, and what the next ones are called."""

    def __init__(self) -> None:
        self.open: list[Entered] = []
        self.visits = 0
        self.attempt: int | None = None
        # How many have overlapped in this attempt.
        self.instances = 0


class Flow:
    """Follows the executions of a run's nodes, and publishes the edges that they activate. Thread-safe.

    Executions of a node that overlap are instances of one attempt: the second one that opens makes the first "1" and
    itself "2". One that opens after all have ended is the next attempt.
    """

    def __init__(self, publish: Callable[[p.Event], None], worker: Callable[[], str | None], origin: Origin) -> None:
        """Args:
        publish: Publishes an event.
        worker: The name of this process as a worker of the run; None where it owns the run.
        origin: Where the run was begun.
        """
        self._publish = publish
        self._worker = worker
        self._origin = origin
        self._lock = threading.RLock()
        # The sources of each node's incoming edges.
        self._sources: dict[str, list[str]] = {}
        self._finished: set[str] = set()
        self._calls: dict[str, _Calls] = {}

    def add_edges(self, edges: Iterable[p.EdgeSpec]) -> None:
        """Learn edges of the graph."""
        with self._lock:
            for edge in edges:
                self._sources.setdefault(edge.to, []).append(edge.from_)

    def activate_into(self, node_id: str) -> None:
        """Activate the edges from what has finished into a node, unless that is running already."""
        with self._lock:
            self._activate_into(node_id)

    def enter(self, execution: Entered) -> None:
        """An execution begins: give it its attempt and instance."""
        # A `sys.exit` that left a node before was caught by the program.
        note_exit(None)
        self._origin.note(whereabouts())
        with self._lock:
            self._activate_into(execution.node_id)
            calls = self._calls.setdefault(execution.node_id, _Calls())
            worker = self._worker()
            if execution.instance is not None:
                # Its caller tells its executions apart.
                pass
            elif worker is not None:
                calls.visits += 1
                execution.instance = f"{worker}:{calls.visits}"
            elif any(other.instance is None or other.attempt == calls.attempt for other in calls.open):
                self._overlap(calls, execution)
            else:
                calls.visits += 1
                calls.attempt = execution.attempt = calls.visits if calls.visits > 1 else None
                calls.instances = 1
            calls.open.append(execution)

    def _overlap(self, calls: _Calls, execution: Entered) -> None:
        for first in calls.open:
            if first.instance is None:
                first.instance = "1"
                self._publish(
                    p.NodeState(
                        node_id=first.node_id,
                        status="running",
                        instance="1",
                        attempt=first.attempt,
                        started_at=first.started_at,
                    )
                )
        calls.instances += 1
        execution.instance, execution.attempt = str(calls.instances), calls.attempt

    def leave(self, execution: Entered, error: BaseException | None = None) -> bool:
        """An execution has ended, by an exception if one is given.

        Returns:
            False in a forked child that leaves what its parent has entered: there it goes on.
        """
        note_exit(error)
        with self._lock:
            calls = self._calls.get(execution.node_id)
            if calls is None or execution not in calls.open:
                return False
            calls.open.remove(execution)
            if not calls.open:
                self._finished.add(execution.node_id)
            return True

    def finish(self, node_id: str) -> None:
        """A node that is no more than a gate has been completed."""
        with self._lock:
            self._finished.add(node_id)

    def is_running(self, node_id: str) -> bool:
        """Whether an execution of the node is running."""
        calls = self._calls.get(node_id)
        return calls is not None and bool(calls.open)

    def after_fork(self) -> None:
        """In a forked child: what runs, runs in the parent."""
        self._lock = threading.RLock()
        self._calls = {}

    def _activate_into(self, node_id: str) -> None:
        if not self.is_running(node_id):
            for source in self._sources.get(node_id, ()):
                if source in self._finished:
                    self._publish(p.EdgeActive(from_=source, to=node_id))
