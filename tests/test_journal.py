"""The durable log: what survives its process, and what happens when the disk does not play along."""

import contextlib
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from dagwidget.protocol import RunSummary
from dagwidget.server.room_registry import now_ms
from dagwidget.server.storage.event_store import Append, Record, RunMeta, Stored
from dagwidget.server.storage.faults import Unavailable
from dagwidget.server.storage.loading import StoredLog, load
from dagwidget.server.storage.sqlite import Retention, SqliteJournal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "log.sqlite3"


@pytest.fixture
def journal(path):
    journal = SqliteJournal(path)
    yield journal
    journal.close()


def records(first, last, **more):
    return [Record(seq, json.dumps({"seq": seq}).encode(), **more) for seq in range(first, last + 1)]


def meta(run_id, started_at=0, status="completed", **more):
    return RunMeta(summary=RunSummary(run_id=run_id, status=status, started_at=started_at, **more))


def keep(journal, dag_id, run_id, some, its_meta=None, *, after=0):
    """Append, and wait for the answer; gives what was wrong."""
    said = []
    done = threading.Event()
    after = some[0].seq - 1 if some else after
    journal.append(Append(dag_id, run_id, after, some, its_meta), lambda result: (said.append(result), done.set()))
    assert done.wait(10)
    return None if isinstance(said[0], Stored) else str(said[0])


def keep_run(journal, run_id, started_at=0, *, dag_id="d", events=2, **more):
    """Store a run, by default one that has ended."""
    assert keep(journal, dag_id, run_id, records(1, events), meta(run_id, started_at, **more)) is None


def test_what_was_kept_is_there_after_it_is_opened_again(path):
    journal = SqliteJournal(path)
    stored = StoredLog(
        "r",
        [Record(1, b"{}", "p", 7, "c"), Record(2, b"[]")],
        RunMeta(
            summary=RunSummary(run_id="r", status="running", started_at=5, gates=1, tags=["x"]),
            owner="p",
            replaced=("o",),
            log="l",
            earlier=(("k", 1),),
            deadline=9,
            heard_at=7,
        ),
        head=2,
    )
    assert keep(journal, "d", "r", stored.records, stored.meta) is None
    journal.close()
    journal = SqliteJournal(path)
    assert load(journal, "d", "r") == stored
    assert [run.meta for run in journal.runs("d")] == [stored.meta]
    journal.close()


def test_the_meta_of_a_run_is_that_of_its_last_records(journal):
    keep(journal, "d", "r", records(1, 1), meta("r", status="running"))
    keep(journal, "d", "r", records(2, 2))
    assert load(journal, "d", "r").meta.summary.status == "running"
    keep(journal, "d", "r", [], meta("r", status="failed"), after=2)
    assert (load(journal, "d", "r").meta.summary.status, len(load(journal, "d", "r").records)) == ("failed", 2)


def test_runs_are_listed_the_newest_first(journal):
    for started_at, run in enumerate(("one", "two")):
        keep_run(journal, run, started_at, events=3)
    keep_run(journal, "three", 3, dag_id="e")
    assert [(run.run_id, run.events) for run in journal.runs("d")] == [("two", 3), ("one", 3)]
    assert [run.run_id for run in journal.runs()] == ["three", "two", "one"]
    assert journal.runs("d")[0].bytes > sum(len(record.data) for record in records(1, 3))


def test_a_run_is_listed_with_its_own_start(journal):
    keep_run(journal, "r", 1795470173121)
    assert [run.started_at for run in journal.runs("d")] == [1795470173121]


def test_only_its_user_may_read_it(journal, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_server_does_not_get_it(journal, path):
    with pytest.raises(OSError, match="another server has it"):
        SqliteJournal(path)


def test_what_follows_a_gap_is_cut_off_and_that_is_said(journal):
    keep(journal, "d", "r", [*records(1, 3), *records(5, 6)])
    stored = load(journal, "d", "r")
    assert ([record.seq for record in stored.records], stored.head) == ([1, 2, 3], 6)
    assert "the events 4 to 6" in stored.cut


def test_a_file_that_is_no_database_is_put_aside_and_that_is_said(path, caplog):
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 1000)
    journal = SqliteJournal(path, lazy=True)
    assert keep(journal, "d", "r", records(1, 1)) is None
    journal.close()
    assert "is damaged" in caplog.text
    assert [each.name for each in path.parent.iterdir() if "damaged" in each.name]


