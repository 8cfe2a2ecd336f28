"""A server of one DAG, without sockets, threads or a clock. Its disk writes and reads when the test says so."""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits
from dagwidget.server.auth.grant import Authorize, Grant
from dagwidget.server.dag import Dag
from dagwidget.server.room import Room
from dagwidget.server.sessions.base import Session
from dagwidget.server.storage.event_store import Append
from dagwidget.server.storage.faults import Unavailable
from dagwidget.server.storage.loading import StoredLog, load
from dagwidget.server.storage.memory import MemoryJournal

S = TypeVar("S", bound=Session)


def anybody(_token: str | None) -> Grant:
    return Grant(role="publish", user="ana")


class Disk:
    """What outlives a server."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()

    @property
    def runs(self) -> dict[str, StoredLog]:
        """Each run with all of its records."""
        found = {}
        for run in self.journal.runs():
            records = self.journal.follow("dag", run.run_id, run.begins, run.events) if run.events else []
            found[run.run_id] = StoredLog(run.run_id, records, run.meta, None, run.begins, run.head)
        return found

    def delete(self, run_id: str) -> None:
        self.journal.delete("dag", run_id)


class Server:
    """A `Dag`, and what is around it. It is its `Shell`.

    Attributes:
        now: The time.
        writing: What waits to be written.
        reading: The runs that wait to be read.
        instant: Whether the disk writes and reads at once.
    """

    def __init__(
        self, disk: Disk | None = None, limits: Limits | None = None, *, now: int, instant: bool = True
    ) -> None:
        self.disk = disk
        self.limits = limits or Limits()
        self.now = now
        self.instant = instant
        self.writing: deque[tuple[Room, Append]] = deque()
        self.reading: deque[str] = deque()
        self.fault: str | None = None
        self.dag = Dag("dag", self.limits, self, journaled=disk is not None, started_at=now)
        for run in disk.journal.runs() if disk is not None else ():
            assert run.meta is not None
            summary = run.meta.summary
            assert summary.run_id == run.run_id
            self.dag.add(summary, run.meta, now)

    # --- Clients

    def connect(
        self,
        kind: type[Session],
        *,
        token: str | None = None,
        run_id: str | None = None,
        authorize: Authorize = anybody,
    ) -> Session:
        session = kind(self.dag.lobby, authorize, self.now, token, run_id=run_id, runs=self.dag.runs)
        self.dag.connect(session)
        self.dag.follow_up(session, self.now)
        return session

    def say(self, session: Session, *messages: p.Struct) -> None:
        for message in messages:
            self.dag.receive(session, p.encode(message).decode(), self.now)

    def pull(self, session: Session) -> bytes | None:
        return self.dag.pull(session, self.now)

    def hear(self, session: Session, decode=p.decode_server) -> list:
        """All that the client may be sent now."""
        messages = []
        while (frame := self.pull(session)) is not None:
            messages += decode(frame)
        return messages

    def leave(self, session: Session) -> None:
        self.dag.leave(session, self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += round(seconds * 1000)
        self.dag.tick(self.now)

    # --- The disk

    def write(self) -> bool:
        """Write what has waited longest, if anything."""
        if not self.writing or self.disk is None:
            return False
        room, append = self.writing.popleft()
        self.disk.journal.append(append, lambda result: self.dag.stored(room, result, self.now))
        return True

    def fail(self, why: str) -> None:
        """What has waited longest can't be written."""
        room, _ = self.writing.popleft()
        self.dag.stored(room, Unavailable(why), self.now)

    def read(self) -> bool:
        """Read what has waited longest, if anything."""
        if not self.reading or self.disk is None:
            return False
        run_id = self.reading.popleft()
        room, stored = self.dag.make_room(run_id), load(self.disk.journal, "dag", run_id)
        if stored is not None:
            room.restore(stored, self.now)
        self.dag.loaded(run_id, room if stored is not None else None, self.now)
        return True

    def remove(self, run_id: str) -> None:
        """Retention deletes a run."""
        if self.disk is not None:
            self.disk.delete(run_id)
        self.dag.remove(run_id, self.now)

    # --- What the `Dag` needs done

    def load(self, dag: Dag, run_id: str) -> None:
        self.reading.append(run_id)
        if self.instant:
            self.read()

    def has_space(self) -> bool:
        if len(self.dag.rooms) + len(self.dag.loading) < self.limits.rooms:
            return True
        _, unused = min(self.dag.unused(), default=(0, None))
        if unused is None:
            return False
        self.dag.unload(unused)
        return True

    def moved(self, session: Session, room: Room) -> None:
        pass

    def appended(self, room: Room) -> None:
        append = room.next_append(self.now)
        if append is not None:
            self.writing.append((room, append))
            if self.instant:
                self.write()

    def announce(self, room: Room) -> None:
        pass

    def wake(self, session: Session) -> None:
        pass
