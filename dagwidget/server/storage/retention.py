"""Which runs a store deletes. Never one that has not ended, has an open gate, or is watched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from ...state import FINAL
from .event_store import RunMeta

_DAY_MS = 86_400_000


class Retention(Struct, frozen=True, kw_only=True):
    """How much is stored of runs that have ended. The newest run of a DAG always stays."""

    runs: int = 20
    """Of each DAG."""
    days: float = 30.0
    bytes: int = 1024 * 1024 * 1024
    """In all."""
    lost_days: float = 7.0
    """How long after its start a lost run counts as ended."""


class Row(NamedTuple):
    """A stored run: its number in the store, and what is known of it."""

    number: int
    dag_id: str
    run_id: str
    started_at: int
    meta: RunMeta | None


def may_go(row: Row, retention: Retention, now: int) -> bool:
    """Whether a run has ended, and asks nothing. One without meta, of an earlier version, is not known to have."""
    if row.meta is None:
        return False
    summary = row.meta.summary
    if summary.status == "lost":
        return now - row.started_at > retention.lost_days * _DAY_MS
    return summary.status in FINAL and summary.gates == 0


def too_many(rows: Sequence[Row], retention: Retention, may_go: Callable[[Row], bool]) -> list[Row]:
    """Of the runs of one DAG, newest first, those that may go and are more than are stored."""
    ended = [row for row in rows if may_go(row)]
    return [row for row in ended[retention.runs :] if row is not rows[0]]


def too_old(rows: Sequence[Row], retention: Retention, may_go: Callable[[Row], bool], now: int) -> list[Row]:
    """Of `rows`, newest first, those that are older than is stored."""
    before = now - retention.days * _DAY_MS
    return [row for row in _but_newest(rows) if row.started_at < before and may_go(row)]


def too_large(
    rows: Sequence[Row], sizes: Mapping[int, int], retention: Retention, may_go: Callable[[Row], bool]
) -> list[Row]:
    """Of `rows`, newest first, the oldest that make the store larger than it may be."""
    surplus = sum(sizes.values()) - retention.bytes
    going: list[Row] = []
    for row in reversed(_but_newest(rows)):
        if surplus <= 0:
            break
        if may_go(row):
            going.append(row)
            surplus -= sizes.get(row.number, 0)
    return going


def _but_newest(rows: Sequence[Row]) -> list[Row]:
    """All but the newest run of each DAG."""
    seen: defaultdict[str, int] = defaultdict(int)
    rest: list[Row] = []
    for row in rows:
        seen[row.dag_id] += 1
        if seen[row.dag_id] > 1:
            rest.append(row)
    return rest
