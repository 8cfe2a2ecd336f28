"""What the HTTP endpoints answer with."""

from __future__ import annotations

from msgspec import Struct


class RunInfo(Struct, frozen=True):
    """A run that is kept. Times are Unix milliseconds."""

    dag_id: str
    run_id: str
    started_at: int
    events: int
    bytes: int
    """As it is kept."""
