"""Sessions, without sockets or a clock: what each dialect is told, when, and how it ends."""

import json
import tracemalloc
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dagwidget
from dagwidget import protocol as p
from dagwidget.protocol.bounds import LARGEST
from dagwidget.protocol.limits import Limits
from dagwidget.server.auth.grant import Grant
from dagwidget.server.room import Room
from dagwidget.server.sessions.base import Seek, Session
from dagwidget.server.sessions.plain import PlainSession
from dagwidget.server.sessions.publisher import PublisherSession
from dagwidget.server.sessions.viewer import ViewerSession
from dagwidget.state import DagState, reduce

from . import strategies

NOW = 1_000_000
LIMITS = Limits()
TOKENS = {f"may-{role}": Grant(role=role, user="ana") for role in get_args(p.Role)}


def authorize(token: str | None):
    return TOKENS.get(token)


def anybody(_token: str | None):
    return Grant(role="operate", user="ana")


def start_run(room: Room, epoch: str = "run-1") -> None:
    room.attach(p.Attach(protocol=1, publisher=f"engine of {epoch}", epoch=epoch, start=p.RunStart()), NOW)


def publish(room: Room, *events: p.Event) -> None:
    """As some engine that is not under test."""
    name = f"engine of {room.epoch}"
    for event in events:
        event.seq = room._published[name] + 1
        room.publish(name, [event], NOW)


def running(node_id: str = "a", **fields) -> p.NodeState:
    return p.NodeState(node_id=node_id, status="running", **fields)


def gate() -> p.HumanGateWaiting:
    return p.HumanGateWaiting(node_id="review", gate_id="g1", presentation=p.Presentation())


@pytest.fixture
def room():
    room = Room("dag")
    start_run(room)
    room.engines = 1
    room.presence.connect(NOW)
    return room


def another_run(epoch: str = "run-2") -> Room:
    """The room of another run of the DAG."""
    room = Room("dag")
    start_run(room, epoch)
    room.engines = 1
    room.presence.connect(NOW)
    return room


# The room that each session finds.
_found: dict[Session, Room] = {}


def connected(kind: type[Session], room: Room, **options) -> Session:
    lobby = Room("dag", room.limits)
    session = kind(lobby, options.pop("authorize", authorize), options.pop("now", NOW), **options)
    _found[session] = room
    follow_up(session, NOW)
    return session


def viewer(room: Room, **options) -> ViewerSession:
    return connected(ViewerSession, room, **options)


def plain(room: Room, **options) -> PlainSession:
    return connected(PlainSession, room, **options)


def publisher(room: Room, **options) -> PublisherSession:
    return connected(PublisherSession, room, **options)


def send(session: Session, *messages, now: int = NOW) -> None:
    for message in messages:
        receive(session, p.encode(message).decode(), now)


def receive(session: Session, frame: str | bytes, now: int = NOW) -> None:
    session.receive(frame, now)
    follow_up(session, now)


def follow_up(session: Session, now: int) -> None:
    """What a `Dag` does: here, each session finds the room that the test has chosen."""
    if session.seek is not None and session.ended is None:
        session.seek = None
        session.enter(_found[session], now)
    while session.forwarded:
        _, command = session.forwarded.pop(0)
        session.answer(None, command, now)


def frames(session: Session, now: int = NOW) -> list[bytes]:
    """All that may go out now."""
    pulled = []
    while (frame := session.pull(now)) is not None:
        pulled.append(frame)
    return pulled


def heard(session: Session, now: int = NOW, decode=p.decode_server) -> list:
    return [message for frame in frames(session, now) for message in decode(frame)]


def hello(token: str | None = "may-operate", last: p.Cursor | None = None, protocol: int = 1) -> p.Hello:
    return p.Hello(protocol=protocol, token=token, last=last)


def greeted(room: Room, token: str = "may-operate") -> ViewerSession:
    """A viewer that is up to date."""
    session = viewer(room)
    send(session, hello(token))
    synced = heard(session)[-1]
    send(session, p.Ack(seq=synced.seq))
    return session


def attached(room: Room, name: str = "engine", **fields) -> PublisherSession:
    session = publisher(room)
    send(session, p.Attach(**{"protocol": 1, "publisher": name, "token": "may-publish", **fields}))
    assert isinstance(heard(session, decode=p.decode_reply)[0], p.Attached)
    return session


def ended(session: Session, code: int, *, abort: bool = False) -> p.Bye:
    """Checks that the session has ended with that code, has said so in a bye, and says nothing more."""
    said = [message for message in heard(session) if isinstance(message, p.Bye)]
    bye = session.ended
    assert bye is not None
    assert said == ([] if isinstance(session, PlainSession) and session.is_plain else [bye])
    assert (bye.code, session.abort) == (code, abort)
    receive(session, p.encode(hello()).decode(), NOW)
    session.tick(NOW + 10**9)
    assert session.pull(NOW) is None
    assert bye.retry == next(row.retry for row in p.CLOSE_CODES if row.code == code)
    return bye


# --- The whole protocol: hello


def test_a_viewer_is_told_nothing_before_its_hello(room):
    session = viewer(room)
    publish(room, running())
    assert session.pull(NOW) is None
    assert not session.ready


def test_hello_is_answered_with_welcome_and_the_state(room):
    publish(room, running())
    session = viewer(room)
    send(session, hello())
    welcome, sync, *events, synced = heard(session)
    assert welcome == p.Welcome(
        protocol=1,
        dag_id="dag",
        epoch="run-1",
        head=2,
        role="operate",
        heartbeat_ms=15_000,
        window=LIMITS.window_bytes,
        limits={"frame_bytes": LIMITS.frame_bytes, "event_bytes": LIMITS.event_bytes},
        now=NOW,
        server=dagwidget.__version__,
        log=room.log_id,
    )
    assert sync == p.Sync(epoch="run-1", seq=2, reset=True, log=room.log_id)
    assert reduce(events, DagState(epoch="run-1")).to_dict() == room.state.to_dict()
    assert synced == p.Synced(seq=2)
    assert session.ready


