"""`DagState`: the one reducer of a run's events. `compact`, in compaction.py, is its inverse.

The browser's reducer has the same rules; both run the vectors in `tests/vectors`. Records are
frozen and replaced when they change, so a reader may keep what it was given, and `is` tells whether something changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from .. import protocol as p
from .records import FINAL, Cost, Decision, Edge, Execution, Fault, Gate, Node, RunStatus

LOG_TAIL: Final = 200
"""How many log lines of a node are kept."""
ERRORS_TAIL: Final = 100
"""How many errors of a run are kept."""

# The statuses of a run from a request until the engine confirms it.
_ASKED: Final = ("pausing", "resuming", "cancelling")
# An instance's status decides its node's in this order.
_WORST_FIRST: Final = ("failed", "waiting", "running", "pending", "cancelled", "completed", "skipped")


class DagState(Struct, kw_only=True):
    """The state that a run's events add up to."""

    epoch: str | None = None
    seq: int = 0
    status: RunStatus = "pending"
    capabilities: p.Capabilities | None = None
    started_at: int | None = None
    ended_at: int | None = None
    nodes: dict[str, Node] = {}
    edges: dict[str, dict[str, Edge]] = {}
    """By target, then by source."""
    gates: dict[str, Gate] = {}
    """By `gate_id`."""
    cost: Cost | None = None
    decisions: list[Decision] = []
    errors: list[Fault] = []
    results: Any = None
    reason: str | None = None
    """Why the run ended."""
    inferred: bool | None = None
    """The end is the room's inference: the engine's own end replaces it."""
    asked_at: int | None = None
    """When the pause, resume or cancel was asked that the engine has not confirmed yet."""

    def apply(self, event: p.Event) -> None:
        """Apply one event. Events must come in the order of their `seq`; it is the caller who drops duplicates."""
        apply = _APPLY.get(type(event))
        if apply is not None:
            apply(self, event)
        if event.seq is not None:
            self.seq = event.seq

    def copy(self) -> DagState:
        """The state as it is now, which later events don't change. Costs what a look at each node does."""
        return replace(
            self,
            nodes={
                name: node if node.instances is None else replace(node, instances={**node.instances})
                for name, node in self.nodes.items()
            },
            edges={target: {**sources} for target, sources in self.edges.items()},
            gates={**self.gates},
        )

    def to_dict(self) -> dict[str, Any]:
        """The whole state as JSON-safe values; what is absent has no key."""
        return {name: value for name, value in to_builtins(self).items() if value is not None}


def reduce(events: Iterable[p.Event], state: DagState | None = None) -> DagState:
    """Apply `events` in order to `state` (an empty one when absent), and return it."""
    state = DagState() if state is None else state
    for event in events:
        state.apply(event)
    return state


# --- Applying events


def _begin(state: DagState, ts: int | None) -> None:
    if state.status == "pending":
        state.status = "running"
        state.started_at = ts


def _node(state: DagState, node_id: str) -> Node:
    """The node of that name, made where it is not yet known."""
    node = state.nodes.get(node_id)
    if node is None:
        node = state.nodes[node_id] = Node(id=node_id, status="pending")
    return node


def _edge(state: DagState, source: str, target: str) -> Edge:
    _node(state, source)
    _node(state, target)
    sources = state.edges.setdefault(target, {})
    edge = sources.get(source)
    if edge is None:
        edge = sources[source] = Edge(active=False, taken=False)
    return edge


def _node_state(state: DagState, event: p.NodeState) -> None:
    if event.inferred:
        _infer_end(state, event)
        return
    if event.status != "pending":
        _begin(state, event.ts)
    node = _node(state, event.node_id)
    if event.attempt is not None and _starts_attempt(node, event.attempt, event.instance):
        node = _next_attempt(node, event.attempt)
    if event.instance is None:
        # Its instances decide a node's status, so it does not say whether the node's own execution has ended.
        fields = _advance(node, event, ended=node.instances is None and _has_ended(node))
        if fields is not None:
            _set_node(state, replace(node, **fields))
        return
    before = (node.instances or {}).get(event.instance)
    if before is None:
        if event.attempt is not None and node.attempt is not None and event.attempt < node.attempt:
            return
        before = Execution(status="pending", attempt=node.attempt)
    fields = _advance(before, event, ended=_has_ended(before))
    if fields is not None:
        _set_instance(state, node, event.instance, Execution(**fields))


def _infer_end(state: DagState, event: p.NodeState) -> None:
    """End an execution that is open, as the run has ended. What the engine said of it stays as it is."""
    node = state.nodes.get(event.node_id)
    if node is None or event.status not in p.TERMINAL:
        return
    if event.instance is not None:
        execution: Execution | None = (node.instances or {}).get(event.instance)
    else:
        execution = node if node.instances is None else None
    if execution is None or execution.status in p.TERMINAL or event.attempt not in (None, execution.attempt):
        return
    _begin(state, event.ts)
    end: dict[str, Any] = {
        "status": event.status,
        "native": event.native,
        "reason": event.reason,
        "message": event.message,
        "ended_at": event.ended_at if event.ended_at is not None else event.ts,
        "inferred": True,
    }
    if event.instance is not None:
        _set_instance(state, node, event.instance, replace(execution, **end))
    else:
        _set_node(state, replace(node, **end))


