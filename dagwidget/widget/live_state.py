"""The run's state as traits: live read-only mappings, and what a batch of events changes in them.

A batch costs what it changes, never the size of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from .. import protocol as p
from ..state import DagState, Edge, Node

K = TypeVar("K")
V = TypeVar("V")


class LiveNodes(Mapping[str, Node]):
    """The nodes of the run by id, as they are now. Iteration is over a copy of the ids."""

    def __init__(self, state: Callable[[], DagState]) -> None:
        self._state = state

    def __getitem__(self, node_id: str) -> Node:
        return self._state().nodes[node_id]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._state().nodes))

    def __len__(self) -> int:
        return len(self._state().nodes)

    def __repr__(self) -> str:
        return repr(self._state().nodes)


class LiveEdges(Mapping[tuple[str, str], Edge]):
    """The edges of the run by `(from, to)`, as they are now. Iteration is over a copy of the pairs."""

    def __init__(self, state: Callable[[], DagState]) -> None:
        self._state = state

    def __getitem__(self, edge: tuple[str, str]) -> Edge:
        source, target = edge
        return self._state().edges[target][source]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        edges = self._state().edges
        return iter([(source, target) for target in list(edges) for source in list(edges.get(target, ()))])

    def __len__(self) -> int:
        return sum(map(len, list(self._state().edges.values())))

    def __repr__(self) -> str:
        return repr(dict(self))


class Changes:
    """The nodes and edges that batches of events have changed; `everything` after a reset."""

    def __init__(self) -> None:
        self.everything = False
        self.nodes: set[str] = set()
        self.edges: set[tuple[str, str]] = set()

    def __bool__(self) -> bool:
        return self.everything or bool(self.nodes or self.edges)

    def add(self, events: Iterable[p.Event], state: DagState) -> None:
        """Note what `events`, that were applied to `state`, may have changed."""
        for event in events:
            match event:
                case p.NodeState():
                    self.nodes.add(event.node_id)
                    if event.status in p.TERMINAL:
                        # Nothing flows into a settled node.
                        self.edges.update((source, event.node_id) for source in state.edges.get(event.node_id, ()))
                case p.NodeLog() | p.HumanGateWaiting():
                    self.nodes.add(event.node_id)
                case p.EdgeActive():
                    self.nodes.update((event.from_, event.to))
                    self.edges.add((event.from_, event.to))
                case p.DagMutated():
                    self._mutated(event.mutation)
                case p.ExecutionComplete():
                    # Nothing flows any more.
                    self.edges.update((source, target) for target, sources in state.edges.items() for source in sources)

    def _mutated(self, mutation: p.Mutation) -> None:
        for spec in (*(mutation.add_nodes or ()), *(mutation.update_nodes or ())):
            self.nodes.add(spec.id)
        for edge in (*(mutation.add_edges or ()), *(mutation.remove_edges or ())):
            self.edges.add((edge.from_, edge.to))
            self.nodes.update((edge.from_, edge.to))
        if mutation.remove_nodes:
            # Their edges went with them, and are no longer there to be counted.
            self.everything = True