def test_who_has_a_cursor_is_given_the_tail(room):
    publish(room, running("a"), running("b"))
    session = viewer(room)
    send(session, hello(last=p.Cursor(epoch="run-1", seq=2)))
    _, sync, *events, synced = heard(session)
    assert (sync.reset, sync.seq, [event.node_id for event in events], synced.seq) == (False, 3, ["b"], 3)


def test_hello_again_on_the_same_socket_fills_a_gap(room):
    session = greeted(room)
    publish(room, running("a"), running("b"))
    frames(session)
    send(session, hello(token=None, last=p.Cursor(epoch="run-1", seq=2)))
    _, sync, event, _ = heard(session)
    assert (sync.reset, event.node_id) == (False, "b")


@pytest.mark.parametrize("first", [p.Ack(seq=1), p.Pong(seq=1), p.PauseExecution(id="c1"), p.Unknown(type="x")])
def test_a_viewers_first_message_must_be_hello(room, first):
    session = viewer(room)
    send(session, first)
    assert "hello" in ended(session, 4400).reason


def test_hello_and_what_follows_may_come_in_one_frame(room):
    session = viewer(room)
    send(session, [hello(), p.PauseExecution(id="c1")])
    assert [type(message) for message in heard(session)][:2] == [p.Welcome, p.CommandAck]


@pytest.mark.parametrize("token", [None, "", "wrong", "may-view\x00"])
def test_a_viewer_without_the_right_token_is_turned_away(room, token):
    session = viewer(room)
    send(session, hello(token))
    bye = ended(session, 4401)
    assert not bye.retry
    assert not session.ready


def test_a_role_that_came_with_the_handshake_needs_no_token(room):
    session = viewer(room, token="may-view")
    send(session, hello(token=None))
    assert heard(session)[0].role == "view"


def test_a_token_in_hello_outranks_the_handshake(room):
    session = viewer(room, token="may-view")
    send(session, hello("may-operate"))
    assert heard(session)[0].role == "operate"


def test_a_token_is_renewed_by_hello_and_a_wrong_one_ends_it(room):
    session = greeted(room, "may-view")
    send(session, hello("may-operate"))
    assert heard(session)[0].role == "operate"
    send(session, hello("wrong"))
    ended(session, 4401)


def test_an_older_protocol_is_told_to_update_and_a_newer_one_is_answered_in_ours(room):
    old, new = viewer(room), viewer(room)
    send(old, hello(protocol=0))
    assert "update" in ended(old, 4409).reason
    send(new, hello(protocol=2))
    assert heard(new)[0].protocol == 1


# --- Silence


@pytest.mark.parametrize("make", [viewer, plain, publisher])
def test_who_never_says_who_it_is_is_sent_away(room, make):
    session = make(room)
    session.tick(NOW + 5_000)
    assert session.ended is None
    session.tick(NOW + 5_001)
    assert ended(session, 4408).retry


def test_after_silence_comes_a_ping_with_the_head(room):
    session = greeted(room)
    publish(room, running())
    frames(session)
    session.tick(NOW + 14_999)
    assert heard(session) == []
    session.tick(NOW + 15_000)
    assert heard(session, NOW + 15_000) == [p.Ping(head=2)]
    session.tick(NOW + 16_000)
    assert heard(session, NOW + 16_000) == []


def test_who_is_spoken_to_needs_no_ping(room):
    session = greeted(room)
    publish(room, running())
    frames(session, NOW + 10_000)
    session.tick(NOW + 20_000)
    assert heard(session) == []


def test_who_answers_pings_stays_and_who_does_not_is_dropped(room):
    session = greeted(room)
    send(session, p.Pong(seq=1), now=NOW + 20_000)
    session.tick(NOW + 60_000)
    assert session.ended is None
    session.tick(NOW + 60_001)
    ended(session, 4001, abort=True)


def test_a_publisher_that_is_silent_is_pinged_and_dropped_too(room):
    session = attached(room)
    session.tick(NOW + 15_000)
    assert heard(session, decode=p.decode_reply) == [p.Ping(head=1)]
    session.tick(NOW + 40_001)
    ended(session, 4001, abort=True)


def test_a_plain_client_may_be_silent_for_ever(room):
    session = plain(room, token="may-view")
    frames(session)
    session.tick(NOW + 10**9)
    assert heard(session) == []
    assert session.ended is None


# --- What is no message


@pytest.mark.parametrize("make", [viewer, plain, publisher])
@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b'{"type":"hello","protocol":1}', 4400),
        ("", 4400),
        ("{", 4400),
        ("[1]", 4400),
        ('{"type":7}', 4400),
        (json.dumps({"type": "x", "more": "x" * LIMITS.publish_bytes}), 4413),
        (json.dumps({"type": "x", "more": "é" * (LIMITS.publish_bytes // 2)}, ensure_ascii=False), 4413),
    ],
    ids=["binary", "empty", "no JSON", "no object", "no type", "too large", "too large in bytes"],
)
def test_a_bad_frame_ends_the_session_with_the_reason(room, make, frame, code):
    session = make(room)
    receive(session, frame, NOW)
    bye = ended(session, code)
    assert bye.reason
    assert not bye.retry


@pytest.mark.parametrize("make", [viewer, plain, publisher])
def test_a_malformed_message_is_named_with_its_field(room, make):
    session = make(room)
    frame = '{"type":"attach","protocol":"x"}' if make is publisher else '{"type":"hello","protocol":"x"}'
    receive(session, frame, NOW)
    assert "$.protocol" in ended(session, 4400).reason


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63, -(10**19), 10**30])
def test_a_whole_number_that_no_store_and_no_browser_has_ends_the_session_with_its_field(room, number):
    start = f'{{"type":"attach","protocol":1,"publisher":"e","epoch":"r","start":{{"started_at":{number}}}}}'
    gate = f'{{"type":"human_gate_waiting","node_id":"a","seq":1,"presentation":{{"deadline":{number}}}}}'
    part = f'{{"type":"node_output","node_id":"a","text":"1","part":{number},"parts":1,"seq":1}}'
    for frame, field in ((start, "$.start.started_at"), (gate, "$.presentation.deadline"), (part, "$.part")):
        session = publisher(room)
        receive(session, frame)
        assert field in ended(session, 4400).reason


