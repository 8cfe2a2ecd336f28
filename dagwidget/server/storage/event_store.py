"""What a server needs of a durable log: `Journal`, and what it stores of a run.

The store gives `seq`: an append says which event it follows, and one that follows another event than the newest is a
`Conflict`. So a log has no holes but those that a checkpoint bridges, and of two writers one is told so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from ...errors import ProtocolError
from ...protocol import Event, NodeOutput, RunSummary, decode_events
from ...state import DagState
from .faults import Unavailable
from .output_cache import OutputKey


class Record(NamedTuple):
    """An event as a journal stores it."""

    seq: int
    data: bytes
    """As it went over the wire."""
    publisher: str | None = None
    """Whose event it was, and its publisher's own number: so that what is sent again is known again."""
    number: int | None = None
    command: str | None = None
    """The command that it answers: so that who asks again gets the same answer."""
    output: NodeOutput | None = None
    """What is stored beside the log: a part of a whole output."""

    def event(self) -> Event:
        """The event.

        Raises:
            ProtocolError: it is none.
        """
        events = decode_events(self.data)
        if len(events) != 1:
            raise ProtocolError(f"a record holds one event, got {len(events)}")
        return events[0]

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.data) + (0 if self.output is None else len(self.output.text))

    def bare(self) -> Record:
        """The record without what is stored beside the log."""
        return self if self.output is None else self._replace(output=None)


class RunMeta(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is stored of a run beside its log, so that run lists, timers and retention load no log."""

    summary: RunSummary
    owner: str | None = None
    """The publisher that owns the run."""
    replaced: tuple[str, ...] = ()
    """Earlier owners, which the run was taken over from."""
    log: str | None = None
    """The incarnation of the log."""
    earlier: tuple[tuple[str, int], ...] = ()
    """The incarnations before it, each with the last `seq` up to which a cursor in it is one in this log too."""
    begins: int = 0
    """The `seq` before the run's first event."""
    deadline: int | None = None
    """The earliest deadline of an open gate."""
    heard_at: int | None = None
    """When the owner's last frame arrived."""


class Checkpoint(Struct, frozen=True, kw_only=True):
    """All that a room knows as of one event, so that what was before it need not be read."""

    seq: int
    state: DagState
    publishers: dict[str, int]
    """The newest event of each publisher, by its own numbers."""
    commands: list[str]
    """The commands that were accepted, the newest last."""


class Append(NamedTuple):
    """Records to be added to a run's log, and what changes with them. It is stored whole or not at all."""

    dag_id: str
    run_id: str
    after: int
    """The `seq` of the newest event that the log must have: the one that the first record follows."""
    records: Sequence[Record] = ()
    meta: RunMeta | None = None
    checkpoint: Checkpoint | None = None
    """The state as of the last record."""
    rebase: bool = False
    """The log goes on at `after` wherever it ends before: the checkpoint stands in for the events between."""
    sync: bool = False
    """Whether it must also survive the end of the machine's power: there is a decision in it."""


class Stored(NamedTuple):
    """An append was stored, and survives the end of the process."""

    head: int


class Conflict(NamedTuple):
    """An append was refused: the log does not end where it says, or is another incarnation's."""

    head: int | None
    """Where the log ends; None where there is no such run."""
    log: str | None
    """The incarnation of the log that is stored."""


Result: TypeAlias = Stored | Conflict | Unavailable


class StoredRun(Struct, frozen=True, kw_only=True):
    """A run of the store: its row, which no log is read for."""

    dag_id: str
    run_id: str
    started_at: int
    begins: int
    """The `seq` before its first event."""
    head: int
    """The `seq` of its newest event."""
    bytes: int
    meta: RunMeta | None = None
    """None where an earlier version wrote the run, or where this is damaged."""
    is_sound: bool = True
    """False where the row is damaged: then `begins` and `head` are of those events that were found."""

    @property
    def events(self) -> int:
        """How many events its log has."""
        return self.head - self.begins


class Snapshot(NamedTuple):
    """A run, and the newest of its checkpoints that was asked for and can be read."""

    run: StoredRun
    checkpoint: Checkpoint | None


class Journal(Protocol):
    """A log that survives its process. Its methods may be called in any thread.

    Where it can't be read, they raise `Unavailable`: what is not readable is never shown as empty.
    """

    protected: Callable[[str, str], bool]
    """Whether a run (by DAG and run id) must not be deleted, as somebody watches it. Called in another thread."""
    removed: Callable[[str, str], None]
    """Called in another thread after retention has deleted a run."""
    replaced: Callable[[str], None]
    """Called in another thread, with the reason, after a new log had to be begun, which may lack any run."""

    def append(self, append: Append, done: Callable[[Result], None]) -> None:
        """Store an append; returns at once. Appends are stored in the order in which they were given.

        `done` is called in another thread. What was not stored is forgotten: who appends gives it again.
        """

    def runs(self, dag_id: str | None = None) -> list[StoredRun]:
        """The runs that are stored, newest first by their own start."""

    def snapshot(self, dag_id: str, run_id: str, upto: int | None = None) -> Snapshot | None:
        """A run with its newest checkpoint, or the newest as of `upto`; None where there is no such run."""

    def follow(self, dag_id: str, run_id: str, after: int, most: int) -> list[Record]:
        """The first `most` records of a run that follow `after`, without holes; none at its head.

        Raises:
            Missing: the event that follows `after` is not stored, or damaged.
        """

    def output(self, dag_id: str, run_id: str, key: OutputKey) -> str | None:
        """A whole output, as JSON; None where it is not stored, or not all of it."""

    def close(self) -> None:
        """Write what is left, and let go of the file."""
