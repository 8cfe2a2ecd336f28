"""A log file with damaged bytes: the server starts, and each run is whole, or is said not to be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits
from dagwidget.server.room_registry import NotKept, Rooms
from dagwidget.server.storage.event_store import Append, Checkpoint, Record, RunMeta, Stored
from dagwidget.server.storage.faults import Missing, Unavailable
from dagwidget.server.storage.loading import load, state_at
from dagwidget.server.storage.output_cache import OutputKey
from dagwidget.server.storage.sqlite import SqliteJournal
from dagwidget.server.storage.sqlite_schema import TABLES, prepare
from dagwidget.state import DagState

RUNS = [f"run-{number}" for number in range(6)]
EVENTS = 120
PAGE = 4096
WHOLE = '"' + "x" * 5_000 + '"'
EXAMPLES = int(os.environ.get("DAMAGE_EXAMPLES", "100"))
# The version that the file is of: a higher one is that of a newer dagwidget, and is left alone.
VERSION_BYTE = 63


def events(run_id: str) -> list[p.Event]:
    """What a run published; the last is a decision."""
    made: list[p.Event] = [p.ExecutionState(status="running")]
    made += [
        p.NodeState(node_id=f"n{seq % 20}", status="running", message=f"{run_id}:{seq}" * 5) for seq in range(EVENTS)
    ]
    made.append(p.NodeState(node_id="big", status="running", output="…", output_bytes=len(WHOLE)))
    made.append(p.HumanGateResolved(node_id="g", gate_id="g", decision="approve", by="ana", at=1, source="widget"))
    for seq, event in enumerate(made, start=1):
        event.seq, event.ts = seq, seq
    return made


def state_of(run_id: str) -> DagState:
    state = DagState(epoch=run_id)
    for event in events(run_id):
        state.apply(event)
    return state


def put(journal: SqliteJournal, append: Append) -> object:
    said: list = []
    done = threading.Event()
    journal.append(append, lambda result: (said.append(result), done.set()))
    assert done.wait(20)
    return said[0]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A file of several runs, some with checkpoints."""
    path = tmp_path_factory.mktemp("sound") / "log.sqlite3"
    journal = SqliteJournal(path)
    for number, run_id in enumerate(RUNS):
        made, state = events(run_id), DagState(epoch=run_id)
        summary = p.RunSummary(run_id=run_id, status="running", started_at=number)
        meta = RunMeta(summary=summary, owner="engine", log=f"log of {run_id}")
        for first in range(0, len(made), 10):
            some = []
            for event in made[first : first + 10]:
                state.apply(event)
                part = p.NodeOutput(node_id="big", text=WHOLE, part=0, parts=1)
                output = part if isinstance(event, p.NodeState) and event.output_bytes else None
                some.append(Record(event.seq, p.encode(event), "engine", event.seq, None, output))
            checkpoint = None
            if number % 2 and first % 50 == 40:
                checkpoint = Checkpoint(
                    seq=state.seq, state=state.copy(), publishers={"engine": state.seq}, commands=[]
                )
            assert put(journal, Append("dag", run_id, first, some, meta, checkpoint)) == Stored(some[-1].seq)
    journal.close()
    return path


async def look(journal: SqliteJournal) -> dict[str, str]:
    """What is said of each run."""
    rooms = Rooms(Limits(), journal)
    await rooms.start()
    for _ in range(10_000):
        if rooms.fault is None:
            break
        await asyncio.sleep(0.001)
        rooms.tick(0)
    assert rooms.fault is None
    found: dict[str, str] = {}
    for run_id in RUNS:
        found[run_id] = await _look_at(rooms, run_id)
    await rooms.closed()
    return found


