"""The widget without a browser: a real server and real runs; where a page matters, one that is scripted."""

import asyncio
import contextlib
import gzip
import json
import threading
import time
from collections.abc import Sequence

import pytest

from dagwidget import protocol as p
from dagwidget import start_run
from dagwidget.errors import (
    ClientClosed,
    DagwidgetError,
    InvalidDecision,
    NotConnected,
    RunFailed,
    ServerRefused,
    ServerUnreachable,
    UnknownGate,
)
from dagwidget.server.storage.sqlite import SqliteJournal
from dagwidget.widget.widget import DAGStreamWidget

from .serving import serving

NOWHERE = "ws://127.0.0.1:1"


def until(ready) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def server():
    with serving() as served:
        yield served


@pytest.fixture
def dag_id(request):
    return request.node.name


@pytest.fixture
def begin(server, dag_id):
    """Starts runs of the test's DAG, and ends those that are left."""
    runs = []

    def begin_(*args, **kwargs):
        runs.append(start_run(dag_id, *args, url=server.url, token=server.token, **kwargs))
        return runs[-1]

    yield begin_
    for run in runs:
        run.complete()
        assert run.flush(30)


@pytest.fixture
def make(server, dag_id):
    """Makes widgets of the test's DAG."""
    widgets = []

    def make_(**kwargs):
        widgets.append(DAGStreamWidget(dag_id, **{"url": server.url, "token": server.token, **kwargs}))
        return widgets[-1]

    yield make_
    for widget in widgets:
        widget.close()


class Page:
    """A page that shows the widget, as js/src/widget/kernel.ts speaks: what it was sent, and what it reports."""

    def __init__(self, widget: DAGStreamWidget) -> None:
        self.widget = widget
        self.messages: list[dict] = []
        self.buffers: list[bytes] = []
        widget._bridge._comm = self

    def send(self, content: dict, buffers: Sequence[bytes] | None = None) -> None:
        self.messages.append(content)
        self.buffers.extend(buffers or ())

    def say(self, buffers: Sequence[memoryview] = (), **message) -> None:
        self.widget._handle_custom_msg(message, list(buffers))

    def report(self, phase: str = "live", role: str = "operate", run: str | None = None, id: str = "page-1") -> None:
        self.say(type="page", id=id, phase=phase, role=role, run=run)

    def sent(self, type_: str) -> list[dict]:
        return [message for message in self.messages if message["type"] == type_]


# --- Traits


async def test_traits_follow_the_run_without_any_page(begin, make):
    run, w = begin(["train", "ship"], [("train", "ship")], budget=2.0), make()
    statuses = []
    w.observe(lambda change: statuses.append(change["new"]), "status")
    with run.node("train") as node:
        node.output(7)
        node.cost(1.5)
    with run.node("ship"):
        pass
    run.complete({"ok": True})
    assert await w.complete(timeout=60) == {"ok": True}
    assert w.run_id == run.run_id
    assert w.nodes["train"].output == 7
    assert w.edges["train", "ship"].taken
    assert (w.cost.spent, w.cost.remaining) == (1.5, 0.5)
    assert (w.status, w.results, dict(w.gates)) == ("completed", {"ok": True}, {})
    assert statuses[-1] == "completed"
    # It is told of after the last event.
    until(lambda: w.engine is not None and w.engine.state == "ended")
    assert w.connection["phase"] == "live"


async def test_a_change_of_nodes_names_those_that_changed_and_makes_no_copy(begin, make):
    run, w = begin([f"n{number}" for number in range(100)]), make()
    await w._client.wait(lambda: len(w.nodes) == 100, 60, "the graph")
    await w._wait(lambda _client: True, 60, "the traits")
    before, changes = w.nodes, []
    w.observe(changes.append, "nodes")
    run.update("n7", "running")
    until(lambda: changes)
    assert changes[0].changed == {"n7"}
    assert changes[0].new is before is w.nodes
    assert w.nodes["n7"].status == "running"
    assert [*w.nodes][:3] == ["n0", "n1", "n2"]


