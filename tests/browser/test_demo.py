"""What a new user sees first: `make demo`."""

import os
import signal
import subprocess
import sys

from playwright.sync_api import expect

from .lab import places, stop_stream_server


def test_the_demo_opens_jupyterlab_with_a_run_in_the_cell(browser, tmp_path):
    command = [sys.executable, "-m", "dagwidget.cli", "demo", "--no-browser"]
    environment = {**os.environ, **places(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        try:
            url = next(line.strip() for line in demo.stdout if "http://" in line)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(url)
            widget = page.locator(".dagwidget")
            expect(widget.get_by_role("heading", name="Deploy this model?")).to_be_visible(timeout=60_000)
            widget.get_by_role("button", name="Approve", exact=True).click()
            expect(widget.get_by_text("Completed", exact=True)).to_be_visible(timeout=30_000)
            page.close()
        finally:
            demo.send_signal(signal.SIGINT)
            assert demo.wait(30) == 0
            stop_stream_server(tmp_path / "runtime")