def test_what_a_room_computes_of_the_largest_numbers_can_be_sent_and_stored(room):
    session = attached(room, now=-LARGEST)
    asked = p.HumanGateWaiting(node_id="a", gate_id="a:1", presentation=p.Presentation(deadline=LARGEST), seq=1)
    state = p.NodeState(node_id="b", status="running", started_at=LARGEST, ended_at=LARGEST, ts=LARGEST, seq=2)
    send(session, asked, state, *(p.CostDelta(tokens_in=LARGEST, seq=seq) for seq in (3, 4)))
    assert session.ended is None
    for data in room.page(0, 100).events:
        p.decode_events(data)
    assert (room.state.cost.tokens, room.deadline) == (LARGEST, LARGEST)


def test_a_viewers_frame_is_measured_in_bytes():
    room = Room("dag", Limits(frame_bytes=200))
    fits, exceeds = viewer(room), viewer(room)
    frame = p.encode(hello()).decode()
    receive(fits, frame + " " * (200 - len(frame)), NOW)
    assert fits.ended is None
    receive(exceeds, '{"type":"x","more":"' + "😀" * 50 + '"}', NOW)
    assert "222 bytes" in ended(exceeds, 4413).reason


def test_a_publisher_may_send_larger_frames_than_a_viewer():
    room = Room("dag", Limits(frame_bytes=200, publish_bytes=2_000))
    start_run(room)
    session = attached(room)
    send(session, running(seq=1, message="x" * 1_000))
    assert heard(session, decode=p.decode_reply) == [p.Ack(seq=1)]


def test_the_rest_of_a_frame_after_what_ended_the_session_is_not_heeded(room):
    session = viewer(room)
    send(session, [p.Ack(seq=1), hello(), p.CancelExecution(id="c1")])
    ended(session, 4400)
    assert room.state.status == "running"


def test_the_server_ends_a_session_once_with_its_own_words(room):
    session = greeted(room)
    session.stop(p.Bye(code=4000, reason="the server restarts", retry=True, after_ms=1_000))
    session.stop(p.Bye(code=4429, reason="again", retry=True))
    assert ended(session, 4000).after_ms == 1_000


# --- Commands


@pytest.mark.parametrize("make", [viewer, plain])
def test_commands_are_answered_and_told_to_everybody(room, make):
    session, other = make(room), greeted(room)
    send(session, hello())
    frames(session)
    publish(room, gate())
    frames(other)
    send(session, p.HumanDecision(id="c1", node_id="review", decision="approve"))
    assert p.CommandAck(id="c1", ok=True) in heard(session)
    [resolved] = heard(other)
    assert (resolved.decision, resolved.by) == ("approve", "ana")


@pytest.mark.parametrize("make", [viewer, plain])
@pytest.mark.parametrize(
    "command",
    [p.HumanDecision(id="c1", node_id="review", decision="approve"), p.PauseExecution(id="c1")],
)
def test_who_may_only_watch_commands_nothing(room, make, command):
    publish(room, gate())
    session, head = make(room), room.head
    send(session, hello("may-view"))
    frames(session)
    send(session, command)
    [ack] = heard(session)
    assert (ack.id, ack.ok, ack.code) == ("c1", False, "forbidden")
    assert room.head == head


@pytest.mark.parametrize("make", [viewer, plain])
def test_an_unknown_command_is_refused_and_an_unknown_message_is_ignored(room, make):
    session = make(room)
    send(session, hello())
    frames(session)
    receive(session, '{"type":"rewind_execution","id":"c1"}', NOW)
    receive(session, '{"type":"i_am_fine"}', NOW)
    receive(session, '{"type":"i_am_fine","id":7}', NOW)
    [ack] = heard(session)
    assert (ack.id, ack.ok, ack.code) == ("c1", False, "unknown_command")
    assert "rewind_execution" in ack.message


def test_an_answer_goes_out_ahead_of_events_that_wait(room):
    session = greeted(room)
    publish(room, running("a"))
    send(session, p.PauseExecution(id="c1"))
    assert isinstance(heard(session)[0], p.CommandAck)


# --- Batches, acknowledgements, the window


def test_what_is_new_comes_as_one_frame(room):
    session = greeted(room)
    publish(room, running("a"), running("b"), running("c"))
    [frame] = frames(session)
    assert [event.seq for event in p.decode_server(frame)] == [2, 3, 4]


def test_all_who_are_at_the_same_place_get_the_same_bytes(room):
    one, two = greeted(room), greeted(room)
    publish(room, running("a"), running("b"))
    assert one.pull(NOW) is two.pull(NOW)


def small_window(batch_events: int = 1000) -> Room:
    room = Room("dag", Limits(window_bytes=400, batch_events=batch_events))
    start_run(room)
    room.engines = 1
    return room


def test_who_acknowledges_nothing_is_told_nothing_more_than_its_window():
    room = small_window()
    session = greeted(room)
    for _ in range(20):
        publish(room, running(message="x" * 100))
        frames(session)
    told, session_head = session._cursor, room.head
    assert told < session_head - 10
    send(session, p.Ack(seq=told))
    assert [event.seq for event in heard(session)] == [*range(told + 1, session_head + 1)]


def test_an_acknowledgement_of_something_older_opens_the_window_no_wider():
    room = small_window()
    session = greeted(room)
    publish(room, running(message="x" * 500))
    assert frames(session)
    publish(room, running(message="later"))
    send(session, p.Ack(seq=1))
    assert frames(session) == []
    send(session, p.Ack(seq=2))
    assert len(frames(session)) == 1


