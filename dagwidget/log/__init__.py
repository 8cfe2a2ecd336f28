"""Where a room keeps its events."""

from .journal import Journal, Record, RunInfo
from .memory import Entry, MemoryLog

__all__ = ["Entry", "Journal", "MemoryLog", "Record", "RunInfo"]
