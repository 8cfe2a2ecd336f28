"""The widget on one kernel, in JupyterLab; `make test-kernels` runs this for each ipykernel that matters.

The variable KERNEL_PYTHON names the Python that kernels run in; by default it is the tests' own.
No cell here waits for a message from the browser: before ipykernel 7 none arrives while a cell runs.
"""

import contextlib
import json
import time

import pytest
from playwright.sync_api import expect

import dagwidget
from tests.serving import serving

from .lab import notebook, widgets_saved

SLOW = 30_000

SHOW = """
import pathlib, threading, time
import dagwidget
w = dagwidget.DAGStreamWidget("kernel", url={url!r}, token={token!r})
statuses = []
w.observe(lambda change: statuses.append(change["new"]), "status")
w
"""
# Keeps the kernel busy until the test lets it go on.
BUSY = """
deadline = time.monotonic() + 60
while not pathlib.Path({path!r}).exists() and time.monotonic() < deadline:
    time.sleep(0.01)
print("went on:", time.monotonic() < deadline)
"""
TRAITS = "print(w.status, statuses, [gate.node_id for gate in w.gates.values()])"

pytestmark = pytest.mark.parametrize("subshells", [True, False], ids=["subshells", "no-subshells"])


@pytest.fixture
def open_notebook(lab, browser, tmp_path, subshells):
    """Opens a notebook of the cells that it is given."""
    with widgets_saved(lab), contextlib.ExitStack() as stack:

        def open_cells(*cells: str):
            path = notebook(tmp_path / "kernel.ipynb", *cells)
            return stack.enter_context(lab.open(browser, path, subshells=subshells))

        yield open_cells


@pytest.fixture
def server():
    with serving() as server:
        yield server


def run_until(book, cell: int, expected: str) -> None:
    """Run a cell again and again: between two of its runs, every kernel reads what the browser sends."""
    deadline = time.monotonic() + 30
    while True:
        book.run(cell)
        if expected in (text := book.text(cell)):
            return
        assert time.monotonic() < deadline, f"cell {cell} did not print {expected!r}, but: {text!r}"
        book.page.wait_for_timeout(50)


def assert_drawn(book, widget) -> None:
    """Go to the node that waits, which needs it to be laid out."""
    spoken = widget.locator("[aria-live=polite].dw-offscreen")
    deadline = time.monotonic() + 30
    while "waiting, 1 of 1" not in spoken.inner_text():
        assert time.monotonic() < deadline, f"no waiting node is drawn: {spoken.inner_text()!r}"
        widget.locator(".dw-surface").focus()
        book.page.keyboard.press("g")
        book.page.wait_for_timeout(50)


def saved_snapshot(book) -> dict:
    """Save the notebook; the widget's `snapshot` in it."""
    book.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    models = json.loads(book.path.read_text())["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]
    (snapshot,) = [model["state"]["snapshot"] for model in models["state"].values() if "snapshot" in model["state"]]
    return snapshot


def assert_no_errors(book, cells: int) -> None:
    assert [text for text in map(book.text, range(cells)) if "Error" in text or "Exception" in text] == []
    assert book.problems == []


def test_a_run_is_followed_and_a_cell_decides_its_gate(server, open_notebook, tmp_path):
    decided = tmp_path / "decided"
    decide = 'sent = []\nthreading.Thread(target=lambda: sent.append(w.decide("review", "approve"))).start()\n'
    cells = (
        SHOW.format(url=server.url, token=server.token),
        TRAITS,
        # From a thread of the user's own, and while the cell runs.
        decide + BUSY.format(path=str(decided)),
        "print(sent)",
    )
    nodes, edges = ["train", "review"], [("train", "review")]
    with dagwidget.start_run("kernel", nodes, edges, url=server.url, token=server.token) as run:
        run.update("train", "completed")
        gate = run.gate("review")
        book = open_notebook(*cells)
        frames = []
        book.page.on("websocket", lambda socket: socket.on("framesent", lambda sent: frames.append(sent)))
        book.run(0)
        widget = book.page.locator(".dagwidget")
        expect(widget.get_by_text("live", exact=True)).to_be_visible(timeout=SLOW)
        assert_drawn(book, widget)
        run_until(book, 1, "running ['running'] ['review']")
        book.start(2)
        assert gate.result(timeout=30).decision == "approve"
        decided.touch()
        book.wait_for_text(2, "went on: True")
        run_until(book, 3, "[<approve 'review': accepted>]")
        assert len([frame for frame in frames if "human_decision" in str(frame)]) == 1
        run.complete()
        run_until(book, 1, "completed ['running', 'completed'] []")
        expect(widget.get_by_text("Completed", exact=True)).to_be_visible(timeout=SLOW)
        # A trait that Python sets reaches the browser, and so the notebook.
        assert saved_snapshot(book)["nodes"]["train"]["status"] == "completed"
        assert_no_errors(book, len(cells))


def test_all_cells_run_at_once_and_the_browser_connects_while_they_do(server, open_notebook, tmp_path):
    seen = tmp_path / "seen"
    start = (
        f'with dagwidget.start_run("kernel", ["train"], url={server.url!r}, token={server.token!r}) as run:\n'
        '    with run.node("train") as node:\n        node.output(rows=3)\n'
    )
    cells = SHOW.format(url=server.url, token=server.token), start, BUSY.format(path=str(seen)), TRAITS
    book = open_notebook(*cells)
    book.start_all()
    widget = book.page.locator(".dagwidget")
    expect(widget.get_by_text("live", exact=True)).to_be_visible(timeout=SLOW)
    expect(widget.get_by_text("Completed", exact=True)).to_be_visible(timeout=SLOW)
    assert book.text(2) == ""
    seen.touch()
    book.wait_for_text(2, "went on: True")
    run_until(book, 3, "'completed'] []")
    assert_no_errors(book, len(cells))
