"""The fewest events that add up to a state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

from .. import protocol as p
from .records import Execution, Gate, Node
from .reducer import DagState


def compact(state: DagState) -> list[p.AnyEvent]:
    """The fewest ordinary events that, reduced, give `state` again.

    Each carries the state's own `seq`, so they stand for everything up to it. The order matters: structure comes
    first, and what a later event would undo comes after that event.
    """
    events = [*_compact_run(state), *_compact_structure(state)]
    events.extend(p.HumanGateResolved(**_fields(decision)) for decision in state.decisions)
    gates: dict[str, list[p.AnyEvent]] = {}
    for gate in state.gates.values():
        gates.setdefault(gate.node_id, []).append(_gate_event(gate))
    for node in state.nodes.values():
        own, asking = _compact_node(node, gated=node.id in gates), gates.get(node.id, ())
        # Opening a gate turns a node to `waiting`, unless its instances decide its status.
        events.extend((*own, *asking) if node.instances else (*asking, *own))
    events.extend(_compact_edges(state))
    events.extend(
        p.RunError(message=fault.message, node_id=fault.node_id, code=fault.code, detail=fault.detail, ts=fault.at)
        for fault in state.errors
    )
    if state.cost is not None:
        events.append(p.CostUpdate(**_fields(state.cost)))
    match state.status:
        case "completed" | "failed" | "cancelled" as status:
            events.append(
                p.ExecutionComplete(
                    results=state.results,
                    status=status,
                    reason=state.reason,
                    inferred=state.inferred,
                    ts=state.ended_at,
                )
            )
    for event in events:
        event.seq = state.seq
    return events


def _compact_run(state: DagState) -> Iterator[p.AnyEvent]:
    match state.status:
        case "pending":
            return
        case "completed" | "failed" | "cancelled":
            status: p.LiveStatus | Literal["lost"] = "running"
        case "pausing" | "resuming" | "cancelling" as asked:
            yield p.ExecutionState(status="running", capabilities=state.capabilities, ts=state.started_at)
            yield p.ExecutionState(status=asked, ts=state.asked_at)
            return
        case live:
            status = live
    inferred = True if status == "lost" else None
    yield p.ExecutionState(status=status, capabilities=state.capabilities, inferred=inferred, ts=state.started_at)


def _compact_structure(state: DagState) -> Iterator[p.AnyEvent]:
    if not state.nodes:
        return
    nodes = [
        p.NodeSpec(id=node.id, label=node.label, kind=node.kind, group=node.group, description=node.description)
        for node in state.nodes.values()
    ]
    edges = [
        p.EdgeSpec(from_=source, to=target, label=edge.label, conditional=edge.conditional)
        for target, sources in state.edges.items()
        for source, edge in sources.items()
    ]
    yield p.DagMutated(mutation=p.Mutation(add_nodes=nodes, add_edges=edges or None), ts=state.started_at)


def _gate_event(gate: Gate) -> p.AnyEvent:
    return p.HumanGateWaiting(
        node_id=gate.node_id,
        gate_id=gate.gate_id,
        presentation=gate.presentation,
        instance=gate.instance,
        approvals=gate.approvals,
        ts=gate.opened_at,
    )


def _compact_node(node: Node, gated: bool) -> Iterator[p.AnyEvent]:
    instances = [*(node.instances or {}).items()]
    # To name an attempt after all instances have ended begins it without them, so one stays open until it is named.
    kept_open = instances[:1] if node.settled and (node.attempt or 0) > 1 else []
    for name, instance in kept_open:
        yield p.NodeState(node_id=node.id, instance=name, status="pending", attempt=instance.attempt)
    for name, instance in instances[len(kept_open) :]:
        yield from _compact_execution(node.id, instance, name)
    for name, instance in kept_open:
        yield p.NodeState(node_id=node.id, status="pending", attempt=node.attempt)
        yield from _compact_execution(node.id, instance, name)
    own = any(getattr(node, name) is not None for name in Execution.__struct_fields__ if name != "status")
    if own or gated or (node.status != "pending" and not instances):
        yield from _compact_execution(node.id, node, None)
    if node.logs:
        yield p.NodeLog(node_id=node.id, lines=node.logs)


def _compact_execution(node_id: str, execution: Execution, instance: str | None) -> Iterator[p.AnyEvent]:
    fields = _fields(execution, Execution)
    ended_at, inferred = fields.pop("ended_at"), fields.pop("inferred")
    if not inferred:
        yield p.NodeState(node_id=node_id, instance=instance, ts=ended_at, **fields)
        return
    # Only an execution that is known and open can be inferred to have ended, and only its end is inferred.
    end = {name: fields.pop(name) for name in ("status", "native", "reason", "message")}
    if instance is not None or any(value is not None for value in fields.values()):
        yield p.NodeState(node_id=node_id, instance=instance, status="pending", **fields)
    yield p.NodeState(node_id=node_id, instance=instance, attempt=execution.attempt, inferred=True, ts=ended_at, **end)


def _compact_edges(state: DagState) -> Iterator[p.AnyEvent]:
    for target, sources in state.edges.items():
        for source, edge in sources.items():
            if edge.taken:
                yield p.EdgeActive(from_=source, to=target)
                if not edge.active:
                    yield p.EdgeActive(from_=source, to=target, active=False)


def _fields(record: Struct, of: type[Struct] | None = None) -> dict[str, Any]:
    return {name: getattr(record, name) for name in (of or type(record)).__struct_fields__}