def test_traits_are_read_only(make):
    w = make()
    for name, value in (("status", "completed"), ("nodes", {}), ("run_id", "r")):
        with pytest.raises(Exception, match="read-only"):
            setattr(w, name, value)


async def test_an_observer_that_waits_for_another_thread_holds_up_nobody(begin, make):
    run, w = begin(["a"]), make()
    paused, seen = threading.Event(), []

    def observe(_change) -> None:
        # Once: it is called again as the run pauses, when the widget may be closed already.
        w.unobserve(observe, "status")
        other = threading.Thread(target=lambda: (w.pause(), paused.set()))
        other.start()
        seen.append(paused.wait(60))
        other.join()

    w.observe(observe, "status")
    run.update("a", "running")
    until(lambda: seen)
    assert seen == [True]


async def test_an_observer_that_fails_keeps_nothing_from_the_others(begin, make, caplog):
    run, w = begin(["a"]), make()
    events = []
    # What happened before the widget was connected is not repeated as events.
    until(lambda: w._client.state.epoch == run.run_id and not w._client.is_behind)
    w.on_event(lambda _event: 1 / 0)
    stop = w.on_event(events.append)
    run.update("a", "running")
    until(lambda: any(isinstance(event, p.NodeState) for event in events))
    assert "a callback of" in caplog.text
    stop()
    count = len(events)
    run.complete()
    await w.complete(timeout=60)
    assert len(events) == count


# --- Which run


async def test_the_run_that_this_process_begins_is_followed_before_start_run_returns(begin, make):
    first, w = begin(), make()
    first.complete(1)
    assert await w.complete(timeout=60) == 1
    second = begin()
    assert w._client.run_id == second.run_id
    threading.Timer(0.2, second.complete, [2]).start()
    assert await w.complete(timeout=60) == 2
    assert w.run_id == second.run_id


async def test_a_run_that_the_server_refuses_keeps_no_widget_waiting_for_it(server, begin, make, caplog, monkeypatch):
    # As on another machine: a token for this one is only sent to who has proven to know it.
    monkeypatch.setattr("dagwidget.challenge.is_needed", lambda _url: False)
    first = begin(["a"])
    w = make()
    page = Page(w)
    refused = start_run(first.dag_id, url=server.url, token="wrong")
    assert not await asyncio.to_thread(refused.flush, 30)
    assert page.sent("follow")[-1] == {"type": "follow", "run": None, "pin": False}
    until(lambda: w.run_id == first.run_id)
    late = make()
    first.complete("first")
    assert [await each.complete(timeout=30) for each in (w, late)] == ["first", "first"]
    assert "the token is wrong" in caplog.text


async def test_a_run_that_is_not_there_is_said_not_to_be(begin, make):
    begin(["a"])
    with pytest.raises(ServerRefused, match=r"the server answered that the run 'nope' of .* is not here") as caught:
        await make().complete("nope", timeout=1)
    assert caught.value.code == 4404


async def test_each_of_several_runs_is_complete_with_its_own_results(begin, make):
    w = make()
    runs = [begin() for _ in range(5)]
    for number, run in enumerate(runs):
        run.complete(number)
    assert [await w.complete(run, timeout=60) for run in runs] == [0, 1, 2, 3, 4]


async def test_runs_are_listed_and_one_that_is_picked_stays(begin, make):
    first, second = begin(name="first"), begin(name="second")
    w = make()
    until(lambda: {run.name for run in w.runs} == {"first", "second"})
    w.follow(first.run_id)
    until(lambda: w.run_id == first.run_id and w.status == "running")
    second.update("b", "running")
    first.complete("one")
    assert await w.complete(timeout=60) == "one"
    assert w.run_id == first.run_id
    w.follow(None)
    until(lambda: w.run_id == second.run_id)


async def test_a_newer_run_is_waited_for(begin, make):
    first, w = begin(), make()
    until(lambda: w.run_id == first.run_id and w.runs)
    waiting = asyncio.create_task(w.next_run(timeout=60))
    await asyncio.sleep(0)
    # Two runs of one millisecond have no order in time.
    time.sleep(0.005)
    second = begin()
    assert await waiting == second.run_id


