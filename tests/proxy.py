"""A TCP proxy that a test can cut: what a network does to a connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any


class CutProxy:
    """Forwards 127.0.0.1:`port` to another port of this machine, from a thread of its own.

    Attributes:
        chunk: How many bytes are forwarded at once.
        swallows: Whether what is sent disappears, on connections that stay open: a half-open TCP connection.
        left: How many bytes a connection may still carry towards the client before it breaks; None for any number.
        taken: How many connections there were.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        # One that can watch a listening socket, which the default of Windows can't.
        self._loop = asyncio.SelectorEventLoop()
        self._connections: dict[asyncio.Task[None], socket.socket] = {}
        self._listener: socket.socket | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self.chunk = 65536
        self.swallows = False
        self.left: int | None = None
        self.taken = 0
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

    # Not asyncio's server: closed while a connection is being accepted, it loses that socket (Python 3.11).
    async def _open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._loop.add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            self.taken += 1
            task = self._loop.create_task(self._connected(connection))
            self._connections[task] = connection
            task.add_done_callback(self._connections.pop)

    async def _cut(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        connections = dict(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        # A task that was cancelled before its first step has closed nothing.
        for connection in connections.values():
            connection.close()

    async def _connected(self, connection: socket.socket) -> None:
        writers: list[asyncio.StreamWriter] = []
        try:
            reader, writer = await asyncio.open_connection(sock=connection)
            writers.append(writer)
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(back)
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer, towards_client=True))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in writers:
                each.transport.abort()

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
