"""Follows and steers a run from Python, without a widget; and reads stored runs."""

from .client import StreamClient, connect
from .event_stream import EventStream
from .http import output, run_state, runs
from .pending_command import SentCommand
from .state_machine import Batch, Connection

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
