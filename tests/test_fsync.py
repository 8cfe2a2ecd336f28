"""A decision that is acknowledged survives the loss of power: it is synced to the disk before anybody is told.

A `kill -9` shows nothing of that, as what a process wrote stays in the machine's memory. So each commit of a real
server is looked at: under which `synchronous` it was made (under FULL, SQLite syncs the log before COMMIT returns),
and, where the kernel says it, how much of the file then still waits to be written.
"""

from __future__ import annotations

import ctypes
import re
import sqlite3
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import dagwidget
from dagwidget.server.storage.sqlite import SqliteJournal

from .person import Person
from .serving import serving

SYNCHRONOUS = re.compile(r"PRAGMA synchronous\s*=\s*(\w+)", re.IGNORECASE)
SYNCED = ("FULL", "EXTRA", "2", "3")
SECONDS = 60
_CACHESTAT = 451


class Commit(NamedTuple):
    """A transaction of the server: whether it has a decision, how it was made, and what then waited to be written."""

    decides: bool
    synchronous: str
    dirty: int | None


class Watched(sqlite3.Connection):
    """A connection that notes its commits."""

    commits: list[Commit]
    file: Path

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._synchronous = str(super().execute("PRAGMA synchronous").fetchone()[0])
        self._decides = False

    def execute(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:
        result = super().execute(statement, parameters)
        self._decides |= any(isinstance(each, bytes) and b"human_gate_resolved" in each for each in parameters)
        found = SYNCHRONOUS.search(statement)
        if found is not None:
            self._synchronous = found[1].upper()
        elif statement == "COMMIT":
            self.commits.append(Commit(self._decides, self._synchronous, dirty_pages(self.file)))
            self._decides = False
        return result


@pytest.fixture
def commits(monkeypatch, tmp_path):
    made: list[Commit] = []
    kind = type("Watching", (Watched,), {"commits": made, "file": tmp_path / "log.sqlite3-wal"})
    connect = sqlite3.connect
    monkeypatch.setattr("sqlite3.connect", lambda *arguments, **options: connect(*arguments, factory=kind, **options))
    return made


def test_a_decision_is_synced_before_it_is_acknowledged(tmp_path, commits):
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    with serving(journal=journal) as at, Person(at, "dag") as person:
        run = dagwidget.start_run("dag", url=at.url, token=at.token)
        for number in range(3):
            # So much that it would be seen to wait.
            run.update("a", "running", message="x" * 100_000)
            gate = run.gate("review", gate_id=f"g{number}")
            assert run.flush(SECONDS)
            assert person.decide("review")["ok"]
            # The answer is out: the commit was before it.
            assert sum(commit.decides for commit in commits) == number + 1
            assert gate.result(SECONDS).decision == "approve"
        run.complete()
        assert run.flush(SECONDS)
        run.close()
    journal.close()
    decided = [commit for commit in commits if commit.decides]
    assert [commit.synchronous for commit in decided if commit.synchronous not in SYNCED] == []
    assert [commit.dirty for commit in decided if commit.dirty] == []


def dirty_pages(path: Path) -> int | None:
    """How many pages of a file are in memory only; None where the kernel does not say."""
    if sys.platform != "linux" or not path.exists():
        return None
    everything = (ctypes.c_uint64 * 2)(0, 0)
    # In the cache, dirty, being written, evicted, evicted a moment ago.
    counts = (ctypes.c_uint64 * 5)()
    with path.open("rb") as file:
        if ctypes.CDLL(None).syscall(_CACHESTAT, file.fileno(), everything, counts, 0) != 0:
            return None
    return int(counts[1] + counts[2])
