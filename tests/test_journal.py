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

from dagwidget.server.storage.event_store import Record
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


def keep(journal, dag_id, run_id, some):
    """Append, and wait until it is durable; gives what was wrong."""
    said = []
    done = threading.Event()
    journal.append(dag_id, run_id, some, lambda fault: (said.append(fault), done.set()))
    assert done.wait(10)
    return said[0]


def test_what_was_kept_is_there_after_it_is_opened_again(path):
    journal = SqliteJournal(path)
    assert keep(journal, "d", "r", [Record(1, b"{}", "p", 7, "c"), Record(2, b"[]")]) is None
    journal.close()
    journal = SqliteJournal(path)
    assert journal.load("d") == ("r", [Record(1, b"{}", "p", 7, "c"), Record(2, b"[]")])
    journal.close()


def test_the_newest_run_is_loaded_unless_another_is_named(journal):
    for run in ("one", "two"):
        keep(journal, "d", run, records(1, 3))
    keep(journal, "other", "three", records(1, 1))
    assert journal.load("d")[0] == "two"
    assert journal.load("d", "one")[0] == "one"
    assert journal.load("d", "none") is None
    assert journal.load("nothing") is None


def test_runs_are_listed_the_newest_first(journal):
    for run in ("one", "two"):
        keep(journal, "d", run, records(1, 3))
    keep(journal, "e", "three", records(1, 1))
    assert [(run.run_id, run.events) for run in journal.runs("d")] == [("two", 3), ("one", 3)]
    assert [run.run_id for run in journal.runs()] == ["three", "two", "one"]
    assert journal.runs("d")[0].bytes > sum(len(record.data) for record in records(1, 3))


def test_a_run_is_listed_with_the_time_of_its_first_event(journal):
    keep(journal, "d", "r", [Record(1, b'{"type":"execution_state","status":"running","seq":1,"ts":1795470173121}')])
    assert [run.started_at for run in journal.runs("d")] == [1795470173121]


def test_only_its_user_may_read_it(journal, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_server_does_not_get_it(journal, path):
    with pytest.raises(OSError, match="can't be opened: database is locked"):
        SqliteJournal(path)


def test_what_follows_a_gap_is_cut_off_and_that_is_said(journal, caplog):
    keep(journal, "d", "r", [*records(1, 3), *records(5, 6)])
    assert [record.seq for record in journal.load("d")[1]] == [1, 2, 3]
    assert "the 2 events after 3 are cut off" in caplog.text


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


def test_only_so_many_runs_of_a_dag_are_kept(path):
    journal = SqliteJournal(path, Retention(runs=2))
    for run in ("one", "two", "three"):
        keep(journal, "d", run, records(1, 2))
    keep(journal, "e", "four", records(1, 2))
    assert [run.run_id for run in journal.runs()] == ["four", "three", "two"]
    journal.close()


def test_what_is_too_old_or_too_much_is_forgotten_but_never_the_newest(path):
    journal = SqliteJournal(path)
    for run in ("one", "two", "three"):
        keep(journal, "d", run, records(1, 100))
    journal_bytes = journal.runs("d")[0].bytes
    journal.close()
    SqliteJournal(path, Retention(bytes=journal_bytes * 3 // 2)).close()
    journal = SqliteJournal(path)
    assert [run.run_id for run in journal.runs()] == ["three", "two"]
    journal.close()
    SqliteJournal(path, Retention(days=0)).close()
    journal = SqliteJournal(path)
    assert [run.run_id for run in journal.runs()] == ["three"]
    journal.close()


def fill(journal):
    """From now on, the disk is full."""
    pages = journal._database.execute("PRAGMA page_count").fetchone()[0]
    journal._database.execute(f"PRAGMA max_page_count = {pages}")


@pytest.mark.clock
def test_a_full_disk_is_said_and_what_waited_is_kept_once_there_is_space(path, monkeypatch):
    monkeypatch.setattr("dagwidget.server.storage.sqlite._RETRY_SECONDS", 0.02)
    journal = SqliteJournal(path)
    assert keep(journal, "d", "r", records(1, 10)) is None
    fill(journal)
    said = []
    kept_again = threading.Event()
    big = [Record(seq, b"x" * 10_000) for seq in range(11, 31)]
    journal.append("d", "r", big, lambda fault: said.append(fault) or (fault is None and kept_again.set()))
    assert "full" in keep(journal, "d", "r", records(31, 40))
    assert "full" in said[0]
    journal._database.execute("PRAGMA max_page_count = 1000000")
    assert kept_again.wait(10)
    assert keep(journal, "d", "r", records(41, 41)) is None
    assert [record.seq for record in journal.load("d")[1]] == list(range(1, 42))
    journal.close()


def test_a_path_that_can_not_be_written_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        SqliteJournal(tmp_path / "file" / "log.sqlite3")


@pytest.mark.clock
def test_a_lazy_one_waits_for_its_file_and_keeps_what_came_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr("dagwidget.server.storage.sqlite._RETRY_SECONDS", 0.02)
    (tmp_path / "runs").write_text("in the way")
    journal = SqliteJournal(tmp_path / "runs" / "log.sqlite3", lazy=True)
    kept = threading.Event()
    faults = []
    journal.append("d", "r", records(1, 3), lambda fault: faults.append(fault) or (fault is None and kept.set()))
    assert "runs" in keep(journal, "d", "r", records(4, 4))
    assert journal.load("d") is None
    assert journal.runs() == []
    (tmp_path / "runs").unlink()
    assert kept.wait(10)
    assert len(faults) == 2
    assert [record.seq for record in journal.load("d")[1]] == [1, 2, 3, 4]
    journal.close()


def test_a_page_that_can_not_be_read_is_said_and_the_server_goes_on(path, caplog):
    journal = SqliteJournal(path)
    for run in range(50):
        keep(journal, "d", str(run), [Record(1, b"x" * 4000)])
    journal.close()
    journal = SqliteJournal(path)
    with path.open("r+b") as file:
        # The first pages hold what the tables are.
        file.seek(4096 * 10)
        file.write(b"\xff" * (path.stat().st_size - 4096 * 10))
    found = [journal.load("d", str(run)) for run in range(30, 50)]
    assert None in found or any(not each[1] for each in found)
    assert "can't be read" in caplog.text
    journal.close()


WRITER = """
import os, sys, threading
from pathlib import Path
from dagwidget.server.storage import Record
from dagwidget.server.storage.sqlite import SqliteJournal

journal = SqliteJournal(Path(sys.argv[1]))
outstanding = threading.Semaphore(100)

def said(seq, fault):
    os.write(1, f"{seq} {fault}\\n".encode())
    outstanding.release()

for seq in range(1, 1_000_000):
    outstanding.acquire()
    journal.append("d", "r", [Record(seq, b"x" * 200)], lambda fault, seq=seq: said(seq, fault))
"""


def test_what_was_said_to_be_kept_survives_a_kill(path):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        told = 0
        while told < 2000:
            seq, fault = writer.stdout.readline().split()
            told = int(seq)
            assert fault == "None"
        os.kill(writer.pid, signal.SIGKILL)
    journal = SqliteJournal(path)
    kept = journal.load("d")[1]
    assert len(kept) >= told
    assert [record.seq for record in kept] == list(range(1, len(kept) + 1))
    journal.close()