async def test_a_past_run_can_be_watched_and_not_steered(begin, make):
    run = begin(["review"])
    run.complete("done")
    assert run.flush(30)
    w = make(run=run.run_id)
    assert await w.complete(timeout=60) == "done"
    assert (await w.pause().answered(60)).code == "not_running"
    with pytest.raises(UnknownGate):
        w.decide("review", "approve")


# --- Decisions


async def test_a_decision_right_after_its_gate_was_opened_waits_for_the_gate(begin, make):
    run, w = begin(["review"]), make()
    await w._client.synced(60)
    gate = run.gate("review", title="Ship it?")
    sent = w.decide("review", "approve", feedback="ok")
    assert (await sent.answered(60)).state == "accepted"
    decision = gate.result(60)
    assert (decision.decision, decision.feedback, decision.source) == ("approve", "ok", "python")


async def test_a_live_page_sends_the_decision_and_the_kernel_gets_the_answer(begin, make, monkeypatch):
    monkeypatch.setattr("dagwidget.widget.decisions._RELAY_SECONDS", 5)
    run, w = begin(["review"]), make()
    gate = run.gate("review", title="Ship it?")
    await w.wait_for("review", timeout=60)
    page = Page(w)
    page.report(run=run.run_id)
    sent = w.decide("review", "approve")
    [message] = page.sent("command")
    # It may have been closed without a word.
    assert sent.state == "waiting"
    page.say(type="sent", id=sent.id)
    assert sent.state == "sent"
    assert (message["command"]["id"], message["command"]["run_id"]) == (sent.id, run.run_id)
    # This page has no connection: the kernel's own sends the same command, and decides once.
    assert (await sent.answered(60)).state == "accepted"
    assert gate.result(60).decision == "approve"
    until(lambda: len(w.decisions) == 1)


@pytest.mark.parametrize("report", [{"phase": "waiting"}, {"role": "view"}])
async def test_a_page_that_is_not_live_or_may_only_watch_sends_no_decision(begin, make, report):
    run, w = begin(["review"]), make()
    run.gate("review", title="Ship it?")
    await w.wait_for("review", timeout=60)
    page = Page(w)
    page.report(**report)
    assert (await w.decide("review", "approve").answered(60)).state == "accepted"
    assert page.sent("command") == []


async def test_of_two_decisions_the_second_is_refused_and_told_who_won(begin, make):
    run, w = begin(["review"]), make()
    run.gate("review", title="Ship it?")
    await w.wait_for("review", timeout=60)
    assert (await w.decide("review", "reject").answered(60)).state == "accepted"
    late = await w.decide("review", "approve").answered(60)
    assert (late.state, late.code, late.winner.decision) == ("refused", "already_decided", "reject")


async def test_a_decision_at_a_gate_that_never_opens_is_refused_with_what_is_open(begin, make):
    run, w = begin(["review", "other"]), make()
    run.gate("other", title="?")
    await w.wait_for("other", timeout=60)
    refused = await w.decide("review", "approve").answered(60)
    assert (refused.state, refused.code) == ("refused", "no_such_gate")


async def test_a_decision_that_was_not_sent_can_be_withdrawn(begin, make):
    begin(["review"])
    w = make()
    await w._client.synced(60)
    sent = w.decide("review", "approve")
    sent.withdraw()
    assert (await sent.answered(60)).code == "withdrawn"


async def test_wrong_arguments_of_a_decision_raise_at_once(begin, make):
    run, w = begin(["review"]), make()
    run.gate("review", title="?", allowed=["approve", "reject"])
    await w.wait_for("review", timeout=60)
    for wrong, error in (
        (lambda: w.decide(7, "approve"), TypeError),
        (lambda: w.decide("review", "maybe"), InvalidDecision),
        (lambda: w.decide("review", "modify"), InvalidDecision),
        (lambda: w.decide("review", "modify", value=1), InvalidDecision),
        (lambda: w.decide("review", "approve", value=object()), InvalidDecision),
    ):
        with pytest.raises(error):
            wrong()


