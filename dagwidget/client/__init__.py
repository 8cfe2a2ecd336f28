"""The stream in Python: `connect`, and the answers of the HTTP API."""

from .client import StreamClient, connect
from .pending_command import SentCommand

__all__ = [
    "SentCommand",
    "StreamClient",
    "connect",
]
