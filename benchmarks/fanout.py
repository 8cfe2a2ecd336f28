"""Events of 150 bytes that one server delivers to everybody who watches, against one event a frame.

What is published is held back by the slowest viewer, so that what is counted was delivered event by event: nobody is
given a compacted state instead. The figure by CPU second is at 1,000 events/s and 1,000 viewers, and counts the
server's journal as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from . import peers
from .results import Row
from .server import Process, running, server
from .sockets import LightSocket, Viewer, connected, crowd
from .source import Source, source

COUNTS = (1, 10, 100, 500)
SOCKETIO_COUNT = 100
CPU_COUNT = 1000
RATE = 1000
WARM_SECONDS = 1.0
SECONDS = 4.0
# By how much the slowest viewer may be behind, and what is published at once: in all, what a server takes for not far.
_BEHIND = 1900
_FRAME = 100

_SOCKETIO_PATH = "/socket.io/?EIO=4&transport=websocket"


class _SocketIO(LightSocket):
    def opened(self) -> None:
        self.send(b"40")


@contextlib.asynccontextmanager
async def _meanwhile(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _saturate(feed: Source, viewers: Sequence[Viewer]) -> None:
    ahead = viewers[0].seq
    while True:
        while ahead + feed.sent - min(viewer.seq for viewer in viewers) > _BEHIND:
            await asyncio.sleep(0.0005)
        await feed.publish(_FRAME)


async def _acknowledge(viewers: Sequence[Viewer]) -> None:
    while True:
        await asyncio.sleep(1)
        for viewer in viewers:
            viewer.acknowledge()


async def _rates(process: Process, delivered: Callable[[], float]) -> tuple[float, float]:
    """What is delivered in a second, and in a CPU second of the server."""
    await asyncio.sleep(WARM_SECONDS)
    before, cpu, began = delivered(), process.cpu_seconds, time.perf_counter()
    await asyncio.sleep(SECONDS)
    events = delivered() - before
    return events / (time.perf_counter() - began), events / (process.cpu_seconds - cpu)


async def _ours(count: int, rate: int | None = None) -> tuple[float, float]:
    with server() as process:
        async with source(process.url, "fanout") as feed:
            viewers = await crowd(process.url, "fanout", count)
            publishing = _saturate(feed, viewers) if rate is None else feed.at_rate(rate, 3600)
            async with _meanwhile(_acknowledge(viewers)), _meanwhile(publishing):
                rates = await _rates(process, lambda: sum(viewer.events for viewer in viewers))
        if any(viewer.resets > 1 for viewer in viewers):
            raise RuntimeError("a viewer was so far behind that it was given the state: nothing was measured")
    return rates


async def _peer(name: str, count: int) -> tuple[float, float]:
    kind, path, size = {
        "websockets": (LightSocket, "/", peers.WEBSOCKETS_BYTES),
        "socketio": (_SocketIO, _SOCKETIO_PATH, peers.SOCKETIO_BYTES),
    }[name]
    with running(Process("benchmarks.peers", name, "--clients", str(count))) as process:
        sockets = [kind(path) for _ in range(count)]
        for socket in sockets:
            await connected(process.url, socket)
        return await _rates(process, lambda: sum(socket.bytes for socket in sockets) / size)


def measure() -> list[Row]:
    rows = []
    for count in COUNTS:
        ours, _ = asyncio.run(_ours(count))
        peer, _ = asyncio.run(_peer("websockets", count))
        rows.append(Row(f"fanout/{count}/events_per_s", round(ours), "events/s", "websockets broadcast", round(peer)))
        if count == SOCKETIO_COUNT:
            peer, _ = asyncio.run(_peer("socketio", count))
            rows.append(Row(f"fanout/{count}/vs_socketio", round(ours), "events/s", "python-socketio", round(peer)))
    _, ours = asyncio.run(_ours(CPU_COUNT, RATE))
    _, peer = asyncio.run(_peer("websockets", CPU_COUNT))
    name = f"fanout/{CPU_COUNT}/events_per_cpu_s"
    return [*rows, Row(name, round(ours), "events/CPU-s", "websockets broadcast", round(peer))]
