"""`Room`: everything a server holds for one DAG. Sans-I/O: no sockets, no clock, no tasks; `now` comes from outside.

A room numbers what engines publish, keeps it as a log and as the state that it adds up to, and decides: the first
valid answer to an open gate wins, and every command has one answer, however often it is asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from .. import protocol as p
from ..errors import DagwidgetError
from ..protocol.limits import Limits
from ..protocol.truncate import truncate
from ..state import FINAL, DagState, Execution, Node
from .budget import BUDGET_NODE, Spending
from .catch_up import CatchUp, Frames, compacted, entry_of
from .commands import decide, resolved_event, steer
from .gate_rules import is_late, timed_out
from .storage.event_store import Record
from .storage.memory_log import Entry, MemoryLog
from .storage.output_cache import Outputs
from .storage.page import Page

# How many answers to commands are remembered, for clients that ask again.
_ANSWERS: Final = 10_000
# How many earlier runs are remembered.
_REPLACED: Final = 1000

# What caused an event that neither a publisher nor a command did.
_NOTHING: Final[tuple[str | None, int | None, str | None]] = (None, None, None)


class Refused(DagwidgetError):
    """A publisher can't be served; `code` is the close code."""

    def __init__(self, code: int, reason: str, after_ms: int | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.after_ms = after_ms


class Room:
    """The log, the state and the gates of one DAG."""

    def __init__(self, dag_id: str, limits: Limits | None = None, *, journaled: bool = False) -> None:
        """A room without a run.

        Args:
            dag_id: Its DAG.
            limits: Every bound.
            journaled: Whether somebody takes what is `unkept`, and says when it is `kept`: until then nobody is told.
        """
        self.dag_id = dag_id
        self.limits = limits or Limits()
        self._journaled = journaled
        self._unkept: dict[str, list[Record]] = {}
        self._kept = 0
        # What the events that are being appended come from: a publisher and its number, or a command.
        self._cause = _NOTHING
        self.state = DagState(epoch="")
        # How many publishers are connected right now; without one nobody could honour a command.
        self.engines = 0
        self._set_log(MemoryLog(self.limits.log_events))
        # Whole outputs, where they are not kept with the rest.
        self.outputs = Outputs(self.limits.outputs_bytes)
        self._spending = Spending()
        # The newest event of each publisher, by its own numbers.
        self._published: dict[str, int] = {}
        # Earlier runs: a newer one is not replaced by them when their publishers reconnect.
        self._replaced: dict[str, None] = {}
        self._answers: OrderedDict[str, p.CommandAck] = OrderedDict()

    @property
    def epoch(self) -> str:
        """The current run; empty before the first."""
        return self.state.epoch or ""

    @property
    def head(self) -> int:
        """The `seq` of the newest event."""
        return self._log.head

    @property
    def told(self) -> int:
        """The `seq` up to which others may be told: what is kept."""
        return self._kept if self._journaled else self.head

    @property
    def under_way(self) -> bool:
        """Whether a run has begun and not ended."""
        return self.state.status != "pending" and self.state.status not in FINAL

    # --- Keeping

    def take_unkept(self) -> dict[str, list[Record]]:
        """What is to be kept, by run; each record is given once."""
        unkept, self._unkept = self._unkept, {}
        return unkept

    def kept(self, run_id: str, seq: int) -> None:
        """The records of a run up to `seq` are kept."""
        if run_id == self.epoch:
            self._kept = max(self._kept, seq)

    def restore(self, run_id: str, records: Sequence[Record], earlier: Iterable[str] = ()) -> None:
        """Become what the room was when these records were kept, with the ids of the runs before.

        Raises:
            ProtocolError: a record is not an event.
        """
        self.state = DagState(epoch=run_id)
        self._replaced = dict.fromkeys(earlier)
        self._set_log(MemoryLog(self.limits.log_events, after=records[0].seq - 1 if records else 0))
        for record in records:
            (event,) = p.decode_events(record.data)
            self._log.append(entry_of(record.data, event))
            self.state.apply(event)
            if record.publisher is not None and record.number is not None:
                self._published[record.publisher] = record.number
            if record.command is not None:
                self._answers[record.command] = p.CommandAck(id=record.command, ok=True)
        self._spending = Spending.of(self.state.cost)
        self._kept = self.head

    def warn(self, code: str, message: str, now: int) -> None:
        """Tell everybody who watches of a fault of the room itself."""
        if self.epoch:
            self._append(p.RunError(message=message, code=code), now)

    def _set_log(self, log: MemoryLog) -> None:
        self._log = log
        self._frames = Frames(log, self.limits.batch_events)

    # --- Publishing

    def attach(self, request: p.Attach, now: int) -> p.Attached:
        """Let a publisher in, and open its run where it starts one.

        Raises:
            Refused: the run that it names is not the room's current one.
        """
        starts = request.start is not None
        if starts and request.epoch is None:
            raise Refused(4400, "attach: a publisher that starts a run must name it: `epoch`")
        if starts and request.epoch != self.epoch:
            if request.epoch in self._replaced:
                raise Refused(4006, f"a newer run of {self.dag_id!r} than {request.epoch!r} has begun: {self.epoch!r}")
            self._begin(request, now)
        elif starts and self.state.status in FINAL and request.publisher not in self._published:
            # An engine goes on with a run that had ended.
            start = request.start or p.RunStart()
            self._append(p.ExecutionState(status="running", capabilities=start.capabilities), _started_at(start, now))
        elif request.epoch in self._replaced:
            raise Refused(4006, f"a newer run of {self.dag_id!r} than {request.epoch!r} has begun: {self.epoch!r}")
        elif request.epoch is not None and request.epoch != self.epoch:
            raise Refused(4404, f"the run {request.epoch!r} of {self.dag_id!r} has not been started yet")
        elif not self.epoch:
            raise Refused(4404, f"no run of {self.dag_id!r} has been started yet")
        return p.Attached(
            dag_id=self.dag_id,
            epoch=self.epoch,
            seq=self._published.setdefault(request.publisher, 0),
            heartbeat_ms=round(self.limits.heartbeat_seconds * 1000),
        )

    def publish(self, publisher: str, events: Iterable[p.Event], now: int) -> int:
        """Append what a publisher sent; what it sends again is dropped by its own numbers.

        Returns:
            The publisher's newest number that the room has.

        Raises:
            Refused: a number is missing, or an event has none.
        """
        last = self._published.get(publisher, 0)
        try:
            for event in events:
                if event.seq is None:
                    raise Refused(4400, "a published event needs its publisher's own seq: 1, 2, 3 …")
                if event.seq <= last:
                    continue
                if event.seq != last + 1:
                    raise Refused(4003, f"expected the publisher's event {last + 1}, got {event.seq}: send again")
                # The room puts its own number in place of this one.
                number = event.seq
                self._cause = (publisher, number, None)
                self._take(event, now)
                last = number
        finally:
            self._cause = _NOTHING
            self._published[publisher] = last
        return last

    def news_for_engines(self) -> list[bytes]:
        """What an engine may have missed: every decision of this run, and what is asked of it now."""
        news: list[p.Event] = [resolved_event(decision) for decision in self.state.decisions]
        match self.state.status:
            case "pausing" | "paused" | "resuming" | "cancelling" as asked:
                news.append(p.ExecutionState(status=asked))
        for event in news:
            event.seq = self.head
        return [p.encode(event) for event in news]

    def _begin(self, request: p.Attach, now: int) -> None:
        start = request.start or p.RunStart()
        if self.epoch:
            self._replaced = dict.fromkeys([*self._replaced, self.epoch][-_REPLACED:])
        self.state = DagState(epoch=request.epoch)
        # A run whose log was lost is numbered from where it can't have come to, so that no old cursor fits by chance.
        self._set_log(MemoryLog(self.limits.log_events, after=now if request.acknowledged else 0))
        self._kept = self.head
        self._spending = Spending(start.budget, start.currency, start.on_budget)
        self._published.clear()
        self.outputs.clear()
        started_at = _started_at(start, now)
        self._append(p.ExecutionState(status="running", capabilities=start.capabilities), started_at)
        if start.budget is not None:
            self._append(self._spending.total(None), started_at)

    def _take(self, event: p.Event, now: int) -> None:
        match event:
            case p.Unknown():
                # Its number is kept, so that its publisher finds its place again after a restart.
                event = p.Unknown(type=event.type)
            case p.NodeOutput():
                if not self._journaled:
                    self.outputs.add(event)
                self._append(p.Unknown(type="node_output"), event.ts or now, output=event)
                return
            case p.CostDelta():
                self._append(self._spending.add(event), event.ts or now)
                self._mind_budget(now)
                return
            case p.CostUpdate():
                self._append(self._spending.correct(event), event.ts or now)
                self._mind_budget(now)
                return
            case p.HumanGateWaiting() if self._is_decided(event.gate_id or event.node_id):
                # An engine that began anew asks again, before it has heard of the answer.
                event = p.Unknown(type="decided_gate")
            case p.HumanGateResolved() if event.gate_id not in self.state.gates:
                # Somebody was first.
                event = p.Unknown(type="late_decision")
            case p.HumanGateResolved():
                self._resolve(event, now)
                return
            case p.ExecutionComplete():
                for unfinished in list(_unfinished(self.state.nodes.values())):
                    self._append(unfinished, event.ts or now)
        self._append(event, event.ts or now)

    def _is_decided(self, gate_id: str) -> bool:
        return gate_id not in self.state.gates and any(made.gate_id == gate_id for made in self.state.decisions)

    def _append(self, event: p.Event, ts: int, *, output: p.NodeOutput | None = None) -> None:
        """Number an event, and add it to the log and the state, in this order: nobody is told before it is kept."""
        event.seq = self.head + 1
        event.ts = ts
        data = p.encode(event)
        if len(data) > self.limits.event_bytes:
            event = truncate(event, len(data), self.limits.event_bytes)
            data = p.encode(event)
        self._log.append(entry_of(data, event))
        self.state.apply(event)
        if self._journaled:
            self._unkept.setdefault(self.epoch, []).append(Record(event.seq or 0, data, *self._cause, output))

    # --- Commands

    def command(self, command: p.Command, by: str, now: int) -> p.CommandAck:
        """Answer a command, once: who asks again with the same id gets the same answer."""
        answer = self._answers.get(command.id)
        if answer is None:
            answer = self._judge(command, by, now)
            self._answers[command.id] = answer
            if len(self._answers) > _ANSWERS:
                self._answers.popitem(last=False)
        return answer

    def _judge(self, command: p.Command, by: str, now: int) -> p.CommandAck:
        if isinstance(command, p.HumanDecision):
            # It is the clock that answers a late gate, not this command.
            self.tick(now)
            ack, event = decide(self.state, command, by, now)
        else:
            ack, event = steer(self.state, command, engines=self.engines)
        self._cause = (None, None, command.id)
        try:
            if isinstance(event, p.HumanGateResolved):
                self._resolve(event, now)
            elif event is not None:
                self._append(event, now)
        finally:
            self._cause = _NOTHING
        return ack

    def _resolve(self, event: p.HumanGateResolved, now: int) -> None:
        """Close a gate, and do what follows where it is the budget's."""
        self._append(event, event.ts or now)
        if event.node_id == BUDGET_NODE:
            self._settle_budget(event, now)

    # --- Deadlines and the budget

    def tick(self, now: int) -> None:
        """Answer the gates whose deadline has passed in people's place."""
        for gate in [gate for gate in self.state.gates.values() if is_late(gate, now)]:
            self._append(timed_out(gate, now), now)

    def _mind_budget(self, now: int) -> None:
        """Do what the run is to do once its budget is spent; once for each budget."""
        spending = self._spending
        if not spending.is_spent or spending.on_budget is None or spending.minded == spending.budget:
            return
        spending.minded = spending.budget
        can_pause = self.state.capabilities is None or self.state.capabilities.pause != "none"
        if spending.on_budget != "warn" and can_pause and self.state.status in ("running", "resuming"):
            self._append(p.ExecutionState(status="pausing"), now)
        if spending.on_budget == "gate":
            asked = sum(decision.node_id == BUDGET_NODE for decision in self.state.decisions)
            node = p.NodeSpec(id=BUDGET_NODE, label="Budget", kind="gate")
            self._append(p.DagMutated(mutation=p.Mutation(add_nodes=[node])), now)
            self._append(spending.question(asked + 1), now)
        else:
            self._append(p.RunError(message=f"the budget of {spending.amount} is spent", code="budget_spent"), now)

    def _settle_budget(self, decision: p.HumanGateResolved, now: int) -> None:
        rejected = decision.decision == "reject"
        self._append(p.NodeState(node_id=BUDGET_NODE, status="cancelled" if rejected else "completed"), now)
        if rejected:
            self._append(p.ExecutionState(status="cancelling"), now)
            return
        self._spending.raise_budget(decision)
        self._append(self._spending.total(None), now)
        if self.state.status in ("pausing", "paused"):
            self._append(p.ExecutionState(status="resuming"), now)

    # --- Reading

    def catch_up(self, last: p.Cursor | None) -> CatchUp:
        """The shortest way from a client's cursor to the head."""
        seq = last.seq if last is not None and last.epoch == self.epoch else None
        return self._frames.catch_up(seq, self.state)

    def frame(self, after: int, upto: int) -> bytes:
        """The events with `after < seq <= upto` as one frame: the same bytes for everybody who asks."""
        return self._frames.frame(after, upto)

    def entries(self, after: int, upto: int) -> Iterator[Entry]:
        """The events with `after < seq <= upto`, one by one: who takes only the first pays for no more."""
        return map(self._log.at, range(after + 1, upto + 1))

    def holds(self, after: int) -> bool:
        """Whether the log still has every event after `after`."""
        return self._log.holds(after)

    def page(self, after: int, most: int) -> Page | None:
        """The first `most` events after `after`, or from where the run's numbers begin; None where they were let go."""
        after = max(after, self._log.begins)
        if after > self.told:
            return Page(after, self.told, [])
        if not self._log.holds(after):
            return None
        entries = self.entries(after, min(after + most, self.told))
        return Page(after, self.told, [entry.data for entry in entries])

    def compacted(self) -> list[Entry]:
        """The fewest events that add up to the state, one by one."""
        return compacted(self.state)


def _started_at(start: p.RunStart, now: int) -> int:
    """When a run started: by its publisher's clock, but never later than now."""
    return now if start.started_at is None else min(start.started_at, now)


def _unfinished(nodes: Iterable[Node]) -> Iterator[p.NodeState]:
    """What a run that has ended leaves behind: nothing runs or waits any more, and what never started is skipped."""
    for node in nodes:
        for name, instance in (node.instances or {}).items():
            yield from _end(node.id, instance, name)
        if not node.instances:
            yield from _end(node.id, node, None)


def _end(node_id: str, execution: Execution, instance: str | None) -> Iterator[p.NodeState]:
    if execution.status not in p.TERMINAL:
        status: p.NodeStatus = "skipped" if execution.status == "pending" else "cancelled"
        yield p.NodeState(node_id=node_id, instance=instance, status=status, reason="the run ended")
