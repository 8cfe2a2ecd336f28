"""`Wire`: a TCP proxy in the event loop, and everything that a network or a proxy does to what goes through it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Literal

Direction = Literal["up", "down"]
Refusal = Literal["reset", "reset late", "503"]

_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
# Sent with SO_LINGER, a close is a reset.
_AT_ONCE = struct.pack("ii", 1, 0)


class Wire:
    """Forwards 127.0.0.1:`port` to the port `target`; "up" is towards the server.

    Attributes:
        target: Where it leads; a server that was started again has another port.
        refuses: What becomes of new connections: `reset` at once, `reset late` after the request, or `503`.
        refusals: How many connections are refused; None for all until `mend`.
        chunk: How many bytes are forwarded at once.
        delay: How long each chunk takes, in seconds.
        swallows: The directions in which what is sent disappears, on connections that stay open.
        doubles: The directions in which the next whole frame is sent twice.
        taken: How many connections there were.
    """

    def __init__(self) -> None:
        self.target = 0
        self.port = 0
        self.refuses: Refusal | None = None
        self.refusals: int | None = None
        self.chunk = 65536
        self.delay = 0.0
        self.swallows: set[Direction] = set()
        self.doubles: set[Direction] = set()
        self.taken = 0
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- Faults

    def cut(self) -> None:
        """Reset every connection, at both ends."""
        for link in tuple(self._links):
            link.reset()

    def half_close(self, direction: Direction) -> None:
        """Send the end of the stream in one direction; the other goes on."""
        for link in tuple(self._links):
            link.end(direction)

    def say_close(self, code: int) -> None:
        """Close each connection in good order, with a close code: what proxies do when they restart."""
        for link in tuple(self._links):
            link.say_close(code)

    def mend(self, *, cut: bool) -> None:
        """Be a good network again; `cut`: connections that were ill-treated end, as they do when a route comes back."""
        # Swallowed bytes never come: only a new connection helps, as soon as an end notices, or the route says so.
        silenced = bool(self.swallows)
        self.refuses = self.refusals = None
        self.chunk, self.delay = 65536, 0.0
        self.doubles.clear()
        if cut:
            self.cut()
        if not silenced or cut:
            self.swallows.clear()
        else:
            for link in self._links:
                link.silenced |= self.swallows
            self.swallows = set()

    # --- Connections

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.taken += 1
        try:
            refuses = self._refusal()
            if refuses is not None:
                await _refuse(refuses, reader, writer)
                return
            try:
                there, back = await asyncio.open_connection("127.0.0.1", self.target)
            except OSError:
                _reset(writer)
                return
            link = _Link(self, reader, writer, there, back)
            self._links.add(link)
            try:
                await link.run()
            finally:
                self._links.discard(link)
        except OSError:
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    def _refusal(self) -> Refusal | None:
        """What becomes of the connection that has just come."""
        refuses = self.refuses
        if refuses is not None and self.refusals is not None:
            self.refusals -= 1
            if self.refusals <= 0:
                self.refuses = self.refusals = None
        return refuses


async def _refuse(how: Refusal, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if how != "reset":
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
    if how == "503":
        writer.write(_UNAVAILABLE)
        await writer.drain()
        writer.close()
    else:
        _reset(writer)


class _Link:
    """One connection through a wire."""

    def __init__(
        self,
        wire: Wire,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        self.silenced: set[Direction] = set()
        self._wire = wire
        self._from: dict[Direction, asyncio.StreamReader] = {"up": reader, "down": there}
        self._to: dict[Direction, asyncio.StreamWriter] = {"up": back, "down": writer}
        self._frames: dict[Direction, Frames] = {"up": Frames(), "down": Frames()}
        self._code: int | None = None

    async def run(self) -> None:
        pumps = [asyncio.create_task(self._pump("up")), asyncio.create_task(self._pump("down"))]
        try:
            await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            for writer in self._to.values():
                writer.transport.abort()

    def reset(self) -> None:
        for writer in self._to.values():
            _reset(writer)

    def end(self, direction: Direction) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self._to[direction].write_eof()

    def say_close(self, code: int) -> None:
        self._code = code
        if self._frames["down"].between:
            self._say_close()

    def _say_close(self) -> None:
        assert self._code is not None
        # Where that direction has ended before, nothing more can be said on it.
        with contextlib.suppress(RuntimeError):
            self._to["down"].write(bytes([0x88, 2]) + self._code.to_bytes(2, "big"))
        self.end("down")
        _reset(self._to["up"])

    async def _pump(self, direction: Direction) -> None:
        wire, reader, writer, frames = self._wire, self._from[direction], self._to[direction], self._frames[direction]
        while data := await reader.read(wire.chunk):
            if wire.delay:
                await asyncio.sleep(wire.delay)
            if direction in wire.swallows or direction in self.silenced:
                continue
            if writer.is_closing() or writer.transport.is_closing():
                return
            whole = frames.between
            frames.feed(data)
            if direction in wire.doubles and whole and frames.between:
                wire.doubles.discard(direction)
                data += data
            # After the end of the stream was sent, the rest is nobody's.
            with contextlib.suppress(RuntimeError):
                writer.write(data)
            await writer.drain()
            if direction == "down" and self._code is not None and frames.between:
                self._say_close()
                return
        self.end(direction)


class Frames:
    """Where the frames of a WebSocket begin, in what comes in pieces of any size.

    Attributes:
        between: Whether the handshake is over, and the last byte was the last of a frame.
    """

    def __init__(self) -> None:
        self.between = False
        self._begun = False
        self._rest = b""
        # How much of a frame's payload is still to come.
        self._left = 0

    def feed(self, data: bytes) -> None:
        """More bytes have come."""
        rest = self._rest + data
        if not self._begun:
            end = rest.find(b"\r\n\r\n")
            if end < 0:
                self._rest = rest
                return
            self._begun, rest = True, rest[end + 4 :]
        while rest:
            if self._left:
                taken = min(self._left, len(rest))
                self._left, rest = self._left - taken, rest[taken:]
                continue
            size = _sizes(rest)
            if size is None or len(rest) < size[0]:
                break
            header, self._left = size
            rest = rest[header:]
        self._rest = rest
        self.between = not rest and not self._left


def _sizes(head: bytes) -> tuple[int, int] | None:
    """The sizes of a frame's header and of its payload; None where the header is not whole."""
    if len(head) < 2:
        return None
    more = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
    if len(head) < 2 + more:
        return None
    payload = int.from_bytes(head[2 : 2 + more], "big") if more else head[1] & 0x7F
    return 2 + more + (4 if head[1] & 0x80 else 0), payload


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()
