"""The widget without a browser: a fake front end that speaks as js/src/kernel.ts does."""

import asyncio
import contextlib
import gzip
import json
import threading
import time
from collections.abc import Sequence

import msgspec
import pytest

from dagwidget import local_runs, start_run
from dagwidget import protocol as p
from dagwidget.errors import DagwidgetError, InvalidDecision, NotConnected, RunFailed, UnknownGate
from dagwidget.server.storage.sqlite import SqliteJournal
from dagwidget.state import DagState, reduce
from dagwidget.widget.widget import DAGStreamWidget

from .serving import serving
from .strategies import numbered

GATE = p.HumanGateWaiting(
    node_id="review", gate_id="review:1", presentation=p.Presentation(title="Ship it?", allowed=["approve", "reject"])
)


def until(ready) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class FrontEnd:
    """What the browser's side of a widget says, and what it was told."""

    def __init__(self, widget: DAGStreamWidget) -> None:
        self.widget = widget
        self.told: list[dict] = []
        self.buffers: list[bytes] = []
        self.n = 0
        widget.send = self._hear

    def _hear(self, message: dict, buffers: Sequence[bytes] = ()) -> None:
        self.buffers.extend(buffers)
        self.told.append(message)

    def say(self, **message) -> None:
        self.widget._handle_custom_msg(message, [])

    def connect(self, phase: str = "live", source: str = "tab-1") -> None:
        self.say(type="connection", **self.sent(source), connection={"phase": phase, "attempt": 0})

    def state(self, state: DagState, source: str = "tab-1") -> None:
        self.say(type="state", **self.sent(source), state=state.to_dict())

    def sent(self, source: str) -> dict:
        self.n += 1
        return {"source": source, "n": self.n}

    def events(self, *events: p.Event, epoch: str | None = "e", source: str = "tab-1") -> None:
        after = (events[0].seq or 1) - 1
        self.say(type="events", source=source, epoch=epoch, after=after, events=msgspec.to_builtins(events))

    def commands(self) -> list[dict]:
        return [message["command"] for message in self.told if message["type"] == "command"]

    def asked(self) -> list[dict]:
        return [message for message in self.told if message["type"] == "picture?"]

    def draw(self, asked: dict, drawn: bytes | None, **more) -> None:
        message = {"type": "picture", "id": asked["id"], **more}
        self.widget._handle_custom_msg(message, [] if drawn is None else [memoryview(drawn)])

    def acknowledge(self, ok: bool = True, **more) -> None:
        self.say(type="ack", ack={"type": "command_ack", "id": self.commands()[-1]["id"], "ok": ok, **more})


@pytest.fixture
def front_end():
    widget = DAGStreamWidget("dag", url="ws://127.0.0.1:1")
    yield FrontEnd(widget)
    widget.close()


@pytest.fixture
def live(front_end):
    """A front end that is connected, with a run that waits at a gate."""
    front_end.connect()
    front_end.state(reduce(numbered([p.NodeState(node_id="train", status="running"), GATE]), DagState(epoch="e")))
    return front_end


def test_traits_follow_the_events(live):
    statuses = []
    live.widget.observe(lambda change: statuses.append(change["new"]), "status")
    live.events(
        p.NodeState(node_id="train", status="completed", output=7, seq=3),
        p.EdgeActive(from_="train", to="review", seq=4),
        p.CostUpdate(spent=1.5, budget=2, remaining=0.5, seq=5),
        p.RunError(message="careful", seq=6),
    )
    w = live.widget
    assert w.nodes["train"].output == 7
    assert w.edges["train", "review"].active
    assert w.cost.spent == 1.5
    assert [fault.message for fault in w.errors] == ["careful"]
    assert list(w.gates) == ["review:1"]
    live.events(p.ExecutionComplete(results={"ok": True}, seq=7))
    assert (w.status, w.results, dict(w.gates)) == ("completed", {"ok": True}, {})
    assert statuses == ["completed"]


def test_traits_change_once_per_batch(live):
    changes = []
    live.widget.observe(changes.append, "nodes")
    live.events(*(p.NodeState(node_id=f"n{i}", status="running", seq=3 + i) for i in range(10)))
    assert len(changes) == 1


