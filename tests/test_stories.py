"""Stories of several runs of one DAG: real processes, a real server, real sockets."""

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

import dagwidget
from dagwidget.server.storage.sqlite import SqliteJournal

from .proxy import CutProxy
from .serving import Served, serving
from .test_durability import Serve

pytestmark = pytest.mark.slow

# Far longer than anything takes.
PATIENCE = 60.0


@pytest.fixture
def server(tmp_path) -> Iterator[Served]:
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    with contextlib.closing(journal), serving(journal=journal) as served:
        yield served


class Engine:
    """A Python process with a run of its own, which goes on line by line as it is told to."""

    def __init__(self, server: Served, body: str, *arguments: str) -> None:
        code = "import sys, time\n" + textwrap.dedent(body)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "DAGWIDGET_URL": server.url, "DAGWIDGET_TOKEN": server.token or ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def says(self) -> str:
        return self.process.stdout.readline().strip()

    def go_on(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> int:
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


@pytest.fixture
def engines(request) -> Iterator[list[Engine]]:
    engines: list[Engine] = []
    yield engines
    for engine in engines:
        engine.process.kill()
        engine.process.communicate()


def summaries(server: Served) -> dict[str, dagwidget.protocol.RunSummary]:
    return {run.name: run for run in dagwidget.runs("dag", url=server.url, token=server.token)}


def state(server: Served, run_id: str) -> dagwidget.DagState:
    return dagwidget.run_state("dag", run_id, url=server.url, token=server.token)


def until(holds) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.02)


# The clock of the second kernel is 2 s behind, also for what it imports.
AT_A_GATE = """
real = time.time_ns
time.time_ns = lambda: real() + int(sys.argv[2]) * 10**9
time.time = lambda: time.time_ns() / 1e9
import dagwidget
run = dagwidget.start_run("dag", ["review"], name=sys.argv[1])
gate = run.gate("review", title=sys.argv[1])
assert run.flush(60)
print(run.run_id, flush=True)
print(gate.result(60).feedback, flush=True)
sys.stdin.readline()
run.complete(sys.argv[1])
"""


def test_two_kernels_that_start_one_dag_within_a_second_with_clocks_2_s_apart(server, engines):
    engines.append(Engine(server, AT_A_GATE, "first", "0"))
    first = engines[0].says()
    engines.append(Engine(server, AT_A_GATE, "second", "-2"))
    second = engines[1].says()
    listed = dagwidget.runs("dag", url=server.url, token=server.token)
    # Both are live, and the one that began later is the newest, whatever its clock says.
    assert [(run.name, run.status, run.engine, run.gates) for run in listed] == [
        ("second", "running", "connected", 1),
        ("first", "running", "connected", 1),
    ]

    async def decide(run_id: str, feedback: str) -> str:
        async with dagwidget.connect("dag", run=run_id, url=server.url, token=server.token) as person:
            await person.synced(PATIENCE)
            return (await person.decide("review", "approve", feedback=feedback)).state

    assert asyncio.run(decide(first, "for the first")) == "accepted"
    assert engines[0].says() == "for the first"
    assert summaries(server)["second"].gates == 1
    assert asyncio.run(decide(second, "for the second")) == "accepted"
    assert engines[1].says() == "for the second"
    for engine in engines:
        engine.go_on()
        assert engine.end() == 0
    assert [state(server, run).results for run in (first, second)] == ["first", "second"]


TEN_RUNS = """
import dagwidget
names = [f"{sys.argv[1]}.{number}" for number in range(10)]
runs = [dagwidget.start_run("dag", ["a", "b"], name=name) for name in names]
for run, name in zip(runs, names):
    with run.node("a") as node:
        node.output(name)
    assert run.flush(60)
print("under way", flush=True)
sys.stdin.readline()
for run, name in zip(runs, names):
    with run.node("b") as node:
        node.output(name)
    run.complete(name)
    assert run.flush(60)
"""


def test_fifty_live_runs_go_on_over_a_restart_of_the_server(tmp_path, engines):
    server = Serve(tmp_path / "log.sqlite3").start()
    try:
        engines += [Engine(server.at, TEN_RUNS, str(number)) for number in range(5)]
        assert [engine.says() for engine in engines] == ["under way"] * 5
        server.kill()
        for engine in engines:
            engine.go_on()
        server.start()
        assert [engine.end() for engine in engines] == [0] * 5
        found = summaries(server.at)
        assert {name: run.status for name, run in found.items()} == {
            f"{process}.{number}": "completed" for process in range(5) for number in range(10)
        }
        for name, run in found.items():
            ended = state(server.at, run.run_id)
            assert (ended.results, [node.output for node in ended.nodes.values()]) == (name, [name, name])
    finally:
        server.stop()


def test_a_decision_that_was_made_offline_reaches_its_run_though_a_newer_one_has_begun(server, engines):
    proxy = CutProxy(urlsplit(server.url).port)
    try:
        engines.append(Engine(server, AT_A_GATE, "A", "0"))
        older = engines[0].says()
        with dagwidget.connect("dag", url=f"ws://127.0.0.1:{proxy.port}", token=server.token) as person:
            until(lambda: person.state.epoch == older and person.state.gates)
            proxy.cut()
            until(lambda: person.connection.phase != "live")

            async def decide() -> dagwidget.SentCommand:
                return person.decide("review", "approve", feedback="meant for A")

            sent = asyncio.run(decide())
            engines.append(Engine(server, AT_A_GATE, "B", "0"))
            newer = engines[1].says()
            assert dagwidget.runs("dag", url=server.url, token=server.token)[0].run_id == newer
            proxy.open()
            assert engines[0].says() == "meant for A"
            until(lambda: sent.state == "accepted")
        assert summaries(server)["B"].gates == 1
        assert state(server, newer).decisions == []
    finally:
        proxy.close()
