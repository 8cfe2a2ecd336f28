"""Waiting, in any event loop, for what any thread may bring about."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable


class Waiters:
    """Coroutines of any event loop that wait for a condition which any thread may bring about."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @property
    def waiting(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def wake(self) -> None:
        """Let everybody who waits look again. Callable from any thread."""
        with self._lock:
            waiting = tuple(self._waiting)
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def wait(self, ready: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Wait until `ready()`.

        Raises:
            TimeoutError: `timeout` seconds are over; the text names `what` did not come.
        """
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting.append(entry)
        try:
            await asyncio.wait_for(self._until(ready, entry[1]), timeout)
        except TimeoutError:
            raise TimeoutError(f"{what} did not come in {timeout} s") from None
        finally:
            with self._lock:
                self._waiting.remove(entry)

    @staticmethod
    async def _until(ready: Callable[[], bool], event: asyncio.Event) -> None:
        while not ready():
            await event.wait()
            event.clear()