def test_what_a_later_message_has_overtaken_is_dropped(front_end):
    late = [
        {"type": "connection", **front_end.sent("tab-1"), "connection": {"phase": "connecting"}},
        {"type": "state", **front_end.sent("tab-1"), "state": DagState().to_dict()},
    ]
    front_end.connect("live")
    front_end.state(run_of("e", p.NodeState(node_id="train", status="running"), ts=1))
    for message in late:
        front_end.say(**message)
    assert front_end.widget.connection["phase"] == "live"
    assert front_end.widget.status == "running"
    # A second page numbers its own.
    front_end.say(**{**late[0], "source": "tab-2"})
    assert front_end.widget.connection["phase"] == "connecting"


def test_events_of_a_plain_server_that_overtake_its_state_ask_for_it(front_end):
    front_end.connect()
    front_end.events(p.NodeLog(node_id="a", lines=["one"]), epoch=None)
    assert front_end.told[-1] == {"type": "state?"}


def test_traits_are_read_only(live):
    with pytest.raises(Exception, match="read-only"):
        live.widget.status = "completed"


def test_events_that_two_tabs_forward_are_applied_once(live):
    seen = []
    live.widget.on_event(seen.append)
    first = [p.NodeLog(node_id="train", lines=["one"], seq=3), p.NodeLog(node_id="train", lines=["two"], seq=4)]
    live.events(*first, source="tab-1")
    live.events(*first, p.NodeLog(node_id="train", lines=["three"], seq=5), source="tab-2")
    live.events(p.NodeLog(node_id="train", lines=["three"], seq=5), source="tab-1")
    assert live.widget.nodes["train"].logs == ["one", "two", "three"]
    assert [event.seq for event in seen] == [3, 4, 5]


def test_events_of_a_plain_server_are_taken_from_one_tab(front_end):
    front_end.connect()
    front_end.state(DagState(), source="tab-1")
    front_end.events(p.NodeLog(node_id="a", lines=["one"]), epoch=None, source="tab-1")
    front_end.events(p.NodeLog(node_id="a", lines=["one"]), epoch=None, source="tab-2")
    assert front_end.widget.nodes["a"].logs == ["one"]


def test_a_gap_makes_the_kernel_ask_for_the_state(live):
    live.events(p.NodeState(node_id="train", status="completed", seq=9))
    assert live.told[-1] == {"type": "state?"}
    assert live.widget.nodes["train"].status == "running"


def test_events_of_another_epoch_make_the_kernel_ask_for_the_state(live):
    live.events(p.NodeState(node_id="new", status="running", seq=3), epoch="e2")
    assert live.told[-1] == {"type": "state?"}
    assert "new" not in live.widget.nodes


def test_a_state_that_is_older_than_what_is_known_is_ignored(live):
    live.events(p.NodeState(node_id="train", status="completed", seq=3))
    live.state(reduce(numbered([p.NodeState(node_id="train", status="running")]), DagState(epoch="e")), "tab-2")
    assert live.widget.nodes["train"].status == "completed"


def test_a_new_epoch_replaces_the_state(live):
    live.state(reduce(numbered([p.NodeState(node_id="fresh", status="running")]), DagState(epoch="e2")))
    assert list(live.widget.nodes) == ["fresh"]


def test_the_front_end_is_told_where_the_server_is(front_end):
    front_end.say(type="endpoint?")
    until(lambda: front_end.told)
    assert front_end.told[-1]["type"] == "endpoint"
    assert front_end.told[-1]["url"] == "ws://127.0.0.1:1/api/dags/dag/stream"


async def test_a_callback_that_fails_keeps_nothing_from_the_others(live, caplog):
    seen = []
    live.widget.on_event(lambda _event: 1 / 0)
    live.widget.on_event(seen.append)
    live.events(p.ExecutionComplete(results=1, seq=3))
    assert await live.widget.complete(timeout=5) == 1
    assert len(seen) == 1
    assert "ZeroDivisionError" in caplog.text


