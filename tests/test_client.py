"""The Python stream client on real sockets; its rules are tested in `test_state_machine`."""

import asyncio
import gc
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest

import dagwidget
from dagwidget import InvalidDecision, NotConnected, RunFailed
from dagwidget import protocol as p
from dagwidget.client.client import StreamClient
from dagwidget.client.connecting import connect
from dagwidget.client.in_thread import in_thread
from dagwidget.client.pending_command import SentCommand, settle
from dagwidget.client.state_machine import Batch, StateMachine
from dagwidget.errors import ClientClosed, ServerRefused, ServerUnreachable
from dagwidget.state import reduce

from .proxy import CutProxy
from .serving import serving

# Far longer than anything takes: only a fault gets here.
PATIENCE = 20.0


@pytest.fixture(scope="module")
def server():
    with serving() as server:
        yield server


@pytest.fixture
def proxy(server):
    proxy = CutProxy(urlsplit(server.url).port)
    yield proxy
    proxy.close()


@pytest.fixture
def dag_id(request):
    return f"ünusual / {request.node.name}"


@pytest.fixture
def run(server, dag_id):
    run = dagwidget.start_run(dag_id, ["a", "review"], url=server.url, token=server.token)
    assert run.flush(PATIENCE)
    yield run
    run.complete()
    assert run.flush(PATIENCE)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Waits a tenth of a second before each attempt."""
    monkeypatch.setattr(
        "dagwidget.client.client.StateMachine", lambda run: StateMachine(lambda _failures: 0.1, run=run)
    )


def following(server, dag_id, **options) -> StreamClient:
    return connect(dag_id, url=server.url, token=server.token, **options)


def through(proxy, server, dag_id) -> StreamClient:
    return connect(dag_id, url=f"ws://127.0.0.1:{proxy.port}", token=server.token)


async def until(ready) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_the_state_is_there_once_it_is_synced_and_follows(server, dag_id, run):
    async with following(server, dag_id) as client:
        await client.synced(PATIENCE)
        assert set(client.state.nodes) == {"a", "review"}
        assert (client.connection.phase, client.connection.role) == ("live", "publish")
        assert abs(client.connection.seen_at - time.time() * 1000) < 60_000
        run.update("a", "running", progress=0.5)
        await until(lambda: client.state.nodes["a"].progress == 0.5)
    assert client.connection.phase == "stopped"


async def test_events_add_up_to_the_state(server, dag_id, run):
    async with following(server, dag_id) as client:
        batches = []
        client.on_batch(batches.append)
        events = client.events()
        first = await anext(events)
        assert (first.reset, first.epoch) == (True, run.run_id)
        run.log("a", "one", "two")
        seen = []
        async for event in events:
            seen.append(event)
            if isinstance(event, p.NodeLog):
                break
        copy = reduce(seen)
        copy.epoch = first.epoch
        assert copy.to_dict() == client.state.to_dict()
        assert batches[0].reset
        assert sum(len(batch.events) for batch in batches) == len(seen)


async def test_it_waits_for_a_gate_for_the_end_and_for_a_newer_run_as_the_widget_does(server, dag_id, run):
    async with following(server, dag_id) as client:
        asked = run.gate("review", title="Ship it?")
        gate = await client.wait_for("review", timeout=PATIENCE)
        assert (await client.decide("review", "approve", gate_id=gate.gate_id)).state == "accepted"
        assert (await asked).decision == "approve"
        run.complete({"model": "v7"})
        assert await client.complete(timeout=PATIENCE) == {"model": "v7"}
        with pytest.raises(RunFailed, match=r"a gate did not open: the run of .* is completed"):
            await client.wait_for(timeout=PATIENCE)
        newer = dagwidget.start_run(dag_id, url=server.url, token=server.token)
        assert await client.next_run(run.run_id, timeout=PATIENCE) == newer.run_id
        newer.fail("no space")
        with pytest.raises(RunFailed, match="failed: no space"):
            await client.complete(newer, timeout=PATIENCE)
        pinned = following(server, dag_id, run=newer.run_id)
        async with pinned:
            assert await pinned.complete(run, timeout=PATIENCE) == {"model": "v7"}


async def test_the_next_run_is_newer_also_than_one_that_is_not_in_the_list_yet(server, dag_id, run):
    async with following(server, dag_id) as client:
        await client.wait(lambda: bool(client.runs), PATIENCE, "the runs")
        later = asyncio.create_task(client.next_run("a-run-that-begins", timeout=PATIENCE))
        await asyncio.sleep(0.3)
        assert not later.done()
        begun = dagwidget.start_run(dag_id, run_id="a-run-that-begins", url=server.url, token=server.token)
        await client.wait(lambda: len(client.runs) == 2, PATIENCE, "the run")
        await asyncio.sleep(0)
        assert not later.done()
        newer = dagwidget.start_run(dag_id, url=server.url, token=server.token)
        assert await later == newer.run_id
        for each in (begun, newer):
            each.complete()
        assert await asyncio.to_thread(newer.flush, PATIENCE)


async def test_what_is_no_run_and_no_node_is_refused_at_once(server, dag_id, run):
    async with following(server, dag_id) as client:
        with pytest.raises(TypeError, match="run must be a run or its id, not int: 5"):
            await client.complete(5)
        with pytest.raises(ValueError, match="run"):
            await client.complete("")
        with pytest.raises(ValueError, match="after"):
            await client.next_run("")
        with pytest.raises(TypeError, match="node_id must be a string, not int: 5"):
            await client.wait_for(5)


async def test_the_events_end_when_the_client_is_closed(server, dag_id, run):
    client = following(server, dag_id)
    async with client:
        await client.synced(PATIENCE)
        events = client.events()
    assert [event async for event in events] == []
    with pytest.raises(NotConnected, match="closed"):
        await client.synced()


async def test_a_reader_that_is_too_slow_is_given_the_state_anew(server, dag_id, run, monkeypatch):
    monkeypatch.setattr("dagwidget.client.event_stream._MOST", 30)
    async with following(server, dag_id) as client:
        await client.synced(PATIENCE)
        events = client.events()
        for i in range(100):
            run.update("a", "running", progress=i / 100)
            run.flush(PATIENCE)
        await until(lambda: client.state.nodes["a"].progress == 0.99)
        assert len(events._events) <= 40
        run.update("a", "completed")
        seen = []
        async for event in events:
            seen.append(event)
            if isinstance(event, p.NodeState) and event.status == "completed":
                break
        newest = max(i for i, event in enumerate(seen) if isinstance(event, p.Sync))
        assert reduce(seen[newest + 1 :]).nodes == client.state.nodes


async def test_a_reader_that_left_is_forgotten(server, dag_id, run):
    async with following(server, dag_id) as client:
        await client.synced(PATIENCE)
        client.events()
        gc.collect()
        assert len(client._streams) == 0


async def test_a_decision_is_answered_and_the_second_one_refused(server, dag_id, run):
    waiting = run.gate("review", title="Ship it?")
    async with following(server, dag_id) as client:
        await client.synced(PATIENCE)
        await until(lambda: client.state.gates)
        made = await client.decide("review", "approve", feedback="ok")
        assert made.state == "accepted"
        assert (await waiting).feedback == "ok"
        late = await client.decide("review", "reject")
        assert (late.state, late.code, late.winner.decision) == ("refused", "already_decided", "approve")


async def test_the_run_is_paused_resumed_and_cancelled(server, dag_id, run):
    async with following(server, dag_id) as client:
        await client.synced(PATIENCE)
        # The run may be in one of these for a moment only.
        seen = []
        client.on_batch(lambda batch: seen.extend(e.status for e in batch.events if isinstance(e, p.ExecutionState)))
        for ask, status in [(client.pause, "pausing"), (client.resume, "resuming"), (client.cancel, "cancelling")]:
            assert (await ask()).state == "accepted"
            await until(lambda status=status: status in seen)


@pytest.mark.parametrize("arguments", [("review", "maybe"), ("", "approve"), ("review", "modify", object())])
async def test_what_is_no_decision_is_refused_before_it_goes_out(server, dag_id, arguments):
    node_id, decision, *value = arguments
    async with following(server, dag_id) as client:
        with pytest.raises(InvalidDecision):
            client.decide(node_id, decision, value=value[0] if value else None)
        with pytest.raises(TypeError, match="node_id must be a string"):
            client.decide(None, "approve")


async def test_a_cut_is_resumed_and_what_was_asked_meanwhile_arrives(server, dag_id, run, proxy):
    waiting = run.gate("review")
    async with through(proxy, server, dag_id) as client:
        await client.synced(PATIENCE)
        await until(lambda: client.state.gates)
        state, batches = client.state, []
        client.on_batch(batches.append)
        proxy.cut()
        await until(lambda: client.connection.phase == "waiting")
        run.update("a", "running", progress=0.5)
        assert run.flush(PATIENCE)
        asked = client.decide("review", "approve")
        assert client.state.nodes["a"].status == "pending"
        proxy.open()
        assert (await asked).state == "accepted"
        assert (await waiting).decision == "approve"
        assert client.state is state
        assert client.state.nodes["a"].progress == 0.5
        assert not any(batch.reset for batch in batches)
        assert client.connection.attempt > 1


@pytest.mark.clock
async def test_cuts_in_the_middle_of_a_stream_lose_and_double_nothing(server, dag_id, run, proxy):
    async with through(proxy, server, dag_id) as client:
        seen = []
        client.on_batch(lambda batch: seen.extend(e.lines[0] for e in batch.events if isinstance(e, p.NodeLog)))
        await client.synced(PATIENCE)
        for i in range(300):
            run.log("a", str(i))
            await asyncio.sleep(0.001)
            if i % 60 == 30:
                proxy.cut()
                proxy.open()
        await until(lambda: seen and seen[-1] == "299")
        assert seen == [str(i) for i in range(300)]


async def test_a_server_that_restarts_is_found_again_and_starts_from_its_own_state(dag_id):
    with serving() as first:
        port = urlsplit(first.url).port
        client = following(first, dag_id)
        await client.__aenter__()
        await client.synced(PATIENCE)
    await until(lambda: client.connection.phase in ("waiting", "connecting"))
    assert client.connection.code in (4000, None)
    with serving(port=port) as second:
        run = dagwidget.start_run(dag_id, ["new"], url=second.url, token=second.token)
        await until(lambda: "new" in client.state.nodes)
        run.complete({"x": 1})
        assert run.flush(PATIENCE)
        await until(lambda: client.state.status == "completed")
        assert client.state.results == {"x": 1}
        await client.__aexit__()


async def test_a_wrong_token_that_was_sent_ends_it_and_says_why(server, dag_id, monkeypatch):
    # As on another machine: a token for this one is only sent to who has proven to know it.
    monkeypatch.setattr("dagwidget.challenge.is_needed", lambda _url: False)
    async with connect(dag_id, url=server.url, token="wrong") as client:
        with pytest.raises(NotConnected, match="token is wrong"):
            await client.synced(PATIENCE)
        with pytest.raises(NotConnected, match="4401"):
            await anext(client.events())
        assert (await client.pause()).code == "not_connected"


async def test_no_server_is_waited_for_and_closing_does_not_wait():
    async with connect("d", url="ws://127.0.0.1:9") as client:
        with pytest.raises(TimeoutError):
            await client.synced(0.3)
        assert client.connection.attempt > 1
        assert "refused" in client.connection.reason.lower()


def test_in_plain_code_it_has_a_thread_of_its_own(server, dag_id, run):
    waiting = run.gate("review")
    assert run.flush(PATIENCE)
    with following(server, dag_id) as client:
        asyncio.run(client.synced(PATIENCE))

        async def decide():
            return await client.decide("review", "approve")

        assert asyncio.run(decide()).state == "accepted"
        assert waiting.result(PATIENCE).decision == "approve"
        with client.lock:
            assert client.state.epoch == run.run_id
    assert "dagwidget-client" not in "".join(thread.name for thread in threading.enumerate())
    assert asyncio.run(decide()).code == "not_connected"


async def test_arguments_are_checked_and_a_client_is_used_once(server, dag_id):
    with pytest.raises(ValueError, match="dag_id"):
        connect("")
    with pytest.raises(ValueError, match="looks like"):
        connect("d", url="nowhere")
    client = following(server, dag_id)
    with pytest.raises(NotConnected, match="async with"):
        client.pause()
    async with client:
        pass
    with pytest.raises(RuntimeError, match="once"):
        await client.__aenter__()


async def test_what_a_listener_raises_does_not_end_the_client(server, dag_id, run, caplog):
    async with following(server, dag_id) as client:
        client.on_batch(lambda _batch: 1 / 0)
        await client.synced(PATIENCE)
        assert client.connection.phase == "live"
    assert "ZeroDivisionError" in caplog.text


def test_a_client_is_used_once_in_plain_code_too_and_closed_as_often_as_one_likes(server, dag_id):
    client = following(server, dag_id)
    with client:
        with pytest.raises(RuntimeError, match="used once"), client:
            pass
        assert client.connection.phase != "stopped"
        client.close()
    client.close()
    with pytest.raises(RuntimeError, match="used once"), client:
        pass


async def test_the_outcome_of_a_run_is_known_after_the_client_went_on_to_the_next(server, dag_id):
    def start():
        return dagwidget.start_run(dag_id, ["a"], url=server.url, token=server.token)

    first = start()
    async with following(server, dag_id) as client:
        await client.synced(PATIENCE)
        await until(lambda: client.run_id == first.run_id)
        assert client.outcome(first.run_id) is None
        first.fail(ValueError("no such column"))
        await until(lambda: client.outcome(first.run_id) is not None)
        second = start()
        await until(lambda: client.run_id == second.run_id)
        assert client.outcome(second.run_id) is None
        outcome = client.outcome(first.run_id)
        assert (outcome.status, outcome.results) == ("failed", None)
        assert [fault.message for fault in outcome.errors] == ["no such column"]
        second.complete(7)
        await until(lambda: client.outcome(second.run_id) is not None)
        assert client.outcome(second.run_id) == ("completed", 7, [])
        assert client.outcome("never heard of") is None


def test_the_outcome_of_a_run_has_its_own_errors_where_the_next_run_came_in_the_same_frame():
    client = connect("d", url="ws://127.0.0.1:9")
    ended = reduce([p.RunError(message="of the first"), p.ExecutionComplete(results=None, status="failed")])
    client._machine.state = reduce([p.RunError(message="of the second")])
    batch = Batch(epoch="r1", after=0, seq=1, reset=False, events=[p.ExecutionComplete(results=None)], state=ended)
    client._note_outcome(batch)
    assert [fault.message for fault in client.outcome("r1").errors] == ["of the first"]


async def test_a_wait_goes_on_through_cuts_and_ends_with_its_time_or_its_client(server, dag_id, run, proxy):
    client = through(proxy, server, dag_id)
    async with client:
        await client.synced(PATIENCE)
        seen = asyncio.create_task(client.wait(lambda: client.state.nodes["a"].progress == 0.5, None, "half of it"))
        proxy.cut()
        await until(lambda: client.connection.phase == "waiting")
        run.update("a", "running", progress=0.5)
        assert not seen.done()
        proxy.open()
        await seen
        with pytest.raises(TimeoutError, match=r"timed out after 0\.1 s waiting for Godot"):
            await client.wait(lambda: False, 0.1, "Godot")
        # What is true already takes no time.
        await client.wait(lambda: True, 0, "nothing")
        waiting = asyncio.create_task(client.wait(lambda: False, None, "Godot"))
        await asyncio.sleep(0)
    with pytest.raises(ClientClosed):
        await waiting


async def test_a_wait_without_a_server_says_so_and_one_that_is_refused_too(server, dag_id):
    async with connect("d", url="ws://127.0.0.1:9") as client:
        with pytest.raises(ServerUnreachable, match="waiting for Godot: there was no connection"):
            await client.wait(lambda: False, 0.3, "Godot")
    async with connect(dag_id, url=server.url, token="wrong") as client:
        with pytest.raises(ServerRefused, match="token is wrong"):
            await client.wait(lambda: False, 1, "Godot")


async def test_one_run_is_watched_until_the_dag_is_followed_again(server, dag_id):
    def start(name):
        return dagwidget.start_run(dag_id, ["a"], name=name, url=server.url, token=server.token)

    first = start("first")
    assert first.flush(PATIENCE)
    second = start("second")
    assert second.flush(PATIENCE)
    async with following(server, dag_id, run=first.run_id) as client:
        await until(lambda: client.run_id == first.run_id and len(client.runs) == 2)
        assert {each.name: each.engine for each in client.runs} == {"first": "connected", "second": "connected"}
        await until(lambda: client.engine == p.Engine(state="connected", since=client.engine and client.engine.since))
        first.complete()
        await until(lambda: client.state.status == "completed")
        assert client.run_id == first.run_id
        client.follow(None)
        await until(lambda: client.run_id == second.run_id)
        second.complete()
        await until(lambda: client.state.status == "completed")


def test_it_is_there_by_name():
    assert dagwidget.connect is connect


async def test_a_callback_that_raises_breaks_no_connection(server, dag_id, run):
    def broken(*_arguments):
        raise RuntimeError("boom")

    async with following(server, dag_id) as client:
        for on in (client.on_change, client.on_batch, client.on_begin):
            on(broken)
        client.begin(run.run_id)
        await client.synced(PATIENCE)
        run.update("a", "running")
        await client.wait(lambda: client.state.nodes["a"].status == "running", PATIENCE, "the change")
        assert client.connection.phase == "live"


def test_a_client_that_is_not_open_says_so(server, dag_id):
    client = following(server, dag_id)
    for act in (lambda: client.follow("run"), client.probe, client.pause):
        with pytest.raises(ClientClosed, match="is not open"):
            act()


def test_a_handle_says_whether_the_answer_is_on_disk():
    sent = SentCommand(p.PauseExecution(id="c1"))
    assert sent.durable is None
    settle(sent, p.CommandAck(id="c1", ok=True, durable=False, message="not on disk yet"))
    assert (sent.state, sent.durable) == ("accepted", False)
    settle(sent, p.CommandAck(id="c1", ok=True))
    assert (sent.state, sent.durable) == ("accepted", True)


def test_a_process_ends_at_once_and_in_silence_while_its_client_looks_for_the_server():
    script = """
import threading
from dagwidget.client.client import StreamClient
looking = threading.Event()
def locate():
    looking.set()
    threading.Event().wait()
client = StreamClient("dag", locate)
client.open()
looking.wait()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


async def test_what_a_thread_raises_is_raised_and_what_nobody_waits_for_is_forgotten():
    def fails():
        raise ValueError("no such server")

    with pytest.raises(ValueError, match="no such server"):
        await in_thread(fails)
    go_on = threading.Event()
    left = asyncio.create_task(in_thread(go_on.wait))
    await asyncio.sleep(0)
    left.cancel()
    go_on.set()
    assert await in_thread(lambda: "found") == "found"
