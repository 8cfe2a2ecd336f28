"""A room, without sockets or a clock: what it numbers, keeps, adds up and decides."""

import re
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits
from dagwidget.server import catch_up
from dagwidget.server import room as room_module
from dagwidget.server.catch_up import CatchUp
from dagwidget.server.room import Refused, Room
from dagwidget.server.storage.loading import StoredLog
from dagwidget.server.storage.memory_log import Entry, MemoryLog
from dagwidget.state import DagState, reduce

from . import strategies

NOW = 1_000
APPROVE_OR_REJECT = p.Presentation(title="Ship it?", allowed=["approve", "reject"])


def attach(publisher: str = "engine", epoch: str | None = "run-1", start: p.RunStart | None = None) -> p.Attach:
    return p.Attach(protocol=1, publisher=publisher, epoch=epoch, start=start)


class Engine:
    """A publisher that numbers what it says."""

    def __init__(self, room: Room, name: str = "engine", epoch: str = "run-1", **start) -> None:
        self.room = room
        self.name = name
        self.seq = room.attach(attach(name, epoch, p.RunStart(**start)), NOW).seq
        room.engines += 1

    def say(self, *events: p.Event, now: int = NOW) -> int:
        for event in events:
            self.seq += 1
            event.seq = self.seq
        return self.room.publish(self.name, events, now)

    def ask(self, node_id: str = "review", gate_id: str | None = "review:1", **presentation) -> None:
        self.say(p.HumanGateWaiting(node_id=node_id, gate_id=gate_id, presentation=p.Presentation(**presentation)))


@pytest.fixture
def room():
    return Room("dag")


@pytest.fixture
def engine(room):
    return Engine(room)


def told(room: Room, after: int = 0) -> list[p.Event]:
    """What the room's log says after `after`."""
    return [event for entry in room.entries(after, room.head) for event in p.decode_server(entry.data)]


def decide(room: Room, id: str = "c1", decision: str = "approve", by: str = "ana", now: int = NOW, **fields):
    fields = {"node_id": "review", **fields}
    return room.command(p.HumanDecision(id=id, decision=decision, **fields), by, now)


def running(node_id: str = "a", **fields) -> p.NodeState:
    return p.NodeState(node_id=node_id, status="running", **fields)


# --- Numbers, the log and the epoch


@settings(max_examples=60)
@given(strategies.logs)
def test_events_are_numbered_densely_from_one(log):
    room = Room("dag")
    Engine(room, budget=1.0).say(*log)
    assert [event.seq for event in told(room)] == [*range(1, room.head + 1)]
    assert room.state.seq == room.head


@settings(max_examples=60)
@given(strategies.logs)
def test_the_log_adds_up_to_the_state(log):
    room = Room("dag")
    Engine(room).say(*log)
    assert reduce(told(room), DagState(epoch="run-1")).to_dict() == room.state.to_dict()


def test_a_run_opens_with_its_state_and_its_budget(room):
    Engine(room, budget=2.0, currency="EUR", capabilities=p.Capabilities(pause="none"))
    assert told(room) == [
        p.ExecutionState(status="running", capabilities=p.Capabilities(pause="none"), seq=1, ts=NOW),
        p.CostUpdate(spent=0, budget=2, remaining=2, currency="EUR", seq=2, ts=NOW),
    ]
    assert room.under_way


def test_an_event_keeps_its_own_time_and_gets_the_rooms_where_it_has_none(room, engine):
    engine.say(running(ts=77), running("b"), now=500)
    assert [event.ts for event in told(room, 1)] == [77, 500]


