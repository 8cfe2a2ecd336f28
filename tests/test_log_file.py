"""The log file itself: who may open it, and what happens when it is taken away while it is in use."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading

import pytest
from websockets.exceptions import ConnectionClosed

import dagwidget
from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits
from dagwidget.server.storage.event_store import Append, Conflict, Record, RunMeta, Stored
from dagwidget.server.storage.file_lock import FileLock, is_on_network
from dagwidget.server.storage.loading import load
from dagwidget.server.storage.sqlite import SqliteJournal

from .person import Person
from .serving import serving

SECONDS = 20
LIMITS = Limits(heartbeat_seconds=0.1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "log.sqlite3"


def records(first, last):
    return [Record(seq, p.encode(p.Unknown(type="x", seq=seq))) for seq in range(first, last + 1)]


def meta(run_id="r"):
    return RunMeta(summary=p.RunSummary(run_id=run_id, status="running", started_at=0), log="l")


def put(journal, append):
    said = []
    done = threading.Event()
    journal.append(append, lambda result: (said.append(result), done.set()))
    assert done.wait(SECONDS)
    return said[0]


def test_another_program_may_read_the_file_while_a_server_writes_it(path):
    journal = SqliteJournal(path)
    put(journal, Append("d", "r", 0, records(1, 3), meta()))
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as other:
        assert other.execute("SELECT run_id, head FROM runs").fetchall() == [("r", 3)]
        # A reader that is in the middle of something holds up no writer.
        other.execute("BEGIN")
        other.execute("SELECT COUNT(*) FROM batches").fetchone()
        assert put(journal, Append("d", "r", 3, records(4, 4), meta())) == Stored(4)
    journal.close()


def test_a_reader_is_not_held_up_by_who_writes(path):
    journal = SqliteJournal(path)
    put(journal, Append("d", "r", 0, records(1, 3), meta()))
    with journal._writing:
        assert load(journal, "d", "r").head == 3
    journal.close()


def test_on_a_network_file_system_one_connection_does_both_and_that_is_said_once(path, monkeypatch, caplog):
    for module in ("sqlite", "sqlite_file"):
        monkeypatch.setattr(f"dagwidget.server.storage.{module}.is_on_network", lambda _path: True)
    caplog.set_level("INFO", "dagwidget")
    journal = SqliteJournal(path)
    put(journal, Append("d", "r", 0, records(1, 3), meta()))
    assert load(journal, "d", "r").head == 3
    with (
        contextlib.closing(sqlite3.connect(path, timeout=0)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("SELECT COUNT(*) FROM runs")
    journal.close()
    assert caplog.text.count("network file system") == 1


def test_what_is_mounted_from_elsewhere_is_known(tmp_path, monkeypatch):
    mounts = f"""22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:50 / {tmp_path}/home rw - nfs4 server:/home rw
