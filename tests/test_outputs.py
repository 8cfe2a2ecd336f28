"""Outputs that are larger than what is shown of them: a preview with its size, and the whole on demand."""

import contextlib
import json
import time
from urllib.parse import urlsplit

import pytest

import dagwidget
from dagwidget import NotConnected, UnknownOutput
from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits
from dagwidget.publisher.serialize import whole
from dagwidget.server.storage.output_cache import OutputKey, Outputs
from dagwidget.server.storage.sqlite import SqliteJournal

from .person import Person
from .proxy import CutProxy
from .serving import serving

LARGE = {"rows": [{"id": i, "text": "ünïcödé \n" * 40} for i in range(10_000)]}
LARGE_BYTES = len(whole(LARGE).encode())


@pytest.fixture(params=["memory", "sqlite"])
def journal(request, tmp_path):
    if request.param == "memory":
        yield None
        return
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    yield journal
    journal.close()


@pytest.fixture
def server(journal):
    with serving(journal=journal) as server:
        yield server


@contextlib.contextmanager
def running(server, **options):
    """A run that has arrived when it is over."""
    with dagwidget.start_run("dag", ["a", "b"], url=server.url, token=server.token, **options) as run:
        yield run
    assert run.flush(20)


def output(server, node_id="a", **options):
    return dagwidget.output("dag", node_id, url=server.url, token=server.token, **options)


def test_a_large_output_is_shown_as_a_preview_and_kept_whole(server):
    assert LARGE_BYTES > 5_000_000
    with Person(server, "dag") as person:
        with running(server) as run, run.node("a") as node:
            node.output(LARGE)
        shown = person.wait("node_state", node_id="a", output_bytes=LARGE_BYTES)
        assert shown["output"]["rows"][-1] == "… 9,900 more"
        assert len(json.dumps(shown)) < 256 * 1024
    assert output(server) == LARGE
    assert output(server, run_id=run.run_id) == LARGE


def test_what_is_small_is_there_as_it_is(server):
    with running(server) as run, run.node("a") as node:
        node.output({"x": 1})
    assert output(server) == {"x": 1}
    assert output(server, "b") is None


def test_each_instance_has_its_own(server):
    with running(server) as run:
        for name in ("i/1", "i 2"):
            with run.node("a", instance=name) as node:
                node.output(["x" * 5000, name])
        assert run.flush(20)
    assert output(server, instance="i 2") == ["x" * 5000, "i 2"]
    assert output(server, instance="i/1") == ["x" * 5000, "i/1"]


def test_a_later_output_takes_the_place_of_an_earlier_one(server):
    with running(server) as run:
        run.update("a", "running", output="x" * 100_000)
        run.update("a", "running", output="y" * 70_000)
        run.update("b", "running", output="x" * 100_000)
        run.update("b", "completed", output="short")
    assert output(server) == "y" * 70_000
    assert output(server, "b") == "short"


def test_only_what_may_be_shown_is_kept(server):
    with running(server, redact=lambda value: value[1000:]) as run:
        run.update("a", "running", output="secret " * 100 + "x" * 10_000)
    assert output(server) == "x" * 9_700


@pytest.mark.parametrize("node_id", ["elsewhere", "../a", "ü"])
def test_what_is_not_kept_is_named(server, node_id):
    with running(server):
        pass
    with pytest.raises(UnknownOutput, match="no whole output"):
        output(server, node_id)


def test_who_has_no_token_gets_nothing(server):
    with running(server) as run:
        run.update("a", "running", output="x" * 5000)
    with pytest.raises(NotConnected, match="the token is missing"):
        dagwidget.output("dag", "a", url=server.url)
    with pytest.raises(TypeError, match="node_id must be a string"):
        output(server, 7)


def test_it_is_there_after_a_restart_and_an_earlier_runs_too(tmp_path):
    path = tmp_path / "log.sqlite3"
    for text in ("x", "y"):
        journal = SqliteJournal(path)
        with serving(journal=journal) as server, running(server, run_id=text) as run:
            run.update("a", "completed", output=text * 100_000)
        journal.close()
    journal = SqliteJournal(path)
    with serving(journal=journal) as server:
        assert output(server) == "y" * 100_000
        assert output(server, run_id="x") == "x" * 100_000
        (newest, _) = dagwidget.runs("dag", url=server.url, token=server.token)
        assert newest.bytes > 100_000
    journal.close()