def test_what_can_not_be_logged_changes_nothing_and_is_taken_when_it_is_sent_again(room, engine, monkeypatch):
    engine.say(running())
    before, head = room.state.to_dict(), room.head
    with monkeypatch.context() as broken:
        broken.setattr(room._log, "append", mock.Mock(side_effect=OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            engine.say(running("b"))
    assert (room.state.to_dict(), room.head) == (before, head)
    assert room.attach(attach(), NOW).seq == 1
    assert room.publish("engine", [running("b", seq=2)], NOW) == 2
    assert "b" in room.state.nodes


def test_the_state_follows_the_log_and_not_the_other_way_round(room, engine, monkeypatch):
    seen = []
    append = room._log.append
    monkeypatch.setattr(room._log, "append", lambda entry: (seen.append("a" in room.state.nodes), append(entry)))
    engine.say(running("a"))
    assert seen == [False]


def test_a_publisher_that_starts_its_run_again_has_only_reconnected(room, engine):
    engine.say(running("a"), running("b"))
    again = room.attach(attach(start=p.RunStart()), NOW)
    assert (again.epoch, again.seq, room.head) == ("run-1", 2, 3)


def test_a_worker_joins_the_current_run_and_has_its_own_numbers(room, engine):
    engine.say(running("a"))
    joined = room.attach(attach("worker", None), NOW)
    assert (joined.epoch, joined.seq, joined.dag_id) == ("run-1", 0, "dag")
    assert room.publish("worker", [running("b", seq=1)], NOW) == 1
    assert [event.seq for event in told(room)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (attach(epoch=None, start=p.RunStart()), 4400),
        (attach(epoch="run-7"), 4404),
        (attach(epoch="run-7", start=p.RunStart()), 4404),
        (attach(epoch="run-1"), None),
        (attach(epoch=None), None),
    ],
)
def test_a_publisher_is_let_into_no_other_run(room, request_, code):
    Engine(room)
    if code is None:
        assert room.attach(request_, NOW).epoch == "run-1"
        return
    with pytest.raises(Refused) as refused:
        room.attach(request_, NOW)
    assert refused.value.code == code


def test_there_is_nothing_to_join_before_the_first_run(room):
    with pytest.raises(Refused, match="no run of 'dag'") as refused:
        room.attach(attach(epoch=None), NOW)
    assert refused.value.code == 4404


def test_another_process_takes_a_run_over_and_the_first_one_does_not_get_it_back(room, engine):
    engine.say(running("a"))
    second = Engine(room, "engine-2", "run-1")
    second.say(running("b"))
    with pytest.raises(Refused, match="another process has taken over") as refused:
        room.attach(attach("engine", "run-1", p.RunStart()), NOW)
    assert refused.value.code == 4006
    assert (room.owner, list(room.state.nodes)) == ("engine-2", ["a", "b"])


def test_an_engine_that_is_back_finds_its_lost_run_running(room, engine):
    engine.ask()
    engine.say(running("a"))
    room.lose(NOW)
    room.lose(NOW)
    assert [(event.status, event.inferred) for event in told(room)[-1:]] == [("lost", True)]
    assert room.state.status == "lost"
    assert [*room.state.gates] == ["review:1"]
    assert room.state.nodes["a"].status == "running"
    assert decide(room).ok
    room.attach(attach("engine", "run-1", p.RunStart()), NOW)
    assert room.state.status == "running"


def test_only_the_room_infers(room, engine):
    engine.say(
        running("a"),
        p.NodeState(node_id="a", status="failed", inferred=True),
        p.ExecutionState(status="lost", inferred=True),
        p.ExecutionComplete(results=1, inferred=True),
    )
    assert [getattr(event, "inferred", None) for event in told(room)] == [None] * 5
    assert [event.type for event in told(room) if isinstance(event, p.Unknown)] == ["run_lost"]
    assert (room.state.status, room.state.inferred) == ("completed", None)


def give_up(room: Room, id: str = "g1", now: int = NOW) -> p.CommandAck:
    return room.command(p.CancelExecution(id=id, give_up=True), "ana", now)


def test_only_a_run_whose_engine_is_gone_can_be_given_up(room, engine):
    room.presence.connect(NOW)
    engine.say(running("a"))
    assert give_up(room).code == "engine_connected"
    room.presence.disconnect()
    gone = NOW + 10_000
    assert give_up(room, "g2", gone).ok
    assert (room.state.status, room.state.nodes["a"].status) == ("cancelled", "cancelled")
    end = told(room)[-1]
    assert (end.reason, end.inferred) == ("given up by ana", True)
    assert give_up(room, "g3", gone).code == "not_running"


def test_the_engines_own_end_replaces_that_of_a_run_that_was_given_up(room, engine):
    engine.say(running("a"))
    give_up(room, now=NOW + 10**9)
    engine.say(p.NodeState(node_id="a", status="completed"), p.ExecutionComplete(results=42))
    assert (room.state.status, room.state.results) == ("completed", 42)
    assert room.state.nodes["a"].status == "completed"


def test_a_decision_says_that_it_waits_where_the_engine_is_gone(room, engine):
    engine.ask()
    ack = decide(room, now=NOW + 10**9)
    assert ack.ok
    assert "the engine is gone" in ack.message


def test_no_cursor_fits_the_log_of_a_run_that_was_lost(room):
    lost = attach("engine", "run-1", p.RunStart())
    lost.acknowledged = 3
    room.attach(lost, NOW)
    room.publish("engine", [running(f"n{i}", seq=i) for i in range(1, 10)], NOW)
    assert room.catch_up(p.Cursor(epoch="run-1", seq=5)).reset
    assert not room.catch_up(p.Cursor(epoch="run-1", seq=room.head - 1)).reset


# --- What publishers send again, or not at all


def test_what_a_publisher_sends_again_is_dropped_by_its_own_number(room, engine):
    engine.say(running("a"), running("b"))
    head = room.head
    assert room.publish("engine", [running("a", seq=1), running("b", seq=2), running("c", seq=3)], NOW) == 3
    assert [event.node_id for event in told(room, head)] == ["c"]


@settings(max_examples=80)
@given(st.data())
def test_however_often_a_publisher_starts_over_each_event_is_there_once(data):
    room = Room("dag")
    Engine(room)
    had = 0
    for _ in range(data.draw(st.integers(1, 8))):
        # It goes on somewhere in what the room has already, as after an acknowledgement that was lost.
        start = data.draw(st.integers(1, had + 1))
        end = data.draw(st.integers(start, start + 3))
        had = room.publish("engine", [running(f"n{seq}", seq=seq) for seq in range(start, end + 1)], NOW)
    assert [event.node_id for event in told(room, 1)] == [f"n{seq}" for seq in range(1, had + 1)]


def test_a_gap_is_refused_and_what_came_before_it_is_kept(room, engine):
    with pytest.raises(Refused, match="expected the publisher's event 2, got 3") as refused:
        room.publish("engine", [running("a", seq=1), running("c", seq=3)], NOW)
    assert refused.value.code == 4003
    assert room.attach(attach(), NOW).seq == 1
    assert list(room.state.nodes) == ["a"]


def test_an_event_without_a_number_is_refused(room, engine):
    with pytest.raises(Refused, match="needs its publisher's own seq") as refused:
        room.publish("engine", [running()], NOW)
    assert refused.value.code == 4400


def test_an_event_of_an_unknown_type_counts_and_changes_nothing(room, engine):
    before = room.state.to_dict()
    engine.say(p.Unknown(type="future", id="x"))
    assert told(room)[-1] == p.Unknown(type="future", seq=2, ts=NOW)
    assert {**room.state.to_dict(), "seq": 1} == before


def test_a_publisher_finds_its_place_again_after_what_changed_nothing(room):
    room = Room("dag", journaled=True)
    engine = Engine(room)
    engine.ask()
    decide(room, by="ana")
    late = {"node_id": "review", "gate_id": "review:1", "decision": "reject", "by": "me", "at": NOW, "source": "engine"}
    engine.say(p.HumanGateResolved(**late), p.Unknown(type="future"))
    again = Room("dag", journaled=True)
    again.restore(StoredLog("run-1", room.next_append(NOW).records))
    assert again.attach(attach(start=p.RunStart()), NOW).seq == engine.seq


# --- Cost


def test_deltas_of_several_publishers_add_up_without_the_noise_of_binary_fractions(room):
    one, two = Engine(room, "one", budget=1.0), Engine(room, "two")
    one.say(p.CostDelta(amount=0.1, node_id="a", tokens_in=10, tokens_out=5))
    two.say(p.CostDelta(amount=0.2, node_id="b"))
    one.say(p.CostDelta(amount=0.3, node_id="a"))
    updates = [event for event in told(room) if isinstance(event, p.CostUpdate)]
    assert [(cost.spent, cost.remaining) for cost in updates] == [(0, 1), (0.1, 0.9), (0.3, 0.7), (0.6, 0.4)]
    assert [cost.by_node for cost in updates] == [None, {"a": 0.1}, {"b": 0.2}, {"a": 0.4}]
    assert room.state.cost.by_node == {"a": 0.4, "b": 0.2}
    assert room.state.cost.tokens == 15


@settings(max_examples=60)
@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_cents_add_up_exactly(cents):
    room = Room("dag")
    engine = Engine(room, budget=100)
    engine.say(*(p.CostDelta(amount=each / 100) for each in cents))
    assert (room.state.cost.spent, room.state.cost.remaining) == (sum(cents) / 100, (10_000 - sum(cents)) / 100)


def test_tokens_without_a_price_are_counted_as_unpriced_and_cost_nothing(room, engine):
    engine.say(p.CostDelta(node_id="a", tokens_in=7, tokens_out=3), p.CostDelta(amount=0.5, tokens_in=1))
    cost = room.state.cost
    assert (cost.spent, cost.tokens, cost.unpriced, cost.by_node) == (0.5, 11, 10, None)
    assert (cost.budget, cost.remaining) == (None, None)


def test_an_engine_that_knows_the_totals_corrects_the_sum(room, engine):
    engine.say(
        p.CostDelta(amount=1.0, node_id="a", tokens_in=5),
        p.CostUpdate(spent=3.0, budget=10.0, remaining=7.0, tokens=50, by_node={"a": 2.5}),
        p.CostDelta(amount=0.5, node_id="a", tokens_in=1),
    )
    last = told(room)[-1]
    assert (last.spent, last.remaining, last.tokens, last.by_node) == (3.5, 6.5, 51, {"a": 3.0})


def test_an_engine_that_corrects_the_sum_changes_nothing_of_what_it_leaves_out(room):
    engine = Engine(room, "e", "run-2", budget=9.0, currency="EUR", on_budget="warn")
    engine.say(p.CostUpdate(spent=3.0, budget=4.0, remaining=1.0))
    assert (room.state.cost.currency, room.state.cost.on_budget) == ("EUR", "warn")
    spend(room, engine, 1.0)
    assert codes(room) == ["budget_spent"]


def test_spending_more_than_the_budget_is_shown(room):
    Engine(room, budget=1.0).say(p.CostDelta(amount=1.5))
    assert room.state.cost.remaining == -0.5


# --- Gates


def test_the_first_valid_decision_wins_and_is_an_event(room, engine):
    engine.ask()
    ack = decide(room, feedback="fine", source="python", now=2_000)
    assert ack == p.CommandAck(id="c1", ok=True)
    assert told(room)[-1] == p.HumanGateResolved(
        node_id="review",
        gate_id="review:1",
        decision="approve",
        by="ana",
        at=2_000,
        source="python",
        feedback="fine",
        seq=3,
        ts=2_000,
    )
    assert not room.state.gates


def test_who_is_late_learns_who_was_first(room, engine):
    engine.ask()
    decide(room, "c1", "approve", by="ana")
    head = room.head
    ack = decide(room, "c2", "reject", by="ben")
    assert (ack.ok, ack.code) == (False, "already_decided")
    assert (ack.winner.by, ack.winner.decision, ack.winner.gate_id) == ("ana", "approve", "review:1")
    assert "ana" in ack.message
    assert room.head == head


def test_the_same_command_again_gets_the_same_answer_and_changes_nothing(room, engine):
    engine.ask()
    first, late = decide(room, "c1"), decide(room, "c2", "reject")
    head = room.head
    assert decide(room, "c1") is first
    assert decide(room, "c2", "reject") is late
    assert room.head == head


def test_only_the_latest_answers_are_remembered(room, monkeypatch):
    monkeypatch.setattr(room_module, "_ANSWERS", 3)
    for number in range(10):
        decide(room, f"c{number}")
    assert list(room._answers) == ["c7", "c8", "c9"]


def test_no_decision_is_taken_where_no_gate_was_ever_open(room, engine):
    assert decide(room).code == "no_such_gate"
    engine.ask()
    assert decide(room, "c2", node_id="elsewhere").code == "no_such_gate"
    assert decide(room, "c3", gate_id="review:9").code == "no_such_gate"
    assert room.state.gates.keys() == {"review:1"}


def test_a_gate_that_its_node_closed_takes_no_decision(room, engine):
    engine.ask()
    engine.say(p.NodeState(node_id="review", status="failed"))
    assert decide(room, gate_id="review:1").code == "no_such_gate"


def test_an_old_click_does_not_hit_the_gate_of_the_next_attempt(room, engine):
    engine.ask(gate_id="review:1")
    decide(room, "c1", "reject", gate_id="review:1")
    engine.ask(gate_id="review:2")
    ack = decide(room, "c2", "approve", gate_id="review:1", by="ben")
    assert (ack.code, ack.winner.decision) == ("already_decided", "reject")
    assert decide(room, "c3", "approve").ok


def test_of_several_gates_of_one_node_one_must_be_named(room, engine):
    engine.ask(gate_id="g1")
    engine.ask(gate_id="g2")
    ack = decide(room, "c1")
    assert ack.code == "ambiguous_gate"
    assert "g1, g2" in ack.message
    assert decide(room, "c2", gate_id="g2").ok
    assert room.state.gates.keys() == {"g1"}


def test_a_gate_without_an_id_goes_by_its_nodes_name(room, engine):
    engine.ask(gate_id=None)
    assert decide(room, gate_id="review").ok


def test_a_decision_that_the_gate_does_not_take_is_refused(room, engine):
    engine.ask(allowed=["approve", "reject"])
    ack = decide(room, decision="modify", value=1)
    assert (ack.ok, ack.code) == (False, "not_allowed")
    assert "approve or reject" in ack.message
    assert decide(room, "c2", "reject").ok


def test_a_modification_needs_a_value(room, engine):
    engine.ask()
    assert decide(room, decision="modify").code == "invalid_value"
    assert decide(room, "c2", "modify", value=0).ok
    assert room.state.decisions[-1].value == 0


def test_a_value_must_match_the_gates_schema(room, engine):
    engine.ask(schema={"type": "object", "properties": {"rows": {"type": "integer"}}, "required": ["rows"]})
    ack = decide(room, decision="modify", value={"rows": "many"})
    assert (ack.ok, ack.code) == (False, "invalid_value")
    assert "rows" in ack.message
    assert decide(room, "c2", "modify", value={"rows": 3}).ok


def test_a_decision_of_the_engine_counts_only_where_the_gate_is_still_open(room, engine):
    engine.ask()
    decide(room, by="ana")
    timeout = {"node_id": "review", "gate_id": "review:1", "decision": "reject", "by": "deadline", "at": NOW}
    engine.say(p.HumanGateResolved(**timeout, source="timeout"))
    assert [decision.source for decision in room.state.decisions] == ["widget"]
    engine.ask(gate_id="review:2")
    engine.say(p.HumanGateResolved(**{**timeout, "gate_id": "review:2"}, source="timeout"))
    assert [decision.source for decision in room.state.decisions] == ["widget", "engine"]
    assert decide(room, "c2", gate_id="review:2").winner.by == "engine"


def test_a_gate_that_is_opened_again_under_its_id_stays_open_once(room, engine):
    engine.ask(title="One?")
    engine.ask(title="Two?")
    assert [gate.presentation.title for gate in room.state.gates.values()] == ["Two?"]
    assert decide(room).ok


# --- Steering


def steer(room: Room, kind: type[p.Command], id: str = "c1") -> p.CommandAck:
    return room.command(kind(id=id), "ana", NOW)


@pytest.mark.parametrize(
    ("kind", "status"),
    [(p.PauseExecution, "pausing"), (p.CancelExecution, "cancelling")],
)
def test_what_is_asked_of_the_engine_becomes_the_runs_state_once(room, engine, kind, status):
    assert steer(room, kind, "c1").ok
    assert (told(room)[-1].status, room.state.status) == (status, status)
    head = room.head
    assert steer(room, kind, "c2").ok
    assert room.head == head


def test_a_paused_run_is_resumed(room, engine):
    steer(room, p.PauseExecution, "c1")
    engine.say(p.ExecutionState(status="paused"))
    head = room.head
    assert steer(room, p.PauseExecution, "c2").ok
    assert room.head == head
    assert steer(room, p.ResumeExecution, "c3").ok
    assert room.state.status == "resuming"


def test_resuming_a_run_that_runs_changes_nothing(room, engine):
    assert steer(room, p.ResumeExecution).ok
    assert room.head == 1


@pytest.mark.parametrize("kind", [p.PauseExecution, p.ResumeExecution, p.CancelExecution])
def test_no_run_is_steered_before_it_begins_or_after_it_ends(room, kind):
    assert steer(room, kind, "c1").code == "not_running"
    engine = Engine(room)
    engine.say(p.ExecutionComplete(results=None))
    ack = steer(room, kind, "c2")
    assert (ack.ok, ack.code) == (False, "not_running")
    assert "completed" in ack.message


def test_a_run_that_is_being_cancelled_is_not_paused(room, engine):
    steer(room, p.CancelExecution, "c1")
    assert steer(room, p.PauseExecution, "c2").code == "not_running"
    assert steer(room, p.ResumeExecution, "c3").code == "not_running"


@pytest.mark.parametrize(
    ("able", "kind", "supported"),
    [
        (p.Capabilities(pause="none"), p.PauseExecution, False),
        (p.Capabilities(pause="none"), p.ResumeExecution, False),
        (p.Capabilities(pause="none"), p.CancelExecution, True),
        (p.Capabilities(cancel="none"), p.CancelExecution, False),
        (p.Capabilities(cancel="none"), p.PauseExecution, True),
        (p.Capabilities(cancel="cooperative"), p.CancelExecution, True),
    ],
)
def test_what_the_engine_can_not_do_is_refused(room, able, kind, supported):
    Engine(room, capabilities=able)
    ack = steer(room, kind)
    assert (ack.ok, ack.code) == ((True, None) if supported else (False, "not_supported"))


@pytest.mark.parametrize("kind", [p.PauseExecution, p.ResumeExecution, p.CancelExecution])
def test_an_engine_that_is_gone_is_not_steered(room, engine, kind):
    room.engines = 0
    assert steer(room, kind).code == "engine_gone"
    assert room.head == 1


def test_a_decision_is_taken_also_while_the_engine_is_gone(room, engine):
    engine.ask()
    room.engines = 0
    assert decide(room).ok


def test_a_command_of_another_kind_is_refused(room, engine):
    assert steer(room, p.Command).code == "unknown_command"


def test_an_engine_that_comes_back_learns_every_decision_and_what_is_asked_now(room, engine):
    engine.ask(gate_id="g1")
    decide(room, "c1", gate_id="g1")
    engine.ask(gate_id="g2")
    decide(room, "c2", "reject", gate_id="g2")
    steer(room, p.PauseExecution, "c3")
    *decisions, asked = room.news_for_engines()
    assert [(decision.gate_id, decision.decision) for decision in decisions] == [("g1", "approve"), ("g2", "reject")]
    assert asked.status == "pausing"


# --- The end of a run


def test_a_run_that_ends_leaves_no_node_running_or_waiting(room, engine):
    engine.say(
        p.DagMutated(mutation=p.Mutation(add_nodes=[p.NodeSpec(id="never")])),
        running("busy"),
        p.NodeState(node_id="done", status="completed"),
        p.NodeState(node_id="map", status="completed", instance="1"),
        p.NodeState(node_id="map", status="running", instance="2"),
        p.NodeState(node_id="map", status="pending", instance="3"),
    )
    engine.ask("review")
    head = room.head
    engine.say(p.ExecutionComplete(results=1, status="cancelled"))
    *settled, end = told(room, head)
    assert isinstance(end, p.ExecutionComplete)
    assert {(event.node_id, event.instance): event.status for event in settled} == {
        ("never", None): "skipped",
        ("busy", None): "cancelled",
        ("map", "2"): "cancelled",
        ("map", "3"): "skipped",
        ("review", None): "cancelled",
    }
    assert {(event.reason, event.inferred) for event in settled} == {("the run ended", True)}
    assert all(node.settled for node in room.state.nodes.values())
    assert (room.state.status, room.state.gates, room.under_way) == ("cancelled", {}, False)


def test_a_later_word_of_the_engine_replaces_the_end_that_the_room_inferred(room, engine):
    engine.say(running("a", attempt=2), running("map", instance="1"), p.ExecutionComplete(results=1))
    ended = [event for event in told(room) if isinstance(event, p.NodeState) and event.inferred]
    assert [(event.node_id, event.instance, event.attempt) for event in ended] == [("a", None, 2), ("map", "1", None)]
    engine.say(p.NodeState(node_id="a", status="failed", attempt=2, error="late"), running("map", instance="1"))
    assert (room.state.nodes["a"].status, room.state.nodes["a"].error) == ("failed", "late")
    assert (room.state.nodes["map"].status, room.state.status) == ("running", "completed")


@settings(max_examples=80)
@given(strategies.logs)
def test_whatever_happened_before_a_run_ends_settled(log):
    room = Room("dag")
    engine = Engine(room)
    engine.say(*log)
    engine.say(p.ExecutionComplete(results=None))
    assert all(node.settled for node in room.state.nodes.values())
    assert [event.seq for event in told(room)] == [*range(1, room.head + 1)]


# --- Catching up


def caught_up(state: DagState, way: CatchUp, epoch: str) -> DagState:
    """What a client makes of it that stood at `state`."""
    if way.reset:
        state = DagState(epoch=epoch)
    for frame in way.frames:
        for event in p.decode_server(frame):
            assert way.reset or event.seq == state.seq + 1
            state.apply(event)
    state.seq = way.seq
    return state


@settings(max_examples=150)
@given(st.data())
def test_from_any_cursor_a_client_catches_up_to_the_rooms_state(data):
    limits = Limits(
        log_events=data.draw(st.sampled_from([2, 5, 1000]), "log"), batch_events=data.draw(st.integers(1, 5))
    )
    room = Room("dag", limits)
    engine = Engine(room)
    # Everything that was ever said: the log forgets.
    said = [entry.data for entry in room.entries(0, room.head)]
    append = room._log.append
    room._log.append = lambda entry: (said.append(entry.data), append(entry))
    for event in data.draw(strategies.logs):
        engine.say(event)
        if room.state.gates and data.draw(st.booleans(), "somebody decides"):
            gate = room.state.gates[data.draw(st.sampled_from(sorted(room.state.gates)), "gate")]
            decide(room, f"c{room.head}", node_id=gate.node_id, gate_id=gate.gate_id)
    assert len(said) == room.head
    at = data.draw(st.integers(0, room.head), "cursor")
    client = reduce((p.decode_server(event)[0] for event in said[:at]), DagState(epoch="run-1"))
    with mock.patch.object(catch_up, "_SMALL_TAIL", data.draw(st.sampled_from([0, 64 * 1024]), "small")):
        way = room.catch_up(p.Cursor(epoch="run-1", seq=at))
    client = caught_up(client, way, room.epoch)
    assert way.seq == room.head
    assert client.to_dict() == room.state.to_dict()


@settings(max_examples=60)
@given(strategies.logs, st.sampled_from([None, p.Cursor(epoch="other", seq=1), p.Cursor(epoch="run-1", seq=999)]))
def test_who_stands_nowhere_is_given_the_whole_state(log, cursor):
    room = Room("dag")
    Engine(room).say(*log)
    way = room.catch_up(cursor)
    assert way.reset
    assert caught_up(DagState(), way, room.epoch).to_dict() == room.state.to_dict()


def test_who_lacks_little_is_given_the_tail_and_who_lacks_nothing_gets_nothing(room, engine):
    engine.say(running("a"), running("b"), running("c"))
    way = room.catch_up(p.Cursor(epoch="run-1", seq=2))
    assert (way.reset, way.seq) == (False, 4)
    assert [event.node_id for frame in way.frames for event in p.decode_server(frame)] == ["b", "c"]
    assert room.catch_up(p.Cursor(epoch="run-1", seq=4)) == CatchUp(False, 4, [])


def test_a_tail_larger_than_the_state_is_not_sent(room, engine):
    for number in range(300):
        engine.say(running("a", message="x" * 500, progress=number / 300))
    way = room.catch_up(p.Cursor(epoch="run-1", seq=1))
    assert way.reset
    assert sum(map(len, way.frames)) < 2000
    assert not room.catch_up(p.Cursor(epoch="run-1", seq=room.head - 5)).reset


def test_a_tail_that_the_log_has_lost_is_replaced_by_the_state():
    room = Room("dag", Limits(log_events=4))
    Engine(room).say(*(running(f"n{number}") for number in range(20)))
    assert not room.holds(1)
    assert room.catch_up(p.Cursor(epoch="run-1", seq=1)).reset
    assert not room.catch_up(p.Cursor(epoch="run-1", seq=room.head - 3)).reset


def test_the_tail_comes_in_frames_of_limited_length():
    room = Room("dag", Limits(batch_events=3))
    Engine(room).say(*(running(f"n{number}") for number in range(7)))
    way = room.catch_up(p.Cursor(epoch="run-1", seq=0))
    assert [len(p.decode_server(frame)) for frame in way.frames] == [3, 3, 2]


def test_a_large_state_comes_in_several_frames(room, engine):
    engine.say(*(running(f"n{number}", message="x" * 1000) for number in range(200)))
    way = room.catch_up(None)
    assert len(way.frames) > 3
    assert max(map(len, way.frames)) < 70_000
    assert caught_up(DagState(), way, room.epoch).to_dict() == room.state.to_dict()


def test_before_the_first_run_there_is_nothing_to_catch_up_with(room):
    assert room.catch_up(None) == CatchUp(True, 0, [])
    assert room.catch_up(p.Cursor(epoch="", seq=0)) == CatchUp(False, 0, [])


def test_everybody_at_the_same_place_is_given_the_same_bytes(room, engine):
    engine.say(running("a"), running("b"), running("c"))
    frame = room.frame(1, 4)
    assert room.frame(1, 4) is frame
    assert room.frame(2, 4) is not frame
    assert room.frame(1, 2) is next(room.entries(1, 2)).data
    assert room.catch_up(None).frames[0] is room.catch_up(None).frames[0]


def test_the_state_is_compacted_anew_once_it_has_changed(room, engine):
    old = room.catch_up(None)
    engine.say(running("a"))
    assert caught_up(DagState(), old, "run-1").to_dict() != room.state.to_dict()
    assert caught_up(DagState(), room.catch_up(None), "run-1").to_dict() == room.state.to_dict()


def test_few_frames_are_kept(room, engine):
    engine.say(*(running(f"n{number}") for number in range(100)))
    for seq in range(100):
        room.frame(seq, seq + 1)
    assert len(room._frames._ranges) == catch_up._FRAMES


# --- What is too large


@settings(max_examples=80)
@given(
    most=st.integers(1_000, 20_000),
    text=st.text('x"\\é😀\n\x00', min_size=1, max_size=5),
    kind=st.sampled_from(["node_state", "execution_complete", "error"]),
)
def test_an_output_that_is_too_large_is_cut_to_a_preview(most, text, kind):
    room = Room("dag", Limits(event_bytes=most))
    engine = Engine(room)
    output = {"text": text * (most // len(text) + 1)}
    match kind:
        case "node_state":
            engine.say(p.NodeState(node_id="a", status="completed", output=output))
            cut = room.state.nodes["a"].output
        case "execution_complete":
            engine.say(p.ExecutionComplete(results=output))
            cut = room.state.results
        case "error":
            engine.say(p.RunError(message="no", detail=output))
            cut = room.state.errors[-1].detail
    whole = p.encode_value(output).decode()
    assert cut["truncated"] is True
    assert cut["bytes"] == len(whole.encode())
    assert cut["preview"]
    assert whole.startswith(cut["preview"])
    [entry] = room.entries(room.head - 1, room.head)
    assert len(entry.data) <= most
    assert reduce(told(room), DagState(epoch="run-1")).to_dict() == room.state.to_dict()


def test_an_output_within_the_limit_is_left_whole():
    room = Room("dag", Limits(event_bytes=1_000))
    Engine(room).say(running(output="x" * 800))
    assert room.state.nodes["a"].output == "x" * 800


@pytest.mark.parametrize(
    "event",
    [
        p.NodeLog(node_id="a", lines=["x" * 5_000]),
        p.NodeState(node_id="a", status="failed", error="x" * 5_000, output="y" * 5_000),
        p.DagMutated(mutation=p.Mutation(add_nodes=[p.NodeSpec(id="a", description="x" * 5_000)])),
        p.RunError(message="x" * 5_000, node_id="a"),
    ],
)
def test_texts_that_are_too_large_are_shortened_and_nothing_else_is_lost(event):
    room = Room("dag", Limits(event_bytes=1_000))
    Engine(room).say(event, running("b"))
    shorter, after = told(room, 1)
    assert (type(shorter), shorter.seq, after.seq) == (type(event), 2, 3)
    assert len(p.encode(shorter)) <= 1_000
    assert re.search(r"x… 4,\d\d\d more characters", p.encode(shorter).decode())
    assert getattr(shorter, "status", None) == getattr(event, "status", None)


@pytest.mark.parametrize(
    "event",
    [
        p.NodeLog(node_id="a", lines=["x"] * 500),
        p.NodeState(node_id="a", status="running", metrics={f"m{i}": i for i in range(200)}),
        p.DagMutated(mutation=p.Mutation(remove_nodes=[f"n{i}" for i in range(200)])),
    ],
)
def test_what_can_not_be_cut_is_left_out_with_an_error_in_its_place(event):
    room = Room("dag", Limits(event_bytes=1_000))
    Engine(room).say(event, running("b"))
    error, after = told(room, 1)
    assert (error.code, error.seq, after.seq) == ("too_large", 2, 3)
    assert error.node_id == getattr(event, "node_id", None)
    assert "the limit is 1,000 bytes" in error.message


# --- The log


def test_a_log_keeps_the_newest_and_knows_what_it_has_lost():
    log = MemoryLog(4)
    for number in range(1, 18):
        log.append(Entry(b"x" * number, plain=True, engine=False))
        assert log.head == number
        held = [after for after in range(number + 2) if log.holds(after)]
        assert held[-1] == number
        assert len(held) - 1 >= min(4, number)
        assert len(held) - 1 <= 6
        for after in held:
            assert log.size(after) == sum(range(after + 1, number + 1))
            assert [len(entry.data) for entry in log.read(after, number)] == [*range(after + 1, number + 1)]
        assert len(log.at(number).data) == number


def test_an_empty_log_holds_its_beginning():
    log = MemoryLog(4)
    assert log.holds(0)
    assert not log.holds(1)
    assert log.size(0) == 0


# --- Beginning anew


def test_a_run_that_had_ended_is_running_again_when_an_engine_goes_on_with_it(room, engine):
    engine.say(p.ExecutionComplete(results=None, status="failed"))
    # Who only reconnects changes nothing.
    room.attach(attach("engine", "run-1", p.RunStart()), NOW)
    assert room.state.status == "failed"
    again = Engine(room, "engine-2", "run-1")
    assert room.state.status == "running"
    again.ask()
    assert waiting(room) == ["review:1"]


def test_a_gate_that_was_decided_is_not_opened_again_by_an_engine_that_begins_anew(room, engine):
    engine.ask()
    assert decide(room, "c1").ok
    Engine(room, "engine-2", "run-1").ask()
    assert waiting(room) == []
    assert decide(room, "c2", "reject").code == "already_decided"
    assert [made.decision for made in room.state.decisions] == ["approve"]


# --- Who may decide, how many must, and until when


def waiting(room: Room) -> list[str]:
    return [gate.gate_id for gate in room.state.gates.values()]


def test_only_who_is_asked_may_decide(room, engine):
    engine.ask(assignees=["ana", "ben"])
    refused = decide(room, "c1", by="eve")
    assert (refused.ok, refused.code) == (False, "not_assigned")
    assert "ana or ben" in refused.message
    assert decide(room, "c2", by="ben").ok


def test_a_gate_may_need_several_approvals_and_no_one_approves_twice(room, engine):
    engine.ask(required=2)
    first = decide(room, "c1", by="ana", feedback="fine")
    assert (first.ok, first.message) == (True, "1 of 2 approvals")
    assert waiting(room) == ["review:1"]
    again = decide(room, "c2", by="ana")
    assert (again.ok, again.code) == (False, "already_approved")
    assert decide(room, "c1", by="ana") == first
    # An engine that asks the same again takes nothing back.
    engine.ask(required=2)
    assert decide(room, "c3", by="ben").ok
    [decision] = room.state.decisions
    assert [(each.by, each.feedback) for each in decision.approvals] == [("ana", "fine"), ("ben", None)]
    assert (decision.decision, waiting(room)) == ("approve", [])


def test_one_rejection_is_enough(room, engine):
    engine.ask(required=3)
    decide(room, "c1", by="ana")
    assert decide(room, "c2", "reject", by="ana").ok
    [decision] = room.state.decisions
    assert (decision.decision, [each.by for each in decision.approvals]) == ("reject", ["ana"])


def test_what_several_must_approve_no_one_may_modify(room, engine):
    engine.ask(required=2)
    refused = decide(room, "c1", "modify", value=1)
    assert (refused.code, refused.message) == ("not_allowed", "this gate takes approve or reject, not modify")


@pytest.mark.parametrize(
    ("on_timeout", "decision", "value"),
    [
        (None, "reject", None),
        ("fail", "reject", None),
        ("reject", "reject", None),
        ("approve", "approve", None),
        ("default", "modify", 7),
    ],
)
def test_a_gate_is_answered_at_its_deadline(room, engine, on_timeout, decision, value):
    engine.ask(deadline=NOW + 100, on_timeout=on_timeout, default=7)
    room.tick(NOW + 99)
    assert waiting(room) == ["review:1"]
    room.tick(NOW + 100)
    [made] = room.state.decisions
    assert (made.decision, made.value, made.source, made.by) == (decision, value, "timeout", "deadline")


def test_a_decision_after_the_deadline_is_too_late_even_before_anybody_looked(room, engine):
    engine.ask(deadline=NOW + 100)
    late = decide(room, now=NOW + 101)
    assert (late.ok, late.code, late.winner.source) == (False, "already_decided", "timeout")


def test_what_was_too_late_is_too_late_after_a_restart_as_well():
    room = Room("dag", journaled=True)
    Engine(room).ask(deadline=NOW + 100)
    late = decide(room, "c1", "approve", now=NOW + 101)
    again = Room("dag", journaled=True)
    again.restore(StoredLog("run-1", room.next_append(NOW).records))
    assert decide(again, "c1", "approve", now=NOW + 200).code == late.code == "already_decided"


# --- The budget


def spend(room: Room, engine: Engine, *amounts: float) -> None:
    engine.say(*(p.CostDelta(amount=amount, node_id="a") for amount in amounts))


def codes(room: Room) -> list[str | None]:
    return [fault.code for fault in room.state.errors]


def test_a_spent_budget_is_only_shown_unless_something_else_was_asked_for(room):
    spend(room, Engine(room, "e", "run-2", budget=1.0), 2)
    assert (codes(room), room.state.status, room.state.cost.remaining) == ([], "running", -1)


@pytest.mark.parametrize(("on_budget", "status"), [("warn", "running"), ("pause", "pausing")])
def test_a_spent_budget_is_said_once_and_may_pause_the_run(room, on_budget, status):
    engine = Engine(room, "e", "run-2", budget=1.0, on_budget=on_budget)
    spend(room, engine, 0.5)
    assert codes(room) == []
    spend(room, engine, 0.5, 0.5)
    assert (codes(room), room.state.status) == (["budget_spent"], status)
    assert "1.00 USD" in room.state.errors[0].message


def budget_gate(room: Room) -> Engine:
    engine = Engine(room, "e", "run-2", budget=1.0, on_budget="gate")
    spend(room, engine, 1.5)
    return engine


def test_a_spent_budget_may_ask_whether_to_go_on(room):
    engine = budget_gate(room)
    [gate] = room.state.gates.values()
    assert (gate.gate_id, room.state.status) == ("dagwidget:budget:1", "pausing")
    assert "1.00 USD" in gate.presentation.title
    assert room.command(p.ResumeExecution(id="r"), "ana", NOW).code == "budget_spent"
    assert decide(room, "c1", node_id="dagwidget:budget").ok
    assert (room.state.cost.budget, room.state.status) == (2.5, "resuming")
    spend(room, engine, 0.5)
    assert waiting(room) == []
    spend(room, engine, 1)
    assert waiting(room) == ["dagwidget:budget:2"]


def test_a_budget_may_be_set_anew_but_not_to_what_is_spent_already(room):
    budget_gate(room)
    assert decide(room, "c1", "modify", node_id="dagwidget:budget", value=1.5).code == "invalid_value"
    assert decide(room, "c2", "modify", node_id="dagwidget:budget", value=10).ok
    assert (room.state.cost.budget, room.state.cost.remaining) == (10, 8.5)


def test_a_run_whose_budget_is_not_raised_is_cancelled(room):
    budget_gate(room)
    assert decide(room, "c1", "reject", node_id="dagwidget:budget").ok
    assert room.state.status == "cancelling"
    assert room.state.nodes["dagwidget:budget"].status == "cancelled"


def test_a_budget_that_was_seen_to_is_not_asked_for_again_after_a_restart():
    room = Room("dag", journaled=True)
    engine = budget_gate(room)
    kept = StoredLog("run-2", room.next_append(NOW).records)
    again = Room("dag", journaled=True)
    again.restore(kept)
    engine.room = again
    spend(again, engine, 0.1)
    assert waiting(again) == ["dagwidget:budget:1"]
    assert decide(again, "c1", node_id="dagwidget:budget").ok
    assert again.state.cost.budget == 2.6


@pytest.mark.parametrize(
    ("decision", "value", "budget", "status"),
    [("approve", None, 2.5, "resuming"), ("modify", 7, 7, "resuming"), ("modify", "x", 2.5, "resuming"),
     ("reject", None, 1.0, "cancelling")],
)  # fmt: skip
def test_an_engine_may_answer_for_its_budget_itself(room, decision, value, budget, status):
    budget_gate(room).say(
        p.HumanGateResolved(
            node_id="dagwidget:budget", gate_id="dagwidget:budget:1", decision=decision, value=value, by="policy",
            at=NOW, source="engine",
        )
    )  # fmt: skip
    assert (waiting(room), room.state.cost.budget, room.state.status) == ([], budget, status)


def test_a_run_that_goes_on_after_its_end_does_so_when_its_publisher_says(room, engine):
    engine.say(p.ExecutionComplete(results=None))
    Engine(room, "restarted", started_at=NOW - 5)
    assert (told(room)[-1].status, told(room)[-1].ts) == ("running", NOW - 5)
