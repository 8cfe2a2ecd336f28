"""`Room`: everything a server holds for one run. Sans-I/O: no sockets, no clock, no tasks; `now` comes from outside.

A room numbers what engines publish, stores it as a log and as the state that it adds up to, and decides: the first
valid answer to an open gate wins, and every command has one answer, however often it is asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final

from .. import protocol as p
from ..errors import DagwidgetError, ProtocolError
from ..protocol.bounds import within_bounds
from ..protocol.limits import Limits
from ..protocol.truncate import truncate
from ..state import FINAL, DagState
from .budget import BUDGET_NODE, Spending
from .catch_up import CatchUp, Frames, compacted, entry_of
from .commands import decide, give_up, resolved_event, steer
from .engine_claims import checked
from .gate_rules import is_late, timed_out
from .incarnations import Incarnations
from .inferred_ends import unfinished
from .presence import Presence
from .room_codes import RoomCode
from .storage.event_store import Append, Checkpoint, Conflict, Record, Result, RunMeta, Stored
from .storage.loading import StoredLog
from .storage.memory_log import Entry, MemoryLog
from .storage.output_cache import OutputKey, Outputs
from .storage.page import Page
from .storing import Backlog, Storing, Waiter

# How many answers to commands are remembered, for clients that ask again.
_ANSWERS: Final = 10_000
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
    """The log, the state and the gates of one run. The first publisher that starts a run gives it its id."""

    def __init__(
        self,
        dag_id: str,
        limits: Limits | None = None,
        *,
        journaled: bool = False,
        presence: Presence | None = None,
        backlog: Backlog | None = None,
    ) -> None:
        """A room without a run.

        Args:
            dag_id: Its DAG.
            limits: Every bound.
            journaled: Whether a store takes what `next_append` returns; clients are sent what is stored.
            presence: Whether the owner of the run is connected.
            backlog: What all rooms of the server hold that is not stored yet.
        """
        self.dag_id = dag_id
        self.limits = limits or Limits()
        self._journaled = journaled
        self._backlog = backlog or Backlog(self.limits)
        self._storing = Storing(self._backlog)
        # Up to where clients may be sent the log of a room with a store.
        self._shown = 0
        # After which event none will be stored until a checkpoint is.
        self._gap_after: int | None = None
        self.waiters: set[Waiter] = set()
        """Clients to wake up once more of the log is durable."""
        # What the events that are being appended come from: a publisher and its number, or a command.
        self._cause = _NOTHING
        self.state = DagState(epoch="")
        self.presence = presence or Presence(self.limits, 0)
        self._logs = Incarnations()
        # Whether the next event begins another incarnation.
        self._renews_log = False
        # The publisher that owns the run, and those that it took the run over from.
        self.owner: str | None = None
        self._replaced: list[str] = []
        self._name: str | None = None
        self._tags: list[str] | None = None
        # The run's place in the run list.
        self._started_at: int | None = None
        # How many publishers are connected; without one, nothing can honour a command.
        self.engines = 0
        self._set_log(MemoryLog(self.limits.log_events))
        # Whole outputs, where they are not kept with the rest.
        self.outputs = Outputs(self.limits.outputs_bytes)
        self._spending = Spending()
        # The newest event of each publisher, by its own numbers.
        self._published: dict[str, int] = {}
        self._answers: OrderedDict[str, p.CommandAck] = OrderedDict()

    @property
    def epoch(self) -> str:
        """The run; empty before it has begun."""
        return self.state.epoch or ""

    @property
    def log_id(self) -> str:
        """The incarnation of the log."""
        return self._logs.log

    @property
    def head(self) -> int:
        """The `seq` of the newest event."""
        return self._log.head

    @property
    def durable(self) -> int:
        """The `seq` up to which clients may be sent the log: what is stored or, while the store fails, everything."""
        return self._shown if self._journaled else self.head

    @property
    def on_disk(self) -> int:
        """The `seq` up to which the log survives the process, as far as that was asked for."""
        return self._storing.durable if self._journaled else self.head

    @property
    def fault(self) -> str | None:
        """Why the store fails, so that events are stored in memory only; None while it does not."""
        return self._storing.fault

    @property
    def is_being_stored(self) -> bool:
        """Whether the store has not answered yet."""
        return self._storing.is_waiting

    @property
    def is_usurped(self) -> bool:
        """Whether another log of the run is stored than this room's: the room must be discarded."""
        return self._storing.usurped

    @property
    def headline(self) -> tuple[object, ...]:
        """What the run list says of the run, but for its engine and what changes with each event."""
        return self.state.status, len(self.state.gates), self.state.ended_at

    @property
    def under_way(self) -> bool:
        """Whether the run has begun and not ended."""
        return self.state.status != "pending" and self.state.status not in FINAL

    @property
    def started_at(self) -> int:
        """When the run started: its place in the run list."""
        return self._started_at or self.state.started_at or 0

    def engine(self, now: int) -> p.EngineState:
        """The state of the run's engine."""
        return self.presence.state(now) if self.under_way else "ended"

    def engine_message(self, now: int) -> p.Engine:
        """The state of the run's engine, for clients."""
        since = self.presence.heard_at if self.under_way else self.state.ended_at
        return p.Engine(state=self.engine(now), since=since)

    def summary(self, now: int) -> p.RunSummary:
        """The run's row in the run list."""
        state = self.state
        return p.RunSummary(
            run_id=self.epoch,
            name=self._name,
            tags=self._tags,
            status=state.status,
            started_at=self.started_at,
            ended_at=state.ended_at,
            gates=len(state.gates),
            engine=self.engine(now),
            spent=None if state.cost is None else state.cost.spent,
            events=self.head - self._log.begins,
        )

    # --- Storing

    def next_append(self, now: int) -> Append | None:
        """What the store has to append next, if anything; `stored` is called with its answer before the next one."""
        following = self._storing.next(self.head, len(self.state.nodes), now) if self._journaled else None
        if following is None:
            return None
        return Append(
            self.dag_id,
            self.epoch,
            following.after,
            following.records,
            self.meta(now),
            self.checkpoint() if following.checkpoint else None,
            rebase=following.rebase,
            sync=following.sync,
        )

    def stored(self, result: Result, now: int) -> tuple[int, int] | None:
        """The store has answered.

        Returns:
            The events that will never be stored, if a checkpoint has just taken their place: the `seq` before the
            first, and that of the last.
        """
        self._storing.answered(result, self.head, self._logs.names, now)
        if isinstance(result, Conflict) and self._storing.rebases:
            self.rebase()
        for output in self._storing.strip() if self.fault is not None else ():
            self.outputs.add(output)
        self._shown = self.head if self.fault is not None else max(self._shown, self._storing.durable)
        if self._gap_after is None or not isinstance(result, Stored) or result.head <= self._gap_after:
            return None
        gap, self._gap_after = (self._gap_after, result.head), None
        return gap

    def rebase(self) -> None:
        """Begin another incarnation of the log, with a checkpoint of the state in place of what is not stored.

        While a gap is open nothing is stored under the log's new name, so what widens the gap needs no other: only so
        many names are kept, and that of the stored log must be one of them.
        """
        if self._gap_after is None:
            self._gap_after = self._storing.durable
            self._renew_log()
        self._storing.rebase()

    def retry(self) -> None:
        """Have `next_append` try again at once where the store has failed."""
        self._storing.retry()

    def forget(self) -> None:
        """The room leaves memory."""
        self._storing.forget()

    def checkpoint(self) -> Checkpoint:
        """All that there is to know as of now."""
        return Checkpoint(
            seq=self.head,
            state=self.state.copy(),
            publishers={**self._published},
            commands=[answer.id for answer in self._answers.values() if answer.ok],
        )

    @property
    def is_stored(self) -> bool:
        """Whether a store has everything, so that the room may leave memory."""
        return self._journaled and self._storing.is_done

    @property
    def deadline(self) -> int | None:
        """The earliest deadline of an open gate."""
        deadlines = (gate.presentation.deadline for gate in self.state.gates.values())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def meta(self, now: int) -> RunMeta:
        """What is stored beside the log."""
        return RunMeta(
            summary=self.summary(now),
            owner=self.owner,
            replaced=tuple(self._replaced),
            log=self.log_id,
            earlier=self._logs.earlier,
            begins=self._log.begins,
            deadline=self.deadline,
            heard_at=self.presence.heard_at,
        )

    def restore(self, stored: StoredLog, now: int = 0) -> None:
        """Become the room that was stored. What can't be read is left out, and that is an event of the room."""
        checkpoint, meta, cut = stored.checkpoint, stored.meta, stored.cut
        self.state = DagState(epoch=stored.run_id) if checkpoint is None else checkpoint.state
        if meta is not None:
            self.owner, self._replaced = meta.owner, list(meta.replaced)
            self._name, self._tags, self._started_at = meta.summary.name, meta.summary.tags, meta.summary.started_at
            self._logs = Incarnations(meta.log, meta.earlier)
        if checkpoint is not None:
            self._published = {**checkpoint.publishers}
            self._answers.update((name, p.CommandAck(id=name, ok=True)) for name in checkpoint.commands)
        self._set_log(MemoryLog(self.limits.log_events, after=stored.starts, begins=stored.begins))
        for record in stored.records:
            try:
                event = record.event()
            except ProtocolError as error:
                cut = f"the events from {record.seq:,} of the log can't be read: {error}"
                break
            self._log.append(entry_of(record.data, event))
            self.state.apply(event)
            if record.publisher is not None and record.number is not None:
                self._published[record.publisher] = record.number
            if record.command is not None:
                self._answers[record.command] = p.CommandAck(id=record.command, ok=True)
        self._spending = Spending.of(self.state.cost)
        if cut is not None:
            self._cut(cut, max(stored.head, stored.records[-1].seq if stored.records else 0), now)
            return
        self._storing = Storing(self._backlog, self.head)
        self._shown = self.head
        # A log may have lost its end, and nobody knows: cursors past this point are of another log.
        self._renews_log = True
        if self.under_way:
            self._renew_log()

    def _cut(self, why: str, head: int, now: int) -> None:
        """Go on without the end of the log, which can't be read: no cursor into it fits."""
        last, begins = self.head, self._log.begins
        self._logs.cut()
        self.state.seq = head
        self._set_log(MemoryLog(self.limits.log_events, after=head, begins=begins))
        self._storing = Storing(self._backlog, head)
        self._storing.rebase()
        self._shown = head
        self.warn("log_damaged", f"{why}; the run is shown as of its event {last:,}, and goes on from there", now)

    def _renew_log(self) -> None:
        self._renews_log = False
        self._logs.renew(self.head)

    def warn(self, code: RoomCode, message: str, now: int) -> None:
        """Tell everybody who watches of a fault of the room itself."""
        if self.epoch:
            self._append(p.RunError(message=message, code=code), now)

    def _set_log(self, log: MemoryLog) -> None:
        self._log = log
        self._frames = Frames(log, self.limits.batch_events)

    # --- Publishing

    def attach(self, request: p.Attach, now: int, *, ahead: int = 0, offset: int = 0) -> p.Attached:
        """Let a publisher in: an owner, which begins the run or continues it, or a worker.

        Args:
            request: The publisher's first message.
            now: Unix milliseconds.
            ahead: How far this server's clock is ahead of the publisher's, by which its times are corrected.
            offset: The same at least, where `ahead` leaves out what may be transit time.

        Raises:
            Refused: the run has not begun, or another process has taken it over.
        """
        if request.start is not None:
            if request.epoch is None:
                raise Refused(4400, "attach: a publisher that starts a run must name it: `epoch`")
            if request.publisher in self._replaced:
                raise Refused(4006, f"another process has taken over the run {self.epoch!r}")
        if self.epoch and request.epoch not in (None, self.epoch):
            raise Refused(4404, f"this is the room of the run {self.epoch!r}, not of {request.epoch!r}")
        if request.start is not None:
            self._own(request, request.start, now, ahead, offset)
        elif not self.epoch:
            raise Refused(4404, f"no run of {self.dag_id!r} has been started yet")
        return p.Attached(
            dag_id=self.dag_id,
            epoch=self.epoch,
            seq=self._published.setdefault(request.publisher, 0),
            heartbeat_ms=round(self.limits.heartbeat_seconds * 1000),
        )

    def is_replaced(self, publisher: str) -> bool:
        """Whether another process has taken the run over from this one."""
        return publisher in self._replaced

    def _own(self, request: p.Attach, start: p.RunStart, now: int, ahead: int, offset: int) -> None:
        """A publisher owns the run from now on."""
        before, status = self.owner, self.state.status
        known = request.publisher == before or request.publisher in self._published
        self.owner = request.publisher
        if not self.epoch:
            self._begin(request, start, now, ahead, offset)
            return
        at = now if known else _started_at(start, now, ahead)
        if status == "lost" or self.state.inferred or (status in FINAL and not known):
            # The engine is back, or another one continues a run that had ended.
            self._append(p.ExecutionState(status="running", capabilities=start.capabilities), at)
        if before not in (None, request.publisher):
            self._replaced.append(before)
            match status:
                case "running" | "pausing" | "paused" | "resuming" | "cancelling" as live:
                    # An event, so that the new owner is stored, and what it is capable of.
                    self._append(p.ExecutionState(status=live, capabilities=start.capabilities), now)

    def publish(self, publisher: str, events: Iterable[p.Event], now: int, by: str = "engine") -> int:
        """Append what a publisher sent; what it sends again is dropped by its own numbers.

        Args:
            publisher: The publisher.
            events: What it sent, in its own numbers.
            now: Unix milliseconds.
            by: The name of the publisher's token: it has made the decisions that the publisher reports.

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
                self._take(checked(event, by, self.state.gates, now), now)
                last = number
        finally:
            self._cause = _NOTHING
            self._published[publisher] = last
        return last

    def news_for_engines(self) -> list[p.Event]:
        """What an engine may have missed: every decision of this run, and what is asked of it now."""
        news: list[p.Event] = [resolved_event(decision) for decision in self.state.decisions]
        match self.state.status:
            case "pausing" | "paused" | "resuming" | "cancelling" as asked:
                news.append(p.ExecutionState(status=asked))
        for event in news:
            event.seq = self.head
        return news

    def _begin(self, request: p.Attach, start: p.RunStart, now: int, ahead: int, offset: int) -> None:
        self.state = DagState(epoch=request.epoch)
        self._name, self._tags = start.name, start.tags
        # In the run list by the measured offset, so that the clocks of any two machines compare.
        self._started_at = _started_at(start, now, offset)
        at = _started_at(start, now, ahead)
        # After losing its log, number from the current time, so that no stale cursor matches.
        self._set_log(MemoryLog(self.limits.log_events, after=now if request.acknowledged else 0))
        self._storing = Storing(self._backlog, self.head)
        self._shown = self.head
        self._spending = Spending(start.budget, start.currency, start.on_budget)
        self._append(p.ExecutionState(status="running", capabilities=start.capabilities), at)
        if start.budget is not None:
            self._append(self._spending.total(None), at)

    def _take(self, event: p.Event, now: int) -> None:
        match event:
            case p.Unknown():
                # Its number is kept, so that its publisher finds its place again after a restart.
                event = p.Unknown(type=event.type)
            case p.NodeOutput():
                stores = self._journaled and self.fault is None
                if not stores:
                    self.outputs.add(event)
                elif event.part == 0:
                    self.outputs.drop(OutputKey(event.node_id, event.instance))
                self._append(p.Unknown(type="node_output"), event.ts or now, output=event if stores else None)
                return
            case p.CostDelta():
                self._append(self._spending.add(event), event.ts or now)
                self._append_all(self._spending.mind(self.state), now)
                return
            case p.CostUpdate():
                self._append(self._spending.correct(event), event.ts or now)
                self._append_all(self._spending.mind(self.state), now)
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
                self._end(event, event.ts or now)
                return
        self._append(event, event.ts or now)

    def _end(self, event: p.ExecutionComplete, ts: int) -> None:
        """End the run, and infer what has become of the nodes that its engine left open."""
        self._append_all(list(unfinished(self.state.nodes.values())), ts)
        self._append(event, ts)

    def _is_decided(self, gate_id: str) -> bool:
        return gate_id not in self.state.gates and any(made.gate_id == gate_id for made in self.state.decisions)

    def _append_all(self, events: Iterable[p.Event], ts: int) -> None:
        for event in events:
            self._append(event, ts)

    def _append(self, event: p.Event, ts: int, *, output: p.NodeOutput | None = None) -> None:
        """Number an event, and add it to the log and the state, in this order: nobody is told before it is kept."""
        if self._renews_log:
            self._renew_log()
        event.seq = self.head + 1
        event.ts = ts
        data = p.encode(event)
        if len(data) > self.limits.event_bytes:
            event = truncate(event, len(data), self.limits.event_bytes)
            data = p.encode(event)
        self._log.append(entry_of(data, event))
        self.state.apply(event)
        if not self._journaled:
            return
        if self._storing.is_full:
            self.rebase()
        decides = isinstance(event, p.HumanGateResolved) or self._cause[2] is not None
        self._storing.add(Record(event.seq or 0, data, *self._cause, output), decides=decides)
        if self.fault is not None:
            self._shown = self.head

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
            ack, event = decide(self.state, command, by, now, engine=self.engine(now))
        elif isinstance(command, p.CancelExecution) and command.give_up:
            ack, event = give_up(self.state, command, by, engine=self.engine(now))
        else:
            ack, event = steer(self.state, command, engines=self.engines)
        self._cause = (None, None, command.id)
        try:
            if isinstance(event, p.HumanGateResolved):
                self._resolve(event, now)
            elif isinstance(event, p.ExecutionComplete):
                self._end(event, now)
            elif event is not None:
                self._append(event, now)
        finally:
            self._cause = _NOTHING
        return ack

    def _resolve(self, event: p.HumanGateResolved, now: int) -> None:
        """Close a gate, and do what follows where it is the budget's."""
        self._append(event, event.ts or now)
        if event.node_id == BUDGET_NODE:
            self._append_all(self._spending.settle(event, self.state), now)

    # --- Deadlines and lost engines

    def lose(self, now: int) -> None:
        """The engine has been gone for so long that the run counts as lost, until it is back."""
        if self.under_way and self.state.status != "lost":
            self._append(p.ExecutionState(status="lost", inferred=True), now)

    def tick(self, now: int) -> None:
        """Answer the gates whose deadline has passed in people's place."""
        for gate in [gate for gate in self.state.gates.values() if is_late(gate, now)]:
            self._append(timed_out(gate, now), now)

    # --- Reading

    def catch_up(self, last: p.Cursor | None, *, lost: bool = True) -> CatchUp:
        """The shortest way from a client's cursor to the head."""
        fits = last is not None and last.epoch == self.epoch and self._logs.fits(last)
        return self._frames.catch_up(last.seq if last is not None and fits else None, self.state, lost=lost)

    def frame(self, after: int, upto: int, *, lost: bool = True) -> bytes:
        """The events with `after < seq <= upto` as one frame: the same bytes for everybody who asks."""
        return self._frames.frame(after, upto, lost=lost)

    def entries(self, after: int, upto: int) -> Iterator[Entry]:
        """The events with `after < seq <= upto`, one by one: who takes only the first pays for no more."""
        return map(self._log.at, range(after + 1, upto + 1))

    def holds(self, after: int) -> bool:
        """Whether the log still has every event after `after`."""
        return self._log.holds(after)

    def page(self, after: int, most: int) -> Page | None:
        """The first `most` events after `after`, or from where the run's numbers begin; None where they were let go."""
        after = max(after, self._log.begins)
        if after > self.durable:
            return Page(after, self.durable, [])
        if not self._log.holds(after):
            return None
        entries = self.entries(after, min(after + most, self.durable))
        return Page(after, self.durable, [entry.data for entry in entries])

    def compacted(self) -> list[Entry]:
        """The fewest events that add up to the state, one by one."""
        return compacted(self.state)


def _started_at(start: p.RunStart, now: int, ahead: int) -> int:
    """When a run started: by its publisher's clock, corrected, and never later than now."""
    return now if start.started_at is None else within_bounds(min(start.started_at + ahead, now))
