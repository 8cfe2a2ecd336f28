"""The runs that this process has begun: a widget hears of them only by way of the server and the browser."""

from __future__ import annotations

import time
from typing import NamedTuple


class Begun(NamedTuple):
    """A run (its epoch), and when it was begun, in milliseconds since 1970."""

    run_id: str
    at: int


_latest: dict[tuple[str | None, str], Begun] = {}


def begin(url: str | None, dag_id: str, run_id: str) -> None:
    """Note that this process has just begun a run of a DAG, at the server `url` (None for the default one)."""
    _latest[url, dag_id] = Begun(run_id, time.time_ns() // 1_000_000)


def latest(url: str | None, dag_id: str) -> Begun | None:
    """The run of the DAG that this process has begun last."""
    return _latest.get((url, dag_id))
