"""A publisher that costs next to nothing: its events differ in their number only, and go in frames of any size."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from websockets.asyncio.client import ClientConnection, connect

from dagwidget import protocol as p

# With a seq of five digits, 150 bytes.
_EVENT = (
    b'{"type":"node_state","node_id":"train/fold-%02d","status":"running","progress":0.42,'
    b'"message":"step 42 of 100, loss 0.2","seq":%d,"ts":1700000000000}'
)
_NODES = 100
_IN_FLIGHT = 8


class Source:
    """One run's events."""

    def __init__(self, socket: ClientConnection) -> None:
        self.sent = 0
        self._socket = socket
        self._acknowledged = 0

    async def publish(self, count: int) -> None:
        """Send that many events in one frame; waits while too much is on its way."""
        frame = [_EVENT % (i % _NODES, i) for i in range(self.sent + 1, self.sent + count + 1)]
        self.sent += count
        await self._socket.send(b"[" + b",".join(frame) + b"]", text=True)
        while self.sent - self._acknowledged > count * _IN_FLIGHT:
            await self._hear()

    async def settled(self) -> None:
        """Wait until the room has everything."""
        while self._acknowledged < self.sent:
            await self._hear()

    async def at_rate(self, rate: int, seconds: float) -> None:
        """Publish so many events a second, a hundred times a second."""
        began, first = time.monotonic(), self.sent
        while (since := time.monotonic() - began) < seconds:
            due = first + int(since * rate) - self.sent
            if due:
                await self.publish(due)
            await asyncio.sleep(0.01)

    async def _hear(self) -> None:
        for message in p.decode_reply(await self._socket.recv()):
            if isinstance(message, p.Ack):
                self._acknowledged = message.seq


@contextlib.asynccontextmanager
async def source(url: str, dag_id: str) -> AsyncIterator[Source]:
    """A new run of a DAG."""
    async with connect(f"{url}/api/dags/{dag_id}/publish", compression=None, proxy=None, ping_interval=None) as socket:
        run = f"{dag_id}-{time.time_ns()}"
        attach = p.Attach(protocol=p.PROTOCOL, publisher="bench", epoch=run, start=p.RunStart())
        await socket.send(p.encode(attach), text=True)
        await socket.recv()
        yield Source(socket)
