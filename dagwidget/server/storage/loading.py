"""Reads a run from a store: the newest checkpoint that serves, and the events after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ...errors import ProtocolError
from ...state import DagState
from .event_store import Checkpoint, Journal, Record, RunMeta
from .faults import Missing
from .page import Page

_PAGE: Final = 5_000


class StoredLog(NamedTuple):
    """What is stored of a run: enough to be its room again."""

    run_id: str
    records: Sequence[Record] = ()
    """The events after the checkpoint, or all of them."""
    meta: RunMeta | None = None
    checkpoint: Checkpoint | None = None
    begins: int = 0
    """The `seq` before the run's first event."""
    head: int = 0
    """The `seq` of its last event, also where the records end before."""
    cut: str | None = None
    """Why the records end before the head."""

    @property
    def starts(self) -> int:
        """The `seq` that the first record follows."""
        return self.begins if self.checkpoint is None else self.checkpoint.seq


def load(journal: Journal, dag_id: str, run_id: str) -> StoredLog | None:
    """Read a run; None where there is none.

    Raises:
        Unavailable: the store can't be read.
    """
    found = journal.snapshot(dag_id, run_id)
    if found is None:
        return None
    run, checkpoint = found
    at = run.begins if checkpoint is None else checkpoint.seq
    records: list[Record] = []
    cut: str | None = None
    while at < run.head and cut is None:
        try:
            page = journal.follow(dag_id, run_id, at, _PAGE)
        except Missing:
            cut = f"the events {at + 1:,} to {run.head:,} of the log can't be read"
        else:
            records += page
            at = page[-1].seq
    if cut is None and not run.is_sound:
        cut = "how far the log reached is not known"
    return StoredLog(run_id, records, run.meta, checkpoint, run.begins, run.head, cut)


def state_at(journal: Journal, dag_id: str, run_id: str, seq: int) -> DagState | None:
    """The state of a run as of one of its events, or of its last; None where there is no such run.

    Raises:
        Unavailable: the store can't be read.
        Missing: events that it takes are not stored.
    """
    found = journal.snapshot(dag_id, run_id, seq)
    if found is None:
        return None
    run, checkpoint = found
    if seq > run.head and not run.is_sound:
        raise Missing(run.head, seq, "can't be read, if there are such")
    state = DagState(epoch=run_id) if checkpoint is None else checkpoint.state
    at = run.begins if checkpoint is None else checkpoint.seq
    upto = min(seq, run.head)
    while at < upto:
        for record in journal.follow(dag_id, run_id, at, min(_PAGE, upto - at)):
            try:
                state.apply(record.event())
            except ProtocolError as error:
                raise Missing(at, record.seq, f"can't be read: {error}") from error
            at = record.seq
    return state


def page(journal: Journal, dag_id: str, run_id: str, after: int, most: int) -> Page | None:
    """The first `most` events of a run after `after`, or from where its numbers begin; None where there is none.

    Raises:
        Unavailable: the store can't be read.
        Missing: the first of them is not stored.
    """
    found = journal.snapshot(dag_id, run_id, 0)
    if found is None:
        return None
    after = max(after, found.run.begins)
    records = journal.follow(dag_id, run_id, after, most)
    return Page(after, max(found.run.head, after), [record.data for record in records])
