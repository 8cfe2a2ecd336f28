"""`Rooms`: the DAGs of a server, with what they need of asyncio: connections, the store and the clock."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Iterator
from typing import Any

from msgspec.structs import asdict, replace
from websockets.asyncio.server import ServerConnection

from .. import protocol as p
from ..errors import DagwidgetError, ProtocolError
from ..protocol.limits import Limits
from ..state import FINAL, DagState
from .broadcaster import Audience, in_loop
from .dag import Dag
from .room import Room
from .sessions.base import Session
from .storage.event_store import Journal, StoredRun, Unreadable
from .storage.output_cache import OutputKey
from .storage.page import Page

_log = logging.getLogger("dagwidget")


class NotKept(DagwidgetError):
    """Events were requested that are no longer stored."""


def now_ms() -> int:
    """The time, Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Rooms:
    """The DAGs of a server, the connections of their clients, and the store. It is the `Shell` of each `Dag`."""

    def __init__(self, limits: Limits, journal: Journal | None) -> None:
        self._limits = limits
        self._journal = journal
        self._dags: dict[str, Dag] = {}
        self._started_at = now_ms()
        # Whether the run lists were read from the store.
        self._listed = journal is None
        self._listing: asyncio.Task[None] | None = None
        self._loads: dict[tuple[str, str], asyncio.Task[None]] = {}
        # The rooms with clients, and where each client is.
        self._audiences: dict[Room, Audience] = {}
        self._where: dict[ServerConnection, Audience] = {}
        self._connections: dict[Session, ServerConnection] = {}

    async def start(self) -> None:
        """Read the run lists from the store."""
        if self._journal is None:
            return
        loop = asyncio.get_running_loop()
        self._journal.protected = self._is_watched
        self._journal.removed = functools.partial(in_loop, loop, self._removed)
        await self._list()

    @property
    def sessions(self) -> Iterator[Session]:
        """Every client that is connected."""
        return iter(self._connections)

    def dag(self, dag_id: str) -> Dag:
        """A DAG; one that is not known yet has no runs."""
        dag = self._dags.get(dag_id)
        if dag is None:
            journaled = self._journal is not None
            dag = Dag(dag_id, self._limits, self, journaled=journaled, started_at=self._started_at)
            self._dags[dag_id] = dag
        return dag

    # --- Clients

    def connect(self, connection: ServerConnection, session: Session, dag: Dag) -> None:
        """A client has connected."""
        self._connections[session] = connection
        dag.connect(session)
        self.moved(session, dag.lobby)
        dag.follow_up(session, now_ms())

    async def receive(self, connection: ServerConnection, session: Session, dag: Dag, frame: str | bytes) -> None:
        """A client has sent a frame. Returns once the room that it asked for is there."""
        dag.receive(session, frame, now_ms())
        self._where[connection].send([connection])
        while (run_id := dag.awaited(session)) is not None:
            await asyncio.wait([self._loads[dag.dag_id, run_id]])

    def leave(self, connection: ServerConnection, session: Session, dag: Dag) -> None:
        """A client's connection has ended."""
        self._take_out(connection)
        del self._connections[session]
        dag.leave(session, now_ms())
        self._drop(dag)

    def stop(self, bye: p.Bye) -> None:
        """The server ends every session."""
        for session in self._connections:
            session.stop(bye)
        for audience in tuple(self._audiences.values()):
            audience.send(list(audience.members))

    async def closed(self) -> None:
        """Wait until every connection has ended."""
        if self._listing is not None:
            self._listing.cancel()
        while self._connections:
            await asyncio.wait([asyncio.create_task(each.wait_closed()) for each in self._connections.values()])

    def tick(self, now: int) -> None:
        """Look after silent clients, deadlines, lost engines, and rooms that nobody uses."""
        if not self._listed and (self._listing is None or self._listing.done()):
            self._listing = asyncio.create_task(self._list())
        for dag in tuple(self._dags.values()):
            dag.tick(now)
            self._drop(dag)
        for audience in tuple(self._audiences.values()):
            audience.tick(now)

    def _drop(self, dag: Dag) -> None:
        if not dag.is_used:
            self._dags.pop(dag.dag_id, None)

    def _take_out(self, connection: ServerConnection) -> None:
        audience = self._where.pop(connection)
        audience.leave(connection)
        if not audience.members:
            audience.close()
            del self._audiences[audience.room]

    # --- What a DAG needs done

    def load(self, dag: Dag, run_id: str) -> None:
        """See `Shell.load`."""
        key = (dag.dag_id, run_id)
        self._loads[key] = task = asyncio.create_task(self._load(dag, run_id))
        task.add_done_callback(lambda _task: self._loads.pop(key, None))

    def has_space(self) -> bool:
        """See `Shell.has_space`. A room that nobody uses leaves memory for another."""
        dags = tuple(self._dags.values())
        if sum(len(dag.rooms) + len(dag.loading) for dag in dags) < self._limits.rooms:
            return True
        unused = [(since, dag, run_id) for dag in dags for since, run_id in dag.unused()]
        if unused:
            _, dag, run_id = min(unused, key=lambda each: each[0])
            dag.unload(run_id)
            return True
        return self._journal is None and self._delete_one(dags)

    def _delete_one(self, dags: tuple[Dag, ...]) -> bool:
        """Without a store, a room that leaves memory is gone: the oldest that has ended, else that is lost, or gone."""
        deletable = [
            ((run.status not in FINAL, run.status != "lost", run.gates > 0, run.started_at), dag, run.run_id)
            for dag in dags
            for run in dag.runs
            if run.status in FINAL or run.engine == "gone"
            if run.run_id in dag.rooms and not dag.members(dag.rooms[run.run_id])
        ]
        if not deletable:
            return False
        _, dag, run_id = min(deletable, key=lambda each: each[0])
        dag.remove(run_id, now_ms())
        return True

    def moved(self, session: Session, room: Room) -> None:
        """See `Shell.moved`."""
        connection = self._connections[session]
        if connection in self._where:
            self._take_out(connection)
        audience = self._audiences.get(room)
        if audience is None:
            audience = self._audiences[room] = Audience(self.dag(room.dag_id), room, now_ms)
        audience.join(connection, session)
        self._where[connection] = audience

    def appended(self, room: Room) -> None:
        """See `Shell.appended`."""
        if self._journal is not None:
            records = room.take_unstored()
            if records:
                loop = asyncio.get_running_loop()
                done = functools.partial(in_loop, loop, self._stored, room, records[-1].seq)
                self._journal.append(room.dag_id, room.epoch, records, done, room.meta(now_ms()))
        audience = self._audiences.get(room)
        if audience is not None:
            audience.publish()

    def announce(self, room: Room) -> None:
        """See `Shell.announce`."""
        audience = self._audiences.get(room)
        if audience is not None:
            audience.announce()

    def wake(self, session: Session) -> None:
        """See `Shell.wake`."""
        connection = self._connections.get(session)
        if connection is not None:
            self._where[connection].send([connection])

    # --- The store

    async def _list(self) -> None:
        """Read the run lists, if the store can be read."""
        assert self._journal is not None
        try:
            stored = await asyncio.to_thread(self._journal.runs)
        except Unreadable:
            # The next tick tries again.
            return
        self._listed = True
        earlier: list[StoredRun] = []
        for run in stored:
            if run.meta is None:
                earlier.append(run)
            else:
                self._add(run, run.meta.summary)
        if earlier:
            _log.info("reading %d runs that were stored by an earlier version", len(earlier))
            self._listing = asyncio.create_task(self._describe(earlier))

    async def _describe(self, runs: list[StoredRun]) -> None:
        """List runs that an earlier version has stored, without a summary."""
        assert self._journal is not None
        for run in runs:
            dag = self.dag(run.dag_id)
            room = dag.make_room(run.run_id)
            if run.run_id not in dag.runs and await asyncio.to_thread(self._restore, room, run.run_id):
                meta = room.meta(now_ms())
                meta = replace(meta, summary=replace(meta.summary, started_at=run.started_at))
                self._add(replace(run, meta=meta), meta.summary)
                self._journal.append(run.dag_id, run.run_id, [], lambda _fault: None, meta)
            self._drop(dag)

    def _add(self, run: StoredRun, summary: p.RunSummary) -> None:
        summary = replace(summary, bytes=run.bytes, events=run.events)
        self.dag(run.dag_id).add(summary, run.meta, now_ms())

    async def _load(self, dag: Dag, run_id: str) -> None:
        room = dag.make_room(run_id)
        restored = False
        try:
            restored = await asyncio.to_thread(self._restore, room, run_id)
        except Exception:
            _log.exception("the log of the run %r of %r can't be read", run_id, dag.dag_id)
        dag.loaded(run_id, room if restored else None, now_ms())

    def _restore(self, room: Room, run_id: str) -> bool:
        assert self._journal is not None
        stored = self._journal.load(room.dag_id, run_id)
        if stored is None:
            return False
        try:
            room.restore(stored.run_id, stored.records, stored.meta)
        except ProtocolError as error:
            _log.error("the run %r of %r can't be read, and is left alone: %s", run_id, room.dag_id, error)
            return False
        return True

    def _stored(self, room: Room, seq: int, fault: str | None) -> None:
        dag = self._dags.get(room.dag_id)
        if dag is not None:
            dag.stored(room, seq, fault, now_ms())

    def _is_watched(self, dag_id: str, run_id: str) -> bool:
        """Whether a client is in the room of a run. Called in the store's thread."""
        return any(room.dag_id == dag_id and room.epoch == run_id for room in tuple(self._audiences))

    def _removed(self, dag_id: str, run_id: str) -> None:
        """Retention has deleted a run from the store."""
        dag = self._dags.get(dag_id)
        if dag is not None:
            dag.remove(run_id, now_ms())
            self._drop(dag)

    # --- Reading

    async def room(self, dag_id: str, run_id: str | None = None) -> Room | None:
        """The room of a run, by default of the one that a client would follow; None where there is none.

        Raises:
            Refused: too many rooms are in use.
        """
        dag = self._dags.get(dag_id)
        if dag is None:
            return None
        run_id = dag.runs.followed(None) if run_id is None else run_id
        if run_id is None or (run_id not in dag.runs and run_id not in dag.rooms):
            return None
        while run_id not in dag.rooms:
            dag.want(run_id, now_ms())
            load = self._loads.get((dag_id, run_id))
            if load is not None:
                await asyncio.wait([load])
                if run_id not in dag.rooms:
                    return None
        return dag.rooms[run_id]

    async def state_at(self, dag_id: str, run_id: str, seq: int) -> DagState | None:
        """The state of a stored run as of `seq`; None where it is not stored."""
        stored = None if self._journal is None else await asyncio.to_thread(self._journal.load, dag_id, run_id)
        if stored is None:
            return None
        state = DagState(epoch=run_id)
        for record in stored.records:
            if record.seq > seq:
                break
            state.apply(record.event())
        return state

    async def page(self, dag_id: str, run_id: str, after: int, most: int) -> Page | None:
        """A part of a run's log: its first `most` events after `after`; None where there is no such run.

        Raises:
            NotKept: they were kept in memory only, and are no longer.
        """
        dag = self._dags.get(dag_id)
        room = None if dag is None else dag.rooms.get(run_id)
        if room is not None:
            page = room.page(after, most)
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
        """The whole output of a node, as JSON, by default in the run of `room`; None where it is not stored."""
        room = await self.room(dag_id, run_id)
        if room is None:
            return None
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
        """The run list of a DAG, newest first, with the sizes of the stored logs."""
        dag = self._dags.get(dag_id)
        if dag is None:
            return []
        sizes: dict[str, int] = {}
        if self._journal is not None:
            with contextlib.suppress(Unreadable):
                sizes = {run.run_id: run.bytes for run in await asyncio.to_thread(self._journal.runs, dag_id)}
        return [
            p.RunInfo(dag_id=dag_id, **{**asdict(run), "bytes": sizes.get(run.run_id, run.bytes)}) for run in dag.runs
        ]

    def summaries(self) -> list[dict[str, Any]]:
        """Every DAG that has a run or a client, each with the run that a client would follow."""
        return [self.summary(dag, dag.runs.followed(None)) for dag in self._dags.values() if dag.is_used]

    def summary(self, dag: Dag, run_id: str | None) -> dict[str, Any]:
        """A DAG in the list of DAGs."""
        run = dag.runs.get(run_id)
        room = dag.lobby if run is None else dag.rooms.get(run.run_id)
        found: dict[str, Any] = {"dag_id": dag.dag_id, "viewers": dag.viewers}
        if room is None:
            assert run is not None
            return {**found, "epoch": run.run_id, "status": run.status, "seq": run.events, "gates": run.gates}
        state = room.state
        nodes, gates = len(state.nodes), len(state.gates)
        return {
            **found, "epoch": room.epoch, "status": state.status, "seq": room.head, "nodes": nodes, "gates": gates
        }  # fmt: skip
