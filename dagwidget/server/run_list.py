"""`RunList`: a DAG's runs, newest first, and the rule which of them a client follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from msgspec.structs import replace

from .. import protocol as p
from ..state import FINAL

# How many runs the `runs` message holds, beside those with open gates.
_NEWEST: Final = 50

# A change of nothing but these is not worth a message; they travel along with the next.
_QUIET: Final = {"spent": None, "events": 0, "bytes": 0}


class RunList:
    """The runs of one DAG, newest first by their own start; ties by id."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        """`changed` is called after each change that clients are told of."""
        self._changed = changed
        self._runs: dict[str, p.RunSummary] = {}
        # The version at which each run changed last, and those that were removed.
        self._versions: dict[str, int] = {}
        self._removed: dict[str, int] = {}
        self.version = 0

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[p.RunSummary]:
        """All runs, newest first."""
        return iter(sorted(self._runs.values(), key=_age, reverse=True))

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def get(self, run_id: str | None) -> p.RunSummary | None:
        """A run, if it is known."""
        return None if run_id is None else self._runs.get(run_id)

    def put(self, run: p.RunSummary) -> None:
        """Add a run, or replace what was known of it. Its first `started_at` stays."""
        before = self._runs.get(run.run_id)
        if before is not None:
            run = replace(run, started_at=before.started_at)
        self._runs[run.run_id] = run
        if before is None or replace(before, **_QUIET) != replace(run, **_QUIET):
            self._removed.pop(run.run_id, None)
            self._touch(run.run_id)

    def remove(self, run_id: str) -> None:
        """Retention has deleted a run."""
        if self._runs.pop(run_id, None) is not None:
            self._versions.pop(run_id, None)
            self.version += 1
            self._removed[run_id] = self.version
            self._changed()

    def _touch(self, run_id: str) -> None:
        self.version += 1
        self._versions[run_id] = self.version
        self._changed()

    # --- Which run

    @property
    def newest(self) -> p.RunSummary | None:
        """The newest run."""
        return max(self._runs.values(), key=_age, default=None)

    @property
    def newest_live(self) -> p.RunSummary | None:
        """The newest run that is under way, and whose engine is there."""
        return max(filter(is_live, self._runs.values()), key=_age, default=None)

    def followed(self, current: str | None) -> str | None:
        """The run that a client follows that is at `current`: this one while it lives, else the newest live, else the
        newest.
        """
        run = self.get(current)
        if run is not None and is_live(run):
            return current
        found = self.newest_live or self.newest
        return None if found is None else found.run_id

    # --- For clients

    def message(self, since: int = 0) -> p.Runs:
        """What a client is sent that knows the list as of version `since`; 0: the whole list."""
        shown = {run.run_id: run for run in list(self)[:_NEWEST]}
        shown.update({run.run_id: run for run in self._runs.values() if run.gates})
        changed = [run for run in self if self._versions[run.run_id] > since]
        return p.Runs(
            total=len(self._runs),
            live=sum(map(is_live, self._runs.values())),
            waiting=sum(run.gates for run in self._runs.values()),
            runs=[run for run in changed if since or run.run_id in shown],
            removed=[run_id for run_id, version in self._removed.items() if version > since] or None if since else None,
        )


def is_live(run: p.RunSummary) -> bool:
    """Whether a run is under way, and its engine is there."""
    return run.status not in FINAL and run.status not in ("pending", "lost") and run.engine != "gone"


def _age(run: p.RunSummary) -> tuple[int, str]:
    return run.started_at, run.run_id
