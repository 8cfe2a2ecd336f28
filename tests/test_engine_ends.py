"""How an engine can end, and what a viewer sees from then on: real processes, with a server whose times are short.

With the default limits the views follow one another after 10 s (gone), 20 s (silent) and 15 min (lost).
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

import dagwidget
from dagwidget.protocol.limits import Limits
from dagwidget.server.storage.sqlite import SqliteJournal

from .proxy import CutProxy
from .serving import Served, serving
from .test_run_ends import script

pytestmark = [pytest.mark.clock, pytest.mark.skipif(sys.platform == "win32", reason="its signals are POSIX")]

# Far longer than anything takes.
PATIENCE = 60.0
LIMITS = Limits(heartbeat_seconds=0.2, silent_seconds=0.8, dead_seconds=1.6, gone_seconds=0.6, lost_seconds=3.0)
# A run that is under way, as its script says.
UNDER_WAY = """
with run.node("a"): pass
assert run.flush(60)
sys.stdin.readline()
"""
RUNNING, SILENT, GONE = ("running", "connected"), ("running", "silent"), ("running", "gone")
LOST = ("lost", "gone")


class Viewer:
    """Somebody who watches the run. A view is the status of the run and the state of its engine."""

    def __init__(self, client: dagwidget.StreamClient) -> None:
        self.client = client
        self.views: list[tuple[str, str | None]] = []
        client.on_change(self._look)
        client.on_batch(lambda _batch: self._look())
        self._look()

    def _look(self) -> None:
        engine = self.client.engine
        view = (self.client.state.status, None if engine is None else engine.state)
        if view not in self.views[-1:]:
            self.views.append(view)

    def sees(self, *views: tuple[str, str | None]) -> None:
        """Wait for these views, in this order; others may come between."""
        deadline = time.monotonic() + PATIENCE
        while not is_within(views, self.views):
            assert time.monotonic() < deadline, f"expected {views}, saw {self.views}"
            time.sleep(0.02)

    def reason(self) -> str | None:
        return self.client.state.reason


def is_within(expected, seen) -> bool:
    rest = iter(seen)
    return all(view in rest for view in expected)


@pytest.fixture
def server(tmp_path) -> Iterator[Served]:
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    with contextlib.closing(journal), serving(journal=journal, limits=LIMITS) as served:
        yield served


@pytest.fixture
def proxy(server) -> Iterator[CutProxy]:
    proxy = CutProxy(urlsplit(server.url).port)
    yield proxy
    proxy.close()


@pytest.fixture
def viewer(server) -> Iterator[Viewer]:
    with dagwidget.connect("dag", url=server.url, token=server.token) as client:
        yield Viewer(client)


@pytest.fixture
def engine(tmp_path, server, proxy, viewer) -> Iterator:
    """Starts a script with a run, through the proxy. Once the viewer sees the run, the script goes on with `body`."""
    processes: list[subprocess.Popen[str]] = []

    def begin(body: str) -> subprocess.Popen[str]:
        command = [sys.executable, script(tmp_path, UNDER_WAY + body), f"ws://127.0.0.1:{proxy.port}", "dag"]
        environment = {**os.environ, "DAGWIDGET_TOKEN": server.token or ""}
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        processes.append(process)
        viewer.sees(RUNNING)
        process.stdin.write("go on\n")
        process.stdin.flush()
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ("run.complete()", "completed", None),
        ("", "cancelled", "its process ended without ending the run"),
        ("1 / 0", "failed", None),
        ("sys.exit(0)", "cancelled", "its process ended without ending the run"),
        ("with run: sys.exit(3)", "failed", None),
        ("raise KeyboardInterrupt", "cancelled", "interrupted (KeyboardInterrupt)"),
    ],
    ids=["complete", "return", "exception", "exit", "exit with a code", "interrupt"],
)
def test_an_engine_that_ends_by_itself_is_seen_to_end_at_once(engine, viewer, body, status, reason):
    engine(body)
    viewer.sees((status, "ended"))
    assert viewer.reason() == reason
    # Nothing else was seen on the way, and nothing comes after.
    time.sleep(2 * LIMITS.gone_seconds)
    assert not {SILENT, GONE, LOST} & {*viewer.views}
    assert viewer.views[-1] == (status, "ended")


def test_an_engine_that_is_terminated_is_seen_to_end_at_once(engine, viewer):
    engine("time.sleep(60)").terminate()
    viewer.sees(("cancelled", "ended"))
    assert viewer.reason() == "its process was terminated (SIGTERM)"


def test_an_engine_that_is_killed_is_gone_and_later_lost(engine, viewer):
    engine("time.sleep(60)").kill()
    viewer.sees(RUNNING, GONE, LOST)
    # That is a guess: nothing else was changed.
    assert viewer.client.state.nodes["a"].status == "completed"


def test_an_engine_whose_machine_sleeps_is_silent_gone_lost_and_back_as_it_wakes(engine, viewer):
    process = engine("time.sleep(1)\nrun.complete()")
    process.send_signal(signal.SIGSTOP)
    viewer.sees(RUNNING, SILENT, LOST)
    process.send_signal(signal.SIGCONT)
    viewer.sees(LOST, ("completed", "ended"))


def test_an_engine_without_a_network_is_silent_gone_lost_and_back_as_it_is_there_again(engine, proxy, viewer):
    process = engine("sys.stdin.readline()\nrun.complete()")
    # What either says disappears; no connection ends by itself.
    proxy.swallows = True
    viewer.sees(RUNNING, SILENT, LOST)
    proxy.cut()
    proxy.swallows = False
    proxy.open()
    viewer.sees(LOST, RUNNING)
    process.communicate("go on\n", PATIENCE)
    viewer.sees(LOST, ("completed", "ended"))


def test_an_engine_that_holds_the_gil_is_silent_and_back_as_it_lets_go(engine, viewer):
    # Through PyDLL a call keeps Python's lock: not even the thread that publishes goes on.
    process = engine("import ctypes\nctypes.PyDLL(None).usleep(1_200_000)\nsys.stdin.readline()\nrun.complete()")
    viewer.sees(RUNNING, SILENT, RUNNING)
    process.communicate("go on\n", PATIENCE)
    viewer.sees(SILENT, RUNNING, ("completed", "ended"))


def test_a_publisher_that_is_cut_off_is_gone_and_returns_to_its_lost_run(server, proxy, viewer):
    run = dagwidget.start_run("dag", ["a"], url=f"ws://127.0.0.1:{proxy.port}", token=server.token)
    viewer.sees(RUNNING)
    proxy.cut()
    run.update("a", "running")
    viewer.sees(RUNNING, GONE, LOST)
    proxy.open()
    viewer.sees(LOST, RUNNING)
    assert viewer.client.state.epoch == run.run_id
    run.update("a", "completed")
    run.complete()
    assert run.flush(PATIENCE)
    viewer.sees(LOST, ("completed", "ended"))
    assert viewer.client.state.nodes["a"].status == "completed"
