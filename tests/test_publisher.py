"""An engine's side, against a real server over real sockets."""

import asyncio
import contextlib
import gc
import itertools
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

import dagwidget
from dagwidget import GateTimeout, NotConnected, RunCancelled
from dagwidget import protocol as p
from dagwidget.clock import now_ms
from dagwidget.publisher.handles import OpenGate

from .person import Person
from .proxy import CutProxy
from .serving import serving


@pytest.fixture(scope="module")
def server():
    with serving() as server:
        yield server


@pytest.fixture
def dag_id(request):
    return f"ünusual / {request.node.name}"


@pytest.fixture
def person(server, dag_id):
    with Person(server, dag_id) as person:
        yield person


@pytest.fixture
def start(server, dag_id):
    """Starts runs, and ends those that a test leaves open."""
    runs = []

    def start(*arguments, **options):
        run = dagwidget.start_run(dag_id, *arguments, url=server.url, token=server.token, **options)
        runs.append(run)
        return run

    yield start
    for run in runs:
        run.complete()
        assert run.flush(10)


@pytest.fixture
def apart():
    """Runs a function in a thread, for the half of a test that waits for the other."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit


# --- Nodes, edges, the end


def test_a_run_with_its_nodes_edges_cost_and_results_arrives(start, person):
    with start(["a", {"id": "b", "label": "B", "group": "g"}], [("a", "b")], budget=2) as run:
        with run.node("a") as node:
            node.output(rows=3)
            node.cost(0.5, tokens_in=10, tokens_out=5)
            node.metrics(score=0.9)
            node.log("one", "two\nthree")
            node.progress(0.5, "half")
        with run.node("b"):
            pass
        run.complete({"model": "v7"})
    assert run.flush(10)
    state = person.state()
    a, b = state["nodes"]["a"], state["nodes"]["b"]
    assert (a["status"], a["output"], a["progress"], a["logs"]) == (
        "completed",
        {"rows": 3},
        0.5,
        ["one", "two", "three"],
    )
    assert {name: a["metrics"][name] for name in ("cost", "tokens_in", "tokens_out", "score")} == {
        "cost": 0.5,
        "tokens_in": 10,
        "tokens_out": 5,
        "score": 0.9,
    }
    assert a["metrics"]["duration_ms"] > 0
    assert (b["status"], b["label"], b["group"]) == ("completed", "B", "g")
    assert state["edges"] == {"b": {"a": {"active": False, "taken": True}}}
    assert (state["cost"]["spent"], state["cost"]["budget"], state["cost"]["remaining"]) == (0.5, 2.0, 1.5)
    assert (state["status"], state["results"], state["epoch"]) == ("completed", {"model": "v7"}, run.run_id)


def test_an_exception_fails_its_node_and_the_run_and_is_reported_once(start, person):
    def fails():
        with start(["a"]) as run, run.node("outer"), run.node("a"):
            raise ValueError("no such column")

    with pytest.raises(ValueError, match="no such column"):
        fails()
    person.wait("execution_complete")
    state = person.state()
    assert state["status"] == "failed"
    assert state["nodes"]["a"]["status"] == state["nodes"]["outer"]["status"] == "failed"
    assert state["nodes"]["a"]["error"].startswith("ValueError: no such column\n")
    assert "in fails" in state["nodes"]["a"]["error"]
    assert [(error["message"], error["node_id"], error["code"]) for error in state["errors"]] == [
        ("no such column", "a", "ValueError")
    ]


def test_a_decorated_function_is_a_node_each_time_it_is_called(start, person):
    run = start(["double"])

    @run.node("double")
    def double(x):
        return {"x": 2 * x}

    assert (double(2), double(3)) == ({"x": 4}, {"x": 6})
    run.complete()
    assert run.flush(10)
    node = person.state()["nodes"]["double"]
    assert (node["output"], node["attempt"]) == ({"x": 6}, 2)


async def test_a_decorated_coroutine_is_a_node_too(start, person):
    run = start()

    @run.node("wait")
    async def wait():
        await asyncio.sleep(0)
        return "done"

    assert await wait() == "done"
    run.complete()
    assert await asyncio.to_thread(run.flush, 10)
    assert person.state()["nodes"]["wait"]["output"] == "done"


def test_instances_of_a_node_are_counted(start, person):
    run = start(["train"])
    for fold in range(3):
        with contextlib.suppress(RuntimeError), run.node("train", instance=f"fold {fold}"):
            if fold == 2:
                raise RuntimeError("diverged")
    assert run.flush(10)
    node = person.state()["nodes"]["train"]
    assert node["counts"] == {"completed": 2, "failed": 1}
    assert node["status"] == "failed"


async def test_a_cancelled_task_cancels_its_node(start, person):
    run = start()

    async def forever():
        async with run.node("a"):
            await asyncio.Event().wait()

    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(run.flush, 10)
    assert person.state()["nodes"]["a"]["status"] == "cancelled"


def test_a_graph_of_thousands_of_nodes_goes_in_events_that_a_room_takes(start, person):
    names = [f"node {i} {'x' * 60}" for i in range(3000)]
    run = start(names, list(itertools.pairwise(names)))
    run.complete()
    assert run.flush(20)
    state = person.state()
    assert (len(state["nodes"]), len(state["edges"]), state["errors"]) == (3000, 2999, [])


def test_more_events_than_may_be_on_their_way_at_once_all_arrive(start, person):
    run = start(["a"])
    for i in range(20_000):
        run.update("a", "running", message=str(i))
    run.complete()
    assert run.flush(20)
    assert person.state()["seq"] == 20_000 + len(["execution_state", "dag_mutated", "settled", "execution_complete"])


def test_the_graph_may_change_under_way(start, person):
    run = start(["a", "b"], [("a", "b")])
    run.mutate(add_nodes=["c"], add_edges=[{"from": "a", "to": "c", "conditional": True}], remove_nodes=["b"])
    run.mutate(update_nodes=[{"id": "c", "label": "C"}])
    assert run.flush(10)
    state = person.state()
    assert set(state["nodes"]) == {"a", "c"}
    assert state["nodes"]["c"]["label"] == "C"
    assert state["edges"] == {"c": {"a": {"active": False, "taken": False, "conditional": True}}}


def test_each_of_two_runs_is_published_to_its_end_whatever_else_begins(server, dag_id):
    def start(node_id):
        return dagwidget.start_run(dag_id, [node_id], url=server.url, token=server.token)

    def state(run):
        return dagwidget.run_state(dag_id, run.run_id, url=server.url, token=server.token)

    first = start("old")
    assert first.flush(10)
    second = start("new")
    assert second.flush(10)
    first.update("old", "running")
    first.complete("of the first")
    assert first.flush(10)
    assert (state(first).status, state(first).results, set(state(first).nodes)) == (
        "completed", "of the first", {"old"}
    )  # fmt: skip
    assert (state(second).status, set(state(second).nodes)) == ("running", {"new"})
    second.complete()
    assert second.flush(10)


def test_workers_add_to_a_run_and_leave_it_running(server, dag_id, start, person):
    run = start(["a"], budget=1)
    run.cost(0.25)

    def work(i):
        with dagwidget.attach(server.url, dag_id, token=server.token) as worker, worker.node("work", instance=str(i)):
            worker.cost(0.1)

    assert run.flush(10)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    state = person.state()
    assert state["status"] == "running"
    assert state["cost"]["spent"] == 0.65
    assert state["nodes"]["work"]["counts"] == {"completed": 4}


def test_tokens_without_a_known_price_are_counted_as_such(start, person):
    run = start(budget=1, price=lambda model, usage: 0.001 * usage.tokens_in if model == "known" else None)
    assert run.cost(model="known", tokens_in=100, tokens_out=1) == pytest.approx(0.1)
    assert run.cost(model="unknown", tokens_in=1000, tokens_out=500) is None
    assert run.flush(10)
    cost = person.state()["cost"]
    assert (cost["spent"], cost["tokens"], cost["unpriced"]) == (pytest.approx(0.1), 1601, 1500)


def test_outputs_are_redacted_before_they_leave(start, person):
    def redact(value):
        return {name: "•••" if name == "password" else item for name, item in value.items()}

    run = start(redact=redact)
    run.update("a", "completed", output={"user": "ana", "password": "hunter2"})
    run.update("b", "completed", output="not a mapping")
    assert run.flush(10)
    nodes = person.state()["nodes"]
    assert nodes["a"]["output"] == {"user": "ana", "password": "•••"}
    assert nodes["b"]["output"] == "<hidden: redact() raised AttributeError>"


# --- Gates


def test_a_gate_gives_its_decision_in_plain_code(start, person, apart):
    run = start(["review"])
    asked = apart(lambda: run.gate("review", title="Ship it?", data={"score": 0.9}).result(20))
    shown = person.wait("human_gate_waiting")
    assert shown["presentation"] == {"title": "Ship it?", "data": {"score": 0.9}}
    ack = person.ask("human_decision", node_id="review", decision="modify", value={"score": 1}, feedback="rounded")
    assert ack["ok"]
    decision = asked.result(20)
    assert (decision.decision, decision.value, decision.feedback) == ("modify", {"score": 1}, "rounded")
    assert run.flush(10)
    node = person.state()["nodes"]["review"]
    assert node["status"] == "completed"
    assert node["output"] == {"decision": "modify", "value": {"score": 1}, "feedback": "rounded"}


async def test_a_gate_inside_a_node_leaves_the_node_running(start, person):
    run = start()
    async with run.node("deploy"):
        answering = asyncio.create_task(asyncio.to_thread(person.decide, "deploy", "reject"))
        decision = await run.gate("deploy", title="Sure?")
        assert decision.decision == "reject"
        await answering
        assert await asyncio.to_thread(run.flush, 10)
        assert person.state()["nodes"]["deploy"]["status"] == "running"


async def test_several_gates_of_a_node_are_told_apart(start, person):
    run = start()
    first, second = run.gate("a", title="one"), run.gate("a", title="two")
    assert first.gate_id != second.gate_id
    ack = await asyncio.to_thread(person.ask, "human_decision", node_id="a", gate_id=second.gate_id, decision="reject")
    # The gates may not have reached the room when the person asked.
    while not ack["ok"]:
        ack = await asyncio.to_thread(
            person.ask, "human_decision", node_id="a", gate_id=second.gate_id, decision="reject"
        )
    assert (await second).decision == "reject"
    await asyncio.to_thread(person.ask, "human_decision", node_id="a", gate_id=first.gate_id, decision="approve")


def test_code_that_asks_twice_at_one_gate_gets_its_decision_twice(start, person):
    run = start()
    asked = [run.gate("a", gate_id="again"), run.gate("a", gate_id="again")]
    assert person.decide("a")["ok"]
    assert [gate.result(20).decision for gate in asked] == ["approve", "approve"]


async def test_a_node_waits_until_the_last_of_its_gates_is_decided(start, person):
    def answer(gate_id):
        return person.ask("human_decision", node_id="review", gate_id=gate_id, decision="approve")

    run = start()
    first, second = run.gate("review", gate_id="first"), run.gate("review", gate_id="second")
    assert run.flush(10)
    assert (await asyncio.to_thread(answer, "first"))["ok"]
    assert (await first).decision == "approve"
    assert run.flush(10)
    state = await asyncio.to_thread(person.state)
    assert (list(state["gates"]), state["nodes"]["review"]["status"]) == (["second"], "waiting")
    assert (await asyncio.to_thread(answer, "second"))["ok"]
    assert (await second).decision == "approve"
    assert run.flush(10)
    assert (await asyncio.to_thread(person.state))["nodes"]["review"]["status"] == "completed"


async def test_nobody_waits_any_more_for_a_gate_whose_task_was_cancelled(start, person):
    run = start()

    async def ask():
        await run.gate("a")

    task = asyncio.create_task(ask())
    await asyncio.to_thread(person.wait, "human_gate_waiting")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(run.flush, 10)
    state = person.state()
    assert (state["gates"], state["nodes"]["a"]["status"]) == ({}, "cancelled")


@pytest.mark.clock
def test_a_gate_that_nobody_answers_in_time_fails(start, person):
    run = start()
    with pytest.raises(GateTimeout, match="nobody decided"):
        run.gate("a", timeout=0.05).result()
    assert run.flush(10)
    state = person.state()
    assert (state["nodes"]["a"]["status"], state["gates"]) == ("failed", {})
    assert [(each["decision"], each["source"]) for each in state["decisions"]] == [("reject", "timeout")]


@pytest.mark.clock
async def test_a_gate_may_be_approved_or_take_its_default_at_its_deadline(start):
    run = start()
    approved = await run.gate("a", timeout=0.05, on_timeout="approve")
    taken = await run.gate("b", timeout=0.05, on_timeout="default", default={"n": 1})
    assert (approved.decision, approved.source) == ("approve", "timeout")
    assert (taken.decision, taken.value) == ("modify", {"n": 1})


def test_a_person_who_decides_before_the_deadline_wins(start, person, apart):
    run = start()
    asked = apart(lambda: run.gate("a", timeout=60, on_timeout="reject").result())
    assert person.decide("a", "approve")["ok"]
    assert asked.result(20).source == "widget"


@pytest.mark.clock
def test_waiting_for_a_decision_in_plain_code_may_be_limited_and_the_gate_stays_open(start, person):
    run = start()
    gate = run.gate("a")
    with pytest.raises(TimeoutError, match="still open"):
        gate.result(0.05)
    assert person.decide("a")["ok"]
    assert gate.result(20).decision == "approve"


# --- Control


async def test_a_paused_run_stops_at_its_checkpoint_and_goes_on(start, person):
    run = start()
    await run.checkpoint()
    assert await asyncio.to_thread(run.flush, 10)
    paused = threading.Event()
    run.on_control(lambda asked: paused.set() if asked == "pausing" else None)
    assert (await asyncio.to_thread(person.ask, "pause_execution"))["ok"]
    await asyncio.to_thread(paused.wait, 10)
    waiting = asyncio.create_task(_at(run.checkpoint()))
    assert await asyncio.to_thread(run.flush, 10)
    assert person.state()["status"] == "paused"
    assert not waiting.done()
    assert (await asyncio.to_thread(person.ask, "resume_execution"))["ok"]
    await asyncio.wait_for(waiting, 10)


async def _at(checkpoint):
    await checkpoint


def test_a_resumed_run_is_running_again(start, person, apart):
    run = start()
    assert run.flush(10)
    assert person.ask("pause_execution")["ok"]
    going = apart(_work_until_cancelled, run)
    while person.state()["status"] != "paused":
        pass
    assert person.ask("resume_execution")["ok"]
    while person.state()["status"] != "running":
        pass
    assert person.ask("cancel_execution")["ok"]
    with pytest.raises(RunCancelled):
        going.result(20)


def _work_until_cancelled(run):
    while True:
        run.checkpoint().result(20)


def test_a_cancelled_run_ends_at_its_checkpoint(start, person, apart):
    run = start(["a"])

    def work():
        with run, run.node("a"):
            _work_until_cancelled(run)

    going = apart(work)
    person.wait("node_state", node_id="a", status="running")
    assert person.ask("cancel_execution")["ok"]
    with pytest.raises(RunCancelled, match="was cancelled"):
        going.result(20)
    person.wait("execution_complete", status="cancelled")
    assert person.state()["nodes"]["a"]["status"] == "cancelled"


async def test_a_cancelled_run_ends_at_its_gate(start, person):
    run = start()

    async def ask():
        with run:
            await run.gate("a")

    task = asyncio.create_task(ask())
    await asyncio.to_thread(person.wait, "human_gate_waiting")
    assert (await asyncio.to_thread(person.ask, "cancel_execution"))["ok"]
    with pytest.raises(RunCancelled):
        await task
    await asyncio.to_thread(person.wait, "execution_complete", status="cancelled")
    with pytest.raises(RunCancelled):
        await run.gate("b")


# --- Faults of the network


def test_what_is_published_during_a_cut_arrives_once_and_in_order(server):
    proxy = CutProxy(urlsplit(server.url).port)
    try:
        with Person(server, "cut") as person:
            run = dagwidget.start_run("cut", ["a"], url=f"ws://127.0.0.1:{proxy.port}", token=server.token)
            for i in range(150):
                run.log("a", str(i))
                if i == 50:
                    assert run.flush(10)
                    proxy.cut()
                if i == 100:
                    proxy.open()
            run.complete({"lines": 150})
            assert run.flush(20)
            state = person.state()
            assert state["nodes"]["a"]["logs"] == [str(i) for i in range(150)]
            assert state["results"] == {"lines": 150}
    finally:
        proxy.close()


def test_every_event_has_the_time_at_which_it_happened_not_that_of_its_arrival(server, dag_id):
    proxy = CutProxy(urlsplit(server.url).port)
    try:
        proxy.cut()
        began = now_ms()
        with dagwidget.start_run(
            dag_id, ["a", "b"], [("a", "b")], budget=1.0, url=f"ws://127.0.0.1:{proxy.port}", token=server.token
        ) as run:
            with run.node("a") as node:
                node.output({"rows": ["x" * 100] * 1000})
                node.cost(0.5, tokens_in=3)
                node.log("one")
            run.error("no luck", node_id="a")
            run.edge("a", "b")
            run.mutate(add_nodes=["c"])
            run.status("paused")
            run.gate("b")
        ended = now_ms()
        while now_ms() <= ended:
            pass
        proxy.open()
        assert run.flush(20)
    finally:
        proxy.close()
    with Person(server, dag_id) as person:
        events, state = person.log(run.run_id), person.state()
    assert {event["type"] for event in events} >= {tag_of(kind) for kind in p.PLAIN_EVENTS} | {"node_log"}
    assert [event for event in events if not began <= event["ts"] <= ended] == []
    assert began <= state["started_at"] <= state["nodes"]["a"]["started_at"] <= state["ended_at"] <= ended


def tag_of(event):
    return event.__struct_config__.tag


def test_a_decision_that_is_made_while_the_engine_is_cut_off_reaches_it_later(server, apart):
    proxy = CutProxy(urlsplit(server.url).port)
    try:
        with Person(server, "away") as person:
            run = dagwidget.start_run("away", url=f"ws://127.0.0.1:{proxy.port}", token=server.token)
            gate = run.gate("a")
            shown = person.wait("human_gate_waiting")
            proxy.cut()
            assert person.ask("human_decision", node_id="a", gate_id=shown["gate_id"], decision="approve")["ok"]
            proxy.open()
            assert gate.result(20).decision == "approve"
            run.complete()
            assert run.flush(20)
    finally:
        proxy.close()


@pytest.mark.clock
def test_an_engine_without_a_server_is_neither_blocked_nor_failed():
    with dagwidget.start_run("nowhere", ["a"], url="ws://127.0.0.1:1") as run, run.node("a") as node:
        node.output(1)
    assert not run.flush(0.05)


def test_a_wrong_token_is_said_in_the_log_and_does_not_fail_the_engine(server, caplog, monkeypatch):
    # As on another machine: a token for this one is only sent to who has proven to know it.
    monkeypatch.setattr("dagwidget.challenge.is_needed", lambda _url: False)
    with caplog.at_level(logging.ERROR, "dagwidget"):
        run = dagwidget.start_run("mine", ["a"], url=server.url, token="wrong")
        run._channel._transport.join(10)
    run.update("a", "running")
    run.complete()
    assert "the token is wrong" in caplog.text


def test_what_does_not_fit_into_the_buffer_is_counted_and_reported(server, monkeypatch):
    proxy = CutProxy(urlsplit(server.url).port)
    monkeypatch.setattr("dagwidget.publisher.transport._BUFFERED", 10)
    try:
        with Person(server, "full") as person:
            proxy.cut()
            run = dagwidget.start_run("full", url=f"ws://127.0.0.1:{proxy.port}", token=server.token)
            for i in range(30):
                run.log("a", str(i))
            proxy.open()
            assert run.flush(20)
            lost = int(person.wait("error", code="events_lost")["message"].split()[0])
            run.complete()
            assert run.flush(20)
            assert person.state()["nodes"]["a"]["logs"] == [str(i) for i in range(lost, 30)]
            assert lost >= 15
    finally:
        proxy.close()


# --- Arguments


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: dagwidget.start_run(7), TypeError, "dag_id must be a string"),
        (lambda: dagwidget.start_run(""), ValueError, "1 to 200"),
        (lambda: dagwidget.start_run("d", [7]), ValueError, "a node must be an id"),
        (lambda: dagwidget.start_run("d", [{"label": "x"}]), ValueError, "missing required field `id`"),
        (lambda: dagwidget.start_run("d", [], ["ab", "c"]), ValueError, "an edge must be"),
        (lambda: dagwidget.start_run("d", [], [("a", 7)]), TypeError, "an edge's target must be a string"),
        (lambda: dagwidget.start_run("d", "abc"), TypeError, "nodes must be a list"),
        (lambda: dagwidget.start_run("d", None), TypeError, "nodes must be a list"),
        (lambda: dagwidget.start_run("d", budget=-1), ValueError, "budget must be a number, 0 or more, got -1"),
        (
            lambda: dagwidget.start_run("d", budget=float("inf")),
            ValueError,
            "budget must be a number, 0 or more, got inf",
        ),
        (lambda: dagwidget.start_run("d", currency=5), TypeError, "currency must be a string"),
        (lambda: dagwidget.start_run("d", capabilities={"pause": "none"}), TypeError, "capabilities must be"),
        (lambda: dagwidget.start_run("d", run_id=7), TypeError, "run_id must be a string"),
        (lambda: dagwidget.attach(None, "d", run_id=""), ValueError, "run_id must have 1 to 200"),
        (lambda: dagwidget.start_run("d", url="localhost:1"), ValueError, "looks like ws://"),
        (lambda: dagwidget.attach("ftp://x", "d"), ValueError, "looks like ws://"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(call, error, says):
    with pytest.raises(error, match=says):
        call()


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda run: run.node(7), TypeError, "node_id must be a string"),
        (lambda run: run.node(""), ValueError, "1 to 512"),
        (lambda run: run.update("a", "done"), ValueError, "status must be 'pending', .* or 'cancelled', got 'done'"),
        (lambda run: run.update("a", "running", progress=1.1), ValueError, "must be a number from 0 to 1"),
        (lambda run: run.update("a", "running", progress=float("nan")), ValueError, "must be a number from 0 to 1"),
        (lambda run: run.update("a", "running", progress="0.5"), ValueError, "must be a number from 0 to 1"),
        (
            lambda run: run.update("a", "running", attempt=-1),
            ValueError,
            "attempt must be a whole number, 0 or more, got -1",
        ),
        (
            lambda run: run.update("a", "running", attempt=2**53),
            ValueError,
            r"attempt must be a whole number, less than 2\*\*53, got 9007199254740992",
        ),
        (
            lambda run: run.update("a", "running", started_at=10**18),
            ValueError,
            "started_at must be Unix milliseconds, got 1000000000000000000",
        ),
        (lambda run: run.update("a", "running", instance=3), TypeError, "instance must be a string"),
        (lambda run: run.update("a", "failed", error=ValueError("x")), TypeError, "error must be a string"),
        (lambda run: run.edge("a", "b", active="yes"), TypeError, "active must be True or False"),
        (lambda run: run.error("x", code=5), TypeError, "code must be a string"),
        (lambda run: run.status("bogus"), ValueError, "status must be 'running', .* or 'cancelling', got 'bogus'"),
        (lambda run: run.gate("a", gate_id=5), TypeError, "gate_id must be a string"),
        (lambda run: run.mutate(add_nodes=[p.NodeSpec(id="z", label=5)]), ValueError, "a node must be an id"),
        (lambda run: run.cost("5"), ValueError, "amount must be a number"),
        (lambda run: run.cost(float("inf")), ValueError, "amount must be a number"),
        (lambda run: run.cost(1, tokens_in=-1), ValueError, "tokens_in must be a whole number"),
        (lambda run: run.cost(1, tokens_out=1.5), ValueError, "tokens_out must be a whole number"),
        (lambda run: run.cost(1, node_id=""), ValueError, "1 to 512"),
        (lambda run: run.mutate(add_nodes="abc"), TypeError, "add_nodes must be a list"),
        (lambda run: run.mutate(remove_nodes=[7]), TypeError, "a node's id must be a string"),
        (lambda run: run.gate("a", schema={"type": "nonsense"}), ValueError, "not a valid JSON Schema"),
        (lambda run: run.gate("a", schema="string"), ValueError, "not a valid JSON Schema"),
        (lambda run: run.gate("a", data=object()), TypeError, "must be JSON"),
        (lambda run: run.gate("a", data="x" * 300_000), ValueError, "a gate may have 204,800 bytes as JSON, got"),
        (lambda run: run.gate("a", allowed=["maybe"]), ValueError, "invalid gate"),
        (lambda run: run.gate("a", timeout=0), ValueError, "more than 0"),
        (lambda run: run.gate("a", timeout=1, on_timeout="default"), ValueError, "requires default"),
        (lambda run: run.node("a").progress(2), ValueError, "must be a number from 0 to 1"),
    ],
)
def test_a_wrong_argument_of_a_run_is_refused_at_once(start, call, error, says):
    run = start()
    with pytest.raises(error, match=says):
        call(run)


def test_what_the_room_would_refuse_is_left_out_and_the_run_goes_on(start, person, caplog):
    run = start()
    run._channel._transport.publish(p.NodeState(node_id="a", status="running", progress=7))
    run._channel._transport.publish(p.NodeLog(node_id="a", lines=[object()]))
    run.update("a", "completed")
    assert run.flush(10)
    assert person.state()["nodes"]["a"]["status"] == "completed"
    assert caplog.text.count("was not sent") == 2
    assert "Expected `float` <= 1.0" in caplog.text


def test_what_is_far_too_large_is_shortened_and_the_run_goes_on(start, person):
    run = start()
    with pytest.raises(ValueError, match="xxx"), run.node("a"):
        raise ValueError("x" * 6_000_000)
    run.log("a", *["é" * 2000] * 300)
    run.mutate(add_nodes=[{"id": f"n{i}", "description": "d" * 1000} for i in range(600)])
    run.update("b", "running", output=[["y" * 4000] * 90 for _ in range(20)])
    run.complete({"docs": ["x" * 20_000] * 300})
    assert run.flush(20)
    state = person.state()
    assert (state["status"], state["nodes"]["a"]["status"]) == ("completed", "failed")
    assert "more characters" in state["nodes"]["a"]["error"]
    assert len(state["nodes"]) == 602
    assert state["nodes"]["n599"]["description"] == "d" * 1000
    assert state["nodes"]["a"]["logs"] == ["é" * 2000] * 200
    assert state["results"]["truncated"]


def test_numbers_of_numpy_are_numbers(start, person):
    class Scalar:
        shape = ()

        def __init__(self, value):
            self.value = value

        def item(self):
            return self.value

        def __index__(self):
            return self.value

    run = start()
    with run.node("a") as node:
        node.output(i=Scalar(5), x=Scalar(0.5), yes=Scalar(True))
        node.metrics(loss=Scalar(0.25))
        node.cost(1.0, tokens_in=Scalar(3))
    assert run.flush(10)
    state = person.state()
    assert state["nodes"]["a"]["output"] == {"i": 5, "x": 0.5, "yes": True}
    assert state["nodes"]["a"]["metrics"]["loss"] == 0.25
    assert (state["cost"]["spent"], state["cost"]["tokens"]) == (1.0, 3)


def test_who_waits_at_a_gate_that_nobody_can_answer_any_more_is_told(server, dag_id, apart):
    def start():
        return dagwidget.start_run(dag_id, url=server.url, token=server.token)

    over = start()
    over.complete()
    assert over.flush(10)
    with pytest.raises(NotConnected, match="the run has ended"):
        over.gate("a").result(10)
    open_ = start()
    waiting = apart(open_.gate("a").result, 20)
    assert open_.flush(10)
    # A newer run changes nothing for the one that waits.
    newer = start()
    newer.complete()
    assert newer.flush(10)
    assert not waiting.done()
    open_.complete()
    with pytest.raises(NotConnected, match="the run has ended"):
        waiting.result(20)
    assert open_.flush(10)


def test_a_gate_of_a_run_that_is_over_says_so_also_when_its_connection_is_closed_already(server, dag_id):
    run = dagwidget.start_run(dag_id, url=server.url, token=server.token)
    run.complete()
    run._channel._transport.join(20)
    assert run._channel._transport.refused == "the publisher was closed"
    with pytest.raises(NotConnected, match="the run has ended"):
        run.gate("a").result(10)
    # Asked just before the connection closed, and given up by its thread.
    outcome = run._gates.outcome("a:2")
    run._abandon()
    with pytest.raises(NotConnected, match="the run has ended"):
        outcome.result(10)


@pytest.mark.clock
async def test_a_gate_that_was_closed_as_nobody_waited_is_not_waited_for_again(start):
    gate = start().gate("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(gate, 0.05)
    with pytest.raises(NotConnected, match="the code that waited for its decision was cancelled"):
        await asyncio.wait_for(gate, 5)


async def test_asyncio_does_not_complain_of_a_wait_that_was_cancelled():
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    gate = OpenGate(
        "a:1",
        "a",
        p.Presentation(),
        outcome=Future(),
        settle=lambda gate, _decision: gate._outcome.set_exception(NotConnected("closed")),
    )
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(gate, 0.01)
    # The gate's outcome reaches the loop in its next turns.
    for _ in range(5):
        await asyncio.sleep(0)
    del gate
    gc.collect()
    assert complaints == []


def test_an_engine_that_can_not_pause_is_not_paused_at_its_budget(start, person):
    run = start(budget=1.0, on_budget="pause", capabilities=p.Capabilities(pause="none"))
    run.cost(2.0)
    run.checkpoint().result(5)
    assert run.flush(10)
    assert person.state()["status"] == "running"


def test_half_a_character_loses_nothing(start, person):
    run = start()
    run.update("a", "failed", error="no file '\udcff.txt'")
    run.log("a", "\ud800 x")
    assert run.flush(10)
    node = person.state()["nodes"]["a"]
    assert (node["status"], node["error"], node["logs"]) == ("failed", "no file '?.txt'", ["? x"])


def test_a_decorated_generator_is_a_node_until_it_ends(start, person):
    run = start()

    @run.node("plain")
    def plain():
        yield person.wait("node_state", node_id="plain")["status"]
        return 3

    @run.node("async")
    async def asynchronous():
        yield 1

    def outer():
        assert (yield from plain()) == 3

    async def collect():
        return [item async for item in asynchronous()]

    assert list(outer()) == ["running"]
    assert asyncio.run(collect()) == [1]
    assert run.flush(10)
    assert {name: node["status"] for name, node in person.state()["nodes"].items()} == {
        "plain": "completed",
        "async": "completed",
    }


def test_capabilities_are_shown_to_whoever_watches(start, person):
    run = start(capabilities=p.Capabilities(pause="none", cancel="native"))
    assert run.flush(10)
    assert person.state()["capabilities"] == {"pause": "none", "cancel": "native"}
    assert person.ask("pause_execution")["code"] == "not_supported"


def test_a_runaway_loop_stops_at_its_budget(start, person, apart):
    run = start(budget=1.0, on_budget="gate")

    def loop():
        spent = 0
        while spent < 10_000:
            spent += 1
            run.cost(0.01)
            run.checkpoint().result(20)
        return spent

    looping = apart(loop)
    gate = person.wait("human_gate_waiting")
    assert person.ask("human_decision", node_id=gate["node_id"], decision="reject")["ok"]
    with pytest.raises(RunCancelled):
        looping.result(20)
    assert person.state()["cost"]["spent"] == 1.01


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"on_budget": "stop", "budget": 1}, "'warn', 'pause' or 'gate', got 'stop'"),
        ({"on_budget": "gate"}, "requires budget"),
    ],
)
def test_what_happens_at_the_budget_must_make_sense(given, said):
    with pytest.raises(ValueError, match=said):
        dagwidget.start_run("dag", url="ws://127.0.0.1:1", **given)


# --- What a program gets wrong


def test_a_callback_of_on_control_that_raises_stops_nothing(start, person):
    run = start(["a"])
    heard = []

    def broken(_status):
        raise RuntimeError("boom")

    run.on_control(broken)
    run.on_control(heard.append)
    assert run.flush(10)
    assert person.ask("pause_execution")["ok"]
    deadline = time.monotonic() + 30
    while not heard and time.monotonic() < deadline:
        time.sleep(0.01)
    run.update("a", "completed")
    assert run.flush(30)
    assert heard == ["pausing"]


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def test_an_exception_without_a_text_is_reported_and_stays_the_programs_own(start, person):
    run = start(["a"])
    with pytest.raises(Unspeakable), run.node("a"):
        raise Unspeakable
    run.log("a", Unspeakable())
    with run.node("b") as node:
        node.output(10**5000)
    assert run.flush(30)
    state = person.state()
    assert {name: node["status"] for name, node in state["nodes"].items()} == {"a": "failed", "b": "completed"}
    assert state["errors"][0]["message"] == "<Unspeakable without a text>"


@pytest.mark.parametrize("name", ["assignees", "options", "allowed"])
def test_a_text_is_no_list_of_a_gate(start, name):
    with pytest.raises(TypeError, match=f"{name} must be a list, got str: 'approve'"):
        start().gate("review", **{name: "approve"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"allowed": []}, "allowed is empty"),
        ({"assignees": []}, "assignees is empty"),
        ({"assignees": ["ann", "ann"], "required": 2}, r"2 people must approve, and 1 may \(ann, ann\)"),
        ({"allowed": ["reject"], "required": 2}, "2 people must approve, and allowed is reject"),
        ({"on_timeout": "approve"}, "on_timeout='approve' needs timeout="),
        ({"timeout": 5, "default": 3}, "default= is for on_timeout='default'"),
        ({"timeout": 5, "on_timeout": "default"}, "on_timeout='default' requires default="),
        (
            {"timeout": 5, "on_timeout": "default", "default": "x", "schema": {"type": "integer"}},
            "default does not match schema: 'x' is not of type 'integer'",
        ),
        ({"required": 0}, "invalid gate: .*required"),
        ({"timeout": "5"}, "timeout must be a number from 0 to 3.16224e.09, got '5'"),
        ({"timeout": float("nan")}, "timeout must be a number"),
        ({"timeout": 0}, "timeout must be more than 0 seconds, got 0"),
        ({"title": "a \ud800"}, "must be JSON: half of a surrogate pair is no character, in .*a "),
        ({"data": {"x": float("nan")}}, "must be JSON"),
    ],
)
def test_a_gate_that_nobody_could_decide_is_refused_at_once(start, options, said):
    with pytest.raises(ValueError, match=said):
        start().gate("review", **options)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"redact": "secret"}, TypeError, "redact must be a function, got str: 'secret'"),
        ({"price": 3}, TypeError, "price must be a function, got int: 3"),
        ({"keep": "yes"}, TypeError, "keep must be True or False, got 'yes'"),
        ({"currency": 5}, TypeError, "currency must be a string, got int: 5"),
        ({"currency": "euros"}, ValueError, "currency must be three letters, such as 'EUR', got 'euros'"),
        ({"nodes": [{"id": "a", "lable": "A"}]}, ValueError, "a node must be an id, or .*, got 'lable' in"),
        ({"edges": [{"from": "a", "to": "b", "lable": "A"}]}, ValueError, "an edge must be .*, got 'lable' in"),
    ],
)
def test_an_argument_that_can_not_be_meant_is_refused_at_the_start(options, error, said):
    with pytest.raises(error, match=said):
        dagwidget.start_run("dag", url="ws://127.0.0.1:1", **options)


def test_what_can_not_be_called_or_measured_is_refused(start):
    run = start(["a"])
    with pytest.raises(TypeError, match="callback must be a function, got str: 'pause'"):
        run.on_control("pause")
    with pytest.raises(TypeError, match=r"metrics must be a mapping from names to numbers, got \[1\]"):
        run.update("a", "running", metrics=[1])


@pytest.mark.parametrize("url", ["localhost:8899", "ws://h:99999", "ws://h:abc", "ws://"])
def test_a_url_that_can_not_work_is_refused_at_once(url, monkeypatch):
    with pytest.raises(ValueError, match="the URL of a stream server"):
        dagwidget.start_run("dag", url=url)
    monkeypatch.setenv("DAGWIDGET_URL", url)
    with pytest.raises(ValueError, match="DAGWIDGET_URL: the URL of a stream server"):
        dagwidget.start_run("dag")


@pytest.mark.parametrize(
    ("wrong", "error"), [({"url": 5}, TypeError), ({"token": 5}, TypeError), ({"token": "a\nb"}, ValueError)]
)
def test_an_address_of_the_wrong_type_is_refused_at_once(wrong, error):
    with pytest.raises(error):
        dagwidget.start_run("dag", **{"url": "ws://127.0.0.1:1", **wrong})
