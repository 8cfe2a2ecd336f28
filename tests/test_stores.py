"""What holds of every store. A new one is added to `STORES`, and has to pass all of this."""

from __future__ import annotations

import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from dagwidget import protocol as p
from dagwidget.protocol import RunSummary
from dagwidget.server.storage.event_store import Append, Checkpoint, Conflict, Journal, Record, Result, RunMeta, Stored
from dagwidget.server.storage.faults import Missing
from dagwidget.server.storage.loading import load, page, state_at
from dagwidget.server.storage.memory import MemoryJournal
from dagwidget.server.storage.output_cache import OutputKey
from dagwidget.server.storage.sqlite import SqliteJournal
from dagwidget.state import DagState

STORES = {"memory": lambda _folder: MemoryJournal(), "sqlite": lambda folder: SqliteJournal(folder / "log.sqlite3")}
LASTS = {"sqlite"}
"""Those that outlive their process."""


@pytest.fixture(params=STORES)
def journal(request, tmp_path):
    journal = STORES[request.param](tmp_path)
    yield journal
    journal.close()


def put(journal: Journal, append: Append) -> Result:
    """The store's answer."""
    said: list[Result] = []
    done = threading.Event()
    journal.append(append, lambda result: (said.append(result), done.set()))
    assert done.wait(20)
    return said[0]


def record(seq: int, text: str = "", **more) -> Record:
    event = p.NodeState(node_id=f"n{seq % 3}", status="running", message=text or f"m{seq}", seq=seq, ts=seq)
    return Record(seq, p.encode(event), **more)


def records(first: int, last: int) -> list[Record]:
    return [record(seq) for seq in range(first, last + 1)]


def meta(run_id: str = "r", log: str = "one", earlier: tuple = (), begins: int = 0, started_at: int = 1) -> RunMeta:
    summary = RunSummary(run_id=run_id, status="running", started_at=started_at)
    return RunMeta(summary=summary, log=log, earlier=earlier, begins=begins)


def checkpoint(seq: int, some: list[Record]) -> Checkpoint:
    state = DagState(epoch="r")
    for each in some:
        state.apply(each.event())
    state.seq = seq
    return Checkpoint(seq=seq, state=state, publishers={"p": seq}, commands=[f"c{seq}"])


def test_an_append_is_stored_whole_in_its_place_or_not_at_all(journal):
    assert put(journal, Append("d", "r", 0, records(1, 3), meta())) == Stored(3)
    # The same again, one too early, and one too late.
    for after in (0, 2, 4):
        assert put(journal, Append("d", "r", after, [record(after + 1)], meta())) == Conflict(3, "one")
    assert put(journal, Append("d", "r", 3, records(4, 5), meta())) == Stored(5)
    assert journal.follow("d", "r", 0, 100) == records(1, 5)
    assert journal.follow("d", "r", 2, 2) == records(3, 4)
    assert journal.follow("d", "r", 5, 10) == []


def test_what_should_follow_on_something_begins_nothing(journal):
    assert put(journal, Append("d", "r", 7, [record(8)], meta())) == Conflict(None, None)
    assert journal.runs() == []
    assert journal.snapshot("d", "r") is None
    # But numbers may begin anywhere.
    assert put(journal, Append("d", "r", 7, [record(8)], meta(begins=7))) == Stored(8)
    assert [(run.begins, run.head, run.events) for run in journal.runs()] == [(7, 8, 1)]
    assert page(journal, "d", "r", 0, 10).after == 7


def test_another_incarnation_is_told_so_and_one_that_goes_on_from_it_is_not(journal):
    put(journal, Append("d", "r", 0, records(1, 2), meta(log="one")))
    assert put(journal, Append("d", "r", 2, [record(3)], meta(log="other"))) == Conflict(2, "one")
    assert put(journal, Append("d", "r", 2, [record(3)], meta(log="two", earlier=(("one", 2),)))) == Stored(3)
    assert put(journal, Append("d", "r", 3, [record(4)], meta(log="one"))) == Conflict(3, "two")


