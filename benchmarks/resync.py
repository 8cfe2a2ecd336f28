"""Back in step after a cut, in a room of 10,000 nodes that have finished: with the tail of 100 events, and with all.

The time is from opening the socket to `synced`. Something new happens before each, so that the compacted state is never
the one that was made for the last.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import dagwidget
from dagwidget import protocol as p

from .results import Row
from .server import server
from .sockets import Viewer, connected, crowd

NODES = 10_000
EDGES = 14_000
TAIL = 100
ROUNDS = 11


def _publish(run: dagwidget.Run) -> None:
    for i in range(NODES):
        run.update(f"n{i}", "completed", output={"rows": i, "file": f"part-{i}.parquet"}, metrics={"duration_ms": 12.5})
    if not run.flush(60):
        raise RuntimeError("the room did not get everything")


async def _back(url: str, last: p.Cursor | None) -> tuple[float, int]:
    """Milliseconds and bytes of one reconnection."""
    viewer = Viewer("resync", last)
    began = time.perf_counter()
    await connected(url, viewer)
    await viewer.synced
    milliseconds = (time.perf_counter() - began) * 1000
    if viewer.resets != (last is None):
        raise RuntimeError("the server chose the other way")
    viewer.abandon()
    return milliseconds, viewer.bytes


async def _measure(url: str, run: dagwidget.Run, *, tail: bool) -> tuple[float, int]:
    backs = []
    for i in range(ROUNDS):
        run.update(f"n{i}", "completed", attempt=2)
        await asyncio.to_thread(run.flush, 10)
        (viewer,) = await crowd(url, "resync", 1)
        viewer.abandon()
        last = p.Cursor(epoch=viewer.epoch, seq=viewer.seq - TAIL) if tail else None
        if not tail:
            run.update(f"n{i}", "completed", attempt=3)
            await asyncio.to_thread(run.flush, 10)
        backs.append(await _back(url, last))
    return statistics.median(each for each, _ in backs), backs[-1][1]


def measure() -> list[Row]:
    edges = [(f"n{i * 5 % NODES}", f"n{i * 7 % NODES + 1}") for i in range(EDGES)]
    with (
        server() as process,
        dagwidget.start_run("resync", [f"n{i}" for i in range(NODES + 1)], edges, url=process.url) as run,
    ):
        _publish(run)
        tail_ms, tail_bytes = asyncio.run(_measure(process.url, run, tail=True))
        ms, size = asyncio.run(_measure(process.url, run, tail=False))
    return [
        Row(f"resync/{NODES}/tail_ms", round(tail_ms, 2), "ms"),
        Row(f"resync/{NODES}/tail_bytes", tail_bytes, "B"),
        Row(f"resync/{NODES}/ms", round(ms, 2), "ms"),
        Row(f"resync/{NODES}/bytes", size, "B"),
    ]
