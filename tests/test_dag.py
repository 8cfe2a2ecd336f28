"""A DAG with several runs, without sockets or a clock: which room each client is in, and what becomes of rooms."""

from __future__ import annotations

import pytest

from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits
from dagwidget.server.sessions.base import Session
from dagwidget.server.sessions.plain import PlainSession
from dagwidget.server.sessions.publisher import PublisherSession
from dagwidget.server.sessions.viewer import ViewerSession
from dagwidget.state import DagState, reduce

from .one_dag import Disk, Server

NOW = 1_000_000_000
MINUTE = 60
# Clients that say nothing stay connected.
LIMITS = Limits(dead_seconds=10**6)


class Engine:
    """A process that publishes to one run."""

    def __init__(
        self, server: Server, run_id: str | None, name: str | None = None, *, owns: bool = True, **start
    ) -> None:
        self.server = server
        self.run_id = run_id
        self.name = name or f"engine of {run_id}"
        self.start = p.RunStart(**start) if owns else None
        self.seq = 0
        self.said: list = []
        self.connect()

    def connect(self, **fields) -> None:
        attach = p.Attach(protocol=1, publisher=self.name, epoch=self.run_id, start=self.start, **fields)
        self.session = self.server.connect(PublisherSession)
        self.server.say(self.session, attach)
        self.said = self.server.hear(self.session, p.decode_reply)

    def publish(self, *events: p.Event) -> None:
        for event in events:
            self.seq += 1
            event.seq = self.seq
        self.server.say(self.session, list(events))
        self.said = self.server.hear(self.session, p.decode_reply)

    def leave(self) -> None:
        self.server.leave(self.session)

    @property
    def bye(self) -> p.Bye | None:
        return self.session.ended


class Viewer:
    """A viewer that understands the whole protocol."""

    def __init__(
        self, server: Server, *, at: str | None = None, features: tuple[str, ...] = ("runs", "engine", "lost"), **hello
    ) -> None:
        self.server = server
        self.features = [*features]
        self.session = server.connect(ViewerSession, run_id=at)
        self.state = DagState()
        self.runs: list[p.Runs] = []
        self.engines: list[p.EngineState] = []
        self.acks: list[p.CommandAck] = []
        self.hello(**hello)

    def hello(self, **fields) -> Viewer:
        self.server.say(self.session, p.Hello(protocol=1, features=self.features or None, **fields))
        return self.look()

    def look(self) -> Viewer:
        """Take all that there is."""
        for message in self.server.hear(self.session):
            match message:
                case p.Sync():
                    self.state = DagState(epoch=message.epoch) if message.reset else self.state
                    self.state.epoch = message.epoch
                case p.Event():
                    self.state.apply(message)
                case p.Runs():
                    self.runs.append(message)
                case p.Engine():
                    self.engines.append(message.state)
                case p.CommandAck():
                    self.acks.append(message)
                case p.Ping():
                    self.server.say(self.session, p.Pong(seq=0))
        return self

    def ask(self, command: p.Command) -> p.CommandAck:
        self.server.say(self.session, command)
        return self.look().acks[-1]

    @property
    def run(self) -> str | None:
        """The run that is shown."""
        return self.look().state.epoch

    @property
    def bye(self) -> p.Bye | None:
        return self.look().session.ended


def running(node_id: str = "a") -> p.NodeState:
    return p.NodeState(node_id=node_id, status="running")


def gate(**presentation) -> p.HumanGateWaiting:
    return p.HumanGateWaiting(node_id="review", gate_id="review:1", presentation=p.Presentation(**presentation))


def end(status: str = "completed") -> p.ExecutionComplete:
    return p.ExecutionComplete(results=None, status=status)


def approve(id: str = "c1", **fields) -> p.HumanDecision:
    return p.HumanDecision(id=id, node_id="review", gate_id="review:1", decision="approve", **fields)


def statuses(server: Server) -> dict[str, str]:
    return {run.run_id: run.status for run in server.dag.runs}


def engine_of(server: Server, run_id: str) -> str:
    return server.dag.runs.get(run_id).engine