def _has_ended(execution: Execution) -> bool:
    """Whether the engine said that the execution has ended."""
    return execution.status in p.TERMINAL and not execution.inferred


def _starts_attempt(node: Node, attempt: int, instance: str | None) -> bool:
    """Whether an event begins the node's next attempt, with no instances: one that it names, after all others ended."""
    if not node.settled:
        return False
    if instance is None:
        # The first attempt may go without a number.
        return node.instances is not None and attempt > (1 if node.attempt is None else node.attempt)
    if node.attempt is None or attempt <= node.attempt:
        # In a node whose attempts have no numbers, an instance counts its own.
        return False
    before = (node.instances or {}).get(instance)
    return before is None or attempt > (before.attempt or 0)


def _next_attempt(node: Node, attempt: int) -> Node:
    return Node(
        id=node.id,
        status="pending",
        attempt=attempt,
        label=node.label,
        kind=node.kind,
        group=node.group,
        description=node.description,
        logs=node.logs,
    )


def _advance(old: Execution, event: p.NodeState, *, ended: bool) -> dict[str, Any] | None:
    """The fields of an execution after `event`, or None where the event changes nothing.

    Args:
        old: The execution before it.
        event: What the engine says of it.
        ended: Whether the engine said that it has ended.
    """
    terminal = event.status in p.TERMINAL
    if event.attempt is not None and old.attempt is not None:
        late = ended and not terminal and event.attempt == old.attempt
        if late or event.attempt < old.attempt:
            return None
    restarts = ended and not terminal
    kept = old
    if restarts or (event.attempt is not None and event.attempt > (old.attempt or 0)):
        kept = Execution(status=event.status, attempt=old.attempt)
    started_at = event.started_at if event.started_at is not None else kept.started_at
    if started_at is None and event.status == "running":
        started_at = event.ts
    ended_at = event.ended_at
    if not terminal:
        ended_at = None
    elif ended_at is None:
        ended_at = kept.ended_at if kept.ended_at is not None and not kept.inferred else event.ts
    error = event.error if event.error is not None else kept.error
    return {
        "status": event.status,
        "output": event.output if event.output is not None else kept.output,
        "output_bytes": event.output_bytes if event.output is not None else kept.output_bytes,
        "output_cut": event.output_cut if event.output is not None else kept.output_cut,
        "metrics": {**(kept.metrics or {}), **event.metrics} if event.metrics else kept.metrics,
        "error": None if event.status == "completed" and event.error is None else error,
        "progress": event.progress if event.progress is not None else kept.progress,
        "attempt": event.attempt if event.attempt is not None else kept.attempt,
        "native": event.native,
        "reason": event.reason,
        "message": event.message,
        "started_at": started_at,
        "ended_at": ended_at,
        "inferred": None,
    }


def _set_instance(state: DagState, node: Node, name: str, execution: Execution) -> None:
    instances = {} if node.instances is None else node.instances
    before = instances.get(name)
    counts = _count(node.counts or {}, before.status if before is not None else None, execution.status)
    instances[name] = execution
    if node.inferred:
        node = _reopened(node)
    _set_node(state, replace(node, instances=instances, counts=counts))


def _set_node(state: DagState, node: Node) -> None:
    if node.counts:
        status = next(status for status in _WORST_FIRST if status in node.counts)
        node = replace(node, status=status, ended_at=node.ended_at if status in p.TERMINAL else None)
    state.nodes[node.id] = node
    if node.settled:
        _settle(state, node.id)
    elif node.status != "waiting" and node.id in state.gates and state.gates[node.id].node_id == node.id:
        # A gate that goes by its node's name has no other sign that it was answered.
        del state.gates[node.id]


def _reopened(node: Node) -> Node:
    """`node` without the end that was inferred for it."""
    return replace(node, native=None, reason=None, message=None, ended_at=None, inferred=None)


def _count(counts: dict[str, int], before: str | None, after: str) -> dict[str, int]:
    counts = {**counts, after: counts.get(after, 0) + 1}
    if before is not None:
        counts[before] -= 1
    return {status: count for status, count in counts.items() if count}


def _settle(state: DagState, node_id: str) -> None:
    """Nothing flows into a settled node, and it asks nothing."""
    sources = state.edges.get(node_id, {})
    for source, edge in sources.items():
        if edge.active:
            sources[source] = replace(edge, active=False)
    for gate in [gate for gate in state.gates.values() if gate.node_id == node_id]:
        del state.gates[gate.gate_id]


def _edge_active(state: DagState, event: p.EdgeActive) -> None:
    edge = _edge(state, event.from_, event.to)
    active = event.active is not False
    flows = active and state.status not in FINAL
    state.edges[event.to][event.from_] = replace(edge, active=flows, taken=edge.taken or active)