async def _look_at(rooms: Rooms, run_id: str) -> str:
    for _ in range(3):
        try:
            room = await rooms.room("dag", run_id)
        except Unavailable:
            # A reader has found the damage: the file is put aside, and is read again.
            await asyncio.to_thread(put, rooms._journal, Append("dag", "another", 0, [Record(1, b"{}")]))
            continue
        break
    else:
        return "unavailable"
    if room is None:
        return "missing"
    try:
        page = await rooms.page("dag", run_id, 0, 10_000)
    except (NotKept, Unavailable):
        pass
    else:
        assert page.events == [p.encode(event) for event in events(run_id)][: len(page.events)]
    try:
        output = await rooms.output("dag", run_id, OutputKey("big"))
    except (NotKept, Unavailable):
        pass
    else:
        assert output in (WHOLE, None)
    if any(fault.code == "log_damaged" for fault in room.state.errors):
        return "cut"
    # What the room has said of its log since is all that may have come to it.
    said = [fault.code for fault in room.state.errors]
    assert set(said) <= {"log_replaced", "log_gap"}
    sound = state_of(run_id)
    assert msgspec.structs.replace(room.state, seq=sound.seq, errors=[]) == sound
    return "whole"


def damaged(sound: Path, folder: str, damage) -> Path:
    path = Path(folder) / "log.sqlite3"
    for suffix in ("", ".lock"):
        shutil.copy(str(sound) + suffix, str(path) + suffix)
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    return path


def check(path: Path) -> dict[str, str]:
    """Start with the file, twice: what a decision said in between is there."""
    journal = SqliteJournal(path)
    found = asyncio.run(look(journal))
    aside = [each for each in path.parent.iterdir() if ".damaged-" in each.name]
    assert aside or "missing" not in found.values(), found
    summary = p.RunSummary(run_id="new", status="running", started_at=99)
    made = Record(1, p.encode(p.ExecutionState(status="running", seq=1, ts=1)), command="c")
    assert put(journal, Append("dag", "new", 0, [made], RunMeta(summary=summary), sync=True)) == Stored(1)
    journal.close()
    journal = SqliteJournal(path)
    assert load(journal, "dag", "new").records == [made]
    again = asyncio.run(look(journal))
    # What was whole stays so, and what was cut stays known as cut.
    assert {run: again[run] for run in RUNS if found[run] == "whole"} == {
        run: "whole" for run in RUNS if found[run] == "whole"
    }
    assert all(again[run] in ("cut", "unavailable") for run in RUNS if found[run] == "cut"), (found, again)
    journal.close()
    return found


def test_a_sound_file_is_whole(sound, tmp_path):
    assert check(damaged(sound, str(tmp_path), lambda _content: None)) == dict.fromkeys(RUNS, "whole")


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["flip", "zero page", "zero bytes", "truncate", "noise"]))
def test_whatever_is_damaged_the_server_starts_and_each_run_is_whole_or_said_not_to_be(sound, data, kind):
    size = sound.stat().st_size

    def damage(content: bytearray) -> None:
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, size - 1).filter(lambda at: at != VERSION_BYTE))
            match kind:
                case "flip":
                    content[at : at + 1] = (
                        bytes([content[at] ^ data.draw(st.integers(1, 255))]) if at < len(content) else b""
                    )
                case "zero page":
                    start = at // PAGE * PAGE
                    content[start : start + PAGE] = bytes(len(content[start : start + PAGE]))
                case "zero bytes":
                    end = min(len(content), at + data.draw(st.integers(1, 600)))
                    content[at:end] = bytes(max(0, end - at))
                case "noise":
                    noise = data.draw(st.binary(min_size=1, max_size=200))
                    if not at <= VERSION_BYTE < at + len(noise):
                        content[at : at + len(noise)] = noise[: len(content[at : at + len(noise)])]
                case "truncate":
                    del content[at:]

    with TemporaryDirectory() as folder:
        check(damaged(sound, folder, damage))