@pytest.fixture(params=["in memory", "on disk"])
def server(request):
    return Server(None if request.param == "in memory" else Disk(), LIMITS, now=NOW)


@pytest.fixture
def stored():
    return Server(Disk(), LIMITS, now=NOW)


def restarted(server: Server) -> Server:
    return Server(server.disk, server.limits, now=server.now)


def forget(server: Server) -> None:
    """Let the rooms that nobody uses leave memory."""
    server.wait(0)
    server.wait(61)
    assert not server.dag.rooms


# --- Which run


def test_fifty_runs_that_end_one_after_the_other_have_all_ended(server):
    for number in range(50):
        engine = Engine(server, f"run-{number}")
        engine.publish(running(), end())
        engine.leave()
    assert set(statuses(server).values()) == {"completed"}
    assert len(statuses(server)) == 50


def test_no_run_ends_or_refuses_another(server):
    engines = [Engine(server, f"run-{number}") for number in range(5)]
    for engine in engines:
        engine.publish(running(engine.run_id))
        assert engine.bye is None
    for engine in engines:
        assert list(server.dag.rooms[engine.run_id].state.nodes) == [engine.run_id]


def test_runs_are_listed_by_their_own_start_however_clocks_and_connections_go(server):
    # The server's clock, and how far each publisher's is off; b connects last, and a's clock is ahead.
    Engine(server, "c", started_at=NOW - 5_000 + 7_200_000, owns=True)
    for run_id, start, off in (("a", -3_000, 7_200_000), ("d", -1_000, -1_900), ("b", -2_000, 0)):
        engine = Engine.__new__(Engine)
        engine.server, engine.run_id, engine.name, engine.seq = server, run_id, run_id, 0
        engine.start = p.RunStart(started_at=NOW + start + off)
        engine.connect(now=NOW + off)
    assert [run.run_id for run in server.dag.runs] == ["c", "d", "b", "a"]
    starts = {run.run_id: run.started_at - NOW for run in server.dag.runs}
    # c said nothing of its clock: it is not taken to have started later than now.
    assert starts == {"a": -3_000, "b": -2_000, "c": 0, "d": -1_000}


def test_the_place_of_a_run_in_the_list_is_set_once(server):
    first = Engine(server, "a", started_at=NOW - 9_000)
    Engine(server, "b", started_at=NOW - 5_000)
    first.leave()
    server.wait(5)
    Engine(server, "a", "another process", started_at=NOW + 4_000)
    assert [run.run_id for run in server.dag.runs] == ["b", "a"]


def test_a_client_that_names_no_run_gets_the_newest_live_one_and_stays(server):
    Engine(server, "a").publish(running("of a"))
    viewer = Viewer(server)
    assert (viewer.run, list(viewer.state.nodes)) == ("a", ["of a"])
    server.wait(1)
    Engine(server, "b")
    assert viewer.run == "a"
    assert Viewer(server).run == "b"
    # Also over a new connection.
    assert Viewer(server, last=p.Cursor(epoch="a", seq=1)).run == "a"


@pytest.mark.parametrize("how", ["over", "gone", "lost"])
def test_a_follower_moves_on_once_its_run_is_over_lost_or_gone(server, how):
    one = Engine(server, "a")
    viewer, plain = Viewer(server), server.connect(PlainSession)
    server.wait(1)
    two = Engine(server, "b")
    two.publish(running("of b"))
    viewer.look()
    server.hear(plain)
    if how == "over":
        one.publish(end())
    else:
        one.leave()
        server.wait(8)
        assert viewer.run == "a"
        server.say(two.session, p.Pong(seq=0))
        server.wait(2 if how == "gone" else 16 * MINUTE)
        if how == "lost":
            assert statuses(server)["a"] == "lost"
    assert (viewer.run, list(viewer.state.nodes)) == ("b", ["of b"])
    assert reduce(server.hear(plain)).nodes.keys() == {"of b"}