def _dag_mutated(state: DagState, event: p.DagMutated) -> None:
    mutation = event.mutation
    for spec in (*(mutation.add_nodes or ()), *(mutation.update_nodes or ())):
        given = {
            name: value
            for name in ("label", "kind", "group", "description")
            if (value := getattr(spec, name)) is not None
        }
        state.nodes[spec.id] = replace(_node(state, spec.id), **given)
    _remove_nodes(state, frozenset(mutation.remove_nodes or ()))
    for link in mutation.add_edges or ():
        edge = _edge(state, link.from_, link.to)
        state.edges[link.to][link.from_] = replace(
            edge,
            label=link.label if link.label is not None else edge.label,
            conditional=link.conditional if link.conditional is not None else edge.conditional,
        )
    for link in mutation.remove_edges or ():
        _remove_edge(state, link.from_, link.to)


def _remove_nodes(state: DagState, removed: frozenset[str]) -> None:
    if not removed:
        return
    state.nodes = {name: node for name, node in state.nodes.items() if name not in removed}
    state.gates = {name: gate for name, gate in state.gates.items() if gate.node_id not in removed}
    kept = {
        target: {source: edge for source, edge in sources.items() if source not in removed}
        for target, sources in state.edges.items()
        if target not in removed
    }
    state.edges = {target: sources for target, sources in kept.items() if sources}


def _remove_edge(state: DagState, source: str, target: str) -> None:
    sources = state.edges.get(target)
    if sources is not None and sources.pop(source, None) is not None and not sources:
        del state.edges[target]


def _cost_update(state: DagState, event: p.CostUpdate) -> None:
    by_node = state.cost.by_node if state.cost is not None else None
    state.cost = Cost(
        spent=event.spent,
        budget=event.budget,
        remaining=event.remaining,
        currency=event.currency,
        tokens=event.tokens,
        by_node={**(by_node or {}), **event.by_node} if event.by_node else by_node,
        unpriced=event.unpriced,
        on_budget=event.on_budget,
    )


def _execution_complete(state: DagState, event: p.ExecutionComplete) -> None:
    if event.inferred and state.status in FINAL:
        return
    _begin(state, event.ts)
    state.status = event.status or "completed"
    state.asked_at = None
    state.ended_at = event.ts
    state.results = event.results
    state.reason = event.reason
    state.inferred = event.inferred or None
    state.gates.clear()
    for sources in state.edges.values():
        for source, edge in sources.items():
            if edge.active:
                sources[source] = replace(edge, active=False)


def _human_gate_waiting(state: DagState, event: p.HumanGateWaiting) -> None:
    if state.status in FINAL:
        # A run that has ended asks nothing any more.
        return
    _begin(state, event.ts)
    node = _node(state, event.node_id)
    gate_id = event.gate_id or event.node_id
    before = state.gates.get(gate_id)
    if before is not None and not before.is_of(event.node_id, event.instance):
        # What was approved for another node was not approved for this one.
        before = None
    state.gates[gate_id] = Gate(
        gate_id=gate_id,
        node_id=event.node_id,
        presentation=event.presentation,
        instance=event.instance,
        opened_at=before.opened_at if before is not None else event.ts,
        approvals=event.approvals or (before.approvals if before is not None else None),
    )
    if not node.instances and node.status != "waiting":
        node = _reopened(node) if node.inferred else node
        state.nodes[node.id] = replace(node, status="waiting", ended_at=None)


def _human_gate_resolved(state: DagState, event: p.HumanGateResolved) -> None:
    state.gates.pop(event.gate_id, None)
    state.decisions = [
        *state.decisions,
        Decision(**{name: getattr(event, name) for name in Decision.__struct_fields__}),
    ]


def _error(state: DagState, event: p.RunError) -> None:
    fault = Fault(message=event.message, node_id=event.node_id, code=event.code, detail=event.detail, at=event.ts)
    state.errors = [*state.errors, fault][-ERRORS_TAIL:]


def _execution_state(state: DagState, event: p.ExecutionState) -> None:
    if (event.inferred or event.status == "lost") and state.status in FINAL:
        return
    _begin(state, event.ts)
    if event.status != state.status:
        state.asked_at = event.ts if event.status in _ASKED else None
    state.status = event.status
    state.ended_at = state.results = state.reason = state.inferred = None
    if event.capabilities is not None:
        state.capabilities = event.capabilities


def _node_log(state: DagState, event: p.NodeLog) -> None:
    node = _node(state, event.node_id)
    logs = [*(node.logs or ()), *event.lines][-LOG_TAIL:]
    state.nodes[node.id] = replace(node, logs=logs or None)


_APPLY: Final[dict[type[p.Event], Callable[[DagState, Any], None]]] = {
    p.NodeState: _node_state,
    p.EdgeActive: _edge_active,
    p.DagMutated: _dag_mutated,
    p.CostUpdate: _cost_update,
    p.ExecutionComplete: _execution_complete,
    p.HumanGateWaiting: _human_gate_waiting,
    p.HumanGateResolved: _human_gate_resolved,
    p.RunError: _error,
    p.ExecutionState: _execution_state,
    p.NodeLog: _node_log,
}
