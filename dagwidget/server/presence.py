"""`Presence`: whether the engine that owns a run is there."""

from __future__ import annotations

from .. import protocol as p
from ..protocol.limits import Limits


class Presence:
    """Tracks the owner of a run by its connections and by when it was last heard. Times are Unix milliseconds.

    A run outlives its room in memory, so the clock of a lost engine runs here and not in the room.
    """

    def __init__(self, limits: Limits, heard_at: int) -> None:
        """Nobody is connected; `heard_at` is when the server started, so that a restart never looks like a death."""
        self._limits = limits
        self.heard_at = heard_at
        self._connections = 0

    def connect(self, now: int) -> None:
        """An owner has attached."""
        self._connections += 1
        self.heard_at = now

    def disconnect(self) -> None:
        """An owner's connection has ended."""
        self._connections -= 1

    def hear(self, now: int) -> None:
        """A frame of the owner has arrived."""
        self.heard_at = now

    @property
    def is_connected(self) -> bool:
        """Whether an owner's connection stands."""
        return self._connections > 0

    def state(self, now: int) -> p.EngineState:
        """How the engine of a run stands that has not ended."""
        silence = (now - self.heard_at) / 1000
        if self.is_connected:
            return "silent" if silence >= self._limits.silent_seconds else "connected"
        return "gone" if silence >= self._limits.gone_seconds else "connected"

    def is_lost(self, now: int) -> bool:
        """Whether the engine has been away for so long that its run counts as lost."""
        return not self.is_connected and (now - self.heard_at) / 1000 >= self._limits.lost_seconds
