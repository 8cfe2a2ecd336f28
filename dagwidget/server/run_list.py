"""`RunList`: a DAG's runs, newest first, and the rule which of them a client follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from .. import protocol as p
from ..protocol.messages import NEWEST_RUNS
from ..state import FINAL

# How many removed runs are remembered.
_REMOVED: Final = 1000
# Fields whose change alone is not worth a message; they travel with the next one.
_QUIET: Final = {"spent": None, "events": 0, "bytes": 0}


class RunList:
    """The runs of one DAG, newest first by their own start; ties by id.

    Attributes:
        version: Counts the changes that clients are told of.
        liveness: Counts the changes of which runs there are, and which of them are live.
    """

    def __init__(self) -> None:
        self._runs: dict[str, p.RunSummary] = {}
        # The version at which each run changed last, and at which each removed run was removed.
        self._versions: dict[str, int] = {}
        self._removed: dict[str, int] = {}
        self.version = 0
        self.liveness = 0
        # The run for clients that are at none, and the liveness at which it was worked out.
        self._default: tuple[int, str | None] = (0, None)
        # Encoded messages by the version that the client has, and the DAG that they name; empty after each change.
        self._encoded: dict[tuple[int, str | None], bytes] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[p.RunSummary]:
        """All runs, newest first."""
        return iter(sorted(self._runs.values(), key=_age, reverse=True))

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def get(self, run_id: str | None) -> p.RunSummary | None:
        """A run, if it is in the list."""
        return None if run_id is None else self._runs.get(run_id)

    def put(self, run: p.RunSummary) -> None:
        """Add a run, or replace its row. The `started_at` and the size that it had remain."""
        before = self._runs.get(run.run_id)
        if before is not None:
            run = replace(run, started_at=before.started_at, bytes=run.bytes or before.bytes)
        if before == run:
            return
        self._runs[run.run_id] = run
        self._encoded.clear()
        if before is None or is_live(before) != is_live(run):
            self.liveness += 1
        if before is None or replace(before, **_QUIET) != replace(run, **_QUIET):
            self._removed.pop(run.run_id, None)
            self.version += 1
            self._versions[run.run_id] = self.version

    def remove(self, run_id: str) -> None:
        """Remove a run that was deleted."""
        if self._runs.pop(run_id, None) is None:
            return
        del self._versions[run_id]
        self._encoded.clear()
        self.version += 1
        self.liveness += 1
        self._removed[run_id] = self.version
        if len(self._removed) > _REMOVED:
            del self._removed[next(iter(self._removed))]

    def was_removed(self, run_id: str) -> bool:
        """Whether a run was removed from the list."""
        return run_id in self._removed

    # --- Which run

    def followed(self, current: str | None) -> str | None:
        """The run for a client that follows the DAG, and is at `current`: that run while it is live, else the newest
        live run, else the newest run.
        """
        run = self.get(current)
        if run is not None and is_live(run):
            return current
        if self._default[0] != self.liveness:
            runs = self._runs.values()
            found = max(filter(is_live, runs), key=_age, default=None) or max(runs, key=_age, default=None)
            self._default = (self.liveness, None if found is None else found.run_id)
        return self._default[1]

    # --- For clients

    def message(self, since: int = 0) -> p.Runs:
        """The message to a client that has the list as of version `since`; 0: the whole list."""
        runs = list(self)
        if since:
            sent = [run for run in runs if self._versions[run.run_id] > since]
        else:
            sent = [run for place, run in enumerate(runs) if place < NEWEST_RUNS or run.gates]
        removed = [run_id for run_id, version in self._removed.items() if since and version > since]
        return p.Runs(
            total=len(runs),
            live=sum(map(is_live, runs)),
            waiting=sum(run.gates for run in runs),
            runs=sent,
            removed=removed or None,
        )

    def encoded(self, since: int = 0, dag_id: str | None = None) -> bytes:
        """`message(since)`, encoded once for all at the same version; `dag_id` is for the stream of all DAGs."""
        key = (since, dag_id)
        if key not in self._encoded:
            self._encoded[key] = p.encode(replace(self.message(since), dag_id=dag_id))
        return self._encoded[key]


def is_live(run: p.RunSummary) -> bool:
    """Whether a run has not ended, and its engine is connected."""
    return run.status not in FINAL and run.status not in ("pending", "lost") and run.engine != "gone"


def _age(run: p.RunSummary) -> tuple[int, str]:
    return run.started_at, run.run_id
