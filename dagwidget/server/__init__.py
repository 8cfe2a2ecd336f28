"""The stream server: rooms, sessions, storage."""

from .app import StreamServer

__all__ = [
    "StreamServer",
]
