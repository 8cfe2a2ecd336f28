"""Which nodes run in this process, and which edges are active."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from .. import protocol as p


class Flow:
    """Tracks the executions of a run's nodes, and publishes the edges that they activate. Thread-safe.

    Args:
        publish: Publishes an event.
    """

    def __init__(self, publish: Callable[[p.Event], None]) -> None:
        self._publish = publish
        self._lock = threading.Lock()
        # The sources of each node's incoming edges.
        self._sources: dict[str, list[str]] = {}
        self._finished: set[str] = set()
        # How often each node has started, without its instances.
        self._visits: dict[str, int] = {}
        # The number of running executions of each node.
        self._running: dict[str, int] = {}

    def add_edges(self, edges: Iterable[p.EdgeSpec]) -> None:
        """Add edges of the graph."""
        with self._lock:
            for edge in edges:
                self._sources.setdefault(edge.to, []).append(edge.from_)

    def activate_into(self, node_id: str) -> None:
        """Activate the edges from finished nodes into a node, unless the node is running."""
        with self._lock:
            self._activate_into(node_id)

    def enter(self, node_id: str, instance: str | None) -> int | None:
        """Start an execution of a node.

        Returns:
            The number of its attempt; None for the first, and for an instance.
        """
        with self._lock:
            self._activate_into(node_id)
            self._running[node_id] = self._running.get(node_id, 0) + 1
            if instance is not None:
                return None
            visits = self._visits[node_id] = self._visits.get(node_id, 0) + 1
            return visits if visits > 1 else None

    def leave(self, node_id: str) -> None:
        """End an execution of a node."""
        with self._lock:
            self._running[node_id] -= 1
            if not self._running[node_id]:
                del self._running[node_id]
                self._finished.add(node_id)

    def finish(self, node_id: str) -> None:
        """Finish a node that consists of a gate only."""
        with self._lock:
            self._finished.add(node_id)

    def is_running(self, node_id: str) -> bool:
        """Whether an execution of the node is running."""
        return node_id in self._running

    def _activate_into(self, node_id: str) -> None:
        if node_id not in self._running:
            for source in self._sources.get(node_id, ()):
                if source in self._finished:
                    self._publish(p.EdgeActive(from_=source, to=node_id))