def test_a_follower_sees_the_end_of_its_run_before_it_moves_on():
    server = Server(Disk(), LIMITS, now=NOW, instant=False)
    one, two = Engine(server, "a"), Engine(server, "b")
    for _ in range(4):
        server.read()
        server.write()
    viewer = Viewer(server, run="a", follow=True)
    one.publish(running(), end())
    # It is not durable yet, and so nobody has been sent it.
    assert viewer.run == "a"
    assert viewer.state.status == "running"
    server.write()
    messages = server.hear(viewer.session)
    ends = [number for number, message in enumerate(messages) if isinstance(message, p.ExecutionComplete)]
    [moves] = [number for number, message in enumerate(messages) if isinstance(message, p.Sync)]
    assert ends[0] < moves
    assert messages[moves].epoch == "b"
    assert two.bye is None


def test_without_a_live_run_a_follower_stays_at_the_newest(server):
    one = Engine(server, "a")
    server.wait(1)
    two = Engine(server, "b")
    viewer = Viewer(server, last=p.Cursor(epoch="a", seq=1))
    two.publish(end())
    assert viewer.run == "a"
    one.publish(end())
    assert viewer.run == "b"
    server.wait(1)
    Engine(server, "c")
    assert viewer.run == "c"


def test_a_pinned_client_is_never_moved(server):
    one = Engine(server, "a")
    viewer = Viewer(server, run="a")
    Engine(server, "b")
    one.publish(running(), end("failed"))
    assert (viewer.run, viewer.state.status) == ("a", "failed")
    assert viewer.hello(run="b").run == "b"
    assert viewer.hello(last=p.Cursor(epoch="a", seq=1)).run == "b"


def test_a_client_waits_for_a_run_that_has_not_begun(server):
    Engine(server, "a")
    pinned, following = Viewer(server, run="b"), Viewer(server, run="b", follow=True)
    assert (pinned.run, following.run) == ("", "")
    engine = Engine(server, "b")
    assert (pinned.run, following.run) == ("b", "b")
    engine.publish(end())
    assert (pinned.run, following.run) == ("b", "a")


def test_clients_of_a_dag_without_a_run_see_the_first_one_begin(server):
    viewer, plain = Viewer(server), server.connect(PlainSession)
    assert viewer.run == ""
    Engine(server, "a").publish(running())
    assert list(viewer.look().state.nodes) == ["a"]
    assert reduce(server.hear(plain)).nodes.keys() == {"a"}


@pytest.mark.parametrize("kind", [ViewerSession, PlainSession])
def test_the_address_of_a_run_that_is_not_here_is_refused_and_may_be_tried_again(server, kind):
    Engine(server, "a")
    session = server.connect(kind, run_id="b")
    server.say(session, p.Hello(protocol=1))
    said, bye = server.hear(session), session.ended
    # A plain client knows no bye, and its connection ends before it has said a word.
    assert said == ([] if kind is PlainSession else [bye])
    assert (bye.code, bye.retry) == (4404, True)
    assert "'b'" in bye.reason


def test_a_client_of_the_address_of_a_run_may_go_on_to_another(server):
    for run_id in "ab":
        Engine(server, run_id)
    viewer = Viewer(server, at="a")
    assert viewer.run == "a"
    assert viewer.hello(run="b").run == "b"
    assert viewer.hello(follow=True).session.follows


def test_a_plain_client_is_let_into_no_room_before_its_token_is_known(server):
    Engine(server, "a").publish(running())
    session = server.connect(PlainSession, authorize=lambda token: None)
    assert server.dag.where[session] is server.dag.lobby
    assert server.hear(session) == []


# --- What clients are told of runs and engines


def test_the_run_list_comes_whole_and_then_what_changed_at_most_once_a_second(server):
    Engine(server, "a")
    viewer = Viewer(server)
    assert [[run.run_id for run in message.runs] for message in viewer.runs] == [["a"]]
    Engine(server, "b").publish(gate())
    assert len(viewer.look().runs) == 1
    server.wait(1)
    news = viewer.look().runs[-1]
    assert [(run.run_id, run.gates, run.engine) for run in news.runs] == [("b", 1, "connected")]
    assert (news.total, news.live, news.waiting) == (2, 2, 1)


def test_the_run_list_of_a_dag_without_runs_is_sent_too(server):
    assert [message.total for message in Viewer(server).runs] == [0]


