"""Pausing, resuming and cancelling a run."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError

from .. import protocol as p

_log = logging.getLogger("dagwidget")


class Control:
    """What was requested of a run, and what the run does about it. Thread-safe.

    Args:
        publish: Publishes an event.
        on_cancel: Called when the run is to be cancelled, before the listeners.
        start: The run's start; None for a worker.
    """

    def __init__(
        self, publish: Callable[[p.Event], None], *, on_cancel: Callable[[], None], start: p.RunStart | None
    ) -> None:
        self._publish = publish
        self._on_cancel = on_cancel
        self._lock = threading.RLock()
        self._status: p.LiveStatus = "running"
        # Done when the pause ends.
        self._pause: Future[None] | None = None
        self._listeners: list[Callable[[str], None]] = []
        self._spent = 0.0
        # Slightly more than the budget: the room adds up in another order, and must have reached the budget too.
        self._stop_at: float | None = None
        can_pause = start is not None and (start.capabilities is None or start.capabilities.pause != "none")
        if can_pause and start is not None and start.budget is not None and start.on_budget in ("pause", "gate"):
            self._stop_at = start.budget * (1 + 1e-9)

    @property
    def cancelling(self) -> bool:
        """Whether the run is to be cancelled."""
        return self._status == "cancelling"

    def set_status(self, status: p.LiveStatus) -> None:
        """Record and publish the status that the engine reports."""
        with self._lock:
            self._status = status
        self._publish(p.ExecutionState(status=status))

    def reach_checkpoint(self) -> Future[None] | None:
        """Begin a requested pause. Returns the pause, if there is one."""
        with self._lock:
            if self._status == "pausing":
                self._status = "paused"
                self._publish(p.ExecutionState(status="paused"))
            return self._pause

    def listen(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call `callback` with each request. Returns a function that stops this."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def request(self, status: p.LiveStatus) -> None:
        """Handle a request: `pausing`, `resuming` or `cancelling`."""
        with self._lock:
            if self._status == status:
                return
            ended = self._apply(status)
        _end(ended)
        if status == "cancelling":
            self._on_cancel()
        for listener in tuple(self._listeners):
            try:
                listener(status)
            except Exception:
                _log.exception("a callback of on_control failed")

    def spend(self, amount: float) -> None:
        """Add an amount, and pause at the budget. A fast loop would overspend while it waits for the room's request."""
        if self._stop_at is None:
            return
        with self._lock:
            self._spent += amount
            stop = self._stop_at is not None and self._spent > self._stop_at
            if stop:
                self._stop_at = None
        if stop:
            self.request("pausing")

    def release(self) -> None:
        """End the pause, because no request can arrive any more."""
        with self._lock:
            pause = self._pause
        _end(pause)

    def _apply(self, status: p.LiveStatus) -> Future[None] | None:
        """Record a request. Returns the pause that it ends."""
        if status == "pausing":
            self._status = "pausing"
            self._pause = self._pause or Future()
            return None
        ended, self._pause = self._pause, None
        if status == "cancelling":
            self._status = "cancelling"
        else:
            self._status = "running"
            if not self._listeners:
                self._publish(p.ExecutionState(status="running"))
        return ended


def _end(pause: Future[None] | None) -> None:
    if pause is not None:
        with contextlib.suppress(InvalidStateError):
            pause.set_result(None)
