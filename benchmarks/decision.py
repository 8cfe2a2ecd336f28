"""From a person's decision to its acknowledgement, which says that it is on disk.

Each decision answers a gate of its own, while 100 events a second are published; the time is that of the client's own
socket.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid

from websockets.asyncio.client import ClientConnection, connect

import dagwidget
from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits

from .results import Row
from .server import server

DECISIONS = 500
_WARM = 20
_EVERY_SECONDS = 0.01
# No connection may send more commands at once than this; its `hello` counts as one.
_A_CONNECTION = Limits().commands_burst - 1


async def _decide(socket: ClientConnection, node_id: str) -> float:
    """Milliseconds until the answer."""
    command = p.HumanDecision(id=str(uuid.uuid4()), node_id=node_id, decision="approve")
    began = time.perf_counter()
    await socket.send(p.encode(command), text=True)
    while True:
        for message in p.decode_server(await socket.recv()):
            if isinstance(message, p.CommandAck) and message.id == command.id:
                if not message.ok:
                    raise RuntimeError(f"refused: {message.message}")
                return (time.perf_counter() - began) * 1000


async def _measure(url: str, run: dagwidget.Run) -> list[float]:
    """Milliseconds of every decision, sorted."""
    address = f"{url}/api/dags/decision/stream"
    count = DECISIONS + _WARM
    times: list[float] = []
    while len(times) < count:
        async with connect(address, subprotocols=[p.SUBPROTOCOL], compression=None, proxy=None) as socket:  # type: ignore[list-item]
            await socket.send(p.encode(p.Hello(protocol=p.PROTOCOL)), text=True)
            for i in range(len(times), min(len(times) + _A_CONNECTION, count)):
                run.update("work", "running", progress=i / count)
                times.append(await _decide(socket, f"gate-{i}"))
                await asyncio.sleep(_EVERY_SECONDS)
    return sorted(times[_WARM:])


def measure() -> list[Row]:
    with server() as process, dagwidget.start_run("decision", ["work"], url=process.url) as run:
        for i in range(DECISIONS + _WARM):
            run.gate(f"gate-{i}", title="Ship it?")
        run.flush(30)
        times = asyncio.run(_measure(process.url, run))
        run.complete()
    return [
        Row("decision/ack_p50_ms", round(statistics.median(times), 2), "ms"),
        Row("decision/ack_p99_ms", round(times[int(len(times) * 0.99)], 2), "ms"),
    ]
