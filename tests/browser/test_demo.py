"""What a new user sees first: `make demo`."""

import contextlib
import os
import re
import signal
import subprocess
import sys

from playwright.sync_api import expect

from tests.jupyter_places import places, stop_stream_server


@contextlib.contextmanager
def demo(browser, folder, *options):
    """The widget in the page that a demo opens."""
    command = [sys.executable, "-m", "dagwidget.cli", "demo", "--no-browser", *options]
    environment = {**os.environ, **places(folder)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        try:
            url = next(line.strip() for line in demo.stdout if "http://" in line)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(url)
            yield page.locator(".dagwidget")
            page.close()
        finally:
            demo.send_signal(signal.SIGINT)
            assert demo.wait(30) == 0
            stop_stream_server(folder / "runtime")


def test_the_demo_opens_jupyterlab_with_a_run_in_the_cell(browser, tmp_path):
    with demo(browser, tmp_path) as widget:
        expect(widget.get_by_role("heading", name="Deploy this model?")).to_be_visible(timeout=60_000)
        widget.get_by_role("button", name="Approve", exact=True).click()
        expect(widget.get_by_text("Completed", exact=True)).to_be_visible(timeout=30_000)


def test_the_demo_plays_a_run_as_large_as_was_asked_for(browser, tmp_path):
    with demo(browser, tmp_path, "--nodes", "3000") as widget:
        expect(widget.get_by_text("live", exact=True)).to_be_visible(timeout=60_000)
        expect(widget.get_by_text(re.compile(r"^2,\d{3}$"))).to_be_visible(timeout=30_000)
