"""What becomes of the nodes that a run leaves open when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .. import protocol as p
from ..state import Execution, Node


def unfinished(nodes: Iterable[Node]) -> Iterator[p.NodeState]:
    """The ends to infer: nothing runs or waits any more, and what never started is skipped."""
    for node in nodes:
        for name, instance in (node.instances or {}).items():
            yield from _end(node.id, instance, name)
        if not node.instances:
            yield from _end(node.id, node, None)


def _end(node_id: str, execution: Execution, instance: str | None) -> Iterator[p.NodeState]:
    if execution.status not in p.TERMINAL:
        status: p.NodeStatus = "skipped" if execution.status == "pending" else "cancelled"
        yield p.NodeState(
            node_id=node_id,
            instance=instance,
            attempt=execution.attempt,
            status=status,
            reason="the run ended",
            inferred=True,
        )