def test_old_clients_see_nothing_of_it(server):
    engine = Engine(server, "a")
    viewer = Viewer(server, features=())
    engine.leave()
    server.wait(16 * MINUTE)
    assert statuses(server) == {"a": "lost"}
    assert (viewer.look().runs, viewer.engines, viewer.state.status) == ([], [], "running")


def test_an_engine_that_is_gone_is_said_to_be_and_is_back_as_if_nothing_had_been(server):
    engine = Engine(server, "a")
    engine.publish(running(), gate())
    viewer = Viewer(server, run="a")
    before = viewer.state.to_dict()
    engine.leave()
    server.wait(11)
    assert viewer.look().engines == ["connected", "gone"]
    assert engine_of(server, "a") == "gone"
    engine.connect()
    assert viewer.look().engines == ["connected", "gone", "connected"]
    assert viewer.state.to_dict() == before


def test_a_lost_run_goes_on_when_its_engine_is_back(server):
    engine = Engine(server, "a")
    engine.publish(running(), gate())
    engine.leave()
    server.wait(16 * MINUTE)
    viewer = Viewer(server, run="a")
    assert (viewer.state.status, list(viewer.state.gates)) == ("lost", ["review:1"])
    assert viewer.ask(approve()).ok
    engine.connect()
    assert [type(message) for message in engine.said] == [p.Attached, p.HumanGateResolved]
    assert (viewer.look().state.status, viewer.state.nodes["a"].status) == ("running", "running")
    assert engine_of(server, "a") == "connected"


def test_only_a_run_whose_engine_is_gone_can_be_given_up_and_its_engines_word_replaces_that(server):
    engine = Engine(server, "a")
    engine.publish(running())
    viewer = Viewer(server)
    assert viewer.ask(p.CancelExecution(id="c1", run_id="a", give_up=True)).code == "engine_connected"
    engine.leave()
    server.wait(11)
    assert viewer.ask(p.CancelExecution(id="c2", run_id="a", give_up=True)).ok
    assert statuses(server) == {"a": "cancelled"}
    engine.connect()
    assert statuses(server) == {"a": "running"}
    engine.publish(end())
    assert statuses(server) == {"a": "completed"}


# --- Publishers


def test_a_worker_joins_the_only_live_run(server):
    Engine(server, "a").publish(end())
    Engine(server, "b")
    worker = Engine(server, None, "worker", owns=False)
    assert worker.said[0].epoch == "b"


def test_a_worker_of_several_live_runs_must_name_one(server):
    for run_id in "ab":
        Engine(server, run_id)
    worker = Engine(server, None, "worker", owns=False)
    assert (worker.bye.code, worker.bye.retry) == (4412, False)
    assert "a, b" in worker.bye.reason or "b, a" in worker.bye.reason
    assert Engine(server, "a", "worker", owns=False).said[0].epoch == "a"


@pytest.mark.parametrize("run_id", [None, "b"])
def test_a_worker_without_a_run_to_join_tries_again(server, run_id):
    Engine(server, "a").publish(end())
    worker = Engine(server, run_id, "worker", owns=False)
    assert (worker.bye.code, worker.bye.retry) == (4404, True)


def test_a_run_whose_engine_is_gone_is_still_owned_until_it_is_lost(server):
    Engine(server, "a").leave()
    server.wait(11)
    worker = Engine(server, None, "worker", owns=False)
    assert worker.said[0].epoch == "a"
    worker.leave()
    server.wait(16 * MINUTE)
    assert Engine(server, None, "another worker", owns=False).bye.code == 4404


def test_a_worker_does_not_make_an_engine_look_alive(server):
    engine = Engine(server, "a")
    worker = Engine(server, "a", "worker", owns=False)
    engine.leave()
    server.wait(11)
    worker.publish(running())
    assert engine_of(server, "a") == "gone"


