"""`Rooms`: the audiences of a server by their DAG, loaded from the journal and forgotten as need be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any
from weakref import WeakValueDictionary

from ..errors import DagwidgetError, ProtocolError
from ..protocol import decode_events, encode_value
from ..protocol.http_types import RunInfo
from ..protocol.limits import Limits
from ..state import DagState
from .broadcaster import Audience
from .room import Room
from .storage.event_store import Journal
from .storage.output_cache import OutputKey
from .storage.page import Page

_log = logging.getLogger("dagwidget")


class LetGo(DagwidgetError):
    """Events were asked for that are no longer kept."""


class Rooms:
    """The rooms of a server: live ones, one a DAG, and past runs that somebody looks at."""

    def __init__(self, limits: Limits, journal: Journal | None) -> None:
        self._limits = limits
        self._journal = journal
        self._live: dict[str, Audience] = {}
        self._past: dict[tuple[str, str], Audience] = {}
        # Of two that come to a DAG at once, the second must find the room that the first is loading.
        self._loading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def __iter__(self) -> Iterator[Audience]:
        yield from tuple(self._live.values())
        yield from tuple(self._past.values())

    async def live(self, dag_id: str) -> Audience:
        """The room of a DAG; where it is not in memory, as it was kept, or empty."""
        async with self._loading.setdefault(dag_id, asyncio.Lock()):
            audience = self._live.get(dag_id)
            if audience is None:
                room = Room(dag_id, self._limits, journaled=self._journal is not None)
                await asyncio.to_thread(self._restore, room, None)
                audience = self._live[dag_id] = Audience(room, self._journal)
            return audience

    async def known(self, dag_id: str) -> Audience | None:
        """The room of a DAG, if it has ever had a run."""
        if dag_id in self._live:
            return self._live[dag_id]
        return await self.live(dag_id) if await self.runs(dag_id) else None

    async def run(self, dag_id: str, run_id: str) -> Audience | None:
        """A run of a DAG: the current one, or one that is kept; None where it is neither."""
        live = await self.known(dag_id)
        if live is not None and live.room.epoch == run_id:
            return live
        async with self._loading.setdefault(dag_id, asyncio.Lock()):
            audience = self._past.get((dag_id, run_id))
            if audience is None and self._journal is not None:
                room = Room(dag_id, self._limits)
                if await asyncio.to_thread(self._restore, room, run_id):
                    audience = self._past[dag_id, run_id] = Audience(room, live=False)
            return audience

    async def state_at(self, dag_id: str, run_id: str, seq: int) -> DagState | None:
        """What a kept run had come to at `seq`; None where it is not kept."""
        saved = None if self._journal is None else await asyncio.to_thread(self._journal.load, dag_id, run_id)
        if saved is None:
            return None
        state = DagState(epoch=run_id)
        for record in saved[1]:
            if record.seq > seq:
                break
            (event,) = decode_events(record.data)
            state.apply(event)
        return state

    async def page(self, dag_id: str, run_id: str, after: int, most: int) -> Page | None:
        """A part of a run's log: its first `most` events after `after`; None where the run is not here.

        Raises:
            LetGo: they were kept in memory only, and are no longer.
        """
        for audience in (self._live.get(dag_id), self._past.get((dag_id, run_id))):
            if audience is not None and audience.room.epoch == run_id:
                page = audience.room.page(after, most)
                if page is not None:
                    return page
                if self._journal is None:
                    raise LetGo(
                        f"the first events of the run {run_id!r} are no longer kept: this server has no log on disk,"
                        f" and keeps the last {self._limits.log_events:,} in memory"
                    )
        if self._journal is None:
            return None
        return await asyncio.to_thread(self._journal.page, dag_id, run_id, after, most)

    async def output(self, dag_id: str, run_id: str | None, key: OutputKey) -> str | None:
        """The whole output of a node, as JSON, by default of the current run; None where it is not here."""
        audience = await (self.known(dag_id) if run_id is None else self.run(dag_id, run_id))
        if audience is None:
            return None
        room = audience.room
        whole = room.outputs.get(key)
        if whole is None and self._journal is not None:
            whole = await asyncio.to_thread(self._journal.output, dag_id, room.epoch, key)
        node = room.state.nodes.get(key.node_id)
        execution = node if key.instance is None or node is None else (node.instances or {}).get(key.instance)
        self.left(audience)
        if execution is None or (whole is None and execution.output_bytes is not None):
            return None
        # What was never cut is in the state as it is.
        return whole if execution.output_bytes is not None else encode_value(execution.output).decode()

    async def runs(self, dag_id: str | None = None) -> list[RunInfo]:
        """The runs that are kept, the newest first."""
        return [] if self._journal is None else await asyncio.to_thread(self._journal.runs, dag_id)

    async def summaries(self) -> list[dict[str, Any]]:
        """Every DAG that is known: those in memory with what goes on, the others with what is kept of them."""
        kept: dict[str, RunInfo] = {}
        for run in await self.runs():
            kept.setdefault(run.dag_id, run)
        live = [audience.summary() for audience in self._live.values()]
        away = [
            {"dag_id": run.dag_id, "epoch": run.run_id, "seq": run.events}
            for dag_id, run in kept.items()
            if dag_id not in self._live
        ]
        return [*live, *away]

    def has_space_for(self, dag_id: str) -> bool:
        """Whether a DAG may have a room; one that nobody uses may have to go."""
        if dag_id in self._live or len(self._live) < self._limits.rooms:
            return True
        for other, audience in self._live.items():
            if audience.empty and not audience.room.under_way:
                self._forget(other)
                return True
        return False

    def left(self, audience: Audience) -> None:
        """Somebody has left a room: one that is of no more use is forgotten."""
        if not audience.empty:
            return
        dag_id, run_id = audience.room.dag_id, audience.room.epoch
        if self._live.get(dag_id) is audience:
            if not run_id:
                self._forget(dag_id)
        elif self._past.pop((dag_id, run_id), None) is not None:
            audience.close()

    def _forget(self, dag_id: str) -> None:
        self._live.pop(dag_id).close()

    def _restore(self, room: Room, run_id: str | None) -> bool:
        if self._journal is None:
            return False
        saved = self._journal.load(room.dag_id, run_id)
        if saved is None:
            return False
        earlier = [run.run_id for run in self._journal.runs(room.dag_id) if run.run_id != saved[0]]
        try:
            room.restore(*saved, earlier)
        except ProtocolError as error:
            _log.error("the run %r of %r can't be read, and is left alone: %s", saved[0], room.dag_id, error)
            return False
        return True