def test_the_token_is_in_no_synced_trait():
    widget = DAGStreamWidget("dag", url="ws://127.0.0.1:1", token="s3cret")
    assert "s3cret" not in repr(widget.get_state())
    widget.close()


async def test_a_decision_goes_out_at_once_and_is_accepted_with_the_ack(live):
    sent = live.widget.decide("review", "approve", feedback="fine")
    (command,) = live.commands()
    assert command["gate_id"] == "review:1"
    assert command["source"] == "python"
    assert (sent.state, command["feedback"]) == ("sent", "fine")
    waiting = asyncio.ensure_future(asyncio.wait_for(sent, 10))
    live.acknowledge()
    assert (await waiting).state == "accepted"


async def test_a_refused_decision_says_why_and_who_won(live):
    winner = {
        "type": "human_gate_resolved",
        "node_id": "review",
        "gate_id": "review:1",
        "decision": "reject",
        "by": "ana",
        "at": 5,
        "source": "widget",
    }
    sent = live.widget.decide("review", "approve")
    live.acknowledge(ok=False, code="already_decided", message="ana rejected it", winner=winner)
    assert (await sent).state == "refused"
    assert sent.winner.by == "ana"
    assert "ana rejected it" in repr(sent)


def test_a_decision_before_a_front_end_exists_waits_for_it_and_says_so(front_end):
    sent = front_end.widget.decide("review", "approve")
    assert sent.state == "waiting"
    assert "queued until the widget is displayed" in repr(sent)
    assert front_end.commands() == []
    front_end.connect("connecting")
    assert sent.state == "sent"
    assert [command["id"] for command in front_end.commands()] == [sent.id]


def test_wrong_arguments_of_a_decision_raise_at_once(live):
    w = live.widget
    with pytest.raises(TypeError, match="node_id must be a string, not int: 7"):
        w.decide(7, "approve")
    with pytest.raises(InvalidDecision, match="'approve', 'reject', 'modify'; not 'aprove'"):
        w.decide("review", "aprove")
    with pytest.raises(InvalidDecision, match="takes approve or reject"):
        w.decide("review", "modify", value=1)
    with pytest.raises(InvalidDecision, match="give the answer"):
        w.decide("review", "modify")
    with pytest.raises(InvalidDecision, match="JSON-safe"):
        w.decide("review", "modify", value=object())
    with pytest.raises(UnknownGate, match=r"no gate is open at 'train'; open now: 'review'"):
        w.decide("train", "approve")
    with pytest.raises(UnknownGate, match="there is no such node"):
        w.decide("reviw", "approve")
    with pytest.raises(UnknownGate, match="gate_id 'review:9'"):
        w.decide("review", "approve", gate_id="review:9")
    assert live.commands() == []


def test_a_node_with_two_gates_needs_the_gate_id(live):
    live.events(p.HumanGateWaiting(node_id="review", gate_id="review:2", presentation=p.Presentation(), seq=3))
    with pytest.raises(UnknownGate, match=r"2 gates are open at 'review': say which with gate_id=… \('review:1', "):
        live.widget.decide("review", "approve")
    live.widget.decide("review", "approve", gate_id="review:2")
    assert live.commands()[-1]["gate_id"] == "review:2"


@pytest.mark.parametrize(("method", "type_"), [("pause", "pause"), ("resume", "resume"), ("cancel", "cancel")])
def test_a_run_is_steered(live, method, type_):
    sent = getattr(live.widget, method)()
    assert live.commands()[-1]["type"] == f"{type_}_execution"
    assert sent.state == "sent"


async def test_wait_for_returns_the_gate_that_opens(front_end):
    front_end.connect()
    waiting = asyncio.ensure_future(front_end.widget.wait_for("review", timeout=10))
    await asyncio.sleep(0)
    front_end.state(reduce([GATE], DagState(epoch="e", seq=1)))
    gate = await waiting
    assert gate.presentation.title == "Ship it?"


async def test_wait_for_is_woken_from_another_thread(front_end):
    waiting = asyncio.ensure_future(front_end.widget.wait_for(timeout=10))
    await asyncio.sleep(0)
    thread = threading.Thread(target=front_end.state, args=(reduce([GATE], DagState(epoch="e", seq=1)),))
    thread.start()
    assert (await waiting).gate_id == "review:1"
    thread.join()