def test_another_process_takes_a_run_over_also_after_a_restart(stored):
    one = Engine(stored, "a", "one")
    two = Engine(stored, "a", "two", capabilities=p.Capabilities(pause="none"))
    stored.hear(one.session, p.decode_reply)
    assert (one.bye.code, one.bye.retry) == (4006, False)
    assert stored.dag.rooms["a"].state.capabilities.pause == "none"
    one.leave()
    two.leave()
    one.server = two.server = restarted(stored)
    one.connect()
    assert one.bye.code == 4006
    two.connect()
    assert two.bye is None


# --- Commands


def test_a_command_reaches_the_run_that_it_names_on_any_connection(server):
    for run_id in "ab":
        Engine(server, run_id).publish(gate())
    viewer = Viewer(server, run="a")
    assert viewer.ask(approve(run_id="b")).ok
    assert [list(server.dag.rooms[run_id].state.gates) for run_id in "ab"] == [["review:1"], []]
    refused = viewer.ask(approve("c2", run_id="b", feedback="again"))
    assert (refused.code, refused.winner.decision) == ("already_decided", "approve")


def test_a_command_for_a_run_that_is_not_here_is_refused(server):
    Engine(server, "a").publish(gate())
    refused = Viewer(server).ask(approve(run_id="z"))
    assert (refused.ok, refused.code) == (False, "unknown_run")
    assert "'z'" in refused.message


def test_a_command_for_another_run_is_acknowledged_once_it_is_durable_there(stored):
    for run_id in "ab":
        Engine(stored, run_id).publish(gate())
    viewer = Viewer(stored, run="a")
    stored.instant = False
    stored.say(viewer.session, approve(run_id="b"))
    assert viewer.look().acks == []
    stored.write()
    assert [ack.ok for ack in viewer.look().acks] == [True]
    assert stored.disk.runs["b"].records[-1].command == "c1"


def test_a_command_for_a_run_that_is_not_in_memory_waits_until_it_is(stored):
    for run_id in "ab":
        engine = Engine(stored, run_id)
        engine.publish(gate())
        engine.leave()
    forget(stored)
    stored.instant = False
    viewer = Viewer(stored, run="a")
    stored.say(viewer.session, approve(run_id="b"))
    assert stored.read()
    stored.say(viewer.session, approve("c2", run_id="b"))
    assert viewer.look().acks == []
    while stored.read() or stored.write():
        pass
    assert [(ack.id, ack.ok) for ack in viewer.look().acks] == [("c1", True), ("c2", False)]


def test_a_client_that_left_before_its_command_could_be_answered_is_not_asked_for(stored):
    engine = Engine(stored, "a")
    engine.publish(gate())
    engine.leave()
    forget(stored)
    viewer = Viewer(stored, run="nothing")
    stored.instant = False
    stored.say(viewer.session, approve(run_id="a"))
    stored.leave(viewer.session)
    assert stored.read()
    assert list(stored.dag.rooms["a"].state.gates) == ["review:1"]


# --- Rooms that leave memory, and come back


def test_a_room_that_left_memory_comes_back_as_it_was(stored):
    engine = Engine(stored, "a", name="v7", tags=["x"], budget=5.0, started_at=NOW - 1000)
    engine.publish(running(), gate(), p.CostDelta(amount=1.0), p.NodeLog(node_id="a", lines=["one"]))
    viewer = Viewer(stored)
    viewer.ask(approve())
    room, list_before = stored.dag.rooms["a"], list(stored.dag.runs)
    before = (room.state.to_dict(), room.owner, room.head, room.summary(stored.now), room.started_at)
    engine.leave()
    stored.leave(viewer.session)
    forget(stored)
    again = Viewer(stored, last=p.Cursor(epoch="a", seq=room.head, log=room.log_id))
    back = stored.dag.rooms["a"]
    assert back is not room
    after = (back.state.to_dict(), back.owner, back.head, back.summary(NOW), back.started_at)
    assert after == before
    assert [run.run_id for run in stored.dag.runs] == [run.run_id for run in list_before]
    # Its cursor fits, and who asks again is answered the same.
    assert not again.state.nodes
    assert again.ask(approve(run_id="a")).ok
    engine.connect()
    assert engine.said[0].seq == engine.seq


