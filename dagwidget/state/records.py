"""The records that a state is made of."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from .. import protocol as p

RunStatus: TypeAlias = Literal["pending", "lost"] | p.LiveStatus | p.FinalStatus

FINAL: Final = frozenset({"completed", "failed", "cancelled"})
"""The run statuses after which the run is over."""


class Execution(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is known of one execution: of a node, or of one instance of it. Times are Unix milliseconds."""

    status: p.NodeStatus
    output: Any = None
    output_bytes: int | None = None
    """The size of the whole, where `output` is a preview of it."""
    output_cut: bool | None = None
    """`output` is a preview, and the whole is not kept."""
    metrics: p.Metrics | None = None
    error: str | None = None
    progress: float | None = None
    attempt: int | None = None
    native: str | None = None
    reason: str | None = None
    message: str | None = None
    started_at: int | None = None
    ended_at: int | None = None
    inferred: bool | None = None
    """The end is the room's inference, as the run had ended: any later word of the engine replaces it."""


class Node(Execution, frozen=True, omit_defaults=True, kw_only=True):
    """A node of the graph. Where it has `instances`, its status is derived from theirs, worst active first.

    `instances` is the one live mapping (copying thousands of them at each event would not do); `counts` says how many
    of them are in each status.
    """

    id: str
    label: str | None = None
    kind: str | None = None
    group: str | None = None
    description: str | None = None
    instances: dict[str, Execution] | None = None
    counts: dict[str, int] | None = None
    logs: list[str] | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more is expected of the node."""
        return p.TERMINAL.issuperset(self.counts or (self.status,))


class Edge(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An edge: `active` while something flows, `taken` once something has."""

    active: bool
    taken: bool
    label: str | None = None
    conditional: bool | None = None


class Gate(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A gate that is open."""

    gate_id: str
    node_id: str
    presentation: p.Presentation
    instance: str | None = None
    opened_at: int | None = None
    approvals: list[p.Approval] | None = None
    """Those that there are, where the gate requires several."""

    def is_of(self, node_id: str, instance: str | None) -> bool:
        """Whether it is a gate of this node, or of this instance of it."""
        return (self.node_id, self.instance) == (node_id, instance)


class Cost(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the run has cost so far; `unpriced` of its `tokens` are not in `spent`."""

    spent: float
    budget: float | None = None
    remaining: float | None = None
    currency: str | None = None
    tokens: int | None = None
    by_node: dict[str, float] | None = None
    unpriced: int | None = None
    on_budget: p.OnBudget | None = None


class Decision(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A gate that was decided: the audit trail."""

    gate_id: str
    node_id: str
    decision: p.Verdict
    by: str
    at: int
    source: str
    feedback: str | None = None
    value: Any = None
    approvals: list[p.Approval] | None = None


class Fault(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An error that the run reported."""

    message: str
    node_id: str | None = None
    code: str | None = None
    detail: Any = None
    at: int | None = None
