"""`Channel`: the way of a run's events to its room, over one transport after another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import protocol as p
from ..discovery import Endpoint
from . import worker_exit

if TYPE_CHECKING:
    from .transport import Transport


class Channel:
    """Publishes through a transport. Where that has finished, or was left behind by a fork, another one attaches."""

    def __init__(
        self, dag_id: str, locate: Callable[[], Endpoint], *, start: p.RunStart | None, epoch: str | None
    ) -> None:
        # asyncio is loaded when the first run starts, not by `import dagwidget.publisher`.
        from .transport import Transport

        self._dag_id = dag_id
        self._locate = locate
        self._epoch = epoch
        self._lock = threading.RLock()
        self._closed = False
        self._receive: Callable[[p.HumanGateResolved | p.ExecutionState], None] = lambda _event: None
        self._abandon: Callable[[], None] = lambda: None
        self._transport: Transport | None = Transport(dag_id, locate, start=start, epoch=epoch)
        self.name = self._transport.name

    def open(
        self, *, receive: Callable[[p.HumanGateResolved | p.ExecutionState], None], abandon: Callable[[], None]
    ) -> None:
        """Start to deliver. See `Transport.open`."""
        self._receive, self._abandon = receive, abandon
        self._current().open(receive=receive, abandon=abandon)

    def publish(self, event: p.Event) -> None:
        """Take an event, in any thread, at once."""
        transport = self._transport
        if transport is None or not transport.publish(event):
            # What is said after the end of a run is still true: a worker says it.
            transport = self._attach(transport)
            transport.publish(event)
            if self._closed:
                transport.close()

    @property
    def refused(self) -> str | None:
        """Why the room takes nothing more."""
        return None if self._transport is None else self._transport.refused

    @property
    def refused_code(self) -> int | None:
        """The close code with which the room has refused it."""
        return None if self._transport is None else self._transport.refused_code

    @property
    def is_behind(self) -> bool:
        """Whether much waits to be delivered."""
        return self._transport is not None and self._transport.is_behind

    @property
    def url(self) -> str | None:
        """Where the server was last found."""
        return None if self._transport is None else self._transport.url

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the room has everything. See `Transport.flush`."""
        return self._transport is None or self._transport.flush(timeout)

    def close(self) -> None:
        """Deliver what is left, then end. Returns at once."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()

    def after_fork(self) -> None:
        """In a forked child: the transport's thread stayed in the parent. The first event attaches a worker."""
        self._lock = threading.RLock()
        self._transport = None
        self._closed = False

    def _current(self) -> Transport:
        return self._transport or self._attach(None)

    def _attach(self, finished: Transport | None) -> Transport:
        from .transport import Transport, deliver_at_exit

        worker_exit.deliver_at_exit(deliver_at_exit)
        with self._lock:
            if self._transport is None or self._transport is finished:
                self._transport = Transport(self._dag_id, self._locate, start=None, epoch=self._epoch)
                self._transport.open(receive=self._receive, abandon=self._abandon)
                self.name = self._transport.name
            return self._transport