def test_a_room_stays_while_somebody_is_in_it_or_something_is_not_stored(stored):
    engine = Engine(stored, "a")
    stored.wait(0)
    stored.wait(100)
    assert stored.dag.rooms
    stored.instant = False
    engine.publish(running())
    engine.leave()
    stored.wait(100)
    stored.wait(100)
    assert stored.dag.rooms
    stored.write()
    forget(stored)


def test_a_room_whose_log_can_not_be_written_stays(stored):
    engine = Engine(stored, "a")
    stored.instant = False
    engine.publish(running())
    engine.leave()
    room = stored.dag.rooms["a"]
    for _ in range(3):
        stored.fail("the disk is full")
        stored.wait(100)
    assert room.fault == "the disk is full"
    assert stored.dag.rooms
    while stored.write():
        pass
    assert room.fault is None
    forget(stored)


def test_a_run_is_lost_and_its_deadlines_pass_without_its_room(stored):
    for run_id, presentation in (("a", {"deadline": NOW + 100_000, "on_timeout": "approve"}), ("b", {}), ("c", {})):
        engine = Engine(stored, run_id)
        engine.publish(running(), gate(**presentation))
        if run_id == "c":
            engine.publish(end())
        engine.leave()
    forget(stored)
    stored.wait(39)
    assert stored.dag.rooms.keys() == {"a"}
    assert stored.dag.rooms["a"].state.decisions[0].source == "timeout"
    forget(stored)
    stored.wait(14 * MINUTE)
    assert statuses(stored) == {"a": "lost", "b": "lost", "c": "completed"}
    assert stored.disk.runs["b"].meta.summary.status == "lost"
    forget(stored)


def test_deadlines_and_lost_engines_are_seen_to_after_a_restart_too(stored):
    engine = Engine(stored, "a")
    engine.publish(running(), gate(deadline=NOW + 100_000))
    engine.leave()
    stored.now += 200_000
    stored = restarted(stored)
    assert (statuses(stored), engine_of(stored, "a")) == ({"a": "running"}, "connected")
    stored.wait(0)
    assert stored.dag.rooms["a"].state.decisions[0].source == "timeout"
    stored.wait(11)
    assert engine_of(stored, "a") == "gone"
    # From the server's own start: it can't know what was before.
    stored.wait(14 * MINUTE)
    assert statuses(stored) == {"a": "running"}
    stored.wait(MINUTE)
    assert statuses(stored) == {"a": "lost"}
    assert Viewer(restarted(stored), run="a").engines == ["connected"]


def test_since_when_an_engine_is_gone_survives_a_restart(stored):
    engine = Engine(stored, "a")
    stored.wait(5)
    engine.publish(running())
    engine.leave()
    stored.now += 500_000
    viewer = Viewer(restarted(stored), run="a")
    viewer.server.wait(11)
    engines = [message for message in viewer.server.hear(viewer.session) if isinstance(message, p.Engine)]
    assert engines == [p.Engine(state="gone", since=NOW + 5_000)]


def test_fifty_live_runs_are_all_found_again_after_a_restart_and_go_on(stored):
    engines = [Engine(stored, f"run-{number}") for number in range(50)]
    for engine in engines:
        engine.publish(running())
    stored = restarted(stored)
    assert set(statuses(stored).values()) == {"running"}
    for engine in engines:
        engine.server = stored
        engine.connect()
        engine.publish(end())
    assert [(run.status, run.engine) for run in stored.dag.runs] == [("completed", "ended")] * 50


def test_abandoned_runs_make_space_for_others_on_disk():
    server = Server(Disk(), Limits(rooms=10), now=NOW)
    for number in range(100):
        Engine(server, f"run-{number}").leave()
        server.wait(0)
    assert len(server.dag.rooms) == 10
    viewer = Viewer(server, run="run-0")
    assert (viewer.run, viewer.state.status) == ("run-0", "running")
    server.wait(16 * MINUTE)
    for _ in range(20):
        server.wait(1)
    assert set(statuses(server).values()) == {"lost"}
    assert len(server.dag.rooms) == 10