async def test_a_node_with_two_gates_needs_the_gate_id(begin, make):
    run, w = begin(["review"]), make()
    gates = [run.gate("review", title=str(number)) for number in range(2)]
    until(lambda: len(w.gates) == 2)
    with pytest.raises(UnknownGate, match="name one with gate_id") as raised:
        w.decide("review", "approve")
    assert raised.value.open_gates == {gate.gate_id: "review" for gate in gates}
    assert (await w.decide("review", "approve", gate_id=gates[1].gate_id).answered(60)).state == "accepted"
    assert gates[1].result(60).decision == "approve"


@pytest.mark.parametrize("method", ["pause", "cancel"])
async def test_a_run_is_steered(begin, make, method):
    run, w = begin(), make()
    asked = []
    run.on_control(asked.append)
    until(lambda: w.run_id == run.run_id and w.status == "running")
    assert (await getattr(w, method)().answered(60)).state == "accepted"
    until(lambda: asked)
    assert asked == [{"pause": "pausing", "cancel": "cancelling"}[method]]


# --- Waits


async def test_wait_for_is_woken_when_a_gate_opens(begin, make):
    run, w = begin(["review"]), make()
    waiting = asyncio.create_task(w.wait_for(timeout=60))
    await w._client.synced(60)
    run.gate("review", title="Ship it?")
    gate = await waiting
    assert (gate.node_id, gate.presentation.title) == ("review", "Ship it?")
    assert [*w.gates] == [gate.gate_id]


async def test_wait_for_a_gate_of_a_run_that_has_ended_fails(begin, make):
    run, w = begin(["review"]), make()
    run.complete()
    with pytest.raises(RunFailed, match="did not open"):
        await w.wait_for("review", timeout=60)


async def test_complete_of_a_failed_run_raises_its_last_error(begin, make):
    run, w = begin(), make()
    run.fail("out of memory")
    with pytest.raises(RunFailed, match="out of memory") as raised:
        await w.complete(timeout=60)
    assert (raised.value.status, raised.value.run_id) == ("failed", run.run_id)


async def test_a_wait_that_times_out_names_what_did_not_come(begin, make):
    begin()
    w = make()
    await w._client.synced(60)
    with pytest.raises(TimeoutError, match="the end of the run"):
        await w.complete(timeout=0.01)


async def test_a_wait_without_a_server_ends_in_its_time_and_says_what_is_missing():
    w = DAGStreamWidget("dag", url=NOWHERE, token="x")
    with pytest.raises(ServerUnreachable, match="no connection to the stream server"):
        await w.complete(timeout=0.1)
    w.close()


async def test_a_wait_with_a_wrong_token_ends_and_says_so(make):
    w = make(token="wrong")
    with pytest.raises((ServerRefused, ServerUnreachable)):
        await w.complete(timeout=5)


# --- Pages


def test_the_page_is_told_where_the_server_is_and_which_run_to_follow(make, server, begin):
    w = make()
    page = Page(w)
    page.say(type="endpoint?")
    until(lambda: page.sent("endpoint") and page.sent("follow"))
    assert page.sent("endpoint")[-1]["token"] == server.token
    assert page.sent("endpoint")[-1]["url"].startswith(server.url)
    assert page.sent("follow")[-1] == {"type": "follow", "run": None, "pin": False}
    run = begin()
    assert page.sent("follow")[-1] == {"type": "follow", "run": run.run_id, "pin": False}
    w.follow("another")
    assert page.sent("follow")[-1] == {"type": "follow", "run": "another", "pin": True, "all": True}


def test_the_token_is_in_no_synced_trait(make):
    w = make(token="the-secret")
    assert "the-secret" not in json.dumps(w.get_state(), default=str)


def test_a_message_of_an_unknown_type_is_named(make, caplog):
    w = make()
    w._handle_custom_msg({"type": "nonsense"}, [])
    assert "unknown type: 'nonsense'" in caplog.text


async def test_the_finished_run_is_saved_small(begin, make):
    run, w = begin(["train"]), make()
    with run.node("train") as node:
        node.output("x" * 1000)
    run.complete()
    await w.complete(timeout=60)
    until(lambda: w.snapshot.get("status") == "completed")
    assert "output" not in w.snapshot["nodes"]["train"]


