"""A store that fails: nothing is said to be durable that is not, and what was lost is known to be."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits
from dagwidget.server import storing
from dagwidget.server.storage.event_store import Append
from dagwidget.server.storage.loading import load
from dagwidget.server.storage.memory import MemoryJournal

from .one_dag import Disk, Server
from .test_dag import Engine, Viewer, approve, gate, running

NOW = 1_000_000_000
FULL = "the disk is full"


class SlowDisk(Server):
    """Its disk reads at once, and writes when the test says so."""

    def load(self, dag, run_id: str) -> None:
        super().load(dag, run_id)
        if self.fault is None:
            self.read()


def new_server(disk: Disk | None = None, **limits) -> Server:
    return SlowDisk(disk or Disk(), Limits(dead_seconds=10**6, **limits), now=NOW, instant=False)


def restarted(server: Server) -> Server:
    return SlowDisk(server.disk, server.limits, now=server.now, instant=False)


def settle(server: Server) -> None:
    """Let the disk write everything."""
    while server.write():
        pass


def fail(server: Server) -> None:
    """From now on, the disk is full; what comes is kept in memory."""
    server.fail(FULL)


def retry(server: Server) -> None:
    """The disk has space again."""
    server.wait(storing.RETRY_MS / 1000 + 1)
    settle(server)


def codes(server: Server) -> list[str | None]:
    return [fault.code for fault in server.dag.rooms["a"].state.errors]


def test_what_did_not_fit_is_stored_later_and_nothing_is_missing():
    server = new_server()
    engine = Engine(server, "a")
    settle(server)
    engine.publish(running())
    fail(server)
    for _ in range(50):
        engine.publish(running())
    assert server.disk.runs["a"].head == 1
    assert server.dag.rooms["a"].fault == FULL
    retry(server)
    stored = server.disk.runs["a"]
    assert [record.seq for record in stored.records] == [*range(1, stored.head + 1)]
    assert codes(server) == ["log_unavailable", "log_available"]
    assert load(server.disk.journal, "dag", "a").cut is None


def test_an_overflow_is_a_recorded_gap_and_a_restart_shows_what_viewers_saw():
    server = new_server(unstored_events=20)
    engine, viewer = Engine(server, "a"), Viewer(server)
    engine.publish(gate())
    settle(server)
    engine.publish(running())
    fail(server)
    log = server.dag.rooms["a"].log_id
    for number in range(100):
        engine.publish(p.NodeState(node_id=f"n{number}", status="completed", output=number))
    room = server.dag.rooms["a"]
    assert room._backlog.events <= 20
    assert room.log_id != log
    viewer.look()
    assert viewer.state == room.state
    retry(server)
    server.say(viewer.session, approve())
    settle(server)
    assert viewer.look().acks == [p.CommandAck(id="c1", ok=True)]
    assert codes(server) == ["log_unavailable", "log_gap", "log_available"]
    (said,) = [fault.message for fault in room.state.errors if fault.code == "log_gap"]
    assert "the events 3 to 104 were not stored one by one" in said
    settle(server)
    again = Viewer(restarted(server))
    assert again.state == viewer.look().state == room.state
    # The answer is known, and the publisher finds its place.
    assert again.ask(approve()).ok
    assert restarted(server).dag.runs.get("a").gates == 0


def test_a_disk_that_stays_full_over_many_overflows_has_one_gap_and_no_other_server_is_blamed():
    server = new_server(unstored_events=6)
    engine, viewer = Engine(server, "a"), Viewer(server)
    settle(server)
    # Of many appends in flight, each is refused after the first has failed.
    for number in range(30):
        engine.publish(running(f"early {number}"))
    fail(server)
    for number in range(30):
        server.wait(3)
        # While the disk tries again.
        engine.publish(*(running(f"{number}/{i}") for i in range(9)))
        while server.writing:
            fail(server)
    room = server.dag.rooms["a"]
    retry(server)
    assert viewer.look().bye is None
    assert codes(server) == ["log_unavailable", "log_gap", "log_available"]
    settle(server)
    assert Viewer(restarted(server)).state == viewer.look().state == room.state


def test_appends_in_flight_that_a_failed_one_takes_along_are_one_gap():
    server = new_server(unstored_events=6)
    engine, viewer = Engine(server, "a"), Viewer(server)
    settle(server)
    for number in range(30):
        engine.publish(running(f"{number}"))
    log = server.dag.rooms["a"].log_id
    fail(server)
    settle(server)
    assert [name for name, _ in server.dag.rooms["a"].meta(NOW).earlier] == [log]
    retry(server)
    assert viewer.look().bye is None
    assert Viewer(restarted(server)).state == viewer.state


def test_a_decision_that_is_not_on_disk_says_so_and_is_acknowledged_again_when_it_is():
    server = new_server()
    engine, viewer = Engine(server, "a"), Viewer(server)
    engine.publish(gate())
    settle(server)
    engine.publish(running())
    fail(server)
    taken = viewer.ask(approve())
    assert (taken.ok, taken.durable, taken.message) == (True, False, f"not on disk yet: {FULL}")
    assert not viewer.state.gates
    # Who asks again meanwhile is told the same.
    assert viewer.ask(approve()).durable is False
    retry(server)
    viewer.look()
    assert viewer.acks[2:] == [p.CommandAck(id="c1", ok=True)] * 2
    assert [ack.durable for ack in viewer.acks] == [False, False, None, None]


def test_a_publisher_is_told_which_of_its_events_are_in_memory_only():
    server = new_server()
    engine = Engine(server, "a")
    settle(server)
    engine.publish(running())
    fail(server)
    engine.publish(running())
    assert engine.said == [p.Ack(seq=1, durable=False), p.Ack(seq=2, durable=False)]
    retry(server)
    engine.publish(running())
    settle(server)
    assert server.hear(engine.session, p.decode_reply) == [p.Ack(seq=3)]


def test_only_what_holds_a_decision_waits_for_the_disk_itself():
    server = new_server()
    engine, viewer = Engine(server, "a"), Viewer(server)
    synced = []
    append = server.disk.journal.append

    def watched(some: Append, done) -> None:
        synced.append(some.sync)
        append(some, done)

    server.disk.journal.append = watched
    engine.publish(gate(deadline=NOW + 10_000, on_timeout="approve"), running())
    settle(server)
    assert set(synced) == {False}
    for decide in (lambda: server.say(viewer.session, approve()), lambda: None):
        synced.clear()
        decide()
        settle(server)
        assert synced in ([True], [])
        synced.clear()
        engine.publish(running())
        settle(server)
        assert synced == [False]
    # The clock's decision is one too.
    engine.publish(
        p.HumanGateWaiting(node_id="b", gate_id="b:1", presentation=p.Presentation(deadline=NOW + 1, on_timeout="fail"))
    )
    settle(server)
    synced.clear()
    server.wait(1)
    settle(server)
    assert synced == [True]


def test_no_cursor_past_the_end_of_a_log_that_lost_its_end_is_taken_for_a_place_in_it():
    server = new_server()
    engine, viewer = Engine(server, "a"), Viewer(server)
    engine.publish(running())
    settle(server)
    kept = viewer.look().state.seq
    engine.publish(running("b"))
    fail(server)
    assert viewer.look().state.seq > kept
    seen = p.Cursor(epoch="a", seq=viewer.state.seq, log=server.dag.rooms["a"].log_id)
    before = p.Cursor(epoch="a", seq=kept, log=seen.log)
    # The process dies; what comes then has the numbers of what was lost.
    after = restarted(server)
    engine.server = after
    engine.seq = kept - 1
    engine.connect()
    engine.publish(running("c"), running("d"))
    settle(after)
    assert after.dag.rooms["a"].head >= seen.seq
    for cursor, resets in ((seen, True), (before, False)):
        back = Viewer(after)
        after.say(back.session, p.Hello(protocol=1, last=cursor))
        (sync,) = [message for message in after.hear(back.session) if isinstance(message, p.Sync)]
        assert sync.reset is resets, cursor


def test_a_log_that_is_gone_is_begun_again_with_the_state():
    server = new_server()
    engine = Engine(server, "a")
    engine.publish(running(), gate())
    settle(server)
    server.disk.journal = MemoryJournal()
    engine.publish(running("b"))
    server.dag.store_anew("the log file was deleted", NOW)
    settle(server)
    room = server.dag.rooms["a"]
    assert codes(server) == ["log_replaced", "log_gap"]
    assert server.disk.journal.snapshot("dag", "a").run.head == room.head
    assert Viewer(restarted(server)).state == room.state


def test_a_room_whose_log_another_server_wrote_is_discarded_and_read_again():
    server = new_server()
    engine, viewer = Engine(server, "a"), Viewer(server)
    engine.publish(running())
    settle(server)
    other = restarted(server)
    Engine(other, "a", "another").publish(running("other"))
    settle(other)
    engine.publish(running("mine"))
    settle(server)
    assert (viewer.bye.code, viewer.bye.retry, engine.bye.code) == (4003, True, 4003)
    assert list(Viewer(restarted(server)).state.nodes) == ["a", "other"]


def test_a_read_error_is_unavailable_and_nobody_begins_the_run_again(monkeypatch):
    server = new_server()
    engine = Engine(server, "a")
    settle(server)
    again = restarted(server)
    monkeypatch.setattr(again, "read", lambda: False)
    viewer, publisher = Viewer(again), Engine(again, "a", engine.name)
    command = Viewer(again, run="b")
    again.say(command.session, approve(run_id="a"))
    again.dag.loaded("a", None, NOW, "page 7 is damaged")
    for session in (viewer.session, publisher.session):
        assert (session.ended.code, session.ended.retry) == (4008, True)
        assert "page 7 is damaged" in session.ended.reason
    assert (command.look().acks[-1].ok, command.acks[-1].code) == (False, "run_unavailable")
    assert not again.dag.rooms


def test_while_the_run_list_can_not_be_read_there_is_no_saying_that_a_run_is_not_there():
    server = new_server()
    server.fault = "permission denied"
    for hello in ({}, {"run": "a"}):
        viewer = Viewer(server, **hello)
        assert viewer.bye.code == 4008
        assert "permission denied" in viewer.bye.reason
    # One that no server has acknowledged anything of may begin; another may be stored there.
    old = Engine(server, "a", "old")
    old.session.stop(p.Bye(code=4000, reason="", retry=True))
    seen = server.connect(type(old.session))
    server.say(seen, p.Attach(protocol=1, publisher="x", epoch="b", start=p.RunStart(), acknowledged=7))
    server.say(old.session, p.Pong(seq=0))
    server.reading.clear()
    server.dag.loaded("a", None, NOW, "permission denied")
    server.dag.loaded("b", None, NOW, "permission denied")
    assert seen.ended.code == 4008
    assert "b" not in server.dag.rooms


# --- Any order of writes that fail, and of ends of the process


class StoringModel(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.count = 0
        self.durable: set[str] = set()
        self.disk = Disk()
        self.server = new_server(self.disk, unstored_events=6)
        self._connect()
        settle(self.server)

    def _connect(self) -> None:
        self.engine = Engine(self.server, "a", f"engine-{self.count}")
        self.viewer = Viewer(self.server, run="a")

    def _listen(self) -> None:
        self.viewer.look()
        self.durable |= {ack.id for ack in self.viewer.acks if ack.ok and ack.durable is None}

    @rule(events=st.integers(1, 9))
    def publish(self, events: int) -> None:
        self.count += 1
        self.engine.publish(*(p.NodeState(node_id=f"n{i}", status="running", output=self.count) for i in range(events)))

    @rule()
    def decide(self) -> None:
        self.count += 1
        gate_id = f"g{self.count}"
        self.engine.publish(p.HumanGateWaiting(node_id="g", gate_id=gate_id, presentation=p.Presentation()))
        command = p.HumanDecision(id=gate_id, run_id="a", node_id="g", gate_id=gate_id, decision="approve")
        self.server.say(self.viewer.session, command)
        self._listen()

    @rule()
    def write(self) -> None:
        self.server.write()
        self._listen()

    @rule()
    def fail(self) -> None:
        if self.server.writing:
            self.server.fail(FULL)
        self._listen()

    @rule()
    def wait(self) -> None:
        self.server.wait(3)
        self._listen()

    @rule()
    def die(self) -> None:
        """The process ends at once. What it has said to be durable is there."""
        self.count += 1
        self.server = restarted(self.server)
        self._connect()
        settle(self.server)
        assert {decision.gate_id for decision in self.viewer.look().state.decisions} >= self.durable

    @rule()
    def recover(self) -> None:
        """Once everything is written, a restart shows what everybody sees."""
        for _ in range(4):
            self.server.wait(3)
            settle(self.server)
        room = self.server.dag.rooms["a"]
        assert room.is_stored
        self._listen()
        assert self.viewer.look().state == room.state
        assert {decision.gate_id for decision in room.state.decisions} >= self.durable
        stored = load(self.disk.journal, "dag", "a")
        assert (stored.cut, stored.head) == (None, room.head)
        fresh = self.server.dag.make_room("a")
        fresh.restore(stored, NOW)
        assert fresh.state == room.state
        assert fresh.head == room.head
        assert fresh._published == {name: number for name, number in room._published.items() if number}


StoringModel.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_whatever_fails_and_whenever_the_process_ends_what_was_durable_is_there = StoringModel.TestCase
