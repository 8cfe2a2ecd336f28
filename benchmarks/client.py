"""What a client costs the server in memory: one that is idle, and one that does not read what it is sent.

The second one is measured twice. Directly, its socket fills up. Behind a proxy that reads everything and keeps it, as
many do, only acknowledgements can hold the server back; what the proxy has to keep is a row of its own.
Since what is published makes the log grow, the same is done without such a client, and that growth is taken off.
"""

from __future__ import annotations

import asyncio
import socket

from .results import Row
from .server import Process, running, server
from .sockets import LightSocket, Viewer, connected, crowd
from .source import source

IDLE = 500
RATE = 1000
SECONDS = 20.0
_WARM = 50
_WARM_SECONDS = 3.0
_SETTLE_SECONDS = 2.0


async def _idle() -> float:
    """KiB a client."""
    with server() as process:
        async with source(process.url, "idle") as feed:
            await feed.publish(100)
            # What the first clients of all cost is not theirs.
            warm = await crowd(process.url, "idle", _WARM)
            await asyncio.sleep(_SETTLE_SECONDS)
            before = process.memory
            idle = await crowd(process.url, "idle", IDLE)
            await asyncio.sleep(_SETTLE_SECONDS)
            grown = process.memory - before
            for viewer in (*warm, *idle):
                viewer.abandon()
    return grown / IDLE / 1024


async def _idle_peer() -> float:
    """KiB a client of bare `websockets`."""
    with running(Process("benchmarks.peers", "websockets", "--clients", str(IDLE * 2))) as process:
        sockets = [LightSocket("/") for _ in range(_WARM + IDLE)]
        for client in sockets[:_WARM]:
            await connected(process.url, client)
        await asyncio.sleep(_SETTLE_SECONDS)
        before = process.memory
        for client in sockets[_WARM:]:
            await connected(process.url, client)
        await asyncio.sleep(_SETTLE_SECONDS)
        return (process.memory - before) / IDLE / 1024


class _Stalled(Viewer):
    """Never reads again once it is in step."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        super().connection_made(transport)
        self.synced.add_done_callback(lambda _: self.transport.pause_reading())


class _BehindProxy(Viewer):
    """Stands for a proxy and the stalled client behind it: everything is read, nothing acknowledged."""

    def __init__(self, dag_id: str) -> None:
        super().__init__(dag_id)
        self.keeps = 0

    def acknowledge(self) -> None:
        if not self.synced.done():
            super().acknowledge()

    def received(self, data: memoryview) -> None:
        if self.synced.done():
            self.keeps += len(data)
        super().received(data)


async def _growth(stalled: Viewer | None) -> float:
    """MiB by which a new server grows, while one client reads what is published, and `stalled` does not."""
    with server() as process:
        async with source(process.url, "stalled") as feed:
            await feed.at_rate(RATE, _WARM_SECONDS)
            await crowd(process.url, "stalled", 1)
            if stalled is not None:
                await connected(process.url, stalled)
                await stalled.synced
            before = process.memory
            await feed.at_rate(RATE, SECONDS)
            return (process.memory - before) / 1024**2


async def _stalled() -> tuple[float, float, float]:
    """MiB that a server needs for a client of either kind, and what the proxy keeps."""
    proxy = _BehindProxy("stalled")
    alone, direct, behind = await asyncio.gather(_growth(None), _growth(_Stalled("stalled")), _growth(proxy))
    print(f"grown by {alone:.2f} MiB; with a client that does not read by {direct:.2f}, behind a proxy by {behind:.2f}")
    return direct - alone, behind - alone, proxy.keeps / 1024**2


def measure() -> list[Row]:
    idle, idle_peer = asyncio.run(_idle()), asyncio.run(_idle_peer())
    direct, behind, kept = asyncio.run(_stalled())
    return [
        Row("client/idle_kib", round(idle, 2), "KiB", "websockets", round(idle_peer, 2)),
        Row("client/stalled_mib", round(max(direct, behind), 2), "MiB"),
        Row("client/stalled_proxy_mib", round(kept, 2), "MiB"),
    ]