def test_no_byte_of_the_header_keeps_the_server_from_reading_and_writing(sound, tmp_path):
    for at in range(100):
        for value in (0, 5, 255):
            if at == VERSION_BYTE:
                continue

            def damage(content: bytearray, at=at, value=value) -> None:
                content[at] = value

            with TemporaryDirectory(dir=tmp_path) as folder:
                assert "missing" not in check(damaged(sound, folder, damage)).values(), (at, value)


def test_a_new_run_does_not_take_over_what_is_left_of_one_whose_row_is_lost(sound, tmp_path):
    path = damaged(sound, str(tmp_path), lambda _content: None)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        # The number of the last is the next that is free.
        database.execute("DELETE FROM runs WHERE id = (SELECT MAX(id) FROM runs)")
    content = bytearray(path.read_bytes())
    content[18] = 3
    path.write_bytes(content)
    assert [*check(path).values()].count("missing") == 1


def columns() -> list[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        prepare(database)
        return [(t, name) for t in TABLES for _, name, *_ in database.execute(f"PRAGMA table_info({t})")]


@pytest.mark.parametrize(("table", "column"), columns())
@pytest.mark.parametrize("value", [7, 0.5, "text", b"\x00\xff"])
def test_a_value_that_was_not_written_is_damage_and_nothing_else(sound, tmp_path, table, column, value):
    path = damaged(sound, str(tmp_path), lambda _content: None)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        # `id` takes nothing but numbers.
        with contextlib.suppress(sqlite3.Error):
            database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = 3", (value,))
        names = database.execute("SELECT dag_id, run_id FROM runs WHERE id = 3").fetchone()
    if names in (None, ("dag", "run-2")) or bytes in map(type, names):
        check(path)
        return
    # Under its wrong name the run is there, as a damaged one.
    journal = SqliteJournal(path)
    assert load(journal, *names).cut == "how far the log reached is not known"
    with pytest.raises(Missing):
        state_at(journal, *names, 10_000)
    journal.close()


@pytest.mark.parametrize("page", range(0, 60, 3))
def test_a_page_that_is_zeroed_is_never_read_as_no_run(sound, tmp_path, page):
    def damage(content: bytearray) -> None:
        content[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)

    found = check(damaged(sound, str(tmp_path), damage))
    # The runs beside the damaged page are whole.
    assert [*found.values()].count("whole") >= len(RUNS) - 2 or page < 6, found


@pytest.mark.parametrize("content", [b"not json", b"[]", b'{"type":"node_state","node_id":7}'])
def test_a_record_that_holds_no_event_cuts_its_run_there(tmp_path, content):
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    good = [Record(event.seq, p.encode(event), "engine", event.seq) for event in events("run-0")]
    some = [*good[:50], good[50]._replace(data=content), *good[51:]]
    meta = RunMeta(summary=p.RunSummary(run_id="run-0", status="running", started_at=0), log="l", owner="engine")
    put(journal, Append("dag", "run-0", 0, some, meta))

    async def serve() -> None:
        rooms = Rooms(Limits(), journal)
        await rooms.start()
        room = await rooms.room("dag", "run-0")
        assert [fault.code for fault in room.state.errors] == ["log_damaged"]
        assert "shown as of its event 50" in room.state.errors[0].message
        assert (room.head, room.owner) == (len(good) + 1, "engine")
        assert room.log_id != "l"
        assert room.catch_up(p.Cursor(epoch="run-0", seq=20, log="l")).reset
        # Its engine goes on, with the next number.
        room.attach(p.Attach(protocol=1, publisher="engine", epoch="run-0", start=p.RunStart()), 1)
        assert room.publish("engine", [p.NodeState(node_id="a", status="running", seq=51)], 1) == 51
        await rooms.closed()

    asyncio.run(serve())
    stored = load(journal, "dag", "run-0")
    assert (stored.cut, stored.checkpoint.state.errors[0].code) == (None, "log_damaged")
    # What can't be read is not shown as if it had been nothing.
    with contextlib.suppress(Missing):
        assert len(journal.follow("dag", "run-0", 0, 1000)) == len(good)
    journal.close()
