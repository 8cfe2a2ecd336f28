"""What a room needs of a durable log: `Journal`, and what it keeps of an event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from ...errors import DagwidgetError
from ...protocol import Event, NodeOutput, RunSummary, decode_events
from .output_cache import OutputKey
from .page import Page


class Unreadable(DagwidgetError):
    """The store can't be read."""


class Record(NamedTuple):
    """An event as a journal keeps it."""

    seq: int
    data: bytes
    """As it went over the wire."""
    publisher: str | None = None
    """Whose event it was, and its publisher's own number: so that what is sent again is known again."""
    number: int | None = None
    command: str | None = None
    """The command that it answers: so that who asks again gets the same answer."""
    output: NodeOutput | None = None
    """What is kept beside the log: a part of a whole output."""

    def event(self) -> Event:
        """The event.

        Raises:
            ProtocolError: it is none.
        """
        (event,) = decode_events(self.data)
        return event


class RunMeta(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is stored of a run beside its log, so that run lists, timers and retention load no log."""

    summary: RunSummary
    owner: str | None = None
    """The publisher that owns the run."""
    replaced: tuple[str, ...] = ()
    """Earlier owners, which the run was taken over from."""
    log: str | None = None
    """The incarnation of the log."""
    deadline: int | None = None
    """The earliest deadline of an open gate."""
    heard_at: int | None = None
    """When the owner's last frame arrived."""


class StoredLog(NamedTuple):
    """The log of a run, and what is stored beside it."""

    run_id: str
    records: list[Record]
    meta: RunMeta | None = None


class StoredRun(Struct, frozen=True, kw_only=True):
    """A run of the store. `meta` is None where an earlier version wrote it."""

    dag_id: str
    run_id: str
    started_at: int
    events: int
    bytes: int
    meta: RunMeta | None = None


class Journal(Protocol):
    """A log that survives its process. Its methods may be called in any thread."""

    protected: Callable[[str, str], bool]
    """Whether a run (by DAG and run id) must not be deleted, as somebody watches it. Called in another thread."""
    removed: Callable[[str, str], None]
    """Called in another thread after retention has deleted a run."""

    def append(
        self,
        dag_id: str,
        run_id: str,
        records: Sequence[Record],
        done: Callable[[str | None], None],
        meta: RunMeta | None = None,
    ) -> None:
        """Store records, in order, and `meta` in the same transaction; returns at once.

        `done` is called in another thread: with None once they are durable, else with what is wrong. Then they wait in
        memory, and are stored as soon as that is possible again.
        """

    def load(self, dag_id: str, run_id: str | None = None) -> StoredLog | None:
        """The log of a run, by default of the newest; None where there is none."""

    def page(self, dag_id: str, run_id: str, after: int, most: int) -> Page | None:
        """The first `most` events of a run after `after`, or from where its numbers begin; None where none is kept."""

    def runs(self, dag_id: str | None = None) -> list[StoredRun]:
        """The runs that are stored, newest first.

        Raises:
            Unreadable: the store can't be read.
        """

    def output(self, dag_id: str, run_id: str, key: OutputKey) -> str | None:
        """A whole output, as JSON; None where it is not kept, or not all of it."""

    def close(self) -> None:
        """Write what is left, and let go of the file."""
