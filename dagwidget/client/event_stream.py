"""`EventStream`: what `client.events()` returns. Its buffer is bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from .. import protocol as p
from ..state import DagState, compact
from .cross_loop import Waiters
from .outputs import Batch

# With more events than this in the buffer, they are replaced by the current state.
_MOST: Final = 100_000


class EventStream:
    """A client's events for one reader, in any event loop.

    A `protocol.Sync` among them means that the events after it build a new state from scratch.
    """

    def __init__(self, state: Callable[[], DagState], waiters: Waiters, ended: Callable[[], bool]) -> None:
        """A stream of the events from now on.

        Args:
            state: Returns the client's current state.
            waiters: Woken after each batch, and when the client ends.
            ended: Whether no further event comes; raises if the connection failed for good.
        """
        self._state = state
        self._waiters = waiters
        self._ended = ended
        self._events: deque[p.AnyEvent | p.Unknown | p.Sync] = deque()

    def _append(self, batch: Batch) -> None:
        """Add a batch that was just applied to the state."""
        if len(self._events) + len(batch.events) > _MOST:
            self._events.clear()
            self._append_sync(self._state())
            self._events.extend(compact(self._state()))
            return
        if batch.reset:
            self._append_sync(self._state())
        self._events.extend(batch.events)

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> p.AnyEvent | p.Unknown | p.Sync:
        if not self._events:
            await self._waiters.wait(lambda: bool(self._events) or self._ended(), None, "an event")
            if not self._events:
                raise StopAsyncIteration
        return self._events.popleft()

    def _append_sync(self, state: DagState) -> None:
        self._events.append(p.Sync(epoch=state.epoch or "", seq=state.seq, reset=True))
