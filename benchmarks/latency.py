"""From `publish` in an engine to the pixel in JupyterLab, in headless Chromium.

An engine process publishes node states whose message is their number. The page notes when the canvas first draws a
number, at the end of that frame; both clocks are the machine's own. An event that another of the same node overtakes
before the next frame is seen with the one that overtook it.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.lab import CHROMIUM, CHROMIUM_ARGUMENTS, Lab, notebook, running_lab

from .results import Row
from .server import stream_server

RATES = (100, 1000)
SECONDS = 8
# Few enough to be seen with their second line: four rows of three.
NODES = 12

# Every text that is drawn and looks like "#123", with the time at which its frame was done.
_WATCH = """
() => {
  window.drawn = new Map();
  let batch = [];
  const fillText = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
    const found = /^#(\\d+)/.exec(text);
    if (found && !window.drawn.has(found[1])) {
      if (batch.length === 0) setTimeout(() => {
        const now = performance.timeOrigin + performance.now();
        for (const id of batch) if (!window.drawn.has(id)) window.drawn.set(id, now);
        batch = [];
      });
      batch.push(found[1]);
    }
    return fillText.call(this, text, ...rest);
  };
}
"""

_ENGINE = """
import sys, time
import dagwidget
url, rate, seconds, nodes = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
edges = [(f"n{i}", f"n{i + 1}") for i in range(nodes) if i % 3 < 2]
run = dagwidget.start_run("latency", nodes=[f"n{i}" for i in range(nodes)], edges=edges, url=url)
input()
began = time.time()
for i in range(int(rate * seconds)):
    due = began + i / rate
    while (now := time.time()) < due:
        time.sleep(min(due - now, 0.002))
    run.update(f"n{i % nodes}", "running", message=f"#{i}")
    print(i, time.time() * 1000)
run.flush(10)
sys.stdout.flush()
input()
run.complete()
run.close()
"""


@contextlib.contextmanager
def _engine(url: str, rate: int) -> Iterator[subprocess.Popen[str]]:
    arguments = [url, str(rate), str(SECONDS), str(NODES)]
    process = subprocess.Popen(
        [sys.executable, "-c", _ENGINE, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _one(lab: Lab, browser: Browser, url: str, rate: int) -> list[float]:
    """Milliseconds from publish to pixel, of every event."""
    cell = f"import dagwidget\nw = dagwidget.DAGStreamWidget('latency', url={url!r})\nw"
    source = notebook(lab.root / "latency-source.ipynb", cell)
    with _engine(url, rate) as engine, lab.open(browser, source) as book:
        assert engine.stdin is not None
        assert engine.stdout is not None
        book.page.evaluate(_WATCH)
        book.run(0)
        book.page.get_by_text("live", exact=True).first.wait_for()
        time.sleep(1)
        engine.stdin.write("go\n")
        engine.stdin.flush()
        published = [float(engine.stdout.readline().split()[1]) for _ in range(rate * SECONDS)]
        book.page.wait_for_function(f"() => window.drawn.has('{rate * SECONDS - 1}')", timeout=30_000)
        drawn = {int(i): at for i, at in book.page.evaluate("() => [...window.drawn]")}
    return _latencies(published, drawn)


def _latencies(published: list[float], drawn: dict[int, float]) -> list[float]:
    seen: dict[int, float] = {}
    latencies = []
    for i in reversed(range(len(published))):
        at = drawn.get(i, seen.get(i % NODES))
        if at is None:
            continue
        seen[i % NODES] = at
        latencies.append(at - published[i])
    return latencies


def measure() -> list[Row]:
    rows = []
    folder = Path(tempfile.mkdtemp(prefix="dagwidget-latency-"))
    os.environ.pop("DAGWIDGET_URL", None)
    with stream_server() as url, running_lab(folder) as lab, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        for rate in RATES:
            latencies = sorted(_one(lab, browser, url, rate))
            rows += [
                Row(f"latency/jupyterlab/{rate}/p50_ms", round(statistics.median(latencies), 1), "ms"),
                Row(f"latency/jupyterlab/{rate}/p99_ms", round(latencies[int(len(latencies) * 0.99)], 1), "ms"),
            ]
        browser.close()
    return rows
