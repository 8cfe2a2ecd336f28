"""What an engine published and a person decided, over the death of the server."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import uuid

import pytest

import dagwidget
from dagwidget import protocol as p
from dagwidget.errors import NotConnected, UnknownRun
from dagwidget.protocol.limits import Limits
from dagwidget.server.storage.faults import Unavailable
from dagwidget.server.storage.loading import load
from dagwidget.server.storage.sqlite import SqliteJournal

from .browser.lab import free_port
from .person import Person
from .serving import Served, serving

pytestmark = pytest.mark.slow

TOKEN = "a-token-of-the-test"
SECONDS = 20


class Serve:
    """`dagwidget serve` as a process of its own, that can be killed and started again at the same place."""

    def __init__(self, log):
        self.log = log
        self.port = free_port()
        self.at = Served(f"ws://127.0.0.1:{self.port}", TOKEN)
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "dagwidget.cli", "serve", "--log", str(self.log)]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)],
            env={**os.environ, "DAGWIDGET_TOKEN": TOKEN},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert "serving" in self.process.stdout.readline()
        return self

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.end()

    def stop(self):
        self.process.terminate()
        self.end()

    def end(self):
        self.process.wait(SECONDS)
        self.process.stdout.close()

    def start_run(self, **more):
        return dagwidget.start_run("dag", url=self.at.url, token=TOKEN, **more)

    def watch(self):
        return Person(self.at, "dag")

    def get(self, path):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/dags/{path}", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.load(answer)


@pytest.fixture
def server(tmp_path):
    server = Serve(tmp_path / "log.sqlite3").start()
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_run_goes_on_after_the_server_ended_in_the_middle(server, end):
    with server.start_run(budget=100) as run:
        for i in range(3000):
            run.update(f"n{i % 100}", "running", progress=(i % 1000) / 1000)
            run.cost(0.01, node_id=f"n{i % 100}")
            if i == 1500:
                getattr(server, end)()
        server.start()
        for i in range(100):
            run.update(f"n{i}", "completed", output=i)
        run.complete("all")
        assert run.flush(SECONDS)
    state = server.get("dag")["state"]
    assert state["results"] == "all"
    assert {node["output"] for node in state["nodes"].values()} == set(range(100))
    # Each was counted once.
    assert state["cost"]["spent"] == pytest.approx(30)


def test_what_a_viewer_has_seen_is_still_true_after_a_kill(server):
    with server.start_run() as run, server.watch() as person:
        for i in range(2000):
            run.update("a", "running", progress=i / 2000)
        run.update("a", "running", message="the last that was seen")
        seen = person.wait("node_state", message="the last that was seen")
        server.kill()
        server.start()
        assert server.get("dag")["state"]["nodes"]["a"]["message"] == seen["message"]


def test_an_acknowledged_decision_survives_a_kill_and_is_answered_the_same_again(server):
    with server.start_run() as run:
        gate = run.gate("review", title="Ship it?")
        with server.watch() as person:
            waiting = person.wait("human_gate_waiting")
            decision = {"node_id": "review", "gate_id": waiting["gate_id"], "decision": "approve"}
            command = {"type": "human_decision", "id": str(uuid.uuid4()), **decision}
            person.socket.send(json.dumps(command))
            assert person.wait("command_ack")["ok"]
            server.kill()
        server.start()
        assert gate.result(SECONDS).decision == "approve"
        with server.watch() as person:
            person.socket.send(json.dumps(command))
            assert person.wait("command_ack", id=command["id"])["ok"]
            other = person.ask("human_decision", **{**decision, "decision": "reject"})
            assert (other["ok"], other["code"]) == (False, "already_decided")
        assert len(server.get("dag")["state"]["decisions"]) == 1


def test_past_runs_are_listed_opened_and_seen_as_they_were(server):
    for name in ("one", "two"):
        with server.start_run(run_id=name) as run:
            run.update("a", "completed", output=name)
            run.complete(name)
            run.flush(SECONDS)
    server.kill()
    server.start()
    at = {"url": server.at.url, "token": TOKEN}
    assert [run.run_id for run in dagwidget.runs("dag", **at)] == ["two", "one"]
    assert dagwidget.runs("another", **at) == []
    assert dagwidget.run_state("dag", "one", **at).results == "one"
    early = dagwidget.run_state("dag", "one", seq=2, **at)
    assert (early.seq, early.status, early.results) == (2, "running", None)
    with pytest.raises(UnknownRun, match=r"'three'.*'two', 'one'"):
        dagwidget.run_state("dag", "three", **at)


def test_past_runs_are_asked_for_in_vain_where_no_server_is_or_it_refuses(server):
    with pytest.raises(NotConnected, match="the token is wrong"):
        dagwidget.runs("dag", url=server.at.url, token="another")
    server.kill()
    with pytest.raises(NotConnected, match="does not answer"):
        dagwidget.runs("dag", url=server.at.url, token=TOKEN)
    with pytest.raises(ValueError, match="seq"):
        dagwidget.run_state("dag", "one", seq=-1)


@pytest.mark.clock
def test_a_run_that_was_replaced_does_not_come_back_after_a_restart(server):
    with server.start_run(run_id="one") as one:
        assert one.flush(SECONDS)
        two = server.start_run(run_id="two")
        two.update("a", "running")
        assert two.flush(SECONDS)
        server.kill()
        server.start()
        one.update("b", "running")
        deadline = time.monotonic() + SECONDS
        while not two.flush(0.1):
            assert time.monotonic() < deadline
        assert server.get("dag")["epoch"] == "two"
        two.complete()
        assert two.flush(SECONDS)


def test_a_client_of_one_run_sees_its_end_and_not_the_next_run(server):
    one = server.start_run(run_id="one")
    one.update("a", "running")
    assert one.flush(SECONDS)

    async def follow() -> None:
        async with dagwidget.connect("dag", url=server.at.url, token=TOKEN, run="one") as client:
            await client.synced(SECONDS)
            one.complete("done")
            assert await asyncio.to_thread(one.flush, SECONDS)
            two = server.start_run(run_id="two")
            two.update("b", "completed")
            two.complete()
            assert await asyncio.to_thread(two.flush, SECONDS)
            deadline = time.monotonic() + SECONDS
            while client.state.results is None:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
            assert client.connection.attempt == 1
            assert (client.state.epoch, client.state.results, list(client.state.nodes)) == ("one", "done", ["a"])

    asyncio.run(follow())


@pytest.mark.clock
def test_a_log_that_fails_is_said_once_in_the_servers_own_log_and_at_its_end_what_is_lost(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("dagwidget.server.storing.RETRY_MS", 50)
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    # `None` stands for a disk that has space.
    full: list[str | None] = [None]
    append = journal.append

    def append_if_possible(what, done):
        append(what, done) if full[0] is None else done(Unavailable(full[0]))

    monkeypatch.setattr(journal, "append", append_if_possible)
    with serving(journal=journal) as at, Person(at, "dag") as person:
        run = dagwidget.start_run("dag", url=at.url, token=at.token)
        run.update("a", "running")
        person.wait("node_state")
        full[0] = "the disk is full"
        run.update("b", "running")
        person.wait("error", code="log_unavailable")
        full[0] = None
        person.wait("error", code="log_available")
        full[0] = "the disk is full again"
        run.update("c", "running")
        person.wait("error", code="log_unavailable")
        # The store fails again and again meanwhile.
        run.update("d", "running")
        person.wait("node_state", node_id="d")
    said = [record.getMessage() for record in caplog.records if record.name == "dagwidget"]
    assert said[:3] == [
        "events are stored in memory only: the disk is full",
        "events are stored on disk again",
        "events are stored in memory only: the disk is full again",
    ]
    # `c`, the warning, and `d`.
    assert [text for text in said if "lost" in text] == [
        "3 events of 1 runs are not on disk, and are lost: the disk is full again"
    ]
    run.close()
    journal.close()


def test_a_server_stops_though_its_store_never_answers_and_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("dagwidget.server.room_registry.STOP_SECONDS", 0.05)
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    given = threading.Event()
    monkeypatch.setattr(journal, "append", lambda _append, _done: given.set())
    with serving(journal=journal) as at:
        run = dagwidget.start_run("dag", url=at.url, token=at.token)
        assert given.wait(SECONDS)
    assert "of 1 runs are not on disk, and are lost: the log does not answer" in caplog.text
    run.close()
    journal.close()


def test_a_full_disk_is_seen_by_who_watches_and_so_is_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("dagwidget.server.storing.RETRY_MS", 50)
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    with serving(journal=journal) as at, Person(at, "dag") as person:
        run = dagwidget.start_run("dag", url=at.url, token=at.token)
        run.update("a", "running")
        person.wait("node_state")
        pages = journal._file.writer.execute("PRAGMA page_count").fetchone()[0]
        journal._file.writer.execute(f"PRAGMA max_page_count = {pages}")
        run.update("a", "running", message="x" * 50_000)
        warned = person.wait("error", code="log_unavailable")
        assert "full" in warned["message"]
        # The publisher is told too.
        deadline = time.monotonic() + SECONDS
        while "are in the server's memory only" not in (run._channel._transport.report() or ""):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not run.flush(0)
        # Meanwhile everything goes on.
        gate = run.gate("review")
        assert person.decide("review")["ok"]
        assert gate.result(SECONDS).decision == "approve"
        journal._file.writer.execute("PRAGMA max_page_count = 1000000")
        person.wait("error", code="log_available")
        run.complete("all")
        assert run.flush(SECONDS)
        run.close()
    journal.close()
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    records = load(journal, "dag", run.run_id).records
    last = p.decode_server(records[-1].data)[0]
    assert (last.results, last.seq) == ("all", len(records))
    journal.close()


@pytest.mark.clock
def test_after_a_full_disk_a_restart_shows_what_viewers_saw_though_not_all_of_it_could_wait(tmp_path, monkeypatch):
    monkeypatch.setattr("dagwidget.server.storing.RETRY_MS", 50)
    path = tmp_path / "runs" / "log.sqlite3"
    journal = SqliteJournal(path)
    limits = Limits(unstored_events=100)
    with serving(journal=journal, limits=limits) as at, Person(at, "dag") as person:
        at_server = {"url": at.url, "token": at.token}
        run = dagwidget.start_run("dag", **at_server)
        gate = run.gate("review")
        waiting = person.wait("human_gate_waiting")
        pages = journal._file.writer.execute("PRAGMA page_count").fetchone()[0]
        journal._file.writer.execute(f"PRAGMA max_page_count = {pages}")
        for number in range(2000):
            run.update(f"n{number % 50}", "running", message=f"{number} " + "x" * 50)
        deadline = time.monotonic() + SECONDS
        while run._channel._transport.undelivered:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not run.flush(0)
        assert person.wait("error")["code"] == "log_unavailable"
        decision = {"node_id": "review", "gate_id": waiting["gate_id"], "decision": "approve"}
        command = {"type": "human_decision", "id": str(uuid.uuid4()), **decision}
        person.socket.send(json.dumps(command))
        assert person.wait("command_ack", durable=False)["ok"]
        journal._file.writer.execute("PRAGMA max_page_count = 1000000")
        # It is acknowledged again once it is on disk.
        durable = person.wait("command_ack", id=command["id"])
        assert "durable" not in durable
        assert gate.result(SECONDS).decision == "approve"
        # As after `kill -9`: what the files hold now.
        copy = tmp_path / "copy"
        shutil.copytree(path.parent, copy)
        shown = dagwidget.run_state("dag", run.run_id, **at_server)
        run.complete()
        run.close()
    journal.close()
    journal = SqliteJournal(copy / path.name)
    with serving(journal=journal) as at:
        again = dagwidget.run_state("dag", run.run_id, url=at.url, token=at.token)
        assert again.decisions == shown.decisions
        assert {name: node.message for name, node in again.nodes.items()} == {
            name: node.message for name, node in shown.nodes.items()
        }
        with Person(at, "dag") as person:
            person.socket.send(json.dumps(command))
            assert person.wait("command_ack", id=command["id"])["ok"]
    journal.close()
