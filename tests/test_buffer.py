"""What a publisher's full buffer lets go of, and what it never does."""

import copy
import re
import threading
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dagwidget
from dagwidget import protocol as p
from dagwidget.publisher.buffer import SendBuffer, thinned
from dagwidget.server.room import Room
from dagwidget.state import LOG_TAIL

from . import strategies
from .person import Person
from .proxy import CutProxy
from .serving import serving

# Added in another order these give the same sums.
amounts = st.none() | st.integers(-8, 64).map(lambda eighths: eighths / 8)
cost_deltas = st.builds(
    p.CostDelta,
    amount=amounts,
    node_id=st.none() | strategies.names,
    tokens_in=st.none() | st.integers(0, 9),
    tokens_out=st.none() | st.integers(0, 9),
)
steps = st.builds(
    p.NodeState,
    node_id=st.sampled_from(["a", "b"]),
    status=st.sampled_from(["running", "running", "running", "pending", "waiting", "completed"]),
    output=st.none() | st.integers(0, 9),
    metrics=st.none() | st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 9), max_size=2),
    error=strategies.texts,
    progress=st.none() | st.sampled_from([0.25, 0.5, 0.75]),
    attempt=st.sampled_from([None, None, 1, 2]),
    instance=st.sampled_from([None, None, "i1", "i2"]),
    message=strategies.texts,
    started_at=st.sampled_from([None, None, 7]),
    ts=strategies.moments,
)
edges = st.builds(
    p.EdgeActive,
    from_=st.sampled_from(["a", "b"]),
    to=st.sampled_from(["a", "b"]),
    active=st.none() | st.booleans(),
)
runs = st.lists(st.one_of(steps, steps, edges, cost_deltas, strategies.events), max_size=60)


def step(node_id: str = "a", **fields) -> p.NodeState:
    return p.NodeState(node_id=node_id, status=fields.pop("status", "running"), **fields)


def log(node_id: str = "a", lines: int = 1) -> p.NodeLog:
    return p.NodeLog(node_id=node_id, lines=["line"] * lines)


def gate(gate_id: str = "g1", node_id: str = "a") -> p.HumanGateWaiting:
    return p.HumanGateWaiting(node_id=node_id, gate_id=gate_id, presentation=p.Presentation())


def filled(most: int, events) -> SendBuffer:
    buffer = SendBuffer(most)
    for event in events:
        if buffer.append(event):
            buffer.thin()
    return buffer


def emptied(buffer: SendBuffer) -> list[p.Event]:
    events = []
    with buffer.lock:
        while buffer:
            events.append(buffer.first())
            buffer.drop_first()
    return events


def come_to(events: list[p.Event]) -> dict:
    """The state of a room to which these were published."""
    room = Room("dag")
    room.attach(p.Attach(protocol=1, publisher="p", epoch="run", start=p.RunStart()), 1)
    events = copy.deepcopy(events)
    for number, event in enumerate(events, 1):
        event.seq = number
    room.publish("p", events, 5)
    state = room.state.to_dict()
    del state["seq"]
    return state


def without_logs(state: dict) -> dict:
    for node in state["nodes"].values():
        node.pop("logs", None)
    return state


@settings(max_examples=500)
@given(runs, st.integers(0, 40))
def test_whatever_goes_the_state_stays_the_same_but_for_its_logs(events, left):
    whole = without_logs(come_to(events))
    kept, lost = thinned(events, left)
    assert without_logs(come_to(kept)) == whole
    merged = sum(isinstance(event, p.CostDelta) for event in events) - sum(isinstance(e, p.CostDelta) for e in kept)
    assert len(kept) + lost.total() + merged == len(events)
    for kind in (p.HumanGateWaiting, p.HumanGateResolved, p.RunError, p.ExecutionComplete, p.DagMutated):
        assert [e for e in kept if isinstance(e, kind)] == [e for e in events if isinstance(e, kind)]
    final = [e for e in events if isinstance(e, p.NodeState) and e.status in p.TERMINAL]
    assert [e for e in kept if isinstance(e, p.NodeState) and e.status in p.TERMINAL] == final


# From 12 on, 60 events stay below the ceiling where what comes in is refused.
@given(runs, st.integers(12, 20))
def test_thinning_again_and_again_changes_no_more(events, most):
    whole = without_logs(come_to(events))
    assert without_logs(come_to(emptied(filled(most, events)))) == whole


def test_no_more_goes_than_has_to():
    events = [step(progress=i / 10) for i in range(10)]
    kept, lost = thinned(events, 8)
    assert [event.progress for event in kept] == [0, *(i / 10 for i in range(3, 10))]
    assert lost == {"node_state": 2}


def test_the_last_step_carries_what_only_an_earlier_one_said():
    first, *others = step(), step(output=1, metrics={"x": 1}, message="old"), step(progress=0.5, metrics={"y": 2})
    kept, _ = thinned([first, *others], 0)
    assert kept == [first, step(output=1, metrics={"x": 1, "y": 2}, progress=0.5)]


@pytest.mark.parametrize(
    "between",
    [
        step(status="completed"),
        step(attempt=2),
        gate(),
        p.ExecutionComplete(results=None),
        p.DagMutated(mutation=p.Mutation(remove_nodes=["a"])),
    ],
)
def test_a_step_before_something_else_is_overtaken_by_none_after_it(between):
    events = [step(progress=0.1), step(progress=0.2), between, step(progress=0.3), step(progress=0.4)]
    assert thinned(events, 0)[0] == events


