"""What becomes of a run with the notebook cell that began it: a real kernel, and a real server."""

from __future__ import annotations

import contextlib
import os
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

import dagwidget
from dagwidget import protocol as p
from dagwidget.server.storage.sqlite import SqliteJournal

from .serving import Served, serving

# Far longer than anything takes: only a fault gets here.
PATIENCE = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Served]:
    journal = SqliteJournal(tmp_path_factory.mktemp("runs") / "log.sqlite3")
    with serving(journal=journal) as served:
        yield served
    journal.close()


@pytest.fixture
def dag_id(request) -> str:
    return request.node.name


class Kernel:
    """An ipykernel, and cells that run in it."""

    def __init__(self, server: Served) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(
            env={**os.environ, "DAGWIDGET_URL": server.url, "DAGWIDGET_TOKEN": server.token or ""}
        )
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    def begin(self, code: str, cell: str | None = None) -> str:
        """Execute a cell as JupyterLab does; the id of the request."""
        content = {
            "code": textwrap.dedent(code),
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        metadata = {"cellId": cell or uuid.uuid4().hex}
        message = self.client.session.msg("execute_request", content, metadata=metadata)
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def reply(self, request: str) -> dict[str, Any]:
        """How a cell has ended."""
        while True:
            message = self.client.get_shell_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") == request:
                return message["content"]

    def run(self, code: str, cell: str | None = None, *, raises: str | None = None) -> None:
        """Execute a cell to its end; `raises` is the name of the exception that ends it."""
        content = self.reply(self.begin(code, cell))
        assert content.get("ename") == raises, content

    def stop(self) -> None:
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@contextlib.contextmanager
def a_kernel(server: Served) -> Iterator[Kernel]:
    kernel = Kernel(server)
    try:
        yield kernel
    finally:
        kernel.stop()


@pytest.fixture(scope="module")
def shared(server) -> Iterator[Kernel]:
    with a_kernel(server) as kernel:
        kernel.run("import asyncio, os, sys, threading, time, dagwidget")
        yield kernel


@pytest.fixture
def fresh(server) -> Iterator[Kernel]:
    with a_kernel(server) as kernel:
        yield kernel


@pytest.fixture
def kernel(shared, dag_id) -> Kernel:
    """The shared kernel; in it, `begin` starts a run of this test's DAG."""
    shared.run(f"begin = lambda **options: dagwidget.start_run({dag_id!r}, ['a', 'review'], **options)")
    return shared


@pytest.fixture
def summaries(server, dag_id) -> Callable[[], list[p.RunSummary]]:
    """The DAG's runs, the oldest first."""
    return lambda: sorted(
        dagwidget.runs(dag_id, url=server.url, token=server.token), key=lambda run: (run.started_at, run.run_id)
    )


@pytest.fixture
def states(server, dag_id, summaries):
    """What each of the DAG's runs came to, the oldest first."""
    return lambda: [dagwidget.run_state(dag_id, run.run_id, url=server.url, token=server.token) for run in summaries()]


def until(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ended(states, number: int = 1):
    """The states, once the last of `number` runs has ended."""
    until(lambda: len(states()) == number and states()[-1].status in ("completed", "failed", "cancelled"))
    return states()


def is_under_way(kernel: Kernel, states, number: int = 0) -> None:
    """What the kernel said so far has arrived, and the run is still open."""
    kernel.run("assert run.flush(60)")
    assert states()[number].status == "running"


# --- A cell that fails, or is interrupted


def test_a_cell_that_fails_ends_the_run_that_it_began(kernel, states):
    kernel.run(
        """
        run = begin()
        with run.node("a"):
            pass
        raise ValueError("no such column")
        """,
        raises="ValueError",
    )
    [state] = ended(states)
    assert (state.status, state.nodes["a"].status) == ("failed", "completed")
    assert (state.errors[-1].message, state.errors[-1].code) == ("no such column", "ValueError")
    assert 'raise ValueError("no such column")' in state.errors[-1].detail


def test_the_first_cell_of_a_kernel_that_fails_ends_its_run_too(fresh, states, dag_id):
    fresh.run(f"import dagwidget\nrun = dagwidget.start_run({dag_id!r})\n1 / 0", raises="ZeroDivisionError")
    [state] = ended(states)
    assert state.status == "failed"


def test_a_typo_in_a_later_cell_leaves_the_run_of_an_earlier_one_alone(kernel, states):
    kernel.run("run = begin()")
    kernel.run("with run.node('a'): pass\nrnu", raises="NameError")
    kernel.run("if", raises="SyntaxError")
    is_under_way(kernel, states)
    kernel.run("run.complete(7)")
    [state] = ended(states)
    assert (state.status, state.results) == ("completed", 7)


@pytest.mark.parametrize("wait", ["time.sleep(1000)", "run.gate('review').result()"])
def test_a_cell_that_is_interrupted_cancels_its_run(kernel, states, wait):
    # Without a gate, the node `review` does not begin.
    waiting = 0 if "gate" in wait else 1
    cell = kernel.begin(f"run = begin()\nwith run.node('a'):\n    {wait}")
    until(lambda: states() and [node.status for node in states()[-1].nodes.values()].count("pending") == waiting)
    kernel.manager.interrupt_kernel()
    assert kernel.reply(cell)["ename"] == "KeyboardInterrupt"
    [state] = ended(states)
    assert (state.status, state.nodes["a"].status) == ("cancelled", "cancelled")
    assert state.reason == "interrupted (KeyboardInterrupt)"


@pytest.mark.parametrize("wait", ["await asyncio.sleep(1000)", "await run.gate('review')"])
def test_a_cell_that_awaits_and_is_cancelled_cancels_its_run(kernel, states, wait):
    """As ipykernel interrupts it: an interrupt cancels the task of the cell."""
    kernel.run(
        f"""
        run = begin()
        asyncio.get_running_loop().call_later(0.1, asyncio.current_task().cancel)
        with run.node("a"):
            {wait}
        """,
        raises="CancelledError",
    )
    [state] = ended(states)
    assert (state.status, state.nodes["a"].status) == ("cancelled", "cancelled")


def test_sys_exit_in_a_cell_ends_the_run_and_says_nothing_of_the_process(fresh, states, dag_id):
    fresh.run(f"import dagwidget, sys\nbegin = lambda: dagwidget.start_run({dag_id!r}, ['a'])")
    fresh.run("run = begin()\nwith run.node('a'): sys.exit(3)", raises="SystemExit")
    assert ended(states)[0].status == "failed"
    fresh.run("run = begin()")
    fresh.client.shutdown()
    state = ended(states, 2)[1]
    assert (state.status, state.reason) == ("cancelled", "its process ended without ending the run")


# --- A cell that is run again


def test_a_cell_that_is_run_again_cancels_the_run_that_it_left_at_a_gate(kernel, states, summaries):
    code = "run = begin()\ngate = run.gate('review')\nassert run.flush(60)"
    kernel.run(code, "cell-1")
    kernel.run(code, "cell-1")
    until(lambda: len(states()) == 2 and states()[0].status == "cancelled")
    first, second = states()
    assert first.reason == "its cell was run again"
    assert (first.gates, second.status, len(second.gates)) == ({}, "running", 1)
    kernel.run("run.complete()")


def test_the_run_of_another_cell_or_one_that_has_ended_is_left_alone(kernel, states):
    kernel.run("first = run = begin()", "cell-1")
    kernel.run("run = begin(); run.complete(1)", "cell-2")
    kernel.run("pass", "cell-2")
    kernel.run("run = first")
    is_under_way(kernel, states)
    kernel.run("first.complete()")
    ended(states, 2)
    assert [state.status for state in states()] == ["completed", "completed"]


def test_a_run_that_is_kept_goes_on_when_its_cell_is_run_again(kernel, states):
    kernel.run("kept = begin(keep=True)", "cell-1")
    kernel.run("run = kept", "cell-1")
    is_under_way(kernel, states)
    kernel.run("run.complete()")


# --- Threads and tasks


@pytest.mark.parametrize(
    "start",
    [
        "worker = threading.Thread(target=lambda: asyncio.run(work())); worker.start(); entered.wait(60)",
        "worker = asyncio.create_task(work())\nwhile not entered.is_set(): await asyncio.sleep(0.01)",
    ],
    ids=["thread", "task"],
)
def test_a_run_that_a_thread_or_a_task_uses_goes_on_when_the_cell_fails(kernel, states, start):
    kernel.run(
        """
        entered, go_on = threading.Event(), threading.Event()
        async def work():
            with run.node("a"):
                entered.set()
                while not go_on.is_set():
                    await asyncio.sleep(0.01)
            run.complete("by the worker")
        """
    )
    kernel.run(f"run = begin()\n{start}\n1 / 0", raises="ZeroDivisionError")
    is_under_way(kernel, states)
    kernel.run("go_on.set()\nawait asyncio.sleep(0)")
    [state] = ended(states)
    assert (state.status, state.results) == ("completed", "by the worker")


@pytest.mark.parametrize(
    "work",
    ["thread = threading.Thread(target=step); thread.start(); thread.join()", "await asyncio.gather(later())"],
    ids=["thread", "task"],
)
def test_a_thread_or_a_task_that_has_ended_keeps_no_run(kernel, states, work):
    kernel.run(
        """
        def step():
            with run.node("a"):
                pass
        async def later():
            step()
        """
    )
    kernel.run(f"run = begin()\n{work}\n1 / 0", raises="ZeroDivisionError")
    [state] = ended(states)
    assert (state.status, state.nodes["a"].status) == ("failed", "completed")


def test_a_run_that_a_task_has_begun_goes_on_when_the_cell_that_made_the_task_fails(kernel, states):
    kernel.run(
        """
        begun, go_on = asyncio.Event(), asyncio.Event()
        async def work():
            global run
            run = begin()
            begun.set()
            await go_on.wait()
            run.complete("by the task")
        """
    )
    kernel.run("task = asyncio.create_task(work())\nawait begun.wait()\n1 / 0", raises="ZeroDivisionError")
    is_under_way(kernel, states)
    kernel.run("go_on.set()\nawait task")
    [state] = ended(states)
    assert (state.status, state.results) == ("completed", "by the task")


def test_a_cell_that_executes_another_ends_its_own_run_when_it_fails(kernel, states):
    kernel.run("outer = begin()\nget_ipython().run_cell('1 + 1')\n1 / 0", raises="ZeroDivisionError")
    [state] = ended(states)
    assert state.status == "failed"


def test_a_cell_that_fails_within_another_ends_only_its_own_run(kernel, states):
    kernel.run("run = begin()\nget_ipython().run_cell('inner = begin(); 1 / 0')")
    is_under_way(kernel, states)
    kernel.run("run.complete()\nassert run.flush(60) and inner.flush(60)")
    assert [state.status for state in states()] == ["completed", "failed"]


# --- The end of the kernel


def test_a_kernel_that_is_shut_down_ends_its_runs(fresh, states, dag_id):
    fresh.run(f"import dagwidget\nrun = dagwidget.start_run({dag_id!r})\nassert run.flush(60)")
    assert states()[0].status == "running"
    fresh.client.shutdown()
    [state] = ended(states)
    assert (state.status, state.reason) == ("cancelled", "its process ended without ending the run")


def test_a_kernel_that_is_restarted_ends_its_runs(fresh, states, dag_id):
    fresh.run(f"import dagwidget\nrun = dagwidget.start_run({dag_id!r})\nassert run.flush(60)")
    fresh.manager.restart_kernel()
    [state] = ended(states)
    assert state.status == "cancelled"


def test_the_engine_of_a_kernel_that_is_killed_is_gone(fresh, summaries, states, dag_id):
    fresh.run(f"import dagwidget\nrun = dagwidget.start_run({dag_id!r})\nassert run.flush(60)")
    assert [run.engine for run in summaries()] == ["connected"]
    fresh.manager.signal_kernel(9)
    until(lambda: [run.engine for run in summaries()] == ["gone"])
    assert states()[0].status == "running"
