"""Log files of earlier versions: they are read, and get what is new."""

import asyncio
import contextlib
import sqlite3

import msgspec
import pytest

from dagwidget import protocol as p
from dagwidget.protocol import RunSummary
from dagwidget.protocol.limits import Limits
from dagwidget.server.room_registry import Rooms, now_ms
from dagwidget.server.storage.event_store import RunMeta
from dagwidget.server.storage.loading import load
from dagwidget.server.storage.sqlite import SqliteJournal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "log.sqlite3"


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


VERSION_2 = VERSION_1.replace("started_at INTEGER NOT NULL,", "started_at INTEGER NOT NULL, meta BLOB,").replace(
    "user_version = 1", "user_version = 2"
)


def write(path, script, runs, meta=None):
    """A file as an earlier version wrote it: the runs by their id, each with its start and its events."""
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(script)
        for number, (run_id, (started_at, events)) in enumerate(runs.items(), start=1):
            batch = [
                [seq, p.encode(msgspec.structs.replace(event, seq=seq)), "engine", seq, None, None]
                for seq, event in enumerate(events, start=1)
            ]
            row = (number, run_id, started_at)
            database.execute("INSERT INTO runs (id, dag_id, run_id, started_at) VALUES (?, 'd', ?, ?)", row)
            if meta is not None:
                encoded = msgspec.msgpack.encode(meta(run_id, started_at))
                database.execute("UPDATE runs SET meta = ? WHERE id = ?", (encoded, number))
            row = (number, 1, len(events), msgspec.msgpack.encode(batch))
            database.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", row)
        database.commit()


BEGUN = p.ExecutionState(status="running", ts=10)
ASKED = p.HumanGateWaiting(node_id="a", gate_id="g", presentation=p.Presentation(deadline=1), ts=20)
ENDED = p.ExecutionComplete(results=1, ts=30)


def test_a_file_of_version_1_is_read_and_its_runs_get_what_is_new(path):
    before = now_ms()
    write(path, VERSION_1, {"one": (before - 2, [BEGUN, ENDED]), "two": (before - 1, [BEGUN, ASKED])})
    journal = SqliteJournal(path)
    assert [(run.run_id, run.events, run.meta) for run in journal.runs()] == [("two", 2, None), ("one", 2, None)]
    journal.close()

    async def serve(journal):
        rooms = Rooms(Limits(), journal)
        await rooms.start()
        while rooms.fault is not None:
            await asyncio.sleep(0)
        runs = await rooms.runs("d")
        room = await rooms.room("d", "two")
        while room.state.gates:
            rooms.tick(now_ms())
            await asyncio.sleep(0)
        while not room.is_stored:
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


def test_a_file_of_version_2_is_read_and_written_on(path):
    def meta(run_id, started_at):
        summary = RunSummary(run_id=run_id, status="running", started_at=started_at, events=2)
        return RunMeta(summary=summary, owner="engine", log="the-log")

    write(path, VERSION_2, {"one": (5, [BEGUN, ASKED])}, meta)
    for _ in range(2):
        journal = SqliteJournal(path)
        (run,) = journal.runs()
        assert (run.run_id, run.begins, run.head, run.events, run.meta.owner) == ("one", 0, 2, 2, "engine")
        assert run.bytes > 100
        stored = load(journal, "d", "one")
        assert [record.event().seq for record in stored.records] == [1, 2]
        assert (stored.cut, stored.meta.log) == (None, "the-log")
        journal.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (3,)


@pytest.mark.parametrize("script", [VERSION_1, VERSION_2], ids=["1", "2"])
def test_of_a_damaged_file_of_an_earlier_version_too_what_can_be_read_is_kept(path, script):
    write(
        path, script, {f"run-{i}": (i, [BEGUN, *[p.RunError(message="x" * 2_000) for _ in range(9)]]) for i in range(9)}
    )
    with path.open("r+b") as file:
        # A page behind those of the tables themselves.
        file.seek(4096 * 20)
        file.write(bytes(4096))
    journal = SqliteJournal(path)
    stored = [load(journal, "d", f"run-{i}") for i in range(9)]
    assert sum(each is not None and each.cut is None for each in stored) >= 7
    assert all(each is None or each.cut or len(each.records) == 10 for each in stored)
    journal.close()
