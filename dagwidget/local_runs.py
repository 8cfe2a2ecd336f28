"""The latest run of each DAG that this process has started. A widget here learns of it before the server reports it."""

from __future__ import annotations

import time
from typing import NamedTuple


class LocalRun(NamedTuple):
    """A run that this process has started, and when, in Unix milliseconds."""

    run_id: str
    started_at: int


_latest: dict[tuple[str | None, str], LocalRun] = {}


def record(url: str | None, dag_id: str, run_id: str) -> None:
    """Record that this process has just started a run.

    Args:
        url: The server's base URL as it was passed; None for the default one.
        dag_id: The DAG.
        run_id: The run.
    """
    _latest[url, dag_id] = LocalRun(run_id, time.time_ns() // 1_000_000)


def latest(url: str | None, dag_id: str) -> LocalRun | None:
    """The run of the DAG that this process started last; None if it started none."""
    return _latest.get((url, dag_id))