@pytest.mark.parametrize(("dag_id_", "error"), [("", ValueError), (7, TypeError), ("a" * 201, ValueError)])
def test_a_dag_id_that_can_name_nothing_is_refused(dag_id_, error):
    with pytest.raises(error):
        DAGStreamWidget(dag_id_)


async def test_the_repr_says_where_the_run_stands(begin, make, dag_id):
    run, w = begin(["a", "b"]), make()
    with run.node("a"):
        pass
    until(lambda: repr(w) == f"DAGStreamWidget({dag_id!r}: running, 1 of 2 nodes settled)")


async def test_a_runs_log_is_fetched_for_the_page(begin, make):
    run, w = begin(["a"]), make()
    run.complete()
    assert run.flush(30)
    page = Page(w)
    page.say(type="log?", run=run.run_id, after=0)
    until(lambda: page.sent("log"))
    log = json.loads(gzip.decompress(page.buffers[0]))
    assert log["events"][-1]["type"] == "execution_complete"
    page.say(type="log?", run="none", after=0)
    until(lambda: len(page.sent("log")) == 2)
    assert page.sent("log")[1]["fault"]


def test_what_the_run_before_took_is_fetched_for_the_page(tmp_path):
    with (
        serving(journal=SqliteJournal(tmp_path / "log.sqlite3")) as server,
    ):
        for _ in range(2):
            run = start_run("dag", ["a"], url=server.url, token=server.token)
            with run.node("a"):
                pass
            run.complete()
            assert run.flush(30)
            time.sleep(0.005)
        w = DAGStreamWidget("dag", url=server.url, token=server.token)
        page = Page(w)
        page.say(type="earlier?", run=run.run_id)
        until(lambda: page.sent("earlier"))
        assert page.sent("earlier")[0]["durations"]["nodes"]["a"] >= 0
        w.close()


def test_a_whole_output_is_fetched_for_the_page(begin, make):
    run, w = begin(["a"]), make()
    rows = [{"row": number} for number in range(20_000)]
    run.update("a", "completed", output=rows)
    assert run.flush(30)
    page = Page(w)
    page.say(type="output?", node_id="a", run=run.run_id)
    until(lambda: page.sent("output"))
    assert json.loads(page.sent("output")[0]["text"]) == rows


# --- Files


async def test_the_graph_is_drawn_by_the_page(make):
    w = make()
    page = Page(w)
    drawing = asyncio.create_task(w.to_svg(timeout=60))
    while not page.sent("picture?"):
        await asyncio.sleep(0.01)
    asked = page.sent("picture?")[0]
    assert asked["format"] == "svg"
    page.say([memoryview(b"<svg/>")], type="picture", id=asked["id"])
    assert await drawing == "<svg/>"


async def test_what_could_not_be_drawn_says_why(make):
    w = make()
    page = Page(w)
    drawing = asyncio.create_task(w.to_png(timeout=60))
    while not page.sent("picture?"):
        await asyncio.sleep(0.01)
    page.say(type="picture", id=page.sent("picture?")[0]["id"], fault="it is too large")
    with pytest.raises(DagwidgetError, match="it is too large"):
        await drawing


async def test_a_picture_that_no_page_draws_says_what_it_needs(make):
    with pytest.raises(NotConnected, match="show the widget"):
        await make().to_svg(timeout=0.05)


async def test_the_state_is_json_without_any_page(begin, make):
    run, w = begin(["a"]), make()
    run.complete(7)
    await w.complete(timeout=60)
    assert json.loads(w.to_json())["results"] == 7


def test_a_client_is_shared_and_closed_with_the_last_widget(make, begin):
    begin()
    first, second = make(), make()
    assert first._client is second._client
    until(lambda: first._client.connection.phase == "live")
    first.close()
    assert second._client.connection.phase == "live"
    second.close()
    until(lambda: second._client.connection.phase == "stopped")


# --- What goes wrong


