"""The answers of the HTTP API."""

from __future__ import annotations

from msgspec import Struct


class RunInfo(Struct, frozen=True):
    """A run that the server has stored."""

    dag_id: str
    run_id: str
    started_at: int
    """Unix milliseconds."""
    events: int
    """The number of its events that are stored."""
    bytes: int
    """Their size in storage."""
