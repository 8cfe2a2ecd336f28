"""`Audience`: the connections of everybody in one room, and the task that sends them what is new."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast

from .. import protocol as p
from .dag import Dag
from .room import Room
from .sessions.base import Session


class Audience:
    """The connections of everybody in one room, and the task that sends them what is new."""

    def __init__(self, dag: Dag, room: Room, now: Callable[[], int]) -> None:
        """Nobody yet.

        Args:
            dag: The room's DAG.
            room: The room.
            now: The clock, Unix milliseconds.
        """
        self.room = room
        self.members: dict[ServerConnection, Session] = {}
        self._dag = dag
        self._now = now
        # Since when a connection's transport has taken nothing.
        self._choked: dict[ServerConnection, int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        # Where the log stood when everybody was last sent what is new.
        self._sent = -1
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._flush_for_ever())

    def join(self, connection: ServerConnection, session: Session) -> None:
        """A client has entered the room."""
        self.members[connection] = session
        self._news.set()

    def leave(self, connection: ServerConnection) -> None:
        """A client has gone to another room, or its connection has ended."""
        del self.members[connection]
        self._choked.pop(connection, None)

    def publish(self) -> None:
        """Send everybody what is new in the log."""
        if self._sent != self.room.durable:
            self._news.set()

    def announce(self) -> None:
        """Something changed beside the log: see what each client is to be sent."""
        self._news.set()

    def tick(self, now: int) -> None:
        """Drop the connections that have taken nothing for long, and see what each client is to be sent."""
        for connection, since in tuple(self._choked.items()):
            if now - since > self.room.limits.stalled_seconds * 1000:
                connection.transport.abort()
        self.send(list(self.members))

    def close(self) -> None:
        """Nobody is here any more."""
        self._task.cancel()

    async def _flush_for_ever(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            self._sent = self.room.durable
            self.send(list(self.members))
            # While the room is busy, what comes in this time goes out as one frame.
            await asyncio.sleep(self.room.limits.flush_seconds)
            if self._choked:
                self._news.set()

    def send(self, connections: list[ServerConnection]) -> None:
        """Send each client what it may have, in rounds: those that get the same frame get it in one go."""
        now = self._now()
        while connections:
            frames: dict[int, tuple[bytes, list[ServerConnection]]] = {}
            for connection in connections:
                frame = self._pull(connection, now)
                if frame is not None:
                    frames.setdefault(id(frame), (frame, []))[1].append(connection)
            for frame, receivers in frames.values():
                broadcast(receivers, frame, text=True)
            connections = [connection for _, receivers in frames.values() for connection in receivers]

    def _pull(self, connection: ServerConnection, now: int) -> bytes | None:
        session = self.members.get(connection)
        if session is None:
            return None
        if connection.transport.get_write_buffer_size() > self.room.limits.window_bytes and session.ended is None:
            self._choked.setdefault(connection, now)
            return None
        self._choked.pop(connection, None)
        frame = self._dag.pull(session, now)
        if frame is None and session.ended is not None:
            self._close(connection, session)
        return frame

    def _close(self, connection: ServerConnection, session: Session) -> None:
        assert session.ended is not None
        if session.abort:
            connection.transport.abort()
            return
        task = asyncio.create_task(close(connection, session.ended, self.room.limits.close_seconds))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def in_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a loop, from any thread."""
    # The server may have ended meanwhile.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


async def close(connection: ServerConnection, bye: p.Bye, seconds: float) -> None:
    """Close a connection for the reason that its client was told; drop it where that takes longer."""
    reason = bye.reason.encode()[:120].decode("utf-8", "ignore")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await connection.close(bye.code, reason)
        return
    connection.transport.abort()