async def test_wait_for_a_gate_of_a_run_that_has_ended_fails(live):
    live.events(p.ExecutionComplete(results=None, status="cancelled", seq=3))
    with pytest.raises(RunFailed, match=r"a gate at 'other' did not open: the run 'dag' is cancelled"):
        await live.widget.wait_for("other")


async def test_waiting_without_a_front_end_says_that_none_answered(front_end):
    with pytest.raises(NotConnected, match="no front end has answered"):
        await front_end.widget.wait_for("review", timeout=0)


async def test_waiting_with_a_front_end_times_out_by_name(live):
    with pytest.raises(TimeoutError, match="timed out after 0 s waiting for the end of the run"):
        await live.widget.complete(timeout=0)


async def test_complete_returns_the_results(live):
    live.events(p.ExecutionComplete(results=[1, 2], seq=3))
    assert await live.widget.complete() == [1, 2]


async def test_complete_of_a_failed_run_raises_its_last_error(live):
    live.events(
        p.RunError(message="disk full", node_id="train", seq=3),
        p.ExecutionComplete(results=None, status="failed", seq=4),
    )
    with pytest.raises(RunFailed, match="the run 'dag' is failed: disk full"):
        await live.widget.complete()


def test_an_event_listener_can_be_removed(live):
    seen = []
    stop = live.widget.on_event(seen.append)
    live.events(p.NodeLog(node_id="a", lines=["x"], seq=3))
    stop()
    live.events(p.NodeLog(node_id="a", lines=["y"], seq=4))
    assert [event.seq for event in seen] == [3]


def test_the_finished_run_is_saved_small(live):
    live.events(
        p.NodeState(node_id="train", status="completed", output="x" * 10_000, seq=3),
        p.ExecutionComplete(results="fine", seq=4),
    )
    saved = live.widget.get_state()["snapshot"]
    assert saved["nodes"]["train"]["status"] == "completed"
    assert saved["results"] == "fine"
    assert "x" * 100 not in repr(saved)


@pytest.mark.parametrize(("dag_id", "error"), [(7, TypeError), ("", ValueError), ("a\nb", ValueError)])
def test_a_dag_id_that_can_name_nothing_is_refused(dag_id, error):
    with pytest.raises(error, match="dag_id must"):
        DAGStreamWidget(dag_id, url="ws://127.0.0.1:1")


def test_the_repr_says_where_the_run_stands(live):
    assert repr(live.widget) == "DAGStreamWidget('dag': running, 0 of 2 nodes settled)"


def test_a_message_of_an_unknown_type_is_named(front_end, capsys):
    with pytest.raises(ValueError, match="unknown type: 'banana'"):
        front_end.widget._receive(front_end.widget, {"type": "banana"}, [])


def test_an_event_that_does_not_follow_the_protocol_is_left_out_and_logged(live, caplog):
    good = {"type": "node_state", "node_id": "train", "status": "completed", "seq": 4}
    bad = {"type": "node_state", "node_id": "train", "status": "running", "progress": 7, "seq": 3}
    live.say(type="events", source="tab-1", epoch="e", after=2, events=[bad, good])
    assert live.widget.nodes["train"].status == "completed"
    assert "left out" in caplog.text


async def test_waiting_rouses_a_front_end_that_gave_up(live):
    live.connect("idle")
    waiting = asyncio.create_task(live.widget.complete())
    await asyncio.sleep(0)
    assert live.told[-1] == {"type": "state?"}
    live.connect("live")
    live.connect("idle")
    assert live.told[-1] == {"type": "state?"}
    live.events(p.ExecutionComplete(results=1, seq=3))
    assert await waiting == 1


def test_a_past_run_has_its_own_stream(front_end):
    widget = DAGStreamWidget("dag", url="ws://127.0.0.1:1", run="run/1")
    past = FrontEnd(widget)
    past.say(type="endpoint?")
    until(lambda: past.told)
    assert past.told[-1]["url"] == "ws://127.0.0.1:1/api/dags/dag/runs/run%2F1/stream"
    widget.close()
    with pytest.raises(ValueError, match="run must"):
        DAGStreamWidget("dag", run="")


