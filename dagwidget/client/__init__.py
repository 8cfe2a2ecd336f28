"""Follows and steers a run from Python, without a widget; and reads stored runs."""

from .client import StreamClient
from .connecting import connect
from .event_stream import EventStream
from .http import output, run_state, runs
from .outputs import Batch, Connection
from .pending_command import SentCommand

__all__ = [
    "Batch",
    "Connection",
    "EventStream",
    "SentCommand",
    "StreamClient",
    "connect",
    "output",
    "run_state",
    "runs",
]