24 23 0:51 / {tmp_path}/home/local\\040disk rw - ext4 /dev/sdb1 rw
"""
    monkeypatch.setattr("dagwidget.server.storage.file_lock._mounts", lambda: mounts.splitlines())
    assert not is_on_network(tmp_path / "log")
    assert is_on_network(tmp_path / "home" / "ana" / "log")
    assert not is_on_network(tmp_path / "home" / "local disk" / "log")
    assert not is_on_network(tmp_path / "home2")


@pytest.mark.parametrize("what", ["", "-wal"])
def test_what_is_appended_after_the_file_was_deleted_is_in_a_new_one_before_it_is_said_to_be_stored(path, what):
    journal = SqliteJournal(path)
    replaced = []
    journal.replaced = replaced.append
    put(journal, Append("d", "r", 0, records(1, 3), meta()))
    path.with_name(path.name + what).unlink()
    result = put(journal, Append("d", "r", 3, records(4, 4), meta(), sync=True))
    journal.close()
    again = SqliteJournal(path)
    if what:
        # The file itself had all of it, or got it.
        assert (result, load(again, "d", "r").head) == (Stored(4), 4)
    else:
        # The store has none of it: who appends is told to give a checkpoint.
        assert (result, again.runs()) == (Conflict(None, None), [])
    assert "was deleted or replaced while it was in use" in replaced[0]
    again.close()


def cut(path):
    os.truncate(path, 0)


def halve(path):
    os.truncate(path, path.stat().st_size // 2)


def zero(path):
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(bytes(size))


@pytest.mark.parametrize("when", ["between two looks", "between a look and the write"])
@pytest.mark.parametrize("spoil", [cut, halve, zero])
@pytest.mark.parametrize("what", ["", "-wal"])
def test_what_is_appended_to_a_file_that_was_spoilt_is_in_it_before_it_is_said_to_be_stored(
    path, monkeypatch, what, spoil, when
):
    journal = SqliteJournal(path)
    put(journal, Append("d", "old", 0, records(1, 3), meta("old")))
    journal.close()
    journal = SqliteJournal(path)
    replaced = []
    journal.replaced = replaced.append
    for first in (1, 4):
        put(journal, Append("d", "r", first - 1, records(first, first + 2), meta()))
    spoilt = path.with_name(path.name + what)
    if when == "between two looks":
        spoil(spoilt)
    else:
        commit = journal._commit

        def spoilt_and_commit(file, appends):
            monkeypatch.undo()
            spoil(spoilt)
            return commit(file, appends)

        monkeypatch.setattr(journal, "_commit", spoilt_and_commit)
    result = put(journal, Append("d", "r", 6, records(7, 7), meta(), sync=True))
    # As after `kill -9`: what the files hold now.
    copy = path.parent.parent / "copy"
    shutil.copytree(path.parent, copy)
    again = SqliteJournal(copy / path.name)
    if isinstance(result, Stored):
        assert load(again, "d", "r").head == 7
    else:
        # Who appends is told to give a checkpoint.
        assert isinstance(result, Conflict)
    if what:
        # The zeros of the WAL have not taken the place of what was in the file before.
        assert [record.seq for record in load(again, "d", "old").records] == [1, 2, 3]
    assert "was cut off or overwritten while it was in use" in replaced[0]
    again.close()
    journal.close()


def test_a_lock_that_is_deleted_in_use_is_taken_again(path, caplog):
    journal = SqliteJournal(path)
    put(journal, Append("d", "r", 0, records(1, 3), meta()))
    lock = path.with_name(path.name + ".lock")
    lock.unlink()
    assert put(journal, Append("d", "r", 3, records(4, 4), meta())) == Stored(4)
    assert "was deleted, and is taken again" in caplog.text
    with pytest.raises(OSError, match="another server has it"):
        SqliteJournal(path)
    journal.close()
    # What stands in it says that the file is ours.
    assert lock.read_bytes().startswith(b"The file beside this one is a log of dagwidget")


def test_a_lock_that_another_server_has_taken_meanwhile_is_said_once(path, caplog):
    journal = SqliteJournal(path)
    with journal._writing:
        path.with_name(path.name + ".lock").unlink()
        other = FileLock(path)
    for seq in (1, 2):
        assert put(journal, Append("d", "r", seq - 1, records(seq, seq), meta())) == Stored(seq)
    assert caplog.text.count("may be written by two servers") == 1
    other.release()
    # A second server that stops lets the first have it again.
    assert put(journal, Append("d", "r", 2, records(3, 3), meta())) == Stored(3)
    with pytest.raises(OSError, match="another server has it"):
        FileLock(path)
    journal.close()


def test_moving_the_wal_into_the_file_is_no_damage(path, monkeypatch):
    monkeypatch.setattr("dagwidget.server.storage.sqlite._WAL_BYTES", 0)
    journal = SqliteJournal(path)
    replaced = []
    journal.replaced = replaced.append
    for seq in range(1, 20):
        assert put(journal, Append("d", "r", seq - 1, records(seq, seq), meta())) == Stored(seq)
    journal.close()
    assert replaced == []


def test_a_file_that_was_replaced_by_an_older_one_is_noticed(path, tmp_path):
    journal = SqliteJournal(path)
    put(journal, Append("d", "r", 0, records(1, 3), meta()))
    journal.close()
    shutil.copy(path, tmp_path / "copy")
    journal = SqliteJournal(path)
    put(journal, Append("d", "r", 3, records(4, 5), meta()))
    path.with_name(path.name + "-wal").unlink()
    shutil.copy(tmp_path / "copy", tmp_path / "older")
    (tmp_path / "older").rename(path)
    # The head went back.
    assert put(journal, Append("d", "r", 5, records(6, 6), meta())) == Conflict(3, "l")
    journal.close()


def test_a_file_that_is_deleted_in_use_is_begun_again_and_everybody_is_told(path):
    journal = SqliteJournal(path)
    with serving(journal=journal, limits=LIMITS) as at, Person(at, "dag") as person:
        run = dagwidget.start_run("dag", url=at.url, token=at.token, run_id="run")
        run.update("a", "completed", output=7)
        gate = run.gate("review")
        assert run.flush(SECONDS)
        # Before there is another run: a viewer that says nothing is seated half a second late, and at the newest.
        waiting = person.wait("human_gate_waiting")
        other = dagwidget.start_run("dag", url=at.url, token=at.token, run_id="other")
        other.update("b", "running")
        assert other.flush(SECONDS)
        path.unlink()
        warned = person.wait("error", code="log_replaced")
        assert "was deleted or replaced while it was in use" in warned["message"]
        decision = {"node_id": "review", "gate_id": waiting["gate_id"], "decision": "approve"}
        assert person.ask("human_decision", **decision)["ok"]
        assert gate.result(SECONDS).decision == "approve"
        assert run.flush(SECONDS)
        # As after `kill -9`: what the files hold now.
        copy = path.parent.parent / "copy"
        shutil.copytree(path.parent, copy)
        shown = dagwidget.run_state("dag", "run", url=at.url, token=at.token)
        for each in (run, other):
            each.complete()
            each.close()
    journal.close()
    again = SqliteJournal(copy / path.name)
    with serving(journal=again) as at:
        assert {run.run_id for run in dagwidget.runs("dag", url=at.url, token=at.token)} == {"other", "run"}
        again_shown = dagwidget.run_state("dag", "run", url=at.url, token=at.token)
        assert (again_shown.decisions, again_shown.nodes["a"].output) == (shown.decisions, 7)
        # The events before are known to be missing.
        with pytest.raises(dagwidget.ServerRefused, match="the events 1 to"):
            dagwidget.run_state("dag", "run", seq=1, url=at.url, token=at.token)
    again.close()


def test_what_can_not_be_read_is_unavailable_over_http_and_to_viewers_and_a_new_run_begins_all_the_same(path):
    other = SqliteJournal(path)
    journal = SqliteJournal(path, lazy=True)
    with serving(journal=journal, limits=LIMITS) as at:
        at_server = {"url": at.url, "token": at.token}
        for read in (
            lambda: dagwidget.runs("dag", **at_server),
            lambda: dagwidget.run_state("dag", "r", **at_server),
            lambda: dagwidget.run_state("dag", "r", seq=1, **at_server),
        ):
            with pytest.raises(dagwidget.ServerRefused, match="another server has it") as refused:
                read()
            assert refused.value.code == 503
        with Person(at, "dag") as person:
            # A plain client gets no `bye`: the close frame says why, in the 123 bytes that it may have.
            with pytest.raises(ConnectionClosed) as closed:
                person.wait("bye")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4008
            assert closed.value.rcvd.reason.startswith("the runs of 'dag' can't be read: ")
        with dagwidget.start_run("dag", **at_server) as run:
            run.update("a", "running")
            # It has arrived, and is in memory only.
            assert not run.flush(SECONDS)
            with Person(at, "dag") as person:
                assert person.wait("node_state", node_id="a")["status"] == "running"
                other.close()
                person.wait("error", code="log_available")
            assert [each.run_id for each in dagwidget.runs("dag", **at_server)] == [run.run_id]
    journal.close()
    again = SqliteJournal(path)
    assert load(again, "dag", run.run_id).cut is None
    again.close()