@pytest.fixture
def no_runs_begun(monkeypatch):
    monkeypatch.setattr(local_runs, "_latest", {})


def run_of(epoch: str, *events: p.Event, ts: int) -> DagState:
    return reduce(numbered([p.ExecutionState(status="running", ts=ts), *events]), DagState(epoch=epoch))


@pytest.mark.clock
async def test_waiting_is_for_the_run_begun_in_this_process_not_for_the_one_before(front_end, no_runs_begun):
    w = front_end.widget
    front_end.connect()
    front_end.state(run_of("before", GATE, p.ExecutionComplete(results="old"), ts=1))
    assert await w.complete() == "old"
    local_runs.record("ws://127.0.0.1:1", "dag", "now")
    gate, end = asyncio.create_task(w.wait_for("review", timeout=5)), asyncio.create_task(w.complete(timeout=5))
    await asyncio.sleep(0.02)
    assert not gate.done()
    assert not end.done()
    front_end.state(run_of("now", GATE, ts=2))
    assert (await gate).gate_id == "review:1"
    front_end.events(p.ExecutionComplete(results="new", seq=3), epoch="now")
    assert await end == "new"


@pytest.mark.clock
async def test_an_open_gate_of_an_earlier_run_is_not_the_one_waited_for(front_end, no_runs_begun):
    front_end.connect()
    front_end.state(run_of("before", GATE, ts=1))
    local_runs.record("ws://127.0.0.1:1", "dag", "now")
    with pytest.raises(TimeoutError):
        await front_end.widget.wait_for("review", timeout=0.01)
    assert front_end.widget.decide("elsewhere", "approve").state == "sent"