def test_a_full_window_without_acknowledgement_ends_in_an_abort():
    room = small_window()
    session = greeted(room)
    publish(room, running(message="x" * 500))
    frames(session)
    publish(room, running("b"))
    assert frames(session, NOW) == []
    send(session, p.Pong(seq=1), now=NOW + 29_000)
    session.tick(NOW + 30_000)
    assert session.ended is None
    session.tick(NOW + 30_001)
    assert "acknowledged" in ended(session, 4001, abort=True).reason


def test_a_full_window_with_nothing_to_tell_is_no_stall():
    room = small_window()
    session = greeted(room)
    publish(room, running(message="x" * 500))
    frames(session)
    send(session, p.Pong(seq=1), now=NOW + 100_000)
    frames(session, NOW + 100_000)
    session.tick(NOW + 100_000)
    assert session.ended is None


def test_who_acknowledges_late_but_at_all_stays():
    room = small_window()
    session = greeted(room)
    now = NOW
    for number in range(5):
        publish(room, running(f"n{number}", message="x" * 500))
        assert frames(session, now)
        publish(room, running("later"))
        assert frames(session, now) == []
        now += 29_000
        session.tick(now)
        send(session, p.Ack(seq=session._cursor), now=now)
    assert session.ended is None


def test_who_falls_far_behind_is_given_the_state_and_not_all_that_it_missed():
    room = Room("dag", Limits(batch_events=10))
    start_run(room)
    session = greeted(room)
    publish(room, *(running("a", message="x" * 2_000) for _ in range(50)))
    sync, *events, synced = heard(session)
    assert isinstance(sync, p.Sync)
    assert sync.reset
    assert synced == p.Synced(seq=room.head)
    assert len(events) < 10
    assert reduce(events, DagState(epoch="run-1")).to_dict() == room.state.to_dict()
    publish(room, running("b"))
    assert [event.seq for event in heard(session)] == [room.head]


def test_who_lacks_what_the_log_has_lost_is_given_the_state():
    room = Room("dag", Limits(log_events=4))
    start_run(room)
    session = greeted(room)
    publish(room, *(running(f"n{number}") for number in range(20)))
    sync, *_ = heard(session)
    assert (sync.reset, sync.seq) == (True, room.head)


def test_a_new_run_is_a_reset_for_who_watches(room):
    session = greeted(room)
    publish(room, running("old"))
    other = another_run()
    session.enter(other, NOW)
    sync, *events, synced, ping = heard(session)
    assert sync == p.Sync(epoch="run-2", seq=1, reset=True, log=other.log_id)
    assert [type(event) for event in events] == [p.ExecutionState]
    assert (synced.seq, ping.head) == (1, 1)


def test_a_new_run_cuts_a_catching_up_with_the_old_one_short():
    room = Room("dag", Limits(batch_events=1))
    start_run(room)
    publish(room, running("a"), running("b"))
    session = viewer(room)
    send(session, hello(last=p.Cursor(epoch="run-1", seq=0)))
    first = [session.pull(NOW) for _ in range(3)]
    assert [type(p.decode_server(frame)[0]) for frame in first] == [p.Welcome, p.Sync, p.ExecutionState]
    session.enter(another_run(), NOW)
    sync, *_ = heard(session)
    assert (sync.epoch, sync.reset) == ("run-2", True)


# --- Plain clients


def test_a_plain_client_gets_the_state_first_and_then_each_event_in_a_frame_of_its_own(room):
    publish(room, running("a"), running("b"))
    session = plain(room, token="may-view")
    state = [json.loads(frame) for frame in frames(session)]
    assert [event["type"] for event in state] == ["dag_mutated", "node_state", "node_state"]
    publish(room, running("c"), p.EdgeActive(from_="a", to="c"))
    assert [json.loads(frame)["type"] for frame in frames(session)] == ["node_state", "edge_active"]


def test_a_plain_client_gets_the_seven_events_and_no_others(room):
    session = plain(room, token="may-operate")
    frames(session)
    publish(
        room,
        p.NodeLog(node_id="a", lines=["one"]),
        gate(),
        p.CostDelta(amount=1.0),
        p.RunError(message="careful"),
        p.ExecutionState(status="paused"),
        running("a"),
        p.EdgeActive(from_="a", to="b"),
        p.DagMutated(mutation=p.Mutation(remove_nodes=["b"])),
    )
    send(session, p.HumanDecision(id="c1", node_id="review", decision="approve"))
    publish(room, p.ExecutionComplete(results=1))
    types = [json.loads(frame)["type"] for frame in frames(session)]
    assert types[0] == "command_ack"
    assert types[1:] == [
        "human_gate_waiting",
        "cost_update",
        "error",
        "node_state",
        "edge_active",
        "dag_mutated",
        # What the end of the run leaves behind: two nodes that had not finished.
        "node_state",
        "node_state",
        "execution_complete",
    ]


# What a plain client is not told of: each of these may change a node, a gate, or what later events mean.
_OURS = (p.NodeLog, p.HumanGateResolved, p.ExecutionState)
_basic_logs = st.lists(strategies.events, max_size=24).map(
    lambda events: [event for event in events if not isinstance(event, _OURS)]
)


@settings(max_examples=80)
@given(_basic_logs, _basic_logs)
def test_a_plain_client_is_told_enough_for_the_nodes_and_edges_of_the_room(before, after):
    room = Room("dag")
    start_run(room)
    publish(room, *before)
    session = plain(room, token="may-view")
    messages = [p.decode_server(frame) for frame in frames(session)]
    publish(room, *after)
    messages += [p.decode_server(frame) for frame in frames(session)]
    assert all(len(frame) == 1 and isinstance(frame[0], p.PLAIN_EVENTS) for frame in messages)
    client = reduce([frame[0] for frame in messages])
    assert client.nodes == room.state.nodes
    assert client.edges == room.state.edges
    assert client.gates == room.state.gates
    assert client.results == room.state.results


def test_a_plain_client_where_anybody_may_watch_needs_no_token(room):
    publish(room, running())
    session = plain(room, authorize=anybody)
    assert session.ready
    assert frames(session)


