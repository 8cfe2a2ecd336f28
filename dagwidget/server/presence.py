"""`Presence`: whether the engine that owns a run is connected."""

from __future__ import annotations

from .. import protocol as p
from ..protocol.limits import Limits


class Presence:
    """The owner of one run: its connections, and when its last frame arrived. Times are Unix milliseconds.

    It outlives the run's room in memory, so that an engine is found to be lost without its room.
    """

    def __init__(self, limits: Limits, started_at: int, heard_at: int | None = None) -> None:
        """No owner is connected.

        Args:
            limits: The times after which an engine is silent, gone or lost.
            started_at: When the server started. Silence counts from then at the earliest, so that a restart of the
                server never makes an engine look dead.
            heard_at: When the owner's last frame arrived, where an earlier server has stored it.
        """
        self._limits = limits
        self._started_at = started_at
        # By that server's clock, which may have been ahead of this one's.
        self.heard_at = None if heard_at is None else min(heard_at, started_at)
        self._connections = 0

    def connect(self, now: int) -> None:
        """An owner has attached."""
        self._connections += 1
        self.heard_at = now

    def disconnect(self) -> None:
        """A connection of an owner has ended."""
        self._connections -= 1

    def hear(self, now: int) -> None:
        """A frame of the owner has arrived."""
        self.heard_at = now

    def state(self, now: int) -> p.EngineState:
        """The state of the engine of a run that has not ended."""
        silence = self._silence(now)
        if self._connections > 0:
            return "silent" if silence >= self._limits.silent_seconds else "connected"
        return "gone" if silence >= self._limits.gone_seconds else "connected"

    def is_lost(self, now: int) -> bool:
        """Whether the engine has been gone for so long that its run counts as lost."""
        return self._connections == 0 and self._silence(now) >= self._limits.lost_seconds

    def _silence(self, now: int) -> float:
        """For how many seconds this server has heard nothing of the owner."""
        return (now - max(self.heard_at or 0, self._started_at)) / 1000
