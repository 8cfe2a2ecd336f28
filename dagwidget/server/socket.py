"""`Socket`: a client's connection from its first byte on, and how one whose peer is gone is found out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, broadcast

from .. import protocol as p
from ..protocol.limits import Limits
from .auth.door import Door

# How often the system asks a silent peer, and how often in vain.
_PROBES: Final = 3


class Socket(ServerConnection):
    """A connection, which stands before the door until it has authenticated.

    Attributes:
        door: Where it stands.
        limits: Every bound.
        opened_at: When its handshake was about to be answered, in Unix milliseconds.
    """

    door: Door
    limits: Limits
    opened_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TCP connection is there; the handshake is not."""
        keep_alive(transport.get_extra_info("socket"), self.limits)
        super().connection_made(transport)
        self.door.enter(self, self.address, self._send_away)

    def connection_lost(self, exc: Exception | None) -> None:
        """The TCP connection has ended."""
        self.door.leave(self)
        super().connection_lost(exc)

    @property
    def address(self) -> str:
        """Where the client is; empty where that is not known."""
        remote = self.remote_address
        return str(remote[0]) if remote else ""

    def _send_away(self, why: p.Bye) -> None:
        """End without waiting: a close frame would have to be answered."""
        if self.subprotocol == p.SUBPROTOCOL:
            broadcast([self], p.encode(why), text=True)
        self.transport.abort()


def sockets_of(door: Door, limits: Limits) -> type[Socket]:
    """The class of the connections of one server."""
    return type("Socket", (Socket,), {"door": door, "limits": limits})


def keep_alive(connection: socket.socket | None, limits: Limits) -> None:
    """Have the system ask a peer that is silent whether it is still there, and drop it where it is not."""
    if connection is None:
        return
    interval = max(1, round((limits.dead_seconds - limits.heartbeat_seconds) / _PROBES))
    options = {
        "TCP_KEEPIDLE": max(1, round(limits.heartbeat_seconds)),
        # The same on macOS.
        "TCP_KEEPALIVE": max(1, round(limits.heartbeat_seconds)),
        "TCP_KEEPINTVL": interval,
        "TCP_KEEPCNT": _PROBES,
        # Data that is on its way is not acknowledged either.
        "TCP_USER_TIMEOUT": round(limits.dead_seconds * 1000),
    }
    # What a system does not know, it does its own way.
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in options.items():
        number: Any = getattr(socket, name, None)
        if number is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, number, value)


async def ping_for_ever(connection: ServerConnection, limits: Limits) -> None:
    """Drop a client that answers no WebSocket ping: for clients that don't know the `ping` message.

    Behind a proxy, the TCP connection stands though the client is gone.
    """
    while True:
        await asyncio.sleep(limits.heartbeat_seconds)
        try:
            async with asyncio.timeout(limits.dead_seconds - limits.heartbeat_seconds):
                # Sending waits for a peer that does not read; it gets no longer than one that does not answer.
                await (await connection.ping())
        except TimeoutError:
            connection.transport.abort()
            return
