"""What a room needs of a durable log: `Journal`, and what it keeps of an event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ...protocol import NodeOutput, RunInfo
from .output_cache import OutputKey
from .page import Page


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


class Journal(Protocol):
    """A log that survives its process. Its methods may be called in any thread."""

    def append(self, dag_id: str, run_id: str, records: Sequence[Record], done: Callable[[str | None], None]) -> None:
        """Keep records, in order; returns at once.

        `done` is called in another thread: with None once they are durable, else with what is wrong. Then they wait in
        memory, and are kept as soon as that is possible again.
        """

    def load(self, dag_id: str, run_id: str | None = None) -> tuple[str, list[Record]] | None:
        """The id and the records of a run, by default of the newest; None where there is none."""

    def page(self, dag_id: str, run_id: str, after: int, most: int) -> Page | None:
        """The first `most` events of a run after `after`, or from where its numbers begin; None where none is kept."""

    def runs(self, dag_id: str | None = None) -> list[RunInfo]:
        """The runs that are kept, the newest first."""

    def output(self, dag_id: str, run_id: str, key: OutputKey) -> str | None:
        """A whole output, as JSON; None where it is not kept, or not all of it."""

    def close(self) -> None:
        """Write what is left, and let go of the file."""
