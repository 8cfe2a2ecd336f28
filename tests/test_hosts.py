"""The widget where no browser is: in scripts, IPython, papermill, nbconvert and a bare kernel."""

import functools
import time

import psutil
import pytest

from .hosts import HOSTS, NOTEBOOK_HOSTS, kernel, nbconvert

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(params=HOSTS)
def host(request):
    return request.param


@pytest.fixture
def run(host, tmp_path):
    """Runs cells in the host."""
    return functools.partial(HOSTS[host], folder=tmp_path)


def test_a_widget_is_made_printed_and_shown(host, run):
    ran = run(
        'import asyncio, dagwidget\nw = dagwidget.DAGStreamWidget("x", url="ws://127.0.0.1:1")',
        "await asyncio.sleep(0)\nprint(repr(w))",
        "w",
    )
    said = "DAGStreamWidget('x': pending, 0 of 0 nodes settled)"
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"{said}\n")
    if host in NOTEBOOK_HOSTS:
        nothing, (printed,), (shown,) = ran.outputs
        assert nothing == []
        assert printed["text"] == f"{said}\n"
        assert shown["data"]["text/plain"] == said
        assert WIDGET_VIEW in shown["data"]


def test_an_error_ends_the_cells(run):
    ran = run("print('before')", "raise ValueError('no')", "print('after')")
    assert ran.exit_code == 1
    assert "after\n" not in ran.stdout
    assert "ValueError: no" in ran.stdout + ran.stderr


@pytest.mark.parametrize("run", [nbconvert, kernel])
def test_what_hangs_fails_and_leaves_no_process(run, tmp_path):
    with pytest.raises(AssertionError, match="has not ended in 5 s"):
        run("import threading\nthreading.Event().wait()", folder=tmp_path, timeout=5)
    deadline = time.monotonic() + 30
    while left := [process for process in psutil.process_iter() if str(tmp_path) in _command(process)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
