"""Frames while 10,000 nodes a second change their state, in headless Chromium: ours, Cytoscape.js's and React Flow's.

A frame lasts from one callback of `requestAnimationFrame` to the next, so none is shorter than the screen's 16.7 ms.
All draw the same graph at the same places, whole, in a view of 1,000 × 640 px, and take what has changed once a frame.
How long the page's main thread is busy for each tells apart what is drawn in time. Idle is its share of a core in the
five seconds after the run has ended.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from playwright.sync_api import Page

from . import browser
from .results import Row

_PEERS: Final = {"cytoscape": "cytoscape", "reactflow": "@xyflow/react"}
_NAMES: Final = {"cytoscape": "Cytoscape.js", "reactflow": "React Flow"}
_SIZES: Final = (100, 1000, 5000, 10_000)
_HUGE: Final = 50_000
_RATE: Final = 10_000
_SECONDS: Final = 5
_IDLE_SECONDS: Final = 5


def measure() -> list[Row]:
    versions = browser.versions(*_PEERS.values())
    names = {peer: f"{_NAMES[peer]} {versions[package]}" for peer, package in _PEERS.items()}
    print(", ".join(names.values()), flush=True)
    rows: list[Row] = []
    for n in _SIZES:
        peers = {peer: _drawn(peer, n) for peer in _PEERS}
        for peer, frames in peers.items():
            rows.append(Row(f"frame/{n}/{peer}_median_ms", frames.median, "ms"))
            print(f"  {names[peer]} {n}: median {frames.median} ms, busy {frames.busy} ms", flush=True)
        # React Flow has so few frames that half of them may be short between some of seconds.
        best = min(peers, key=lambda peer: peers[peer].busy)
        ours = _drawn("dagwidget", n)
        rows.append(Row(f"frame/{n}/median_ms", ours.median, "ms", names[best], peers[best].median))
        rows.append(Row(f"frame/{n}/p95_ms", ours.p95, "ms", names[best], peers[best].p95))
        rows.append(Row(f"frame/{n}/busy_ms", ours.busy, "ms", names[best], peers[best].busy))
    rows.append(Row(f"frame/{_HUGE}/fps", round(1000 / _drawn("dagwidget", _HUGE).mean, 1), "frames/s"))
    rows.append(Row("frame/idle_percent", round(_idle(_SIZES[-1]), 2), "% of a core"))
    return rows


class _Frames(NamedTuple):
    """How long frames took, ms; and how long the page's main thread was busy, for each."""

    mean: float
    median: float
    p95: float
    busy: float


def _drawn(kind: str, n: int) -> _Frames:
    with browser.page("frame.js") as page:
        page.evaluate("([kind, n]) => mount(kind, n)", [kind, n])
        busy = _busy(page)
        before = busy()
        times: list[float] = page.evaluate("([rate, seconds]) => run(rate, seconds)", [_RATE, _SECONDS])
        work = 1000 * (busy() - before) / len(times)
    p95 = statistics.quantiles(times, n=20)[-1]
    return _Frames(statistics.mean(times), round(statistics.median(times), 1), round(p95, 1), round(work, 2))


def _busy(page: Page) -> Callable[[], float]:
    """Tells how many seconds the page's main thread has been at work."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def busy() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

    return busy


def _idle(n: int) -> float:
    with browser.page("frame.js") as page:
        page.evaluate("([kind, n]) => mount(kind, n)", ["dagwidget", n])
        page.evaluate("([rate, seconds]) => run(rate, seconds)", [_RATE, 1])
        page.evaluate("() => rest()")
        busy = _busy(page)
        before = busy()
        time.sleep(_IDLE_SECONDS)
        return 100 * (busy() - before) / _IDLE_SECONDS