def test_a_checkpoint_stands_in_for_events_that_were_never_stored(journal):
    put(journal, Append("d", "r", 0, records(1, 3), meta()))
    made = checkpoint(8, records(1, 8))
    assert put(journal, Append("d", "r", 8, meta=meta(), checkpoint=made, rebase=True)) == Stored(8)
    assert put(journal, Append("d", "r", 8, records(9, 10), meta())) == Stored(10)
    stored = load(journal, "d", "r")
    assert (stored.checkpoint, stored.records, stored.head, stored.cut) == (made, records(9, 10), 10, None)
    # The gap is known as one.
    assert page(journal, "d", "r", 0, 100).events == [each.data for each in records(1, 3)]
    with pytest.raises(Missing, match="the events 4 to 8") as missing:
        journal.follow("d", "r", 3, 10)
    assert (missing.value.after, missing.value.upto) == (3, 8)
    # Also to who asks for fewer events than the gap is long.
    with pytest.raises(Missing, match="the events 4 to 8"):
        journal.follow("d", "r", 3, 1)
    with pytest.raises(Missing):
        state_at(journal, "d", "r", 5)
    assert state_at(journal, "d", "r", 2).seq == 2
    assert state_at(journal, "d", "r", 9).nodes["n0"].message == "m9"
    # A checkpoint never goes back.
    behind = Append("d", "r", 4, meta=meta(), checkpoint=checkpoint(4, records(1, 4)), rebase=True)
    assert put(journal, behind) == Conflict(10, "one")


def test_a_log_that_begins_with_a_checkpoint_has_no_beginning(journal):
    made = checkpoint(8, records(1, 8))
    assert put(journal, Append("d", "r", 8, meta=meta(), checkpoint=made, rebase=True)) == Stored(8)
    assert load(journal, "d", "r").checkpoint == made
    with pytest.raises(Missing, match="the events 1 to 8"):
        page(journal, "d", "r", 0, 10)


def test_a_state_is_read_from_the_newest_checkpoint_before_it(journal):
    for first in range(1, 41, 10):
        last = first + 9
        some = Append("d", "r", first - 1, records(first, last), meta(), checkpoint(last, records(1, last)))
        assert put(journal, some) == Stored(last)
    assert journal.snapshot("d", "r").checkpoint.seq == 40
    assert journal.snapshot("d", "r", 25).checkpoint.seq == 20
    assert journal.snapshot("d", "r", 5).checkpoint is None
    for seq in (0, 5, 20, 25, 40, 99):
        expected = DagState(epoch="r")
        for each in records(1, min(seq, 40)):
            expected.apply(each.event())
        assert state_at(journal, "d", "r", seq) == expected


def test_what_a_reader_does_with_a_state_changes_nothing_that_is_stored(journal):
    put(journal, Append("d", "r", 0, records(1, 2), meta(), checkpoint(2, records(1, 2))))
    journal.snapshot("d", "r").checkpoint.state.apply(p.ExecutionComplete(results=1, seq=3, ts=3))
    assert journal.snapshot("d", "r").checkpoint.state.status == "running"


def test_runs_are_listed_by_their_rows(journal):
    for started_at, run_id in enumerate(("one", "two")):
        put(journal, Append("d", run_id, 0, records(1, 3), meta(run_id, started_at=started_at)))
    put(journal, Append("e", "one", 0, records(1, 1), meta("one", started_at=9)))
    assert [(run.dag_id, run.run_id, run.head) for run in journal.runs()] == [
        ("e", "one", 1),
        ("d", "two", 3),
        ("d", "one", 3),
    ]
    assert [run.run_id for run in journal.runs("d")] == ["two", "one"]
    row = meta("one", started_at=0)
    put(journal, Append("d", "one", 3, meta=row))
    assert journal.runs("d")[1].meta == row


def test_an_output_is_there_once_all_of_it_is(journal):
    def part(number: int, text: str) -> p.NodeOutput:
        return p.NodeOutput(node_id="a", instance="i", text=text, part=number, parts=2)

    key = OutputKey("a", "i")
    put(journal, Append("d", "r", 0, [record(1, output=part(0, "[1,"))], meta()))
    assert journal.output("d", "r", key) is None
    put(journal, Append("d", "r", 1, [record(2, output=part(1, "2]"))], meta()))
    assert journal.output("d", "r", key) == "[1,2]"
    put(journal, Append("d", "r", 2, [record(3, output=part(0, "[3,"))], meta()))
    assert journal.output("d", "r", key) is None
    assert journal.output("d", "r", OutputKey("a")) is journal.output("d", "none", key) is None


# --- Any order of appends, conflicts, gaps and reads, against a dictionary


class _Log:
    def __init__(self, begins: int) -> None:
        self.begins = self.head = begins
        self.records: dict[int, Record] = {}
        self.checkpoints: dict[int, Checkpoint] = {}
        self.incarnations = ["log-0"]


