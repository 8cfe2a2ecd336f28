"""What a new user sees first: `dagwidget demo`."""

import contextlib
import os
import re
import signal
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from dagwidget import DagwidgetError
from dagwidget.demo.lab import running_lab
from dagwidget.demo.notebook import run_notebook
from tests.jupyter_places import places, stop_stream_server

from .lab import notebook

SLOW = 60_000


@contextlib.contextmanager
def demo(browser, folder, *options, stop=signal.SIGINT):
    """The page that a demo opens."""
    command = [sys.executable, "-m", "dagwidget.cli", "demo", "--no-browser", *options]
    temporary = folder / "temporary"
    temporary.mkdir()
    environment = {**os.environ, **places(folder), "TMPDIR": str(temporary)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = next(line.strip() for line in process.stdout if "http://" in line)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(url)
            yield page
            page.close()
        finally:
            process.send_signal(stop)
            assert process.wait(30) == 0
            stop_stream_server(folder / "runtime")
    assert [*temporary.glob("dagwidget-demo-*")] == []


def middle_of_the_graph(page):
    """How far below the top of the page the middle row of the graph is."""
    box = page.locator(".dagwidget .dw-graph canvas").first.bounding_box()
    return box["y"] + box["height"] / 2


def test_the_demo_opens_jupyterlab_with_a_run_in_the_cell(browser, tmp_path):
    with demo(browser, tmp_path) as page:
        widget = page.locator(".dagwidget")
        expect(widget.get_by_role("heading", name="Deploy this model?")).to_be_visible(timeout=SLOW)
        # The graph is in sight below the gate. JupyterLab's status bar has 24 px.
        assert middle_of_the_graph(page) < page.viewport_size["height"] - 24
        widget.get_by_role("button", name="Approve", exact=True).click()
        expect(widget.get_by_text("Completed", exact=True)).to_be_visible(timeout=30_000)


def test_the_demo_plays_a_run_as_large_as_was_asked_for(browser, tmp_path):
    with demo(browser, tmp_path, "--nodes", "3000", stop=signal.SIGTERM) as page:
        widget = page.locator(".dagwidget")
        expect(widget.get_by_text("live", exact=True)).to_be_visible(timeout=SLOW)
        expect(widget.get_by_text(re.compile(r"^2,\d{3}$"))).to_be_visible(timeout=30_000)
        assert middle_of_the_graph(page) < page.viewport_size["height"] - 24


@pytest.fixture
def own_jupyter(tmp_path, monkeypatch):
    """Has Jupyter keep its files in a folder of the test's."""
    for name, place in places(tmp_path).items():
        monkeypatch.setenv(name, place)
    return tmp_path


def test_a_kernel_that_does_not_start_in_time_is_named(own_jupyter):
    startup = own_jupyter / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    startup.joinpath("00-hang.py").write_text("import time\ntime.sleep(600)\n")
    with running_lab(own_jupyter) as lab:
        lab.wait_until_ready(60)
        with pytest.raises(DagwidgetError, match=r"kernel did not start within 1 s: allow more time with --timeout"):
            run_notebook(lab, notebook(own_jupyter / "a.ipynb", "1"), start_timeout=1, cell_timeout=60)


def test_a_cell_that_does_not_end_in_time_is_named(own_jupyter):
    with running_lab(own_jupyter) as lab:
        lab.wait_until_ready(60)
        book = notebook(own_jupyter / "a.ipynb", "import time\ntime.sleep(600)")
        with pytest.raises(DagwidgetError, match=r"a cell of a.ipynb did not end within 1 s"):
            run_notebook(lab, book, start_timeout=60, cell_timeout=1)