async def test_a_run_that_another_process_began_later_is_as_good(front_end, no_runs_begun):
    local_runs.record("ws://127.0.0.1:1", "dag", "now")
    front_end.connect()
    front_end.state(run_of("later", p.ExecutionComplete(results="theirs"), ts=time.time_ns() // 1_000_000 + 1))
    assert await front_end.widget.complete(timeout=5) == "theirs"


async def test_a_run_that_was_here_is_not_waited_for_again(front_end, no_runs_begun):
    local_runs.record("ws://127.0.0.1:1", "dag", "now")
    front_end.connect()
    front_end.state(run_of("now", ts=2))
    front_end.state(run_of("of a clock that is behind", p.ExecutionComplete(results="theirs"), ts=1))
    assert await front_end.widget.complete(timeout=5) == "theirs"


async def test_start_run_notes_what_it_begins(server_url, no_runs_begun):
    with start_run("dag", url=server_url) as run:
        assert local_runs.latest(server_url, "dag").run_id == run.run_id
    assert local_runs.latest(None, "dag") is None
    assert run.flush(20)


@pytest.fixture
def server_url():
    with serving(auth=False) as server:
        yield server.url


def test_a_runs_log_is_fetched_for_the_front_end():
    with serving() as server:
        with start_run("dag", url=server.url, token=server.token) as run:
            run.update("train", "completed")
        assert run.flush(20)
        front_end = FrontEnd(DAGStreamWidget("dag", url=server.url, token=server.token))
        for run_id in (run.run_id, "elsewhere"):
            front_end.say(type="log?", run=run_id, after=1)
        until(lambda: len([told for told in front_end.told if told["type"] == "log"]) == 2)
        answers = {told["run"]: told for told in front_end.told if told["type"] == "log"}
        assert answers[run.run_id] == {"type": "log", "run": run.run_id, "after": 1}
        page = json.loads(gzip.decompress(front_end.buffers[0]))
        assert [event["seq"] for event in page["events"]] == [*range(2, page["head"] + 1)]
        assert answers["elsewhere"]["fault"] == "the server has no run 'elsewhere' of 'dag'"
        front_end.widget.close()


@pytest.mark.clock
def test_what_the_run_before_took_is_fetched_for_the_front_end(tmp_path):
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    with contextlib.closing(journal), serving(journal=journal) as server:
        ids = []
        for end in ("complete", "fail", "complete"):
            with start_run("dag", ["a", "b"], url=server.url, token=server.token) as run:
                run.update("a", "running")
                time.sleep(0.05)
                run.update("a", "completed")
                run.fail("no") if end == "fail" else run.complete()
            assert run.flush(20)
            ids.append(run.run_id)
        front_end = FrontEnd(DAGStreamWidget("dag", url=server.url, token=server.token))
        for run_id in ids:
            front_end.say(type="earlier?", run=run_id)
        until(lambda: len([told for told in front_end.told if told["type"] == "earlier"]) == 3)
        answers = {told["run"]: told["durations"] for told in front_end.told if told["type"] == "earlier"}
        assert answers[ids[0]] is None
        # The one that failed tells nothing.
        assert answers[ids[1]] == answers[ids[2]]
        assert answers[ids[1]]["nodes"].keys() == {"a"}
        assert 40 <= answers[ids[1]]["nodes"]["a"] < 10_000
        assert 0 < answers[ids[1]]["ms"] < 10_000
        front_end.widget.close()


def test_a_whole_output_is_fetched_for_the_front_end():
    with serving() as server:
        with start_run("dag", url=server.url, token=server.token) as run:
            run.update("train", "completed", output="x" * 10_000)
        assert run.flush(20)
        front_end = FrontEnd(DAGStreamWidget("dag", url=server.url, token=server.token))
        assert front_end.widget.output("train") == "x" * 10_000
        for node_id in ("train", "elsewhere"):
            front_end.say(type="output?", node_id=node_id)
        until(lambda: len([told for told in front_end.told if told["type"] == "output"]) == 2)
        answers = {told["node_id"]: told for told in front_end.told if told["type"] == "output"}
        assert json.loads(answers["train"]["text"]) == "x" * 10_000
        assert "no whole output" in answers["elsewhere"]["fault"]
        front_end.widget.close()


async def test_the_graph_is_drawn_by_the_front_end(live):
    svg, png = (asyncio.create_task(picture) for picture in (live.widget.to_svg(), live.widget.to_png()))
    await asyncio.sleep(0)
    assert [asked["format"] for asked in live.asked()] == ["svg", "png"]
    live.draw(live.asked()[1], b"\x89PNG")
    live.draw(live.asked()[0], "<svg>é</svg>".encode())
    live.draw(live.asked()[0], b"of a second page")
    assert (await svg, await png) == ("<svg>é</svg>", b"\x89PNG")


async def test_what_could_not_be_drawn_says_why(live):
    png = asyncio.create_task(live.widget.to_png())
    await asyncio.sleep(0)
    live.draw(live.asked()[0], None, fault="this browser draws no canvas")
    with pytest.raises(DagwidgetError, match="could not draw the graph: this browser draws no canvas"):
        await png


@pytest.mark.clock
@pytest.mark.parametrize("phase", [None, "live"])
async def test_a_picture_that_no_front_end_draws_says_what_it_needs(front_end, phase):
    if phase is not None:
        front_end.connect(phase)
    with pytest.raises(NotConnected, match=r"no front end has drawn the graph in 0.01 s: show the widget"):
        await front_end.widget.to_svg(timeout=0.01)
    front_end.draw(front_end.asked()[0], b"too late")


async def test_a_picture_is_asked_again_of_a_front_end_that_comes_later(front_end):
    svg = asyncio.create_task(front_end.widget.to_svg(timeout=20))
    await asyncio.sleep(0)
    front_end.say(type="endpoint?")
    first, again = front_end.asked()
    assert first == again
    thread = threading.Thread(target=front_end.draw, args=(again, b"<svg/>"))
    thread.start()
    assert await svg == "<svg/>"
    thread.join()


def test_the_state_is_json_without_any_front_end(live):
    state = json.loads(live.widget.to_json())
    assert state["status"] == "running"
    assert state["nodes"]["train"] == {"id": "train", "status": "running"}
    assert list(state["gates"]) == ["review:1"]
    empty = DAGStreamWidget("other", url="ws://127.0.0.1:1")
    assert json.loads(empty.to_json())["nodes"] == {}
    empty.close()
