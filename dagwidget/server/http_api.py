"""`HttpApi`: what the server answers to a GET, as JSON. Who may ask is decided before, in `app`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .. import protocol as p
from .room_registry import Rooms
from .routing import Route
from .storage.output_cache import OutputKey
from .storage.page import Page

# What one answer holds of a run's log.
_PAGE_EVENTS: Final = 5_000
_PAGE_BYTES: Final = 1024 * 1024


class HttpApi:
    """Reads of the rooms: DAGs, their runs, one run as of `?seq=`, its log, a node's whole output."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def dags(self) -> list[dict[str, Any]]:
        """A summary of every known DAG.

        Raises:
            Unavailable: the store can't be read.
        """
        return self._rooms.summaries()

    async def answer(self, to: Route, query: Mapping[str, str]) -> bytes | None:
        """The answer to a GET, as JSON; None where there is none.

        Raises:
            ValueError: the query is malformed.
            NotKept: the events are no longer kept.
            Refused: too many runs are in use.
            Unavailable: the store can't be read.
        """
        if to.what == "output":
            whole = await self._rooms.output(to.dag_id, to.run_id, OutputKey(to.node_id, query.get("instance")))
            return None if whole is None else whole.encode()
        if to.what == "events" and to.run_id is not None:
            return await self._events(to, to.run_id, query)
        if to.what == "runs":
            return p.encode_value(await self._rooms.runs(to.dag_id))
        if to.run_id is not None and "seq" in query:
            return await self._state_at(to.dag_id, to.run_id, _number(query, "seq", 0))
        return await self._current(to)

    async def _events(self, to: Route, run_id: str, query: Mapping[str, str]) -> bytes | None:
        after, most = _number(query, "after", 0), _number(query, "limit", _PAGE_EVENTS)
        page = await self._rooms.page(to.dag_id, run_id, after, max(1, min(most, _PAGE_EVENTS)))
        return None if page is None else _log_page(to, page.within(_PAGE_BYTES))

    async def _state_at(self, dag_id: str, run_id: str, seq: int) -> bytes | None:
        state = await self._rooms.state_at(dag_id, run_id, seq)
        if state is None:
            return None
        return p.encode_value({"dag_id": dag_id, "epoch": run_id, "state": state.to_dict()})

    async def _current(self, to: Route) -> bytes | None:
        room = await self._rooms.room(to.dag_id, to.run_id)
        if room is None:
            return None
        summary = self._rooms.summary(self._rooms.dag(to.dag_id), room.epoch)
        return p.encode_value({**summary, "state": room.state.to_dict()})


def _log_page(to: Route, page: Page) -> bytes:
    events = [msgspec.Raw(event) for event in page.events]
    return p.encode_value(
        {"dag_id": to.dag_id, "epoch": to.run_id, "after": page.after, "head": page.head, "events": events}
    )


def _number(query: Mapping[str, str], name: str, otherwise: int) -> int:
    text = query.get(name)
    if text is None:
        return otherwise
    if not text.isdecimal() or len(text) > 15:
        raise ValueError(f"{name} is a number, 0 or more: {text[:50]!r}")
    return int(text)
