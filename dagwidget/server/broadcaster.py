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
    """Everybody who is connected to one room, and the task that tells them what is new."""

    def __init__(self, room: Room, journal: Journal | None = None, *, live: bool = True) -> None:
        """The audience of a room, whose events go into `journal`, where there is one."""
        self.room = room
        self._live = live
        self._journal = journal
        # Whether the journal has failed, and what happens is in memory only.
        self._degraded = False
        self.members: dict[ServerConnection, Session] = {}
        # Since when a connection's transport has taken nothing.
        self._choked: dict[ServerConnection, int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        # Where the log stood when everybody was last told.
        self._told = ("", 0)
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._flush_for_ever())

    @property
    def is_live(self) -> bool:
        """Whether runs are published here; a past run's room is only looked at."""
        return self._live

    @property
    def empty(self) -> bool:
        return not self.members

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
        self._tell([connection])

    def leave(self, connection: ServerConnection) -> None:
        session = self.members.pop(connection)
        self._choked.pop(connection, None)
        if isinstance(session, PublisherSession):
            session.leave()

    def heard(self, connection: ServerConnection) -> None:
        """A client said something: answer it at once, and let the others know what is new."""
        self._keep()
        self._tell([connection])
        self._announce()

    def _announce(self) -> None:
        if self._told != (self.room.epoch, self.room.told):
            self._news.set()

    def _keep(self) -> None:
        """Hand what is new to the journal; who waits for it is told when it is kept."""
        if self._journal is None:
            return
        loop = asyncio.get_running_loop()
        for run_id, records in self.room.take_unkept().items():
            done = functools.partial(_in_loop, loop, self._kept, run_id, records[-1].seq)
            self._journal.append(self.room.dag_id, run_id, records, done)

    def _kept(self, run_id: str, seq: int, fault: str | None) -> None:
        self.room.kept(run_id, seq)
        if (fault is not None) != self._degraded:
            self._degraded = fault is not None
            if fault is not None:
                self.room.warn("log_unavailable", f"what happens is kept in memory only: {fault}", now_ms())
            else:
                self.room.warn("log_available", "what happens is kept on disk again", now_ms())
            self._keep()
        self._tell([connection for connection, session in self.members.items() if session.has_promised])
        self._announce()

    def tick(self, now: int) -> None:
        if self._live:
            self.room.tick(now)
            self._keep()
        for connection, session in list(self.members.items()):
            session.tick(now)
            choked = self._choked.get(connection)
            if choked is not None and now - choked > self.room.limits.stalled_seconds * 1000:
                connection.transport.abort()
        self._tell(list(self.members))

    def stop(self, bye: p.Bye) -> None:
        self._task.cancel()
        for session in self.members.values():
            session.stop(bye)
        self._tell(list(self.members))

    def close(self) -> None:
        self._task.cancel()

    async def _flush_for_ever(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            self._told = (self.room.epoch, self.room.told)
            self._tell(list(self.members))
            # While the room is busy, what comes in this time goes out as one frame.
            await asyncio.sleep(self.room.limits.flush_seconds)
            if self._choked:
                self._news.set()

    def _tell(self, connections: list[ServerConnection]) -> None:
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


def _in_loop(
    loop: asyncio.AbstractEventLoop,
    kept: Callable[[str, int, str | None], None],
    run_id: str,
    seq: int,
    fault: str | None,
) -> None:
    # The server may have ended meanwhile.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(kept, run_id, seq, fault)


async def _close(connection: ServerConnection, bye: p.Bye, seconds: float) -> None:
    reason = bye.reason.encode()[:120].decode("utf-8", "ignore")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(connection.close(bye.code, reason), seconds)
        return
    connection.transport.abort()
