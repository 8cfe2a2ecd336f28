"""A TCP proxy that a test can cut: what a network does to a connection."""

from __future__ import annotations

import asyncio
import threading
from typing import Any


class CutProxy:
    """Forwards 127.0.0.1:`port` to another port of this machine, from a thread of its own.

    Attributes:
        chunk: How many bytes are forwarded at once.
        swallows: Whether what is sent disappears, on connections that stay open: a half-open TCP connection.
        left: How many bytes a connection may still carry towards the client before it breaks; None for any number.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self.chunk = 65536
        self.swallows = False
        self.left: int | None = None
        self.open()

    def open(self) -> None:
        """Take connections (again, on the same port)."""
        self._run(self._open())

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        self._run(self._cut())

    def close(self) -> None:
        self._run(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = {writer}
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            writers.add(back)
            self._writers |= writers
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer, towards_client=True))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in writers:
                each.transport.abort()
            self._writers -= writers
            self._tasks.discard(task)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, towards_client: bool = False
    ) -> None:
        while data := await reader.read(self.chunk):
            if self.swallows:
                continue
            if towards_client and self.left is not None:
                data, self.left = data[: self.left], self.left - len(data)
            writer.write(data)
            await writer.drain()
            if towards_client and self.left is not None and self.left < 0:
                self.left = None
                raise ConnectionAbortedError
        writer.close()
