"""`Feed`: what `async for event in client.events()` goes through, in any event loop. It never grows without bound."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from .. import protocol as p
from ..cross_loop import Waiters
from ..state import DagState, compact
from .state_machine import Batch

# How many events may wait for a reader, before it is given the state instead.
_MOST: Final = 100_000


class Feed:
    """The events of a client for one reader; a `sync` among them says that the state begins anew with what follows."""

    def __init__(self, state: Callable[[], DagState], waiters: Waiters, ended: Callable[[], bool]) -> None:
        """A feed from now on.

        Args:
            state: What the client's state is.
            waiters: Woken whenever something came, or it ended.
            ended: Whether nothing more comes; raises where that is no good end.
        """
        self._state = state
        self._waiters = waiters
        self._ended = ended
        self._events: deque[p.Event | p.Sync] = deque()

    def take(self, batch: Batch) -> None:
        """Take what was just applied to the state."""
        if len(self._events) + len(batch.events) > _MOST:
            self._events.clear()
            self._begin(self._state())
            self._events.extend(compact(self._state()))
            return
        if batch.reset:
            self._begin(self._state())
        self._events.extend(batch.events)

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> p.Event | p.Sync:
        if not self._events:
            await self._waiters.wait(lambda: bool(self._events) or self._ended(), None, "")
            if not self._events:
                raise StopAsyncIteration
        return self._events.popleft()

    def _begin(self, state: DagState) -> None:
        self._events.append(p.Sync(epoch=state.epoch or "", seq=state.seq, reset=True))