@pytest.mark.parametrize("kind", ["text", "database"])
def test_a_file_of_another_program_is_left_alone(path, kind):
    path.parent.mkdir()
    if kind == "text":
        path.write_text("root:x:0:0\n")
    else:
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE runs (id)")
            database.commit()
    before = path.read_bytes()
    with pytest.raises(OSError, match="left alone"):
        SqliteJournal(path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_file_of_a_newer_version_is_left_alone(path):
    SqliteJournal(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(OSError, match="newer dagwidget"):
        SqliteJournal(path)


def run_ids(journal):
    return [run.run_id for run in journal.runs()]


def test_of_the_runs_of_a_dag_that_have_ended_so_many_are_kept(path):
    journal = SqliteJournal(path, Retention(runs=2))
    removed = []
    journal.removed = lambda dag_id, run_id: removed.append((dag_id, run_id))
    for started_at, run in enumerate(("one", "two", "three")):
        keep_run(journal, run, started_at)
    keep_run(journal, "four", 3, dag_id="e")
    keep_run(journal, "five", 4, status="running")
    assert run_ids(journal) == ["five", "four", "three", "two"]
    assert removed == [("d", "one")]
    journal.close()


@pytest.mark.parametrize(
    "more", [{"status": "running"}, {"status": "paused"}, {"status": "lost"}, {"gates": 1}], ids=str
)
def test_no_run_goes_that_has_not_ended_or_asks_something(path, more):
    for name, retention in enumerate((Retention(), Retention(runs=1), Retention(days=0), Retention(bytes=0))):
        journal = SqliteJournal(path, retention)
        now = now_ms()
        for number in range(21):
            keep_run(journal, f"run-{name}-{number}", now - 1000 + number, **more)
        journal.close()
    journal = SqliteJournal(path)
    assert len(run_ids(journal)) == 4 * 21
    journal.close()


def test_no_run_goes_that_somebody_watches_or_that_an_earlier_version_wrote(path):
    journal = SqliteJournal(path, Retention(runs=1))
    journal.protected = lambda dag_id, run_id: (dag_id, run_id) == ("d", "watched")
    keep(journal, "d", "earlier", records(1, 1))
    for started_at, run in enumerate(("watched", "one", "two")):
        keep_run(journal, run, started_at)
    keep_run(journal, "three", 3, status="running")
    assert set(run_ids(journal)) == {"earlier", "watched", "two", "three"}
    journal.close()


def test_a_lost_run_counts_as_ended_after_days(path):
    retention = Retention(runs=1, lost_days=7)
    journal = SqliteJournal(path, retention)
    day = 86_400_000
    keep_run(journal, "old", now_ms() - 8 * day, status="lost", gates=1)
    keep_run(journal, "lately", now_ms() - 6 * day, status="lost")
    keep_run(journal, "ended", now_ms() - 5 * day)
    keep_run(journal, "new", now_ms(), status="running")
    assert run_ids(journal) == ["new", "ended", "lately"]
    journal.close()


def test_what_is_too_old_or_too_much_is_forgotten_but_never_the_newest(path):
    journal = SqliteJournal(path)
    for started_at, run in enumerate(("one", "two", "three")):
        keep_run(journal, run, started_at, events=100)
    journal_bytes = journal.runs("d")[0].bytes
    journal.close()
    SqliteJournal(path, Retention(bytes=journal_bytes * 5 // 2, days=10**6)).close()
    journal = SqliteJournal(path, Retention(days=10**6))
    assert run_ids(journal) == ["three", "two"]
    journal.close()
    SqliteJournal(path, Retention(days=0)).close()
    journal = SqliteJournal(path)
    assert run_ids(journal) == ["three"]
    journal.close()


def fill(journal):
    """From now on, the disk is full."""
    pages = journal._file.writer.execute("PRAGMA page_count").fetchone()[0]
    journal._file.writer.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_said_and_nothing_of_what_did_not_fit_is_stored(path):
    journal = SqliteJournal(path)
    assert keep(journal, "d", "r", records(1, 10)) is None
    fill(journal)
    big = [Record(seq, b"x" * 10_000) for seq in range(11, 31)]
    assert "full" in keep(journal, "d", "r", big)
    assert load(journal, "d", "r").head == 10
    journal._file.writer.execute("PRAGMA max_page_count = 1000000")
    assert keep(journal, "d", "r", big) is None
    assert [record.seq for record in load(journal, "d", "r").records] == list(range(1, 31))
    journal.close()


def test_a_path_that_can_not_be_written_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        SqliteJournal(tmp_path / "file" / "log.sqlite3")


def test_a_lazy_one_says_that_it_has_no_file_and_opens_it_once_it_can(tmp_path, monkeypatch):
    monkeypatch.setattr("dagwidget.server.storage.sqlite._RETRY_SECONDS", 0.0)
    (tmp_path / "runs").write_text("in the way")
    journal = SqliteJournal(tmp_path / "runs" / "log.sqlite3", lazy=True)
    assert "runs" in keep(journal, "d", "r", records(1, 3))
    # Where there is no file, nothing is stored.
    assert (journal.runs(), load(journal, "d", "r")) == ([], None)
    (tmp_path / "runs").unlink()
    assert keep(journal, "d", "r", records(1, 3)) is None
    assert [record.seq for record in load(journal, "d", "r").records] == [1, 2, 3]
    journal.close()


def test_a_file_that_is_there_and_can_not_be_opened_is_not_shown_as_empty(path):
    other = SqliteJournal(path)
    keep_run(other, "r")
    journal = SqliteJournal(path, lazy=True)
    for read in (journal.runs, lambda: load(journal, "d", "r"), lambda: journal.follow("d", "r", 0, 10)):
        with pytest.raises(Unavailable, match="another server has it"):
            read()
    journal.close()
    other.close()


WRITER = """
import os, sys, threading
from pathlib import Path
from dagwidget.server.storage import Record
from dagwidget.server.storage.event_store import Append, Stored
from dagwidget.server.storage.sqlite import SqliteJournal

journal = SqliteJournal(Path(sys.argv[1]))
outstanding = threading.Semaphore(100)

def said(result):
    os.write(1, f"{result.head}\\n".encode())
    outstanding.release()

for seq in range(1, 1_000_000):
    outstanding.acquire()
    journal.append(Append("d", "r", seq - 1, [Record(seq, b"x" * 200)]), said)
"""


def test_what_was_said_to_be_kept_survives_a_kill(path):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        told = 0
        while told < 2000:
            told = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
    journal = SqliteJournal(path)
    stored = load(journal, "d", "r")
    assert stored.cut is None
    assert len(stored.records) == stored.head >= told
    journal.close()


def huge(run_id):
    """An append that SQLite can't store."""
    return Append("d", run_id, 0, records(1, 1), meta(run_id, started_at=-(10**19)))


def results_of(journal, appends):
    """What becomes of appends that are given at once, and so are one transaction."""
    said = []
    done = threading.Semaphore(0)
    with journal._writing:
        for append in appends:
            journal.append(append, lambda result: (said.append(result), done.release()))
    for _ in appends:
        assert done.acquire(timeout=10)
    return said


def test_an_append_that_can_not_be_stored_takes_no_other_with_it_and_is_logged_once(journal, caplog):
    before, after = (Append("d", run_id, 0, records(1, 2), meta(run_id)) for run_id in "ac")
    said = results_of(journal, [before, huge("b"), after])
    assert (said[0], said[2]) == (Stored(2), Stored(2))
    assert isinstance(said[1], Unavailable)
    assert "can't be stored: OverflowError" in str(said[1])
    # As a room does: it asks again, and other runs go on.
    assert "OverflowError" in keep(journal, "d", "b", records(1, 1), meta("b", started_at=-(10**19)))
    assert keep(journal, "d", "a", records(3, 3)) is None
    assert {run.run_id for run in journal.runs()} == {"a", "c"}
    assert caplog.text.count("Traceback") == 1


def test_what_nobody_expects_does_not_end_the_thread_that_writes(journal, monkeypatch, caplog):
    with monkeypatch.context() as patched:
        patched.setattr(journal, "_look", lambda: 1 / 0)
        assert "ZeroDivisionError" in keep(journal, "d", "r", records(1, 1), meta("r"))
    journal.append(Append("d", "r", 0, records(1, 1), meta("r")), lambda _result: 1 / 0)
    assert keep(journal, "d", "r", records(2, 2)) is None
    assert "an answer of the log was not taken" in caplog.text


def test_the_end_waits_for_a_disk_that_hangs_but_not_for_ever(path, monkeypatch, caplog):
    monkeypatch.setattr("dagwidget.server.storage.sqlite.CLOSE_SECONDS", 0.05)
    journal = SqliteJournal(path)
    with journal._writing:
        journal.append(Append("d", "r", 0, records(1, 1), meta("r")), lambda _result: None)
        journal.close()
    assert "could not be closed in 0.05 s" in caplog.text
    journal._thread.join()
    monkeypatch.undo()
    journal.close()
