"""Waiting in any event loop for a condition that any thread may fulfil."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable


class Waiters:
    """The coroutines, of any number of event loops, that wait for a condition. Any thread may fulfil it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @property
    def waiting(self) -> bool:
        """Whether any coroutine waits."""
        return bool(self._waiting)

    def wake(self) -> None:
        """Let every waiting coroutine check its condition. May be called in any thread."""
        with self._lock:
            waiting = tuple(self._waiting)
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def wait(self, ready: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Wait until `ready()` is true.

        Args:
            ready: The condition; checked first, and again after each `wake`.
            timeout: The longest wait in seconds; None for no limit.
            what: What is waited for, for the text of the error.

        Raises:
            TimeoutError: `timeout` seconds have passed.
        """
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting.append(entry)
        try:
            async with asyncio.timeout(timeout):
                while not ready():
                    await entry[1].wait()
                    entry[1].clear()
        except TimeoutError:
            raise TimeoutError(f"timed out after {timeout:g} s waiting for {what}") from None
        finally:
            with self._lock:
                self._waiting.remove(entry)