def test_costs_are_added_up_by_node_and_not_counted_as_lost():
    events = [
        p.CostDelta(amount=1.0, node_id="a", tokens_in=1),
        p.CostDelta(amount=2.0, node_id="b"),
        p.CostDelta(node_id="a", tokens_in=5),
        p.CostDelta(amount=0.5, node_id="a", tokens_out=2),
    ]
    kept, lost = thinned(events, 0)
    assert kept == [events[1], events[2], p.CostDelta(amount=1.5, node_id="a", tokens_in=1, tokens_out=2)]
    assert not lost


def test_an_edge_that_once_was_active_stays_known_as_taken():
    on, off = p.EdgeActive(from_="a", to="b"), p.EdgeActive(from_="a", to="b", active=False)
    assert thinned([on, off, on, off, off], 0)[0] == [on, off]
    assert thinned([off, on, off, on], 0)[0] == [on]


def test_log_lines_that_newer_ones_push_out_go_first_and_the_newest_stays():
    pushed_out, recent, last = log(lines=3), log(lines=LOG_TAIL), log()
    assert thinned([pushed_out, step("b"), recent, last], 3)[0] == [step("b"), recent, last]
    assert thinned([pushed_out, step("b"), recent, last], 0)[0] == [step("b"), last]


def test_what_cannot_go_stays_beyond_the_bound():
    events = [step(f"n{i}", status="completed") for i in range(40)]
    buffer = filled(10, events)
    assert not buffer.lost
    assert emptied(buffer) == events


def test_far_beyond_the_bound_only_what_people_wait_for_comes_in():
    events = [step(f"n{i}", status="completed") for i in range(60)]
    buffer = filled(10, [*events, gate(), p.RunError(message="x"), p.ExecutionComplete(results=1)])
    assert buffer.lost == {"node_state": 10}
    assert len(buffer) == 53


def test_it_says_once_that_it_is_full_and_again_when_it_is_again():
    buffer = SendBuffer(10)
    assert [buffer.append(step(progress=0.5)) for _ in range(13)] == [False] * 10 + [True, False, False]
    buffer.thin()
    assert len(buffer) == 7
    assert [buffer.append(step(progress=0.5)) for _ in range(5)] == [False] * 3 + [True, False]


def test_where_nobody_comes_to_thin_it_out_there_is_a_bound_still():
    buffer = SendBuffer(10)
    for i in range(1000):
        buffer.append(step(progress=i / 1000))
        assert len(buffer) <= 20
    assert emptied(buffer)[-1].progress == 0.999


def test_what_was_put_back_comes_first():
    buffer = filled(10, [step("c")])
    buffer.put_back([step("a"), step("b")])
    assert [event.node_id for event in emptied(buffer)] == ["a", "b", "c"]


def test_threads_that_append_while_it_is_thinned_lose_nothing():
    buffer = SendBuffer(4000)
    stop = threading.Event()

    def thin():
        while not stop.is_set():
            buffer.thin()
            assert buffer

    def publish(name):
        for i in range(5000):
            buffer.append(step(name, progress=i / 5000))
            buffer.append(p.RunError(message=f"{name}{i}"))

    buffer.append(step("first"))
    thinner = threading.Thread(target=thin)
    publishers = [threading.Thread(target=publish, args=(name,)) for name in "ab"]
    for thread in (thinner, *publishers):
        thread.start()
    for thread in publishers:
        thread.join()
    stop.set()
    thinner.join()
    events = emptied(buffer)
    for name in "ab":
        said = [event.message for event in events if isinstance(event, p.RunError) and event.message[0] == name]
        assert said == [f"{name}{i}" for i in range(5000)]
        assert [e.progress for e in events if isinstance(e, p.NodeState) and e.node_id == name][-1] == 4999 / 5000


def test_a_full_buffer_is_not_looked_through_with_every_event(monkeypatch):
    passes = []

    def counted(events, left):
        passes.append(len(events))
        return thinned(events, left)

    monkeypatch.setattr("dagwidget.publisher.buffer.thinned", counted)
    buffer = SendBuffer(2_000)
    for i in range(20_000):
        # Even where nobody else thins it out.
        buffer.append(step(f"n{i % 100}", progress=0.5))
    assert 0 < len(passes) < 20


def test_a_publisher_that_was_cut_off_for_long_reports_what_was_lost_and_nothing_else_is(monkeypatch):
    monkeypatch.setattr("dagwidget.publisher.transport._BUFFERED", 20)
    with serving() as server, Person(server, "full") as person:
        proxy = CutProxy(urlsplit(server.url).port)
        proxy.cut()
        try:
            run = dagwidget.start_run("full", url=f"ws://127.0.0.1:{proxy.port}", token=server.token, budget=100)
            for i in range(60):
                run.log("a", str(i))
                run.update("a", "running", progress=i / 60)
                run.cost(0.5, node_id="a")
            run.error("mind this")
            run.update("a", "completed", output={"x": 1})
            proxy.open()
            assert run.flush(20)
            message = person.wait("error", code="events_lost")["message"]
            run.complete({"y": 2})
            assert run.flush(20)
            state = person.state()
        finally:
            proxy.close()
    assert re.match(r"\d+ events were lost: .*: \d+ node_\w+, \d+ node_\w+$", message)
    a = state["nodes"]["a"]
    assert (a["status"], a["output"], a["progress"], a["logs"][-1]) == ("completed", {"x": 1}, 59 / 60, "59")
    assert (state["cost"]["spent"], state["cost"]["by_node"]) == (30.0, {"a": 30.0})
    assert [error.get("code") for error in state["errors"]] == [None, "events_lost"]
    assert state["results"] == {"y": 2}
