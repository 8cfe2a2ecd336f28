"""`Audience`: everybody who is connected to one room, and the task that tells them what is new."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast

from .. import protocol as p
from .room import Room
from .sessions.base import Session
from .sessions.publisher import PublisherSession
from .storage.event_store import Journal


def now_ms() -> int:
    """The time, Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Audience:
    """Everybody who is connected to one room, and the task that sends them what is new."""

    def __init__(
        self, room: Room, journal: Journal | None = None, *, changed: Callable[[Room], None] = lambda _room: None
    ) -> None:
        """The audience of a room.

        Args:
            room: The room.
            journal: Where its events are stored, if anywhere.
            changed: Called after the room has got new events.
        """
        self.room = room
        self._journal = journal
        self._changed = changed
        # Whether the journal has failed, and what happens is in memory only.
        self._degraded = False
        self.members: dict[ServerConnection, Session] = {}
        # Clients of other rooms that wait for what they did here to be stored, and how they are sent it.
        self._guests: list[Callable[[], None]] = []
        # Since when a connection's transport has taken nothing.
        self._choked: dict[ServerConnection, int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        # Where the log stood when everybody was last sent what is new.
        self._sent = 0
        self._seen = 0
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._flush_for_ever())

    @property
    def empty(self) -> bool:
        return not self.members

    @property
    def can_leave(self) -> bool:
        """Whether the room may leave memory: nobody is here, all is stored, and no deadline runs."""
        timed = any(gate.presentation.deadline is not None for gate in self.room.state.gates.values())
        return self.empty and self.room.is_stored and not timed

    def summary(self) -> dict[str, Any]:
        """What a list of DAGs says of this one."""
        room = self.room
        return {
            "dag_id": room.dag_id,
            "epoch": room.epoch,
            "status": room.state.status,
            "seq": room.head,
            "nodes": len(room.state.nodes),
            "gates": len(room.state.gates),
            "viewers": sum(not isinstance(session, PublisherSession) for session in self.members.values()),
        }

    def join(self, connection: ServerConnection, session: Session) -> None:
        self.members[connection] = session
        self._send([connection])

    def hand_over(self, connection: ServerConnection) -> None:
        """A client goes to another room."""
        del self.members[connection]
        self._choked.pop(connection, None)

    def leave(self, connection: ServerConnection) -> None:
        """A client's connection has ended."""
        session = self.members.pop(connection)
        self._choked.pop(connection, None)
        if isinstance(session, PublisherSession):
            session.leave()

    def heard(self, connection: ServerConnection) -> None:
        """A client said something: answer it at once, and let the others know what is new."""
        self.publish()
        self._send([connection])

    def publish(self) -> None:
        """Store what is new in the room, and let everybody know."""
        self._store()
        if self.room.head != self._seen:
            self._seen = self.room.head
            self._changed(self.room)
        if self._sent != self.room.durable:
            self._news.set()

    def announce(self) -> None:
        """Something changed beside the log: look what each client is to be sent."""
        self._news.set()

    def await_storing(self, send: Callable[[], None]) -> None:
        """Call `send` once what the room has now is stored."""
        if self._journal is None:
            send()
        else:
            self._guests.append(send)

    def _store(self) -> None:
        """Hand what is new to the journal; who waits for it is answered when it is stored."""
        if self._journal is None:
            return
        records = self.room.take_unstored()
        if records:
            loop = asyncio.get_running_loop()
            done = functools.partial(in_loop, loop, self._stored, records[-1].seq)
            self._journal.append(self.room.dag_id, self.room.epoch, records, done, self.room.meta(now_ms()))

    def _stored(self, seq: int, fault: str | None) -> None:
        self.room.stored(seq)
        if (fault is not None) != self._degraded:
            self._degraded = fault is not None
            if fault is not None:
                self.room.warn("log_unavailable", f"what happens is kept in memory only: {fault}", now_ms())
            else:
                self.room.warn("log_available", "what happens is stored on disk again", now_ms())
        self.publish()
        self._send([connection for connection, session in self.members.items() if session.has_pending_acks])
        guests, self._guests = self._guests, []
        for send in guests:
            send()

    def tick(self, now: int) -> None:
        self.room.tick(now)
        for connection, session in list(self.members.items()):
            session.tick(now)
            choked = self._choked.get(connection)
            if choked is not None and now - choked > self.room.limits.stalled_seconds * 1000:
                connection.transport.abort()
        self.publish()
        self._send(list(self.members))

    def send(self, connection: ServerConnection) -> None:
        """Send a client what it may have."""
        self._send([connection])

    def stop(self, bye: p.Bye) -> None:
        self._task.cancel()
        for session in self.members.values():
            session.stop(bye)
        self._send(list(self.members))

    def close(self) -> None:
        self._task.cancel()

    async def _flush_for_ever(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            self._sent = self.room.durable
            self._send(list(self.members))
            # While the room is busy, what comes in this time goes out as one frame.
            await asyncio.sleep(self.room.limits.flush_seconds)
            if self._choked:
                self._news.set()

    def _send(self, connections: list[ServerConnection]) -> None:
        """Send what each may have, in rounds: who is to get the same frame gets it in one go."""
        now = now_ms()
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
        frame = session.pull(now)
        if frame is None and session.ended is not None:
            self._close(connection, session)
        return frame

    def _close(self, connection: ServerConnection, session: Session) -> None:
        assert session.ended is not None
        if session.abort:
            connection.transport.abort()
            return
        task = asyncio.create_task(_close(connection, session.ended, self.room.limits.close_seconds))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def in_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a loop, from any thread."""
    # The server may have ended meanwhile.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


async def _close(connection: ServerConnection, bye: p.Bye, seconds: float) -> None:
    reason = bye.reason.encode()[:120].decode("utf-8", "ignore")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(connection.close(bye.code, reason), seconds)
        return
    connection.transport.abort()