class StoreModel(RuleBasedStateMachine):
    kind = "memory"

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.journal = STORES[self.kind](Path(self.folder.name))
        self.logs: dict[str, _Log] = {}

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            self.folder.cleanup()

    def _meta(self, run_id: str, log: _Log) -> RunMeta:
        *before, name = log.incarnations
        return meta(run_id, name, tuple((each, log.head) for each in before), log.begins)

    @rule(run=st.sampled_from("ab"), count=st.integers(0, 7), begins=st.sampled_from([0, 5]), checks=st.booleans())
    def append(self, run: str, count: int, begins: int, checks: bool) -> None:
        log = self.logs.setdefault(run, _Log(begins))
        some = records(log.head + 1, log.head + count)
        made = checkpoint(log.head + count, some) if checks else None
        row = self._meta(run, log)
        assert put(self.journal, Append("d", run, log.head, some, row, made)) == Stored(log.head + count)
        log.records |= {each.seq: each for each in some}
        log.head += count
        if made is not None:
            log.checkpoints[log.head] = made

    @rule(run=st.sampled_from("ab"), off=st.sampled_from([-2, -1, 1, 3]))
    def append_elsewhere(self, run: str, off: int) -> None:
        log = self.logs.get(run)
        if log is None or log.head + off < 0:
            return
        result = put(self.journal, Append("d", run, log.head + off, [record(log.head + off + 1)], self._meta(run, log)))
        assert isinstance(result, Conflict)
        assert result.head == log.head

    @rule(run=st.sampled_from("ab"))
    def append_of_another(self, run: str) -> None:
        log = self.logs.get(run)
        if log is not None:
            row = meta(run, "a-stranger", begins=log.begins)
            assert isinstance(put(self.journal, Append("d", run, log.head, [record(log.head + 1)], row)), Conflict)

    @rule(run=st.sampled_from("ab"), gap=st.integers(0, 5), renews=st.booleans())
    def rebase(self, run: str, gap: int, renews: bool) -> None:
        log = self.logs.get(run)
        if log is None:
            return
        if renews:
            log.incarnations.append(f"log-{len(log.incarnations)}")
        log.head += gap
        made = log.checkpoints[log.head] = checkpoint(log.head, records(log.begins + 1, log.head))
        row = self._meta(run, log)
        assert put(self.journal, Append("d", run, log.head, (), row, made, rebase=True)) == Stored(log.head)

    @rule(run=st.sampled_from("ab"), back=st.integers(0, 30), most=st.integers(1, 9))
    def follow(self, run: str, back: int, most: int) -> None:
        log = self.logs.get(run)
        if log is None:
            return
        after = max(log.begins, log.head - back)
        expected = []
        while len(expected) < most and after + len(expected) + 1 in log.records:
            expected.append(log.records[after + len(expected) + 1])
        if expected or after == log.head:
            assert self.journal.follow("d", run, after, most) == expected
        else:
            with pytest.raises(Missing) as missing:
                self.journal.follow("d", run, after, most)
            upto = min((seq for seq in log.records if seq > after), default=log.head + 1) - 1
            assert (missing.value.after, missing.value.upto) == (after, upto)

    @rule(run=st.sampled_from("ab"), back=st.integers(0, 30))
    def look(self, run: str, back: int) -> None:
        log = self.logs.get(run)
        found = self.journal.snapshot("d", run, None if log is None else log.head - back)
        if log is None:
            assert found is None
            return
        assert (found.run.begins, found.run.head) == (log.begins, log.head)
        assert found.run.meta.log == log.incarnations[-1]
        seq = max((seq for seq in log.checkpoints if seq <= log.head - back), default=None)
        assert found.checkpoint == (None if seq is None else log.checkpoints[seq])

    @rule(run=st.sampled_from("ab"))
    def open(self, run: str) -> None:
        log, stored = self.logs.get(run), load(self.journal, "d", run)
        if log is not None:
            assert stored.cut is None
            starts = max(log.checkpoints, default=log.begins)
            assert [each.seq for each in stored.records] == [*range(starts + 1, log.head + 1)]

    @precondition(lambda self: self.kind in LASTS)
    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.journal = STORES[self.kind](Path(self.folder.name))


@pytest.mark.parametrize("kind", STORES)
def test_every_order_of_appends_and_reads_is_that_of_a_dictionary(kind):
    machine = type(kind, (StoreModel,), {"kind": kind})
    machine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
    machine.TestCase("runTest").debug()


def test_a_checkpoint_is_read_as_it_was_written():
    made = checkpoint(5, records(1, 5))
    assert msgspec.json.decode(msgspec.json.encode(made), type=Checkpoint) == made
