"""`Followed`: what `Commands` and `Waits` read of the client whose run is shown."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from .. import protocol as p
from ..state import DagState, Fault


class Outcome(NamedTuple):
    """How a run has ended."""

    status: str
    results: Any
    errors: list[Fault]


class Followed(Protocol):
    """A client, as far as its run is concerned."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while events are applied."""

    @property
    def state(self) -> DagState:
        """The state of the run."""

    @property
    def run_id(self) -> str | None:
        """The run; None before the first."""

    @property
    def is_behind(self) -> bool:
        """Whether the state is not of the run yet."""

    @property
    def runs(self) -> list[p.RunSummary]:
        """The DAG's run list, newest first."""

    def outcome(self, run_id: str) -> Outcome | None:
        """How a run has ended, if it has."""
