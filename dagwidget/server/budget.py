"""What a run has spent, and what happens once that is its budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from .. import protocol as p
from ..protocol.bounds import within_bounds
from ..state import Cost, DagState

BUDGET_NODE: Final = "dagwidget:budget"
"""The node at which a run asks whether to go on."""


class Spending:
    """Adds up what publishers say they spent."""

    def __init__(
        self, budget: float | None = None, currency: str | None = None, on_budget: p.OnBudget | None = None
    ) -> None:
        self.budget = budget
        self.currency = currency
        self.on_budget = on_budget
        self.spent = 0.0
        self.tokens = 0
        self.unpriced = 0
        self.by_node: dict[str, float] = {}
        self.minded: float | None = None
        """The budget that was spent and seen to."""

    @classmethod
    def of(cls, cost: Cost | None) -> Spending:
        """The spending that a state shows."""
        spending = cls(cost.budget, cost.currency, cost.on_budget) if cost is not None else cls()
        if cost is not None:
            spending.spent, spending.tokens, spending.unpriced = cost.spent, cost.tokens or 0, cost.unpriced or 0
            spending.by_node = dict(cost.by_node or {})
            spending.minded = spending.budget if spending.is_spent else None
        return spending

    def add(self, delta: p.CostDelta) -> p.CostUpdate:
        tokens = (delta.tokens_in or 0) + (delta.tokens_out or 0)
        self.tokens = within_bounds(self.tokens + tokens)
        if delta.amount is None:
            self.unpriced = within_bounds(self.unpriced + tokens)
        else:
            self.spent += delta.amount
            if delta.node_id is not None:
                self.by_node[delta.node_id] = self.by_node.get(delta.node_id, 0.0) + delta.amount
        return self.total(delta.node_id)

    def correct(self, total: p.CostUpdate) -> p.CostUpdate:
        """An engine that knows the totals itself is right; what it leaves out stays as it is."""
        self.spent, self.budget = total.spent, total.budget
        self.currency = total.currency or self.currency
        self.tokens = total.tokens if total.tokens is not None else self.tokens
        self.unpriced = total.unpriced if total.unpriced is not None else self.unpriced
        self.by_node.update(total.by_node or {})
        self.on_budget = total.on_budget or self.on_budget
        return replace(total, currency=self.currency, on_budget=self.on_budget)

    def total(self, node_id: str | None) -> p.CostUpdate:
        spent = _money(self.spent)
        in_node = self.by_node.get(node_id) if node_id is not None else None
        return p.CostUpdate(
            spent=spent,
            budget=self.budget,
            remaining=None if self.budget is None else _money(self.budget - self.spent),
            currency=self.currency,
            tokens=self.tokens or None,
            by_node={node_id: _money(in_node)} if node_id is not None and in_node is not None else None,
            unpriced=self.unpriced or None,
            on_budget=self.on_budget,
        )

    @property
    def is_spent(self) -> bool:
        """Whether the budget is spent."""
        return self.budget is not None and 0 < self.spent >= self.budget

    @property
    def amount(self) -> str:
        """The budget, for people."""
        return f"{self.budget or 0.0:,.2f} {self.currency or 'USD'}"

    @property
    def proposed(self) -> float:
        """The budget to go on with: as much again."""
        return _money(self.spent + (self.budget or self.spent))

    def question(self, number: int) -> p.HumanGateWaiting:
        """The gate that asks whether to go on; `number` tells it from those before."""
        return p.HumanGateWaiting(
            node_id=BUDGET_NODE,
            gate_id=f"{BUDGET_NODE}:{number}",
            presentation=p.Presentation(
                title=f"The budget of {self.amount} is spent. Go on?",
                body="*Approve* to let it spend as much again, *modify* to set the budget, *reject* to cancel the run.",
                data=self.proposed,
                schema={"type": "number", "exclusiveMinimum": _money(self.spent), "title": "The new budget, in all"},
            ),
        )

    def mind(self, state: DagState) -> Iterator[p.AnyEvent]:
        """What follows once the budget is spent, once for each budget. Each event is applied before the next."""
        if not self.is_spent or self.on_budget is None or self.minded == self.budget:
            return
        self.minded = self.budget
        can_pause = state.capabilities is None or state.capabilities.pause != "none"
        if self.on_budget != "warn" and can_pause and state.status in ("running", "resuming"):
            yield p.ExecutionState(status="pausing")
        if self.on_budget == "gate":
            asked = sum(decision.node_id == BUDGET_NODE for decision in state.decisions)
            node = p.NodeSpec(id=BUDGET_NODE, label="Budget", kind="gate")
            yield p.DagMutated(mutation=p.Mutation(add_nodes=[node]))
            yield self.question(asked + 1)
        else:
            yield p.RunError(message=f"the budget of {self.amount} is spent", code="budget_spent")

    def settle(self, decision: p.HumanGateResolved, state: DagState) -> Iterator[p.AnyEvent]:
        """What follows from the decision on the budget's gate."""
        rejected = decision.decision == "reject"
        yield p.NodeState(node_id=BUDGET_NODE, status="cancelled" if rejected else "completed")
        if rejected:
            yield p.ExecutionState(status="cancelling")
            return
        self._raise_budget(decision)
        yield self.total(None)
        if state.status in ("pausing", "paused"):
            yield p.ExecutionState(status="resuming")

    def _raise_budget(self, decision: p.HumanGateResolved) -> None:
        """Go on with what a person has granted."""
        granted = decision.value if decision.decision == "modify" else None
        self.budget = float(granted) if isinstance(granted, (int, float)) else self.proposed


def _money(amount: float) -> float:
    """Without the noise of adding up binary fractions."""
    return round(amount, 10)