def test_who_came_as_a_plain_client_and_says_hello_is_welcomed_as_any(room):
    session = plain(room)
    publish(room, running())
    assert session.pull(NOW) is None
    send(session, hello("may-view"))
    assert [type(message) for message in heard(session)][:2] == [p.Welcome, p.Sync]
    assert session.ready


def test_a_hello_drops_the_plain_catch_up_that_had_begun(room):
    publish(room, running("a"), running("b"), p.NodeLog(node_id="a", lines=["one"]))
    session = plain(room, token="may-operate")
    # The first event is on its way as the hello comes.
    assert session.pull(NOW) is not None
    send(session, hello(None))
    welcome, sync, *events, synced = heard(session)
    assert (type(welcome), sync.reset, type(synced)) == (p.Welcome, True, p.Synced)
    assert reduce(events).nodes == room.state.nodes
    publish(room, running("c"), p.NodeLog(node_id="c", lines=["two"]))
    # A batch, and of every event: this client is not plain any more.
    assert [len(p.decode_server(frame)) for frame in frames(session)] == [2]
    session.tick(NOW + 16_000)
    assert isinstance(heard(session, NOW + 16_000)[-1], p.Ping)
    send(session, p.PauseExecution(id="c1"))
    assert [message.id for message in heard(session) if isinstance(message, p.CommandAck)] == ["c1"]
    session.stop(p.Bye(code=4000, reason="the server restarts", retry=True))
    assert isinstance(heard(session)[-1], p.Bye)


def test_a_hello_of_a_client_that_waits_for_its_plain_room_finds_one_room(room):
    publish(room, running("a"))
    session = PlainSession(Room("dag", room.limits), anybody, NOW)
    assert session.seek is not None
    session.receive(p.encode(hello(None)).decode(), NOW)
    _found[session] = room
    follow_up(session, NOW)
    assert [type(message) for message in heard(session)][:2] == [p.Welcome, p.Sync]


def test_who_came_as_a_plain_client_and_says_hello_with_a_wrong_token_is_told_why(room):
    session = plain(room)
    send(session, hello("wrong"))
    assert not session.is_plain
    assert "wrong" in ended(session, 4401).reason


@pytest.mark.parametrize("first", [p.PauseExecution(id="c1"), p.Unknown(type="x"), p.Ack(seq=1)])
def test_a_plain_client_that_speaks_before_its_token_is_turned_away(room, first):
    session = plain(room)
    send(session, first)
    assert "token" in ended(session, 4401).reason
    assert room.state.status == "running"


def test_a_plain_client_is_never_sent_a_bye(room):
    session = plain(room, token="may-operate")
    frames(session)
    session.stop(p.Bye(code=4000, reason="the server restarts", retry=True))
    ended(session, 4000)
    assert frames(session) == []


def test_a_command_without_an_id_is_obeyed_and_not_answered(room):
    publish(room, gate())
    session = plain(room, token="may-operate")
    frames(session)
    receive(session, '{"type": "human_decision", "node_id": "review", "decision": "approve", "id": null}')
    assert [made.decision for made in room.state.decisions] == ["approve"]
    receive(session, '[{"type": "pause_execution"}, {"type": "resume_execution", "id": "mine"}]')
    assert [message.id for message in heard(session) if isinstance(message, p.CommandAck)] == ["mine"]
    receive(session, '{"type": "human_decision", "node_id": "review", "decision": "reject"}')
    receive(session, '{"type": "cancel_execution", "run_id": "no such run"}')
    assert not [message for message in heard(session) if isinstance(message, p.CommandAck)]
    assert session.ended is None
    receive(session, '{"type": "human_decision", "node_id": "review"}')
    assert session.ended.code == 4400
    assert "decision" in session.ended.reason


def test_a_plain_client_that_is_moved_to_another_run_keeps_nothing_of_the_old_one(room):
    publish(room, running("old"), p.CostDelta(amount=3))
    session = plain(room, token="may-view")
    seen = heard(session)
    after = another_run()
    publish(after, running("new"))
    session.enter(after, NOW)
    seen += heard(session)
    state = reduce(seen)
    assert [*state.nodes] == ["new"]
    assert state.cost.spent == 0


def test_a_plain_client_that_was_just_moved_must_name_a_gate_that_it_saw_open(room):
    session = plain(room, token="may-operate")
    frames(session)
    after = another_run()
    publish(after, gate(), p.HumanGateWaiting(node_id="other", gate_id="g0", presentation=p.Presentation()))
    session.enter(after, NOW)
    frames(session)
    publish(after, p.HumanGateWaiting(node_id="later", gate_id="g2", presentation=p.Presentation()))
    frames(session)
    early = NOW + 1999
    send(session, approve("c1"), approve("c2", gate_id="g1"), p.CancelExecution(id="c3"), now=early)
    assert [(ack.id, ack.ok, ack.code) for ack in heard(session)] == [(f"c{n}", False, "moved") for n in (1, 2, 3)]
    send(session, p.HumanDecision(id="c4", node_id="later", gate_id="g2", decision="reject"), now=early)
    send(session, p.HumanDecision(id="c5", node_id="other", run_id="run-2", decision="reject"), now=early)
    send(session, approve("c6"), now=NOW + 2000)
    assert [(ack.id, ack.ok) for ack in heard(session) if isinstance(ack, p.CommandAck)] == [
        ("c4", True),
        ("c5", True),
        ("c6", True),
    ]


def test_a_plain_client_that_the_log_left_behind_is_given_the_state():
    room = Room("dag", Limits(log_events=4))
    start_run(room)
    session = plain(room, token="may-view")
    frames(session)
    publish(room, *(running(f"n{number}") for number in range(30)))
    client = reduce([message for frame in frames(session) for message in p.decode_server(frame)])
    assert client.nodes == room.state.nodes


# --- Publishers


