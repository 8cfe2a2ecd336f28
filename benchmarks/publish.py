"""What publishing an event costs the engine's thread, while the events really go to a server."""

from __future__ import annotations

import time

import dagwidget

from .results import Row
from .server import stream_server

EVENTS = 20_000
NODES = 100


def measure() -> list[Row]:
    with stream_server() as url:
        run = dagwidget.start_run("publish", nodes=[f"n{i}" for i in range(NODES)], url=url)
        microseconds = []
        # The middle of the three is what an engine sees: neither the first start of a thread, nor a full buffer.
        for _ in range(3):
            began = time.perf_counter()
            for i in range(EVENTS // 3):
                run.update(f"n{i % NODES}", "running", progress=0.5)
            microseconds.append((time.perf_counter() - began) / (EVENTS // 3) * 1e6)
            run.flush(30)
        run.complete()
        run.close()
    return [Row("publish/us", round(sorted(microseconds)[1], 2), "µs")]
