"""`Rooms`: the DAGs of a server, with what they need of asyncio: connections, the store and the clock."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Iterator
from typing import Any, Final

from msgspec.structs import asdict, replace
from websockets.asyncio.server import ServerConnection

from .. import protocol as p
from ..clock import now_ms
from ..errors import DagwidgetError
from ..protocol.limits import Limits
from ..state import FINAL, DagState
from .broadcaster import Audience, in_loop
from .dag import Dag
from .room import Refused, Room
from .run_list import RunList
from .sessions.base import Session
from .storage.event_store import Append, Journal, Result, Stored, StoredRun
from .storage.faults import Missing, Unavailable
from .storage.loading import load, page, state_at
from .storage.output_cache import OutputKey
from .storage.page import Page
from .storing import Backlog

_log = logging.getLogger("dagwidget")

STOP_SECONDS: Final = 10.0
"""How long a server that stops waits for the next answer of a store."""


class NotKept(DagwidgetError):
    """Events were requested that are no longer stored."""


class Rooms:
    """The DAGs of a server, the connections of their clients, and the store. It is the `Shell` of each `Dag`."""

    def __init__(self, limits: Limits, journal: Journal | None) -> None:
        self._limits = limits
        self._journal = journal
        self._backlog = Backlog(limits)
        self._dags: dict[str, Dag] = {}
        self._started_at = now_ms()
        # Where the clients are that watch all DAGs.
        self._overview = Dag("", limits, self, journaled=False, started_at=self._started_at, backlog=self._backlog)
        self.fault: str | None = None if journal is None else "the log was not read yet"
        """See `Shell.fault`."""
        self._listing: asyncio.Task[None] | None = None
        # Set whenever the store has answered.
        self._answered = asyncio.Event()
        # The rooms that the store fails to store, as was said in the log.
        self._failing: set[Room] = set()
        # Each gives why the room can't be read.
        self._loads: dict[tuple[str, str], asyncio.Task[str | None]] = {}
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
        self._journal.replaced = functools.partial(in_loop, loop, self._replaced)
        await self._list()

    @property
    def sessions(self) -> Iterator[Session]:
        """Every client that is connected."""
        return iter(self._connections)

    def dag(self, dag_id: str) -> Dag:
        """A DAG; one that is not known yet has no runs. The one without a name is for clients that watch all."""
        dag = self._dags.get(dag_id) if dag_id else self._overview
        if dag is None:
            journaled = self._journal is not None
            dag = Dag(
                dag_id,
                self._limits,
                self,
                journaled=journaled,
                started_at=self._started_at,
                backlog=self._backlog,
            )
            self._dags[dag_id] = dag
        return dag

    def run_lists(self) -> Iterator[tuple[str, RunList]]:
        """Every DAG, with its run list.

        Raises:
            Refused: nobody knows which runs are stored.
        """
        if self.fault is not None:
            raise Refused(4008, f"the runs can't be read: {self.fault}", after_ms=5000)
        return ((dag_id, dag.runs) for dag_id, dag in self._dags.items())

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
        await self._store_the_rest()

    async def _store_the_rest(self) -> None:
        rooms = [room for dag in self._dags.values() for room in dag.rooms.values()]
        for room in rooms:
            room.retry()
            self._store(room)
        with contextlib.suppress(TimeoutError):
            while any(room.is_being_stored for room in rooms):
                self._answered.clear()
                async with asyncio.timeout(STOP_SECONDS):
                    await self._answered.wait()
        lost = [room for room in rooms if self._journal is not None and not room.is_stored]
        if lost:
            events = sum(room.head - room.on_disk for room in lost)
            why = next((room.fault for room in lost if room.fault is not None), "the log does not answer")
            _log.error("%d events of %d runs are not on disk, and are lost: %s", events, len(lost), why)

    def tick(self, now: int) -> None:
        """Look after silent clients, deadlines, lost engines, and rooms that nobody uses."""
        if self.fault is not None and (self._listing is None or self._listing.done()):
            self._listing = asyncio.create_task(self._list())
        for dag in (self._overview, *self._dags.values()):
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
        self._store(room)
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

    def _store(self, room: Room) -> None:
        """Have the store append what the room has for it."""
        append = None if self._journal is None else room.next_append(now_ms())
        if self._journal is not None and append is not None:
            loop = asyncio.get_running_loop()
            self._journal.append(append, functools.partial(in_loop, loop, self._stored, room))

    async def _list(self) -> None:
        """Read the run lists, if the store can be read."""
        assert self._journal is not None
        try:
            stored = await asyncio.to_thread(self._journal.runs)
            for run in stored:
                if run.meta is not None:
                    self._add(run, run.meta.summary)
        except Unavailable as unavailable:
            # The next tick tries again.
            self.fault = str(unavailable)
            return
        unknown = [run for run in stored if run.meta is None]
        self.fault = f"{len(unknown)} runs that are stored without a summary are being read" if unknown else None
        if unknown:
            _log.info("%s", self.fault)
            self._listing = asyncio.create_task(self._describe(unknown))

    async def _describe(self, runs: list[StoredRun]) -> None:
        """List runs that are stored without a summary: by an earlier version, or as it is damaged.

        What is damaged stays so until the run itself is stored again, with what is to be said of it.
        """
        assert self._journal is not None
        for run in runs:
            dag = self.dag(run.dag_id)
            room = dag.make_room(run.run_id)
            try:
                restored = run.run_id not in dag.runs and await asyncio.to_thread(self._restore, room, run.run_id)
            except Unavailable as unavailable:
                # The next tick tries again.
                self.fault = str(unavailable)
                return
            if restored:
                meta = room.meta(now_ms())
                meta = replace(meta, summary=replace(meta.summary, started_at=run.started_at))
                self._add(replace(run, meta=meta), meta.summary)
                if run.is_sound:
                    self._journal.append(Append(run.dag_id, run.run_id, run.head, meta=meta), _log_failure)
            room.forget()
            self._drop(dag)
        self.fault = None

    def _add(self, run: StoredRun, summary: p.RunSummary) -> None:
        summary = replace(summary, bytes=run.bytes, events=run.events)
        self.dag(run.dag_id).add(summary, run.meta, now_ms())

    async def _load(self, dag: Dag, run_id: str) -> str | None:
        room = dag.make_room(run_id)
        restored, fault = False, None
        try:
            restored = await asyncio.to_thread(self._restore, room, run_id)
        except Unavailable as unavailable:
            fault = str(unavailable)
        except Exception as error:
            _log.exception("the log of the run %r of %r can't be read", run_id, dag.dag_id)
            fault = f"{type(error).__name__}: {error}"
        # A room that was restored in part only is discarded.
        dag.loaded(run_id, room if restored else None, now_ms(), fault)
        return fault

    def _restore(self, room: Room, run_id: str) -> bool:
        """Make a room that of a stored run; False where nothing is stored of it."""
        assert self._journal is not None
        stored = load(self._journal, room.dag_id, run_id)
        if stored is None:
            return False
        room.restore(stored, now_ms())
        return True

    def _stored(self, room: Room, result: Result) -> None:
        dag = self._dags.get(room.dag_id)
        if dag is not None:
            dag.stored(room, result, now_ms())
        self._answered.set()
        self._say_whether_it_fails(room)

    def _say_whether_it_fails(self, room: Room) -> None:
        """Say in the log, for all runs at once, that they can't be stored, or can again."""
        if room.fault is not None:
            if not self._failing:
                _log.warning("events are stored in memory only: %s", room.fault)
            self._failing.add(room)
        elif self._failing:
            # Those that left memory meanwhile were deleted.
            here = {each for dag in self._dags.values() for each in dag.rooms.values()}
            self._failing = {each for each in self._failing & here if each.fault is not None}
            if not self._failing:
                _log.warning("events are stored on disk again")

    def _is_watched(self, dag_id: str, run_id: str) -> bool:
        """Whether a client is in the room of a run. Called in the store's thread."""
        return any(room.dag_id == dag_id and room.epoch == run_id for room in tuple(self._audiences))

    def _removed(self, dag_id: str, run_id: str) -> None:
        """Retention has deleted a run from the store."""
        dag = self._dags.get(dag_id)
        if dag is not None:
            dag.remove(run_id, now_ms())
            self._drop(dag)

    def _replaced(self, reason: str) -> None:
        """A new log had to be begun: it gets the state of every room, and lacks what else was in the old one."""
        now = now_ms()
        for dag in tuple(self._dags.values()):
            dag.store_anew(reason, now)
        self._listing = asyncio.create_task(self._look_what_is_left(reason))

    async def _look_what_is_left(self, reason: str) -> None:
        assert self._journal is not None
        try:
            left = {(run.dag_id, run.run_id) for run in await asyncio.to_thread(self._journal.runs)}
        except Unavailable as unavailable:
            self.fault = str(unavailable)
            return
        for dag in tuple(self._dags.values()):
            for run in tuple(dag.runs):
                here = run.run_id in dag.rooms or run.run_id in dag.loading
                if not here and (dag.dag_id, run.run_id) not in left:
                    dag.remove(run.run_id, now_ms(), f"is gone: {reason}")
            self._drop(dag)

    # --- Reading

    async def room(self, dag_id: str, run_id: str | None = None) -> Room | None:
        """The room of a run, by default of the one that a client would follow; None where there is none.

        Raises:
            Refused: too many rooms are in use.
            Unavailable: the store can't be read.
        """
        dag = self._dags.get(dag_id)
        run_id = dag.runs.followed(None) if run_id is None and dag is not None else run_id
        if dag is None or run_id is None or (run_id not in dag.runs and run_id not in dag.rooms):
            if self.fault is not None:
                raise Unavailable(self.fault)
            return None
        while run_id not in dag.rooms:
            dag.want(run_id, now_ms())
            load = self._loads.get((dag_id, run_id))
            if load is not None:
                await asyncio.wait([load])
                fault = load.result()
                if fault is not None:
                    raise Unavailable(f"the log of the run {run_id!r} can't be read: {fault}")
                if run_id not in dag.rooms:
                    return None
        return dag.rooms[run_id]

    async def state_at(self, dag_id: str, run_id: str, seq: int) -> DagState | None:
        """The state of a stored run as of `seq`; None where it is not stored.

        Raises:
            Unavailable: the store can't be read.
            NotKept: events before it are not stored.
        """
        if self._journal is None:
            return None
        try:
            return await asyncio.to_thread(state_at, self._journal, dag_id, run_id, seq)
        except Missing as missing:
            raise NotKept(f"the run {run_id!r} can't be shown as of {seq:,}: {missing}") from missing

    async def page(self, dag_id: str, run_id: str, after: int, most: int) -> Page | None:
        """A part of a run's log: its first `most` events after `after`; None where there is no such run.

        Raises:
            Unavailable: the store can't be read.
            NotKept: they are not stored, or no longer.
        """
        dag = self._dags.get(dag_id)
        room = None if dag is None else dag.rooms.get(run_id)
        if room is not None:
            found = room.page(after, most)
            if found is not None:
                return found
            if self._journal is None:
                raise NotKept(
                    f"the first events of the run {run_id!r} are no longer kept: this server has no log on disk,"
                    f" and keeps the last {self._limits.log_events:,} in memory"
                )
        if self._journal is None:
            return None
        try:
            return await asyncio.to_thread(page, self._journal, dag_id, run_id, after, most)
        except Missing as missing:
            raise NotKept(f"of the run {run_id!r}, {missing}") from missing

    async def output(self, dag_id: str, run_id: str | None, key: OutputKey) -> str | None:
        """The whole output of a node, as JSON, by default in the run of `room`; None where there is no such node.

        Raises:
            Unavailable: the store can't be read.
            NotKept: there is a preview only.
        """
        room = await self.room(dag_id, run_id)
        node = None if room is None else room.state.nodes.get(key.node_id)
        execution = node if key.instance is None or node is None else (node.instances or {}).get(key.instance)
        if room is None or execution is None:
            return None
        size = execution.output_bytes
        if size is None and not execution.output_cut:
            # What was never cut is in the state as it is.
            return p.encode_value(execution.output).decode()
        whole = None if execution.output_cut else room.outputs.get(key)
        if not _is_whole(whole, size) and self._journal is not None and not execution.output_cut:
            whole = await asyncio.to_thread(self._journal.output, dag_id, room.epoch, key)
        if not _is_whole(whole, size):
            of = "" if size is None else f" of {size:,} bytes"
            raise NotKept(f"the output{of} of {key.node_id!r} is not kept whole: there is only its preview")
        return whole

    async def runs(self, dag_id: str) -> list[p.RunInfo]:
        """The run list of a DAG, newest first, with the sizes of the stored logs.

        Raises:
            Unavailable: the store can't be read.
        """
        if self.fault is not None:
            raise Unavailable(self.fault)
        dag = self._dags.get(dag_id)
        if dag is None:
            return []
        sizes: dict[str, int] = {}
        if self._journal is not None:
            sizes = {run.run_id: run.bytes for run in await asyncio.to_thread(self._journal.runs, dag_id)}
        return [
            p.RunInfo(dag_id=dag_id, **{**asdict(run), "bytes": sizes.get(run.run_id, run.bytes)}) for run in dag.runs
        ]

    def summaries(self) -> list[dict[str, Any]]:
        """Every DAG that has a run or a client, each with the run that a client would follow.

        Raises:
            Unavailable: the store can't be read.
        """
        if self.fault is not None:
            raise Unavailable(self.fault)
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


def _is_whole(text: str | None, size: int | None) -> bool:
    """Whether a stored output is the one of that size: an earlier one may be stored, where the newest was not."""
    return text is not None and size == len(text.encode())


def _log_failure(result: Result) -> None:
    if not isinstance(result, Stored):
        _log.warning("the summary of a run could not be stored: %s", result)
