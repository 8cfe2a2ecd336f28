"""`Dag`: everything a server holds of one DAG. Sans-I/O: no sockets, no store, no clock; `now` comes from outside.

It has the run list, the rooms that are in memory, and the clients, and decides which room each client is in. A room is
loaded when a client, a command, a deadline or a lost engine needs it, and leaves memory when nobody does.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Final, Protocol

from msgspec.structs import replace

from .. import protocol as p
from ..protocol.limits import Limits
from ..state import FINAL
from .presence import Presence
from .room import Refused, Room
from .run_list import RunList
from .sessions.base import Seek, Session
from .sessions.publisher import PublisherSession
from .sessions.viewer import RUNS_MS
from .storage.event_store import Result, RunMeta
from .storing import Backlog

# How long a room that nobody uses stays in memory, in milliseconds.
_UNUSED_MS: Final = 60_000


class Shell(Protocol):
    """What a `Dag` needs done by the outside."""

    def load(self, dag: Dag, run_id: str) -> None:
        """Call `dag.loaded` with the room of a run, now or later."""

    def has_space(self) -> bool:
        """Whether another room may be loaded."""

    @property
    def fault(self) -> str | None:
        """Why the run lists could not be read, so that there may be other runs than these; None where they were."""

    def moved(self, session: Session, room: Room) -> None:
        """A client is in another room from now on."""

    def appended(self, room: Room) -> None:
        """The room may have new events: store them, and send the clients what is durable."""

    def announce(self, room: Room) -> None:
        """Something changed beside the log of the room: see what each client in it is to be sent."""

    def wake(self, session: Session) -> None:
        """See what a client is to be sent."""


class Dag:
    """The runs, the rooms and the clients of one DAG.

    Attributes:
        runs: The run list.
        rooms: The rooms in memory, by run.
        lobby: A room without a run, for clients that are in no other.
        where: The room that each client is in.
        loading: The runs whose rooms are being loaded.
    """

    def __init__(
        self,
        dag_id: str,
        limits: Limits,
        shell: Shell,
        *,
        journaled: bool,
        started_at: int,
        backlog: Backlog | None = None,
    ) -> None:
        """A DAG without runs.

        Args:
            dag_id: Its name.
            limits: Every bound.
            shell: Does what needs sockets or a store.
            journaled: Whether there is a store; without one, a room that leaves memory is gone.
            started_at: When the server started.
            backlog: What all rooms of the server hold that is not stored yet.
        """
        self.dag_id = dag_id
        self.runs = RunList()
        self.rooms: dict[str, Room] = {}
        self.lobby = Room(dag_id, limits)
        self.where: dict[Session, Room] = {}
        self.loading: set[str] = set()
        self._limits = limits
        self._shell = shell
        self._journaled = journaled
        self._backlog = backlog or Backlog(limits)
        self._started_at = started_at
        # How many clients are in each room.
        self._members: Counter[Room] = Counter()
        # Whether the owner of each run that has not ended is connected, and the next deadline of a run's gates.
        self._presences: dict[str, Presence] = {}
        self._deadlines: dict[str, int] = {}
        # What the run list says of each room in memory, and since when nobody uses it.
        self._listed: dict[Room, tuple[object, ...]] = {}
        self._unused: dict[str, int] = {}
        # The clients and the commands that wait for a room to be loaded.
        self._seeking: dict[Session, str] = {}
        self._commands: dict[str, list[tuple[Session, p.Command]]] = {}
        # The run list as of when clients were last moved, and as of when, and when, they were last told of it.
        self._liveness = 0
        self._announced = 0
        self._announced_at = 0

    @property
    def is_used(self) -> bool:
        """Whether there is anything to keep of it."""
        return bool(self.where or self.rooms or self.loading or len(self.runs))

    def members(self, room: Room) -> int:
        """How many clients are in a room."""
        return self._members[room]

    @property
    def viewers(self) -> int:
        """How many clients watch."""
        return sum(not isinstance(session, PublisherSession) for session in self.where)

    # --- Runs

    def add(self, summary: p.RunSummary, meta: RunMeta | None, now: int) -> None:
        """Add a run that is stored."""
        run_id = summary.run_id
        if run_id in self.runs:
            return
        if summary.status not in FINAL:
            presence = Presence(self._limits, self._started_at, None if meta is None else meta.heard_at)
            self._presences[run_id] = presence
            summary = replace(summary, engine=presence.state(now))
            if meta is not None and meta.deadline is not None:
                self._deadlines[run_id] = meta.deadline
        self.runs.put(summary)
        self._list_changed(now)

    def remove(self, run_id: str, now: int, why: str = "was deleted by retention") -> None:
        """A run is gone; `why` completes the sentence that begins with its name."""
        room = self.rooms.pop(run_id, None)
        self._forget(run_id, room)
        self._presences.pop(run_id, None)
        self._deadlines.pop(run_id, None)
        self.runs.remove(run_id)
        for session in [session for session, at in self.where.items() if room is not None and at is room]:
            session.stop(_not_kept(run_id, why))
            self._shell.wake(session)
        self._list_changed(now)

    def discard(self, run_id: str, now: int) -> None:
        """The stored log of a run is not that of its room: the next who asks for the run has it read again."""
        room = self.rooms.pop(run_id)
        self._forget(run_id, room)
        bye = p.Bye(code=4003, reason=f"the log of the run {run_id!r} was written by another server", retry=True)
        for session in [session for session, at in self.where.items() if at is room]:
            session.stop(bye)
            self._shell.wake(session)
        self._list_changed(now)

    def store_anew(self, reason: str, now: int) -> None:
        """The store has begun a new log: have the state of every room stored in it, and say so."""
        for room in self.rooms.values():
            if room.epoch:
                room.rebase()
                room.warn("log_replaced", reason, now)
                self._note(room, now)

    # --- Clients

    def connect(self, session: Session) -> None:
        """A client has connected; until it has said which run it means, it is in the lobby."""
        self.where[session] = self.lobby
        self._members[self.lobby] += 1

    def receive(self, session: Session, frame: str | bytes, now: int) -> None:
        """A client has sent a frame."""
        session.receive(frame, now)
        self.follow_up(session, now)
        self._note(self.where[session], now)

    def pull(self, session: Session, now: int) -> bytes | None:
        """The next frame to a client; see `Session.pull`."""
        frame = session.pull(now)
        if frame is None and session.seek is not None and session not in self._seeking:
            self.follow_up(session, now)
            frame = session.pull(now)
        return frame

    def leave(self, session: Session, now: int) -> None:
        """A client's connection has ended."""
        room = self.where.pop(session)
        self._members[room] -= 1
        if not self._members[room]:
            del self._members[room]
        self._seeking.pop(session, None)
        room.waiters.discard(session)
        if isinstance(session, PublisherSession):
            session.leave()
        self._note(room, now)

    def awaited(self, session: Session) -> str | None:
        """The run whose room a client waits for while it is being loaded."""
        return self._seeking.get(session)

    def follow_up(self, session: Session, now: int) -> None:
        """Do what a session can't do by itself: find its room, and have commands for other runs answered."""
        if session.seek is not None and session.ended is None:
            self._seat(session, session.seek, now)
        while session.forwarded:
            run_id, command = session.forwarded.pop(0)
            self._route(session, run_id, command, now)

    # --- Which room

    def _seat(self, session: Session, seek: Seek, now: int) -> None:
        """Take a client to the room that it asks for, or have the room loaded."""
        self._seeking.pop(session, None)
        try:
            run_id = self._join(seek) if isinstance(session, PublisherSession) else self._watch(session, seek)
            if run_id is not None and run_id not in self.rooms:
                self._seeking[session] = run_id
                self.want(run_id, now)
                return
        except Refused as refused:
            self._seeking.pop(session, None)
            session.stop(_bye(refused))
            return
        self._enter(session, self.lobby if run_id is None else self.rooms[run_id], now)

    def _join(self, seek: Seek) -> str:
        """The run that a publisher joins or begins."""
        if seek.run_id is not None:
            if seek.run_id not in self.runs and seek.run_id not in self.rooms and not seek.begins:
                self._refuse_if_unlisted()
                raise Refused(4404, f"the run {seek.run_id!r} of {self.dag_id!r} has not been started yet")
            return seek.run_id
        owned = [run.run_id for run in self.runs if run.status not in FINAL and run.status != "lost"]
        if not owned:
            self._refuse_if_unlisted()
            raise Refused(4404, f"no run of {self.dag_id!r} has been started yet")
        if len(owned) > 1:
            text = f"{len(owned)} runs of {self.dag_id!r} are live; name one with run_id: {', '.join(owned)}"
            raise Refused(4412, text)
        return owned[0]

    def _watch(self, session: Session, seek: Seek) -> str | None:
        """The run that a viewer watches; None where it waits for one."""
        session.awaits = None
        if seek.run_id is None:
            run_id = self.runs.followed(seek.current)
            if run_id is None:
                self._refuse_if_unlisted()
            return run_id
        if seek.run_id in self.runs or seek.run_id in self.rooms:
            return seek.run_id
        if self.runs.was_removed(seek.run_id):
            raise Refused(4410, _not_kept(seek.run_id).reason)
        self._refuse_if_unlisted()
        if not seek.waits:
            raise Refused(4404, f"the run {seek.run_id!r} of {self.dag_id!r} is not here")
        session.awaits = seek.run_id
        return None

    def _refuse_if_unlisted(self) -> None:
        """Nobody can say that there is no such run while the run list could not be read."""
        if self._shell.fault is not None:
            raise Refused(4008, f"the runs of {self.dag_id!r} can't be read: {self._shell.fault}", after_ms=5000)

    def _enter(self, session: Session, room: Room, now: int) -> None:
        before = self.where[session]
        session.seek, session.leaves = None, False
        if room is not before:
            self._members[before] -= 1
            if not self._members[before]:
                del self._members[before]
            self._members[room] += 1
            self.where[session] = room
            self._shell.moved(session, room)
        session.enter(room, now)
        self._note(room, now)
        if not room.epoch and room is not self.lobby:
            # Its publisher was refused.
            self.rooms.pop(next((run_id for run_id, each in self.rooms.items() if each is room), ""), None)
        self._see_whether_it_leaves(session)

    def _see_whether_it_leaves(self, session: Session) -> bool:
        """Whether a client is to be moved to another run, once it has been sent all of its own."""
        here = self.where[session].epoch
        if session.awaits is not None:
            session.leaves = session.awaits in self.runs
        else:
            session.leaves = session.follows and self.runs.followed(here or None) not in (None, here)
        return session.leaves

    def _list_changed(self, now: int) -> None:
        """The run list may have changed: move clients, and tell those that want to know."""
        if self.runs.liveness != self._liveness:
            self._liveness = self.runs.liveness
            for session in [session for session in self.where if self._see_whether_it_leaves(session)]:
                self._shell.wake(session)
        # At most so often; the next tick looks again.
        if self.runs.version != self._announced and now - self._announced_at >= RUNS_MS:
            self._announced, self._announced_at = self.runs.version, now
            for room in self._members:
                self._shell.announce(room)

    # --- Commands

    def _route(self, session: Session, run_id: str, command: p.Command, now: int) -> None:
        """Have a command answered by the room that it is meant for."""
        if run_id in self.rooms:
            self._answer(session, self.rooms[run_id], command, now)
        elif run_id not in self.runs:
            session.answer(None, command, now)
        else:
            self._commands.setdefault(run_id, []).append((session, command))
            try:
                self.want(run_id, now)
            except Refused as refused:
                self._answer_all(run_id, None, now, refused.reason)

    def _answer_all(self, run_id: str, room: Room | None, now: int, fault: str | None = None) -> None:
        for session, command in self._commands.pop(run_id, ()):
            if session in self.where:
                self._answer(session, room, command, now, fault)

    def _answer(
        self, session: Session, room: Room | None, command: p.Command, now: int, fault: str | None = None
    ) -> None:
        session.answer(room, command, now, fault)
        if room is not None:
            self._note(room, now)
        self._shell.wake(session)

    # --- Rooms

    def want(self, run_id: str, now: int) -> None:
        """Have the room of a run loaded, or made where the run begins.

        Raises:
            Refused: too many are in use.
        """
        if run_id in self.loading or run_id in self.rooms:
            return
        if not self._shell.has_space():
            raise Refused(4429, "too many runs are in use; try again later", after_ms=5000)
        self.loading.add(run_id)
        if self._journaled:
            self._shell.load(self, run_id)
        else:
            self.loaded(run_id, None, now)

    def make_room(self, run_id: str) -> Room:
        """The room of a run, to be restored."""
        presence = self._presences.get(run_id) or Presence(self._limits, self._started_at)
        return Room(self.dag_id, self._limits, journaled=self._journaled, presence=presence, backlog=self._backlog)

    def loaded(self, run_id: str, room: Room | None, now: int, fault: str | None = None) -> None:
        """The room of a run was loaded.

        Args:
            run_id: The run.
            room: Its room; None where nothing is stored of it, or it can't be read.
            now: Unix milliseconds.
            fault: Why it can't be read. Then nobody knows what is stored of it, and nobody may begin it again.
        """
        self.loading.discard(run_id)
        waiting = [session for session, wanted in self._seeking.items() if wanted == run_id]
        if self.runs.was_removed(run_id):
            # Deleted while it was read.
            room = None
        # What can't be read may hold this run; but not one that no server has acknowledged anything of.
        if room is None and (fault is None or self._shell.fault is not None):
            begins = [each.seek for each in waiting if each.seek is not None and each.seek.begins]
            if any(seek.fresh or fault is None for seek in begins):
                room = self.make_room(run_id)
        if room is not None:
            self.rooms[run_id] = room
            self._deadlines.pop(run_id, None)
            self._look_after(room, now)
            self._note(room, now)
        for session in waiting:
            if session.seek is None or session.ended is not None:
                del self._seeking[session]
            elif room is None and (fault is not None or run_id in self.runs):
                del self._seeking[session]
                session.stop(_bye(_unreadable(run_id, fault)))
            else:
                self._seat(session, session.seek, now)
            self._shell.wake(session)
        self._answer_all(run_id, room, now, fault)

    def can_leave(self, run_id: str) -> bool:
        """Whether a room may leave memory: nobody is in it, and all of it is stored."""
        room = self.rooms[run_id]
        return room.is_stored and not self._members[room] and not room.waiters

    def unused(self) -> Iterator[tuple[int, str]]:
        """The rooms that may leave memory, each with the tick since which it could."""
        return ((self._unused.get(run_id, sys.maxsize), run_id) for run_id in self.rooms if self.can_leave(run_id))

    def unload(self, run_id: str) -> None:
        """Take a room out of memory."""
        room = self.rooms.pop(run_id)
        self._forget(run_id, room)
        deadline = room.deadline
        if deadline is not None:
            self._deadlines[run_id] = deadline

    def _forget(self, run_id: str, room: Room | None) -> None:
        self._unused.pop(run_id, None)
        if room is not None:
            room.forget()
            self._listed.pop(room, None)

    def stored(self, room: Room, result: Result, now: int) -> None:
        """The store has answered what became of the room's last append."""
        if self.rooms.get(room.epoch) is not room:
            # The run was deleted meanwhile.
            return
        before = room.fault
        gap = room.stored(result, now)
        if room.is_usurped:
            self.discard(room.epoch, now)
            return
        if gap is not None:
            text = f"the events {gap[0] + 1:,} to {gap[1]:,} were not stored one by one: the state after them was"
            room.warn("log_gap", text, now)
        if (before is None) != (room.fault is None):
            if room.fault is not None:
                room.warn("log_unavailable", f"events are stored in memory only: {room.fault}", now)
            else:
                room.warn("log_available", "events are stored on disk again", now)
        if gap is not None or before != room.fault:
            self._note(room, now)
        self._shell.appended(room)
        waiters, room.waiters = room.waiters, set()
        for waiter in waiters:
            assert isinstance(waiter, Session)
            if waiter in self.where:
                self._shell.wake(waiter)
                if waiter.has_pending_acks:
                    room.waiters.add(waiter)

    def _note(self, room: Room, now: int, *, all_of_it: bool = False) -> None:
        """A room may have new events: store them, send them, and update the run list."""
        if not room.epoch or self.rooms.get(room.epoch) is not room:
            # The lobby, or the room of a run that was deleted.
            return
        self._shell.appended(room)
        listed = (*room.headline, room.engine(now))
        if all_of_it or self._listed.get(room) != listed:
            changed = self._listed.get(room) != listed
            self._listed[room] = listed
            if room.under_way:
                self._presences[room.epoch] = room.presence
            else:
                self._presences.pop(room.epoch, None)
            self.runs.put(room.summary(now))
            self._list_changed(now)
            if changed:
                self._shell.announce(room)

    # --- Time

    def tick(self, now: int) -> None:
        """Look after silent clients, deadlines, lost engines, and rooms that nobody uses."""
        for session in tuple(self.where):
            session.tick(now)
        for run_id, room in tuple(self.rooms.items()):
            self._look_after(room, now)
            row = self.runs.get(run_id)
            self._note(room, now, all_of_it=row is not None and row.events != room.head)
            if not self.can_leave(run_id):
                self._unused.pop(run_id, None)
            elif now - self._unused.setdefault(run_id, now) > _UNUSED_MS:
                self.unload(run_id)
        for run_id, presence in tuple(self._presences.items()):
            if run_id not in self.rooms:
                self._look_after_absent(run_id, presence, now)
        for run_id in [run_id for run_id, deadline in self._deadlines.items() if deadline <= now]:
            self._want_if_possible(run_id, now)
        self._list_changed(now)

    def _look_after(self, room: Room, now: int) -> None:
        """Answer gates whose deadline has passed; and a run whose engine has been gone for long is lost."""
        room.tick(now)
        if room.presence.is_lost(now):
            room.lose(now)

    def _look_after_absent(self, run_id: str, presence: Presence, now: int) -> None:
        """The same for a run whose room is not in memory."""
        run = self.runs.get(run_id)
        if run is None:
            return
        engine = presence.state(now)
        if engine != run.engine:
            self.runs.put(replace(run, engine=engine))
        if run.status != "lost" and presence.is_lost(now):
            self._want_if_possible(run_id, now)

    def _want_if_possible(self, run_id: str, now: int) -> None:
        try:
            self.want(run_id, now)
        except Refused:
            # The next tick tries again.
            return


def _bye(refused: Refused) -> p.Bye:
    # Whether another attempt may succeed depends on the code.
    return p.Bye(code=refused.code, reason=refused.reason, retry=True, after_ms=refused.after_ms)


def _not_kept(run_id: str, why: str = "was deleted by retention") -> p.Bye:
    return p.Bye(code=4410, reason=f"the run {run_id!r} {why}", retry=False)


def _unreadable(run_id: str, fault: str | None) -> Refused:
    reason = f"the log of the run {run_id!r} can't be read" + (f": {fault}" if fault else "")
    return Refused(4008, reason, after_ms=5000)
