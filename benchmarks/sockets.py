"""WebSockets that cost the reader next to nothing, so that one process can be a thousand clients.

A stream's reader that is slower than its server would measure itself. So nothing is decoded that need not be: the
headers of frames, a few bytes at the beginning of each and a few at its end.
"""

from __future__ import annotations

import asyncio
from typing import Final

from dagwidget import protocol as p

_HANDSHAKE: Final = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)
# All sockets are read in one thread, one after the other.
_BUFFER: Final = memoryview(bytearray(1024 * 1024))
_EDGE: Final = 128
_ACK_FRAMES: Final = 64
_ACK_BYTES: Final = 256 * 1024


class LightSocket(asyncio.BufferedProtocol):
    """A client's WebSocket that counts the bytes it is sent."""

    subprotocol: str | None = None

    def __init__(self, path: str) -> None:
        loop = asyncio.get_running_loop()
        self.bytes = 0
        self._transport: asyncio.Transport | None = None
        self.open: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._path = path
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        more = f"Sec-WebSocket-Protocol: {self.subprotocol}\r\n" if self.subprotocol else ""
        transport.write(_HANDSHAKE.format(path=self._path, more=more).encode())

    def connection_lost(self, error: Exception | None) -> None:
        if not self.open.done():
            self.open.set_exception(error or ConnectionResetError("closed while connecting"))
        self.closed.set_result(None)

    def get_buffer(self, _size: int) -> memoryview:
        return _BUFFER

    def buffer_updated(self, size: int) -> None:
        data = _BUFFER[:size]
        if not self.open.done():
            self._answer += data
            answer, found, rest = self._answer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in answer:
                self.transport.abort()
                return
            self.open.set_result(None)
            self.opened()
            data = memoryview(rest)
        self.bytes += len(data)
        self.received(data)

    def send(self, text: bytes) -> None:
        """Send a text frame, masked as it must be, with a key that changes nothing."""
        size = len(text)
        header = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
        self.transport.write(header + b"\0\0\0\0" + text)

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def abandon(self) -> None:
        """Let go of it, in whatever state it is."""
        if self._transport is not None:
            self._transport.abort()

    def opened(self) -> None:
        """The handshake is over."""

    def received(self, data: memoryview) -> None:
        """More of the stream has come, cut anywhere."""


class Viewer(LightSocket):
    """A viewer of the v1 dialect, which knows of events only how many there were.

    Attributes:
        epoch: The run.
        seq: The newest event.
        events: How many events came one by one, those of a compacted state not counted.
        resets: How often it was given such a state.
        synced: Done once it is in step for the first time.
    """

    subprotocol = p.SUBPROTOCOL

    def __init__(self, dag_id: str, last: p.Cursor | None = None) -> None:
        super().__init__(f"/api/dags/{dag_id}/stream")
        self.epoch, self.seq = (last.epoch, last.seq) if last else ("", 0)
        self.events = self.resets = 0
        self.synced: asyncio.Future[None] = self.closed.get_loop().create_future()
        self._last = last
        self._header = b""
        # How much of the frame is still to come, and what is kept of it.
        self._left = 0
        self._size = 0
        self._start = self._end = b""
        self._resetting = False
        self._acknowledged = 0
        self._frames = self._unacknowledged = 0

    @property
    def cursor(self) -> p.Cursor:
        return p.Cursor(epoch=self.epoch, seq=self.seq)

    def acknowledge(self) -> None:
        """Say what has come."""
        if self.seq != self._acknowledged and not self.transport.is_closing():
            self._acknowledged = self.seq
            self._frames = self._unacknowledged = 0
            self.send(b'{"type":"ack","seq":%d}' % self.seq)

    def opened(self) -> None:
        self.send(p.encode(p.Hello(protocol=p.PROTOCOL, last=self._last)))

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if not self.synced.done():
            self.synced.set_exception(error or ConnectionResetError("closed before synced"))
            # Who waits for `open` only need not look.
            self.synced.exception()

    def received(self, data: memoryview) -> None:
        while data:
            if self._left == 0:
                data = self._begin(data)
            part, data = data[: self._left], data[self._left :]
            if len(self._start) < _EDGE:
                self._start += part[: _EDGE - len(self._start)]
            self._end = (self._end + part[-_EDGE:])[-_EDGE:]
            self._left -= len(part)
            if self._size and self._left == 0:
                self._take(self._start, self._end)
                self._size = 0

    def _begin(self, data: memoryview) -> memoryview:
        """Read the header of a frame, which may come in pieces; returns what follows it."""
        held = len(self._header)
        header = self._header + data[: 10 - held]
        extended = {126: 2, 127: 8}.get(header[1] & 0x7F, 0) if len(header) > 1 else 0
        if len(header) < 2 + extended:
            self._header = header
            return data[len(data) :]
        self._size = self._left = int.from_bytes(header[2 : 2 + extended], "big") if extended else header[1] & 0x7F
        self._header = self._start = self._end = b""
        return data[2 + extended - held :]

    def _take(self, start: bytes, end: bytes) -> None:
        kind = b"events" if start[:1] == b"[" else start[9 : start.find(b'"', 9)]
        match kind:
            case b"welcome" | b"command_ack" | b"bye":
                return
            case b"sync":
                (sync,) = p.decode_server(start)
                self.epoch, self._resetting = sync.epoch, sync.reset
                self.resets += sync.reset
            case b"synced":
                (synced,) = p.decode_server(start)
                self.seq, self._resetting = synced.seq, False
                self.acknowledge()
                if not self.synced.done():
                    self.synced.set_result(None)
            case b"ping":
                self.send(b'{"type":"pong","seq":%d}' % self.seq)
            case _ if start[:1] in b"[{" and not self._resetting:
                at = end.rfind(b'"seq":') + 6
                seq = int(end[at : end.find(b",", at)])
                self.events += seq - self.seq
                self.seq = seq
                self._frames += 1
                self._unacknowledged += self._size
                if self._frames >= _ACK_FRAMES or self._unacknowledged >= _ACK_BYTES:
                    self.acknowledge()


async def connected(url: str, socket: LightSocket) -> None:
    """Connect a socket to the server at a base URL.

    Raises:
        OSError: nobody is there, or it refused.
    """
    host, port = url.removeprefix("ws://").split(":")
    await asyncio.get_running_loop().create_connection(lambda: socket, host, int(port))
    await socket.open


async def crowd(url: str, dag_id: str, count: int) -> list[Viewer]:
    """That many viewers, all in step."""
    viewers = [Viewer(dag_id) for _ in range(count)]
    # No more at a time than a server takes of those that have not said who they are.
    for first in range(0, count, 25):
        group = viewers[first : first + 25]
        await asyncio.gather(*(connected(url, viewer) for viewer in group))
        await asyncio.gather(*(viewer.synced for viewer in group))
    return viewers
