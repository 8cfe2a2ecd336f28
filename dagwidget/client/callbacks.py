"""`Callbacks`: the functions that a client calls when it has news. One that raises is logged; the others are called."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .outputs import Batch

_log = logging.getLogger("dagwidget")


class Callbacks:
    """The callbacks of a client."""

    def __init__(self) -> None:
        """Nobody is called yet."""
        self._changes: list[Callable[[], object]] = []
        self._beginners: list[Callable[[str | None], object]] = []
        self._listeners: list[Callable[[Batch], object]] = []

    def on_begin(self, callback: Callable[[str | None], object]) -> Callable[[], None]:
        """Call `callback` with each run that `begin` names, in the thread that calls it.

        Returns:
            A function that ends it.

        Example:
            >>> stop = client.on_begin(print)
            >>> client.begin("run-7")
            run-7
            >>> stop()
        """
        self._beginners.append(callback)
        return lambda: self._beginners.remove(callback)

    def on_change(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` after the connection, the engine or the run list may have changed, in the client's loop.

        Returns:
            A function that ends it.

        Example:
            >>> stop = client.on_change(lambda: None)
            >>> stop()
        """
        self._changes.append(callback)
        return lambda: self._changes.remove(callback)

    def on_batch(self, callback: Callable[[Batch], object]) -> Callable[[], None]:
        """Call `callback` after each batch of events has been applied, in the client's event loop.

        Args:
            callback: The function to call with the batch.

        Returns:
            A function that ends it.

        Example:
            >>> batches = []
            >>> stop = client.on_batch(batches.append)
            >>> run.update("train", "running")
            >>> async for event in client.events():
            ...     break
            >>> batches[0].events == [event]
            True
            >>> stop()
        """
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def _tell(self, callbacks: list[Callable[..., object]], *arguments: object) -> None:
        for callback in tuple(callbacks):
            try:
                callback(*arguments)
            except Exception:
                _log.exception("a callback of %r failed", self)
