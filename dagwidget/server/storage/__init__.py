"""Where a room keeps its events."""

from .event_store import Journal, Record
from .memory_log import Entry, MemoryLog
from .page import Page

__all__ = ["Entry", "Journal", "MemoryLog", "Page", "Record"]