def test_a_publisher_attaches_and_its_events_are_acknowledged(room):
    session = publisher(room)
    start = p.Attach(protocol=1, publisher="x", token="may-publish", epoch="run-1", start=p.RunStart(budget=1))
    send(session, start)
    assert heard(session, decode=p.decode_reply) == [
        p.Attached(dag_id="dag", epoch="run-1", seq=0, heartbeat_ms=15_000)
    ]
    send(session, [running("a", seq=1), running("b", seq=2)], running("c", seq=3))
    assert heard(session, decode=p.decode_reply) == [p.Ack(seq=2), p.Ack(seq=3)]
    assert list(room.state.nodes) == ["a", "b", "c"]


def test_attach_and_the_first_events_may_come_in_one_frame(room):
    session = publisher(room)
    send(session, [p.Attach(protocol=1, publisher="x", token="may-publish"), running(seq=1)])
    assert [type(message) for message in heard(session, decode=p.decode_reply)] == [p.Attached, p.Ack]


@pytest.mark.parametrize("first", [running(seq=1), p.Pong(seq=1), p.Unknown(type="x"), []])
def test_a_publishers_first_message_must_be_attach(room, first):
    session = publisher(room)
    send(session, first)
    assert "attach" in ended(session, 4400).reason
    assert (room.head, room.engines) == (1, 1)


@pytest.mark.parametrize(("token", "code"), [("wrong", 4401), (None, 4401), ("may-view", 4403), ("may-operate", 4403)])
def test_only_who_may_publish_publishes(room, token, code):
    session = publisher(room)
    send(session, p.Attach(protocol=1, publisher="x", token=token, epoch="run-2", start=p.RunStart()))
    ended(session, code)
    assert room.epoch == "run-1"


def test_an_older_publisher_is_told_to_update(room):
    session = publisher(room)
    send(session, p.Attach(protocol=0, publisher="x", token="may-publish"))
    ended(session, 4409)


def test_a_room_without_a_run_is_unknown_to_who_would_join_it():
    session = publisher(Room("dag"))
    send(session, p.Attach(protocol=1, publisher="x", token="may-publish"))
    assert ended(session, 4404).retry


def test_a_gap_in_a_publishers_numbers_ends_the_connection(room):
    session = attached(room)
    send(session, running(seq=2))
    assert ended(session, 4003).retry


def test_what_a_publisher_says_that_only_the_future_understands_is_no_event(room):
    session = attached(room)
    receive(session, '{"type":"engine_mood","mood":"fine"}', NOW)
    receive(session, '{"type":"node_teleported","seq":1}', NOW)
    send(session, running(seq=2))
    assert heard(session, decode=p.decode_reply) == [p.Ack(seq=1), p.Ack(seq=2)]
    assert list(room.state.nodes) == ["a"]


def test_a_publisher_goes_on_where_it_was(room):
    first = attached(room)
    send(first, running("a", seq=1), running("b", seq=2))
    first.leave()
    second = publisher(room)
    send(second, p.Attach(protocol=1, publisher="engine", token="may-publish", epoch="run-1"))
    assert heard(second, decode=p.decode_reply)[0].seq == 2


def test_the_room_counts_its_engines(room):
    session = attached(room)
    assert room.engines == 2
    session.leave()
    session.leave()
    assert room.engines == 1
    publisher(room).leave()
    assert room.engines == 1


def test_who_takes_a_run_over_replaces_its_owner_before_it_says_anything(room):
    session = attached(room, "one", epoch="run-1", start=p.RunStart())
    attached(room, "two", epoch="run-1", start=p.RunStart())
    bye = ended(session, 4006)
    assert not bye.retry
    assert "another process has taken over" in bye.reason


def test_who_was_replaced_adds_nothing_to_the_run(room):
    session = attached(room, "one", epoch="run-1", start=p.RunStart())
    attached(room, "two", epoch="run-1", start=p.RunStart())
    send(session, running("old", seq=1))
    ended(session, 4006)
    assert not room.state.nodes


def test_who_was_replaced_is_turned_away_when_it_comes_back(room):
    start = p.RunStart()
    attached(room, "one", epoch="run-1", start=start).leave()
    attached(room, "two", epoch="run-1", start=start)
    session = publisher(room)
    send(session, p.Attach(protocol=1, publisher="one", token="may-publish", epoch="run-1", start=start))
    ended(session, 4006)
    assert room.owner == "two"


def test_engines_hear_decisions_and_what_is_asked_of_the_run_and_nothing_else(room):
    session, watching = attached(room), greeted(room)
    publish(room, running(), gate(), p.CostDelta(amount=1))
    send(watching, p.HumanDecision(id="c1", node_id="review", decision="reject"), p.CancelExecution(id="c2"))
    resolved, asked = heard(session, decode=p.decode_reply)
    assert (resolved.decision, resolved.gate_id, asked.status) == ("reject", "g1", "cancelling")


def test_an_engine_that_was_away_hears_what_it_missed(room):
    watching = greeted(room)
    publish(room, gate())
    send(watching, p.HumanDecision(id="c1", node_id="review", decision="approve"), p.PauseExecution(id="c2"))
    session = publisher(room)
    send(session, p.Attach(protocol=1, publisher="engine", token="may-publish"))
    _, resolved, asked = heard(session, decode=p.decode_reply)
    assert (resolved.gate_id, asked.status) == ("g1", "pausing")
    assert heard(session, decode=p.decode_reply) == []


def test_an_engine_that_the_log_left_behind_hears_every_decision_again():
    room = Room("dag", Limits(log_events=4))
    start_run(room)
    session, watching = attached(room), greeted(room)
    publish(room, gate())
    send(watching, p.HumanDecision(id="c1", node_id="review", decision="approve"))
    publish(room, *(running(f"n{number}") for number in range(30)))
    assert [message.gate_id for message in heard(session, decode=p.decode_reply)] == ["g1"]
    assert heard(session, decode=p.decode_reply) == []


# --- Whatever happens, a viewer ends in the room's state


