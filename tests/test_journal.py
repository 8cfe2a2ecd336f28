"""The durable log: what survives its process, and what happens when the disk does not play along."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading

import msgspec
import pytest

from dagwidget import protocol as p
from dagwidget.protocol import RunSummary
from dagwidget.protocol.limits import Limits
from dagwidget.server.room_registry import Rooms, now_ms
from dagwidget.server.storage.event_store import Record, RunMeta, StoredLog, Unreadable
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


def keep(journal, dag_id, run_id, some, its_meta=None):
    """Append, and wait until it is durable; gives what was wrong."""
    said = []
    done = threading.Event()
    journal.append(dag_id, run_id, some, lambda fault: (said.append(fault), done.set()), its_meta)
    assert done.wait(10)
    return said[0]


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
            deadline=9,
            heard_at=7,
        ),
    )
    assert keep(journal, "d", "r", stored.records, stored.meta) is None
    journal.close()
    journal = SqliteJournal(path)
    assert journal.load("d") == stored
    assert [run.meta for run in journal.runs("d")] == [stored.meta]
    journal.close()


def test_the_meta_of_a_run_is_that_of_its_last_records(journal):
    keep(journal, "d", "r", records(1, 1), meta("r", status="running"))
    keep(journal, "d", "r", records(2, 2))
    assert journal.load("d").meta.summary.status == "running"
    keep(journal, "d", "r", [], meta("r", status="failed"))
    assert (journal.load("d").meta.summary.status, len(journal.load("d").records)) == ("failed", 2)


def test_the_newest_run_is_loaded_unless_another_is_named(journal):
    # By their own start, and not by when they came.
    keep_run(journal, "two", started_at=2)
    keep_run(journal, "one", started_at=1)
    keep_run(journal, "three", dag_id="other", started_at=3)
    assert journal.load("d").run_id == "two"
    assert journal.load("d", "one").run_id == "one"
    assert journal.load("d", "none") is None
    assert journal.load("nothing") is None


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
    with pytest.raises(OSError, match="can't be opened: database is locked"):
        SqliteJournal(path)


def test_what_follows_a_gap_is_cut_off_and_that_is_said(journal, caplog):
    keep(journal, "d", "r", [*records(1, 3), *records(5, 6)])
    assert [record.seq for record in journal.load("d").records] == [1, 2, 3]
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
    for retention in (Retention(), Retention(runs=1), Retention(days=0), Retention(bytes=0)):
        journal = SqliteJournal(path, retention)
        now = now_ms()
        for number in range(21):
            keep_run(journal, f"run-{number}", now - 1000 + number, **more)
        journal.close()
    journal = SqliteJournal(path)
    assert len(run_ids(journal)) == 21
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


VERSION_1 = """
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, dag_id TEXT NOT NULL, run_id TEXT NOT NULL, started_at INTEGER NOT NULL,
  UNIQUE (dag_id, run_id)
);
CREATE TABLE batches (
  run INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, records BLOB NOT NULL, PRIMARY KEY (run, first)
);
CREATE TABLE outputs (
  run INTEGER NOT NULL, node_id TEXT NOT NULL, instance TEXT NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (run, node_id, instance, part)
);
PRAGMA application_id = 0x64616777;
PRAGMA user_version = 1;
"""


def write_version_1(path, runs):
    """A file as the version before this one wrote it: the runs by their id, each with its start and its events."""
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(VERSION_1)
        for number, (run_id, (started_at, events)) in enumerate(runs.items(), start=1):
            batch = [
                [seq, p.encode(msgspec.structs.replace(event, seq=seq)), "engine", seq, None, None]
                for seq, event in enumerate(events, start=1)
            ]
            database.execute("INSERT INTO runs VALUES (?, 'd', ?, ?)", (number, run_id, started_at))
            row = (number, 1, len(events), msgspec.msgpack.encode(batch))
            database.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", row)
        database.commit()


BEGUN = p.ExecutionState(status="running", ts=10)
ASKED = p.HumanGateWaiting(node_id="a", gate_id="g", presentation=p.Presentation(deadline=1), ts=20)
ENDED = p.ExecutionComplete(results=1, ts=30)


def test_a_file_of_the_version_before_is_read_and_its_runs_get_what_is_new(path):
    before = now_ms()
    write_version_1(path, {"one": (before - 2, [BEGUN, ENDED]), "two": (before - 1, [BEGUN, ASKED])})
    journal = SqliteJournal(path)
    assert [(run.run_id, run.events, run.meta) for run in journal.runs()] == [("two", 2, None), ("one", 2, None)]
    journal.close()

    async def serve(journal):
        rooms = Rooms(Limits(), journal)
        await rooms.start()
        while len(rooms.dag("d").runs) < 2:
            await asyncio.sleep(0)
        runs = await rooms.runs("d")
        room = await rooms.room("d", "two")
        while room.state.gates:
            rooms.tick(now_ms())
            await asyncio.sleep(0)
        await rooms.closed()
        return runs, room

    for _ in range(2):
        journal = SqliteJournal(path)
        runs, room = asyncio.run(serve(journal))
        assert [(run.run_id, run.status, run.started_at, run.ended_at) for run in runs] == [
            ("two", "running", before - 1, None),
            ("one", "completed", before - 2, 30),
        ]
        # Its deadline had passed.
        assert room.state.decisions[0].source == "timeout"
        journal.close()
    journal = SqliteJournal(path)
    assert [run.meta.summary.status for run in journal.runs()] == ["running", "completed"]
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
    assert [record.seq for record in journal.load("d").records] == list(range(1, 42))
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
    with pytest.raises(Unreadable, match="runs"):
        journal.runs()
    (tmp_path / "runs").unlink()
    assert kept.wait(10)
    assert len(faults) == 2
    assert [record.seq for record in journal.load("d").records] == [1, 2, 3, 4]
    journal.close()


def test_a_page_that_can_not_be_read_is_said_and_the_server_goes_on(path, caplog):
    journal = SqliteJournal(path)
    for run in range(50):
        keep(journal, "d", str(run), [Record(1, b"x" * 4000)])
    journal.close()
    with path.open("r+b") as file:
        # The first pages hold what the tables are.
        file.seek(4096 * 10)
        file.write(b"\xff" * (path.stat().st_size - 4096 * 10))
    journal = SqliteJournal(path)
    found = [journal.load("d", str(run)) for run in range(30, 50)]
    assert None in found or any(not each.records for each in found)
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
    kept = journal.load("d").records
    assert len(kept) >= told
    assert [record.seq for record in kept] == list(range(1, len(kept) + 1))
    journal.close()
