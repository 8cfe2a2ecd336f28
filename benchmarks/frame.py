"""Frames while 10,000 nodes a second change their state, in headless Chromium: ours, Cytoscape.js's and React Flow's.

A frame lasts from one callback of `requestAnimationFrame` to the next, so none is shorter than the screen's 16.7 ms.
All draw the same graph at the same places, whole, in a view of 1,000 × 640 px, and take what has changed once a frame.
Idle is the share of a core that the page takes for five seconds after the run has ended.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, Final

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
        medians = {}
        for peer in _PEERS:
            times = _frames(peer, n)
            medians[peer] = round(statistics.median(times), 1)
            rows.append(Row(f"frame/{n}/{peer}_median_ms", medians[peer], "ms"))
            print(f"  {names[peer]} {n}: median {medians[peer]} ms", flush=True)
        best = min(medians, key=lambda peer: medians[peer])
        times = _frames("dagwidget", n)
        rows.append(Row(f"frame/{n}/median_ms", round(statistics.median(times), 1), "ms", names[best], medians[best]))
        rows.append(Row(f"frame/{n}/p95_ms", round(statistics.quantiles(times, n=20)[-1], 1), "ms"))
    times = _frames("dagwidget", _HUGE)
    rows.append(Row(f"frame/{_HUGE}/fps", round(1000 / statistics.mean(times), 1), "frames/s"))
    rows.append(Row("frame/idle_percent", round(_idle(_SIZES[-1]), 2), "% of a core"))
    return rows


def _frames(kind: str, n: int) -> list[float]:
    with browser.page("frame.js") as page:
        page.evaluate("([kind, n]) => mount(kind, n)", [kind, n])
        times: list[float] = page.evaluate("([rate, seconds]) => run(rate, seconds)", [_RATE, _SECONDS])
    return times


def _idle(n: int) -> float:
    with browser.page("frame.js") as page:
        page.evaluate("([kind, n]) => mount(kind, n)", ["dagwidget", n])
        page.evaluate("([rate, seconds]) => run(rate, seconds)", [_RATE, 1])
        page.evaluate("() => rest()")
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")

        def busy() -> Any:
            metrics = session.send("Performance.getMetrics")["metrics"]
            return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")

        before = busy()
        time.sleep(_IDLE_SECONDS)
        return 100 * float(busy() - before) / _IDLE_SECONDS
