"""What people ask of a run: to pause, to go on, to be cancelled."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError

from .. import protocol as p


class Control:
    """Whether a run goes on, pauses or is cancelled. Thread-safe."""

    def __init__(
        self, publish: Callable[[p.Event], None], *, on_cancel: Callable[[], None], start: p.RunStart | None
    ) -> None:
        """A run that goes on.

        Args:
            publish: Publishes what the run does of what it is asked.
            on_cancel: Called when it is to be cancelled, before the listeners.
            start: How the run was started; None for a worker.
        """
        self._publish = publish
        self._on_cancel = on_cancel
        self._lock = threading.Lock()
        self._status: p.LiveStatus = "running"
        # Done when the pause ends.
        self._pause: Future[None] | None = None
        self._listeners: list[Callable[[str], None]] = []
        self._spent = 0.0
        # A little more than the budget: the room adds up in another order, and must have come to it too.
        self._stop_at: float | None = None
        can_pause = start is not None and (start.capabilities is None or start.capabilities.pause != "none")
        if can_pause and start is not None and start.budget is not None and start.on_budget in ("pause", "gate"):
            self._stop_at = start.budget * (1 + 1e-9)

    @property
    def cancelling(self) -> bool:
        """Whether the run is to be cancelled."""
        return self._status == "cancelling"

    def confirm(self, status: p.LiveStatus) -> None:
        """The engine says what the run does now."""
        with self._lock:
            self._status = status
        self._publish(p.ExecutionState(status=status))

    def reach_checkpoint(self) -> Future[None] | None:
        """The run is where it can pause; returns the pause, if there is one."""
        with self._lock:
            if self._status == "pausing":
                self._status = "paused"
                self._publish(p.ExecutionState(status="paused"))
            return self._pause

    def listen(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call `callback` with each request; returns a function that stops it."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def request(self, status: p.LiveStatus) -> None:
        """Do what is asked of the run: `pausing`, `resuming` or `cancelling`."""
        with self._lock:
            if self._status == status:
                return
            ended = self._take(status)
        _end(ended)
        if status == "cancelling":
            self._on_cancel()
        for listener in tuple(self._listeners):
            listener(status)

    def spend(self, amount: float) -> None:
        """Pause at the budget, as the room will ask: a fast loop would be far beyond it until it has."""
        if self._stop_at is None:
            return
        with self._lock:
            self._spent += amount
            stop = self._stop_at is not None and self._spent > self._stop_at
            if stop:
                self._stop_at = None
        if stop:
            self.request("pausing")

    def abandon(self) -> None:
        """End the pause: nobody can do so any more."""
        with self._lock:
            pause = self._pause
        _end(pause)

    def _take(self, status: p.LiveStatus) -> Future[None] | None:
        """Note what is asked; returns the pause that it ends."""
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