def test_of_many_large_outputs_in_a_row_each_is_kept_or_said_to_be_cut(server, monkeypatch):
    behind = iter([False, True, True, False] * 10)
    monkeypatch.setattr("dagwidget.publisher.channel.Channel.is_behind", property(lambda _self: next(behind)))
    with Person(server, "dag") as person:
        with running(server) as run:
            for number in range(40):
                run.update(f"n{number}", "completed", output=str(number) + "x" * 20_000)
        shown = [person.wait("node_state", node_id=f"n{number}") for number in range(40)]
    for number, event in enumerate(shown):
        kept = number % 4 in (0, 3)
        assert (event.get("output_cut"), "output_bytes" in event) == ((None, True) if kept else (True, False))
        if kept:
            assert output(server, f"n{number}") == str(number) + "x" * 20_000
        else:
            with pytest.raises(UnknownOutput, match=r"of 'n\d+' is not kept whole: there is only its preview"):
                output(server, f"n{number}")


def test_what_is_too_large_for_the_server_is_said_to_be_cut(server):
    with running(server) as run:
        run.update("a", "running", output="x" * 17_000_000)
        # As another program may publish it.
        run._channel.publish(p.NodeState(node_id="b", status="running", output="x" * 300_000))
    for name in ("a", "b"):
        with pytest.raises(UnknownOutput, match="not kept whole"):
            output(server, name)


def test_an_output_that_memory_let_go_is_not_there_and_no_other_is_in_its_place(tmp_path):
    with serving(limits=Limits(outputs_bytes=150_000)) as server:
        with running(server) as run:
            run.update("a", "running", output="x" * 100_000)
            run.update("b", "running", output="y" * 100_000)
        with pytest.raises(UnknownOutput, match="the output of 100,002 bytes of 'a' is not kept whole"):
            output(server)
        assert output(server, "b") == "y" * 100_000


def test_an_earlier_output_that_is_stored_is_not_given_for_the_newest_that_is_not(tmp_path):
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    with serving(journal=journal, limits=Limits(outputs_bytes=10)) as server:
        with running(server) as run:
            run.update("a", "running", output="x" * 100_000)
            assert run.flush(20)
            # Of the next one, what is beside the log is lost.
            run._channel.publish(p.NodeState(node_id="a", status="running", output="y…", output_bytes=70_002))
        with pytest.raises(UnknownOutput, match="70,002 bytes"):
            output(server)
    journal.close()


@pytest.mark.slow
@pytest.mark.clock
def test_an_output_that_is_cut_in_the_middle_arrives_whole(server):
    proxy = CutProxy(urlsplit(server.url).port)
    try:
        run = dagwidget.start_run("dag", ["a"], url=f"ws://127.0.0.1:{proxy.port}", token=server.token)
        for _ in range(3):
            run.update("a", "running", output=LARGE)
            time.sleep(0.02)
            proxy.cut()
            proxy.open()
        run.complete()
        assert run.flush(30)
        assert output(server) == LARGE
    finally:
        proxy.close()


@pytest.mark.slow
@pytest.mark.clock
def test_while_there_is_no_server_large_outputs_do_not_pile_up(monkeypatch):
    monkeypatch.setattr("dagwidget.publisher.transport._CLOSE_SECONDS", 0.0)
    run = dagwidget.start_run("dag", url="ws://127.0.0.1:9")
    for _ in range(30):
        run.update("a", "running", output=LARGE)
    transport = run._channel._transport
    waiting = list(transport._published._events)
    assert len(waiting) < 3000
    assert (waiting[-1].output_bytes, waiting[-1].output_cut) == (None, True)
    transport.close()
    transport.join(20)


# --- What is whole


@pytest.mark.parametrize("value", ["x" * 17_000_000, list(range(200_000))])
def test_what_is_too_large_is_not_kept_whole(value):
    assert whole(value) is None


def part(text: str, number: int = 0, parts: int = 1, node_id: str = "a") -> p.NodeOutput:
    return p.NodeOutput(node_id=node_id, text=text, part=number, parts=parts)


def test_an_output_is_there_once_all_its_parts_are():
    outputs = Outputs(100)
    outputs.add(part("ab", 0, 2))
    assert outputs.get(OutputKey("a")) is None
    outputs.add(part("c", 1, 2))
    outputs.add(part("c", 1, 2))
    assert outputs.get(OutputKey("a")) == "abc"
    outputs.add(part("d", 0, 2))
    assert outputs.get(OutputKey("a")) is None


def test_the_oldest_outputs_go_when_there_is_no_room():
    outputs = Outputs(10)
    for name in "abc":
        outputs.add(part("x" * 4, node_id=name))
    assert [outputs.get(OutputKey(name)) for name in "abc"] == [None, "xxxx", "xxxx"]
    outputs.add(part("x" * 11, node_id="d"))
    assert [outputs.get(OutputKey(name)) for name in "abcd"] == [None] * 4
    outputs.add(part("y" * 10, node_id="e"))
    assert outputs.get(OutputKey("e")) == "y" * 10
