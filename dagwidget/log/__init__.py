"""Where a room keeps its events."""

from .journal import Journal, Record, RunInfo
from .memory import Entry, MemoryLog
from .page import Page

__all__ = ["Entry", "Journal", "MemoryLog", "Page", "Record", "RunInfo"]