class Viewer:
    """A client as `js/src/stream.ts` is one: a cursor, a reducer, and a connection that may break."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.state = DagState()
        self.cursor: p.Cursor | None = None
        # While catching up after a reset: the new state, until it is whole.
        self.coming: DagState | None = None
        # Sent by the server, not yet arrived.
        self.on_its_way: list[bytes] = []
        self.connect()

    def connect(self) -> None:
        """On a new connection; what was on its way is lost."""
        self.on_its_way.clear()
        self.coming = None
        self.session = viewer(self.room)
        self.hello("may-operate")

    def hello(self, token: str | None = None) -> None:
        send(self.session, hello(token, last=self.cursor))

    def pull(self) -> bool:
        frame = self.session.pull(NOW)
        if frame is not None:
            self.on_its_way.append(frame)
        return frame is not None

    def arrive(self) -> bool:
        """Take the next frame."""
        if not self.on_its_way:
            return False
        for message in p.decode_server(self.on_its_way.pop(0)):
            self.take(message)
        return True

    def take(self, message) -> None:
        match message:
            case p.Bye():
                raise AssertionError(message)
            case p.Sync(reset=True):
                self.coming = DagState(epoch=message.epoch)
            case p.Sync():
                assert self.cursor is not None
                assert self.cursor.epoch == message.epoch
                self.coming = None
            case p.Synced():
                if self.coming is not None:
                    self.state, self.coming = self.coming, None
                self.state.seq = message.seq
                self.cursor = p.Cursor(epoch=self.state.epoch, seq=message.seq)
            case p.Ping():
                send(self.session, p.Pong(seq=self.state.seq))
            case p.Event() if self.coming is not None:
                self.coming.apply(message)
            case p.Event():
                if message.seq <= self.state.seq:
                    return
                assert message.seq == self.state.seq + 1, "a gap"
                self.state.apply(message)
                self.cursor = p.Cursor(epoch=self.state.epoch, seq=message.seq)

    def acknowledge(self) -> None:
        send(self.session, p.Ack(seq=self.state.seq))


@settings(max_examples=250)
@given(st.data())
def test_through_any_breaks_and_delays_a_viewer_ends_in_the_rooms_state(data):
    room = Room(
        "dag",
        Limits(
            log_events=data.draw(st.sampled_from([3, 8, 1000]), "log"),
            batch_events=data.draw(st.sampled_from([1, 3, 1000]), "batch"),
            window_bytes=data.draw(st.sampled_from([1, 300, 10**6]), "window"),
        ),
    )
    start_run(room)
    client = Viewer(room)
    steps = st.sampled_from(["publish", "pull", "arrive", "all", "acknowledge", "break", "hello", "new run"])
    runs = 1
    for step in data.draw(st.lists(steps, max_size=30), "steps"):
        match step:
            case "publish":
                publish(room, *data.draw(st.lists(strategies.events, min_size=1, max_size=6)))
            case "pull":
                client.pull()
            case "arrive":
                client.arrive()
            case "all":
                while client.pull() or client.arrive():
                    pass
            case "acknowledge":
                client.acknowledge()
            case "break":
                client.connect()
            case "hello":
                client.hello()
            case "new run":
                runs += 1
                room = client.room = _found[client.session] = Room("dag", room.limits)
                start_run(room, f"run-{runs}")
                client.session.enter(room, NOW)
    for _ in range(3):
        while client.pull() or client.arrive():
            pass
        client.acknowledge()
    assert client.coming is None
    assert client.state.to_dict() == room.state.to_dict()
    assert client.cursor == p.Cursor(epoch=room.epoch, seq=room.head)


def test_the_times_of_an_engine_whose_clock_is_a_day_off_are_put_right(room):
    day = 86_400_000
    session = attached(room, now=NOW - day)
    asked = p.HumanGateWaiting(node_id="a", presentation=p.Presentation(deadline=NOW - day + 5000), ts=NOW - day, seq=1)
    began = p.NodeState(node_id="b", status="running", started_at=NOW - day - 10, ts=NOW - day, seq=2)
    send(session, asked, began)
    assert room.state.gates["a"].presentation.deadline == NOW + 5000
    assert (room.state.gates["a"].opened_at, room.state.nodes["b"].started_at) == (NOW, NOW - 10)


@pytest.fixture
def empty():
    """A room whose run has not begun."""
    return Room("dag")


def started(room: Room, at: int, now: int) -> int | None:
    """When a run starts whose publisher says that it is `now`, and that the run started at `at`."""
    attached(room, epoch="run-2", start=p.RunStart(started_at=at, budget=1.0), now=now)
    return room.state.started_at


def test_a_run_starts_when_its_publisher_started_it_not_when_it_attaches(empty):
    room = empty
    assert started(room, NOW - 60_000, now=NOW - 500) == NOW - 60_000
    assert [event.ts for entry in room.entries(0, 2) for event in p.decode_server(entry.data)] == [NOW - 60_000] * 2


def test_the_start_of_a_run_is_moved_as_all_times_of_its_publisher(empty):
    day = 86_400_000
    assert started(empty, NOW - day - 40, now=NOW - day) == NOW - 40


def test_a_run_has_its_place_in_the_run_list_by_the_offset_as_it_was_measured(empty):
    # Events are not moved by what may be transit time. But of two machines whose clocks are apart by so much, the one
    # that started later is to be the newer.
    assert started(empty, NOW - 10_000, now=NOW - 1_500) == NOW - 10_000
    assert empty.summary(NOW).started_at == NOW - 8_500


@pytest.mark.parametrize(
    ("behind", "transit", "window", "late"),
    [(0, 700, 900, 0), (0, 700, 700, 0), (-3, 700, 900, 3), (1_500, 700, 700, 0), (1_500, 700, 900, -200)],
)
def test_a_run_does_not_start_later_because_its_attach_was_long_under_way(empty, behind, transit, window, late):
    """All in milliseconds; `window`: how long ago the connection was opened, over which the attach was sent later."""
    session = connected(PublisherSession, empty, now=NOW - window)
    start = p.RunStart(started_at=NOW - 10_000 - behind)
    sent_at = NOW - transit - behind
    send(session, p.Attach(protocol=1, publisher="e", token="may-publish", epoch="run-2", start=start, now=sent_at))
    assert empty.summary(NOW).started_at - (NOW - 10_000) == late


@pytest.mark.parametrize("ahead", [1, 300, 86_400_000])
def test_the_times_of_an_engine_whose_clock_is_ahead_are_put_right(empty, ahead):
    room = empty
    session = attached(room, epoch="run-2", start=p.RunStart(started_at=NOW + ahead - 40), now=NOW + ahead)
    send(session, p.NodeState(node_id="b", status="running", ts=NOW + ahead - 30, seq=1))
    assert (room.state.started_at, room.state.nodes["b"].started_at) == (NOW - 40, NOW - 30)


def test_a_run_never_starts_later_than_now(empty):
    assert started(empty, NOW + 5000, now=NOW) == NOW
    assert empty.summary(NOW).started_at == NOW


def test_the_time_of_a_decision_that_an_engine_made_is_put_right(room):
    session = attached(room, now=NOW - 60_000)
    asked = p.HumanGateWaiting(node_id="a", gate_id="a:1", presentation=p.Presentation(), ts=NOW - 60_000, seq=1)
    made = p.HumanGateResolved(
        node_id="a", gate_id="a:1", decision="approve", by="engine", at=NOW - 60_000, source="engine", seq=2
    )
    send(session, asked, made)
    assert [decision.at for decision in room.state.decisions] == [NOW]


def test_the_times_of_an_engine_whose_events_were_long_under_way_are_its_own(room):
    session = attached(room, now=NOW - 500)
    send(session, p.NodeState(node_id="b", status="running", ts=NOW - 60_000, seq=1))
    assert room.state.nodes["b"].started_at == NOW - 60_000


def test_a_command_for_another_run_is_handed_to_that_runs_room(room):
    other = another_run()
    for each in (room, other):
        publish(each, gate())
    session = greeted(room)
    session.receive(
        p.encode(p.HumanDecision(id="c1", run_id="run-2", node_id="review", decision="approve")).decode(), NOW
    )
    [(run_id, command)] = session.forwarded
    session.answer(other, command, NOW)
    assert run_id == "run-2"
    assert heard(session) == [p.CommandAck(id="c1", ok=True)]
    assert [*room.state.gates] == ["g1"]
    assert [*other.state.gates] == []


def approve(id: str, **fields) -> p.HumanDecision:
    return p.HumanDecision(id=id, node_id="review", decision="approve", **fields)


def test_a_command_that_names_no_run_means_the_run_that_the_client_saw(room):
    """An old client was moved. What it sent before it can have seen that is for the run before."""
    after = another_run()
    for each in (room, after):
        publish(each, gate())
    session = greeted(room)
    session.enter(after, NOW)
    assert [type(message) for message in heard(session)[-2:]] == [p.Synced, p.Ping]
    # An acknowledgement proves nothing: it may be one of the run before.
    session.receive(p.encode([p.Ack(seq=99), approve("c1")]).decode(), NOW)
    assert session.forwarded == [("run-1", approve("c1"))]
    session.forwarded.clear()
    send(session, p.Pong(seq=2), approve("c2"))
    assert [*after.state.gates] == []


def test_pongs_are_counted_so_that_each_proves_what_it_answers(room):
    second, third = another_run(), another_run("run-3")
    session = greeted(room)
    session.tick(NOW + 15_000)
    assert heard(session) == [p.Ping(head=1)]
    for each in (second, third):
        session.enter(each, NOW)
        heard(session)
    meant = []
    for number in range(4):
        session.receive(p.encode(p.PauseExecution(id=f"c{number}")).decode(), NOW)
        meant += [run_id for run_id, _ in session.forwarded]
        session.forwarded.clear()
        send(session, p.Pong(seq=1))
    # The last one is for the room that the client is in.
    assert meant == ["run-1", "run-1", "run-2"]
    assert third.state.status == "pausing"


def test_a_client_that_follows_leaves_its_room_only_once_it_was_sent_all_of_it(room):
    session = greeted(room)
    publish(room, p.ExecutionComplete(results=1))
    session.leaves = True
    frame = session.pull(NOW)
    assert isinstance(p.decode_server(frame)[-1], p.ExecutionComplete)
    assert session.seek is None
    assert session.pull(NOW) is None
    assert session.seek == Seek(None, current="run-1")


def test_who_asks_for_it_is_told_of_the_engine_and_of_its_changes(room):
    session = viewer(room)
    send(session, p.Hello(protocol=1, token="may-view", features=["engine", "of the future"]))
    welcome, *_ = told = heard(session)
    assert welcome.features == ["engine"]
    assert [message for message in told if isinstance(message, p.Engine)] == [p.Engine(state="connected", since=NOW)]
    room.presence.disconnect()
    assert heard(session, NOW + 9_999) == []
    assert heard(session, NOW + 10_000) == [p.Engine(state="gone", since=NOW)]
    room.presence.connect(NOW + 11_000)
    assert heard(session, NOW + 11_000) == [p.Engine(state="connected", since=NOW + 11_000)]
    assert not [each for each in heard(greeted(room)) if isinstance(each, p.Engine)]


@pytest.mark.parametrize("asked", [False, True], ids=["running", "pausing"])
def test_a_lost_run_is_said_to_who_knows_the_word_and_is_running_to_others(room, asked):
    old, new = greeted(room), viewer(room)
    if asked:
        room.command(p.PauseExecution(id="c1"), "ana", NOW)
        heard(old)
    send(new, p.Hello(protocol=1, token="may-view", features=["lost"]))
    frames(new)
    room.presence.disconnect()
    room.lose(NOW + 10**6)
    assert [event.status for event in heard(new)] == ["lost"]
    assert [event.status for event in heard(old)] == ["running"]
    # Who comes later is given the same.
    late = viewer(room)
    send(late, hello())
    assert reduce(event for event in heard(late) if isinstance(event, p.Event)).status == "running"


def test_a_viewer_that_is_in_step_costs_little_memory(room):
    greeted(room)
    tracemalloc.start()
    sessions = [greeted(room) for _ in range(100)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(sessions) < 1500
