"""Where a room keeps its events."""

from .memory import Entry, MemoryLog

__all__ = ["Entry", "MemoryLog"]