@pytest.mark.parametrize(
    "wrong",
    [
        {"feedback": 3},
        {"gate_id": 3},
        {"node_id": ""},
        {"node_id": "n" * 1000},
        {"value": float("nan")},
        {"feedback": "\ud800"},
    ],
    ids=["feedback", "gate_id", "empty", "long", "value", "surrogate"],
)
async def test_a_decision_that_no_server_takes_is_refused_at_once(begin, make, wrong):
    run, w = begin(["review"]), make()
    run.gate("review", title="Ship it?")
    await w.wait_for("review", timeout=60)
    with pytest.raises((InvalidDecision, UnknownGate)):
        w.decide(**{"node_id": "review", "decision": "approve", **wrong})
    assert (await w.decide("review", "approve").answered(60)).state == "accepted"


@pytest.mark.parametrize("closes", [False, True], ids=["follow", "close"])
async def test_a_decision_that_was_left_behind_says_what_is_known_of_it(begin, make, closes):
    run, other, w = begin(["review"]), begin(["review"]), make()
    w.follow(run.run_id)
    await w._client.synced(60)
    held = w.decide("not-yet", "approve")
    if closes:
        w.close()
    else:
        w.follow(other.run_id)
    assert ((await held.answered(60)).state, held.code) == ("refused", "withdrawn")


async def test_a_decision_that_was_sent_is_never_said_to_be_refused(begin, make):
    run, w = begin(["review"]), make()
    gate = run.gate("review", title="Ship it?")
    await w.wait_for("review", timeout=60)
    sent = w.decide("review", "approve")
    w.close()
    # Either the answer came, or it is not known.
    with contextlib.suppress(NotConnected):
        await sent.answered(60)
    assert sent.state != "refused" or sent.code == "not_connected"
    if sent.state == "refused":
        assert not gate._outcome.done()


async def test_a_closed_widget_decides_nothing(begin, make):
    begin(["review"])
    w = make()
    w.close()
    with pytest.raises(ClientClosed, match=r"the widget of .* is closed"):
        w.decide("review", "approve")
    with pytest.raises(ClientClosed, match=r"the widget of .* is closed"):
        w.follow(None)


async def test_a_wait_goes_on_where_the_widget_follows_another_run(begin, make):
    first, second, w = begin(["review"]), begin(["review"]), make()
    w.follow(first.run_id)
    gate, end = asyncio.ensure_future(w.wait_for("review", timeout=60)), asyncio.ensure_future(w.complete(timeout=60))
    await w._client.synced(60)
    w.follow(second.run_id)
    second.gate("review", title="of the second")
    assert (await gate).presentation.title == "of the second"
    first.complete("of the first")
    assert await end == "of the first"


async def test_an_observer_takes_no_time_of_a_wait_that_has_a_limit(begin, make):
    run, w = begin(["a"]), make()
    busy, free = threading.Event(), threading.Event()
    w.observe(lambda _change: (busy.set(), free.wait(60)), "status")
    run.update("a", "running")
    assert await asyncio.to_thread(busy.wait, 60)
    run.complete(1)
    with pytest.raises(TimeoutError):
        await w.complete(timeout=1)
    free.set()
    assert await w.complete(timeout=60) == 1


async def test_an_observer_may_wait_itself(begin, make):
    run, w = begin(["a"]), make()
    results = []
    w.observe(lambda _change: results.append(asyncio.run(w.complete(run, timeout=60))), "status")
    run.complete(7)
    until(lambda: 7 in results)


async def test_right_after_follow_no_trait_is_of_the_run_before(begin, make):
    first, second, w = begin(["x"]), begin(["x"]), make()
    second.gate("x", title="of the second")
    w.follow(second.run_id)
    await w.wait_for("x", timeout=60)
    w.follow(first.run_id)
    assert (w.gates, w.run_id) == ({}, first.run_id)
    # Of those that this process has begun, the last.
    w.follow(None)
    assert w.run_id == second.run_id


async def test_the_run_of_this_process_is_followed_however_its_server_is_written(begin, make, server):
    w = make(url=server.url.replace("ws://", "http://") + "/")
    older, newer = begin(["a"]), begin(["b"])
    until(lambda: w.run_id == newer.run_id)
    older.complete()
