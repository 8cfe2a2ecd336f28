"""`Rooms`: the DAGs of a server, their run lists, and the rooms that are in memory."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Iterator
from typing import Any
from weakref import WeakValueDictionary

from msgspec.structs import asdict, replace
from websockets.asyncio.server import ServerConnection

from .. import protocol as p
from ..errors import DagwidgetError, ProtocolError
from ..protocol.limits import Limits
from ..state import FINAL, DagState
from .broadcaster import Audience, in_loop, now_ms
from .presence import Presence
from .room import Refused, Room
from .run_list import RunList
from .sessions.base import Seek
from .storage.event_store import Journal, StoredRun
from .storage.output_cache import OutputKey
from .storage.page import Page

_log = logging.getLogger("dagwidget")

# How long a room that nobody uses stays in memory, in milliseconds.
_UNUSED_MS = 60_000


class NotKept(DagwidgetError):
    """Events were asked for that are no longer stored."""


class Dag:
    """What a server holds of one DAG.

    Attributes:
        runs: Its run list.
        rooms: Those of its rooms that are in memory, by run.
        lobby: An empty room: for clients that wait for a run to begin.
        presences: Whether the owner of each run is there that has not ended.
        where: The audience that each client is in.
    """

    def __init__(self, dag_id: str, limits: Limits) -> None:
        self.dag_id = dag_id
        self.runs = RunList(self._announce)
        self.rooms: dict[str, Audience] = {}
        self.presences: dict[str, Presence] = {}
        self.lobby = Audience(Room(dag_id, limits))
        self.where: dict[ServerConnection, Audience] = {}
        self.loading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def audiences(self) -> list[Audience]:
        """Everybody who is connected, room by room."""
        return [self.lobby, *self.rooms.values()]

    def _announce(self) -> None:
        for audience in self.audiences:
            audience.announce()


class Rooms:
    """The rooms of a server. A run's room is loaded from the store when somebody comes, and leaves memory unused."""

    def __init__(self, limits: Limits, journal: Journal | None) -> None:
        self._limits = limits
        self._journal = journal
        self._dags: dict[str, Dag] = {}
        self._started_at = now_ms()
        self._listed = journal is None
        self._watched: frozenset[tuple[str, str]] = frozenset()
        self._moves: set[asyncio.Task[None]] = set()
        self._unused_since: dict[Audience, int] = {}
        self._relisted = asyncio.Lock()

    def __iter__(self) -> Iterator[Audience]:
        for dag in tuple(self._dags.values()):
            yield from dag.audiences

    async def start(self) -> None:
        """Read the run lists from the store; deadlines of open gates run from now on."""
        if self._journal is None:
            return
        loop = asyncio.get_running_loop()
        self._journal.protected = lambda dag_id, run_id: (dag_id, run_id) in self._watched
        self._journal.removed = functools.partial(in_loop, loop, self._removed)
        await self._list()

    async def _list(self) -> None:
        async with self._relisted:
            if self._journal is None or self._listed:
                return
            stored = await asyncio.to_thread(self._journal.runs)
            self._listed = bool(stored)
            for run in reversed(stored):
                if run.meta is None:
                    # Written by an earlier version, which stored no summary.
                    await self._describe(run)
                else:
                    self._add(run.dag_id, replace(run.meta.summary, bytes=run.bytes, events=run.events))
        for dag in tuple(self._dags.values()):
            for summary in list(dag.runs):
                if summary.status not in FINAL and summary.gates:
                    await self.open(dag.dag_id, summary.run_id)

    async def _describe(self, run: StoredRun) -> None:
        room = Room(run.dag_id, self._limits, journaled=True)
        assert self._journal is not None
        if await asyncio.to_thread(self._restore, room, run.run_id):
            meta = room.meta(now_ms())
            summary = replace(meta.summary, started_at=run.started_at, bytes=run.bytes)
            self._add(run.dag_id, summary)
            self._journal.append(run.dag_id, run.run_id, [], lambda _fault: None, replace(meta, summary=summary))

    def _add(self, dag_id: str, summary: p.RunSummary) -> None:
        dag = self.dag(dag_id)
        if summary.run_id in dag.runs:
            return
        if summary.status not in FINAL:
            presence = dag.presences.setdefault(summary.run_id, Presence(self._limits, self._started_at))
            summary = replace(summary, engine=presence.state(now_ms()))
        dag.runs.put(summary)

    # --- Finding

    def dag(self, dag_id: str) -> Dag:
        """A DAG; one that is not known is made, without a run."""
        dag = self._dags.get(dag_id)
        if dag is None:
            dag = self._dags[dag_id] = Dag(dag_id, self._limits)
        return dag

    def known(self, dag_id: str) -> Dag | None:
        """A DAG that has had a run."""
        dag = self._dags.get(dag_id)
        return dag if dag is not None and len(dag.runs) else None

    async def seek(self, dag_id: str, seek: Seek) -> tuple[Audience, str | None]:
        """The audience that a viewer asks for, and the run that it has to wait for there."""
        await self._list()
        dag = self.dag(dag_id)
        run_id = seek.run_id if seek.run_id is not None else dag.runs.followed(seek.current)
        audience = None if run_id is None else await self.open(dag_id, run_id)
        if audience is None:
            return dag.lobby, seek.run_id
        return audience, None

    async def join(self, dag_id: str, seek: Seek) -> Audience:
        """The audience that a publisher asks for.

        Raises:
            Refused: there is no such run, or no run that is the only one, or no space.
        """
        await self._list()
        dag = self.dag(dag_id)
        run_id = seek.run_id
        if run_id is None:
            owned = [run.run_id for run in dag.runs if run.status not in FINAL and run.status != "lost"]
            if len(owned) > 1:
                names = ", ".join(owned)
                raise Refused(4412, f"{len(owned)} runs of {dag_id!r} are live; name one with run_id: {names}")
            if not owned:
                raise Refused(4404, f"no run of {dag_id!r} has been started yet")
            (run_id,) = owned
        audience = await self.open(dag_id, run_id, begins=seek.begins)
        if audience is None:
            raise Refused(4404, f"the run {run_id!r} of {dag_id!r} has not been started yet")
        return audience

    async def open(self, dag_id: str, run_id: str, *, begins: bool = False) -> Audience | None:
        """The room of a run, loaded where it is not in memory; an empty one where it has no events and `begins`."""
        dag = self.dag(dag_id)
        async with dag.loading.setdefault(run_id, asyncio.Lock()):
            audience = dag.rooms.get(run_id)
            if audience is not None:
                return audience
            if run_id not in dag.runs and not begins:
                return None
            if not self._make_space():
                raise Refused(4429, "too many runs are in use: try again later", after_ms=5000)
            presence = dag.presences.setdefault(run_id, Presence(self._limits, self._started_at))
            room = Room(dag_id, self._limits, journaled=self._journal is not None, presence=presence)
            restored = await asyncio.to_thread(self._restore, room, run_id)
            if not restored and not begins:
                return None
            dag.rooms[run_id] = Audience(room, self._journal, changed=functools.partial(self._changed, dag))
            return dag.rooms[run_id]

    def _restore(self, room: Room, run_id: str) -> bool:
        if self._journal is None:
            return False
        saved = self._journal.load(room.dag_id, run_id)
        if saved is None:
            return False
        meta = next((run.meta for run in self._journal.runs(room.dag_id) if run.run_id == run_id), None)
        try:
            room.restore(saved[0], saved[1], meta)
        except ProtocolError as error:
            _log.error("the run %r of %r can't be read, and is left alone: %s", saved[0], room.dag_id, error)
            return False
        return True

    # --- Changes

    def _changed(self, dag: Dag, room: Room) -> None:
        """A room has new events: its row in the run list may have changed."""
        dag.runs.put(room.summary(now_ms()))
        if not room.under_way:
            dag.presences.pop(room.epoch, None) if not room.presence.is_connected else None
        self._relocate(dag)

    def _relocate(self, dag: Dag) -> None:
        """Move the clients whose run is over, lost or gone, or that have waited for one."""
        for audience in dag.audiences:
            here = audience.room.epoch
            followed = dag.runs.followed(here or None)
            for connection, session in list(audience.members.items()):
                if session.seek is not None or session.ended is not None:
                    continue
                to = session.awaits if session.awaits is not None and session.awaits in dag.runs else None
                if to is None and session.follows and session.awaits is None and followed not in (None, here):
                    to = followed
                if to is not None:
                    move = asyncio.create_task(self._move(dag, audience, connection, to))
                    self._moves.add(move)
                    move.add_done_callback(self._moves.discard)

    async def _move(self, dag: Dag, before: Audience, connection: ServerConnection, run_id: str) -> None:
        after = await self.open(dag.dag_id, run_id)
        session = before.members.get(connection)
        if after is None or after is before or session is None or session.seek is not None:
            return
        session.awaits = None
        self.place(connection, before, after)

    def place(self, connection: ServerConnection, before: Audience, after: Audience) -> None:
        """Take a client from one room to another."""
        session = before.members[connection]
        if after is not before:
            before.hand_over(connection)
        session.enter(after.room, now_ms())
        self.dag(after.room.dag_id).where[connection] = after
        after.join(connection, session)

    def left(self, dag_id: str) -> None:
        """Somebody has left a DAG: one that never had a run is forgotten."""
        dag = self._dags.get(dag_id)
        if dag is not None and not dag.where and not len(dag.runs) and not dag.rooms:
            dag.lobby.close()
            del self._dags[dag_id]

    def tick(self, now: int) -> None:
        """Look after silent engines, lost runs, and rooms that nobody uses."""
        if not self._listed:
            self._spawn(self._list())
        watched: set[tuple[str, str]] = set()
        for dag in tuple(self._dags.values()):
            for audience in dag.audiences:
                audience.tick(now)
                if not audience.empty:
                    watched.add((dag.dag_id, audience.room.epoch))
            self._tick_engines(dag, now)
            self._unload(dag, now)
        self._watched = frozenset(watched)

    def _tick_engines(self, dag: Dag, now: int) -> None:
        for run_id, presence in tuple(dag.presences.items()):
            run = dag.runs.get(run_id)
            if run is None or run.status in FINAL:
                if not presence.is_connected and run is not None:
                    del dag.presences[run_id]
                continue
            engine = presence.state(now)
            if engine != run.engine:
                dag.runs.put(replace(run, engine=engine))
                self._relocate(dag)
            if run.status != "lost" and presence.is_lost(now):
                self._spawn(self._lose(dag, run_id, now))

    async def _lose(self, dag: Dag, run_id: str, now: int) -> None:
        audience = await self.open(dag.dag_id, run_id)
        if audience is not None:
            audience.room.lose(now)
            audience.publish()

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._moves.add(task)
        task.add_done_callback(self._moves.discard)

    # --- Leaving memory

    def _unload(self, dag: Dag, now: int) -> None:
        for run_id, audience in tuple(dag.rooms.items()):
            if not audience.can_leave:
                self._unused_since.pop(audience, None)
            elif now - self._unused_since.setdefault(audience, now) > _UNUSED_MS:
                self._forget(dag, run_id)

    def _make_space(self) -> bool:
        """Whether another room may be loaded; one that nobody uses may have to leave memory."""
        if sum(len(dag.rooms) for dag in self._dags.values()) < self._limits.rooms:
            return True
        for dag in tuple(self._dags.values()):
            for run_id, audience in tuple(dag.rooms.items()):
                if audience.can_leave:
                    self._forget(dag, run_id)
                    return True
        return self._journal is None and self._delete_oldest()

    def _delete_oldest(self) -> bool:
        """Without a store, a room that leaves memory is gone: the oldest that has ended, else the oldest lost one."""
        unused = [
            (run.status == "lost", run.started_at, dag, run)
            for dag in self._dags.values()
            for run in dag.runs
            if run.run_id in dag.rooms and dag.rooms[run.run_id].empty
            if (run.status in FINAL and not run.gates) or run.status == "lost"
        ]
        if not unused:
            return False
        _, _, dag, run = min(unused, key=lambda each: each[:2])
        self._forget(dag, run.run_id)
        dag.runs.remove(run.run_id)
        return True

    def _forget(self, dag: Dag, run_id: str) -> None:
        audience = dag.rooms.pop(run_id)
        self._unused_since.pop(audience, None)
        audience.close()

    def _removed(self, dag_id: str, run_id: str) -> None:
        """Retention has deleted a run from the store."""
        dag = self._dags.get(dag_id)
        if dag is not None:
            if run_id in dag.rooms:
                gone = p.Bye(code=4410, reason=f"the run {run_id!r} was deleted by retention", retry=False)
                dag.rooms[run_id].stop(gone)
                self._forget(dag, run_id)
            dag.presences.pop(run_id, None)
            dag.runs.remove(run_id)

    # --- Reading

    async def current(self, dag_id: str, run_id: str | None = None) -> Audience | None:
        """The room of a run, by default of the one that a client would follow; None where there is none."""
        audience, waits = await self.seek(dag_id, Seek(run_id))
        if not audience.room.epoch or waits is not None:
            self.left(dag_id)
            return None
        return audience

    async def state_at(self, dag_id: str, run_id: str, seq: int) -> DagState | None:
        """What a stored run had come to at `seq`; None where it is not stored."""
        saved = None if self._journal is None else await asyncio.to_thread(self._journal.load, dag_id, run_id)
        if saved is None:
            return None
        state = DagState(epoch=run_id)
        for record in saved[1]:
            if record.seq > seq:
                break
            (event,) = p.decode_events(record.data)
            state.apply(event)
        return state

    async def page(self, dag_id: str, run_id: str, after: int, most: int) -> Page | None:
        """A part of a run's log: its first `most` events after `after`; None where the run is not here.

        Raises:
            NotKept: they were kept in memory only, and are no longer.
        """
        dag = self._dags.get(dag_id)
        audience = None if dag is None else dag.rooms.get(run_id)
        if audience is not None:
            page = audience.room.page(after, most)
            if page is not None:
                return page
            if self._journal is None:
                raise NotKept(
                    f"the first events of the run {run_id!r} are no longer kept: this server has no log on disk,"
                    f" and keeps the last {self._limits.log_events:,} in memory"
                )
        if self._journal is None:
            return None
        return await asyncio.to_thread(self._journal.page, dag_id, run_id, after, most)

    async def output(self, dag_id: str, run_id: str | None, key: OutputKey) -> str | None:
        """The whole output of a node, as JSON, by default of the current run; None where it is not here."""
        audience = await self.current(dag_id, run_id)
        if audience is None:
            return None
        room = audience.room
        whole = room.outputs.get(key)
        if whole is None and self._journal is not None:
            whole = await asyncio.to_thread(self._journal.output, dag_id, room.epoch, key)
        node = room.state.nodes.get(key.node_id)
        execution = node if key.instance is None or node is None else (node.instances or {}).get(key.instance)
        if execution is None or (whole is None and execution.output_bytes is not None):
            return None
        # What was never cut is in the state as it is.
        return whole if execution.output_bytes is not None else p.encode_value(execution.output).decode()

    async def runs(self, dag_id: str) -> list[p.RunInfo]:
        """The run list of a DAG, newest first, with the sizes that the store knows."""
        await self._list()
        dag = self._dags.get(dag_id)
        if dag is None:
            return []
        sizes: dict[str, int] = {}
        if self._journal is not None:
            sizes = {run.run_id: run.bytes for run in await asyncio.to_thread(self._journal.runs, dag_id)}
        return [
            p.RunInfo(dag_id=dag_id, **{**asdict(run), "bytes": sizes.get(run.run_id, run.bytes)}) for run in dag.runs
        ]

    async def summaries(self) -> list[dict[str, Any]]:
        """Every DAG that is known, with its newest run."""
        await self._list()
        found: list[dict[str, Any]] = []
        for dag in tuple(self._dags.values()):
            run = dag.runs.get(dag.runs.followed(None))
            if run is not None:
                audience = dag.rooms.get(run.run_id)
                found.append(audience.summary() if audience is not None else _away(dag.dag_id, run))
        return found


def _away(dag_id: str, run: p.RunSummary) -> dict[str, Any]:
    return {"dag_id": dag_id, "epoch": run.run_id, "status": run.status, "seq": run.events, "gates": run.gates}