def test_too_many_runs_in_use_are_refused_for_a_while(server):
    server.limits = server.dag._limits = Limits(rooms=1)
    first = Engine(server, "a")
    refused = Engine(server, "b")
    assert (refused.bye.code, refused.bye.retry, "b" in server.dag.runs) == (4429, True, False)
    assert first.bye is None


# --- Runs that are deleted


def test_who_watches_a_run_that_is_deleted_is_told_so_for_good(server):
    engine = Engine(server, "a")
    engine.publish(end())
    viewer, plain = Viewer(server, run="a"), server.connect(PlainSession, run_id="a")
    follower = Viewer(server)
    server.hear(plain)
    server.wait(2)
    Engine(server, "b")
    assert follower.run == "b"
    server.remove("a")
    assert (viewer.bye.code, viewer.bye.retry) == (4410, False)
    assert plain.ended.code == 4410
    server.wait(1)
    assert follower.look().runs[-1].removed == ["a"]
    assert Viewer(server, run="a").bye.code == 4410
    assert Viewer(server, at="a").bye.code == 4410
    assert statuses(server) == {"b": "running"}
    # Whatever its publisher says does not bring it back.
    engine.leave()
    assert "a" not in server.dag.runs


def test_a_run_that_was_deleted_while_it_was_read_is_not_there(stored):
    engine = Engine(stored, "a")
    engine.publish(end())
    engine.leave()
    forget(stored)
    stored.instant = False
    viewer, follower = Viewer(stored, run="a"), Viewer(stored)
    stored.remove("a")
    while stored.read():
        pass
    assert viewer.bye.code == 4410
    assert (follower.run, stored.dag.rooms) == ("", {})


def test_a_run_that_can_not_be_read_is_unavailable_and_not_empty(stored):
    engine = Engine(stored, "a")
    engine.publish(end())
    engine.leave()
    forget(stored)
    viewer = stored.connect(ViewerSession)
    stored.disk.delete("a")
    stored.say(viewer, p.Hello(protocol=1))
    [bye] = stored.hear(viewer)
    assert (bye.code, bye.retry) == (4008, True)
    other = Viewer(stored, run="b")
    assert other.ask(approve(run_id="a")).code == "unknown_run"


# --- Clients that come and go


def test_a_client_that_leaves_while_its_room_is_read_leaves_nothing(stored):
    engine = Engine(stored, "a")
    engine.leave()
    forget(stored)
    stored.instant = False
    sessions: list[Session] = [Viewer(stored).session, stored.connect(PlainSession)]
    for session in sessions:
        stored.leave(session)
    assert stored.read()
    forget(stored)
    assert not stored.dag.where


def test_a_client_that_changes_its_mind_while_a_room_is_read_gets_the_other(stored):
    for run_id in "ab":
        Engine(stored, run_id).leave()
    forget(stored)
    stored.instant = False
    viewer = Viewer(stored, run="a")
    viewer.hello(run="b")
    while stored.read():
        pass
    assert viewer.run == "b"


def test_a_dag_that_nobody_uses_is_forgotten(server):
    viewer = Viewer(server)
    assert server.dag.is_used
    server.leave(viewer.session)
    assert not server.dag.is_used


def test_a_frame_costs_no_work_that_grows_with_the_number_of_runs(server, monkeypatch):
    looked: list[str] = []
    costs = []
    for count in (10, 100):
        for number in range(count):
            Engine(server, f"run-{count}-{number}").publish(running())
        engine = Engine(server, f"busy-{count}")
        Viewer(server, run=f"busy-{count}")
        with monkeypatch.context() as counting:
            counting.setattr(type(server.dag.runs), "put", lambda _self, run: looked.append("put"))
            counting.setattr(type(server.dag.runs), "__iter__", lambda _self: looked.append("all") or iter(()))
            counting.setattr(server, "wake", lambda session: looked.append("wake"))
            counting.setattr(server, "announce", lambda room: looked.append("announce"))
            for _ in range(10):
                engine.publish(running())
        costs.append(len(looked))
        # On disk, the publisher is woken up for its acknowledgement.
        assert set(looked) <= {"wake"}
        looked.clear()
    assert costs[0] == costs[1]
