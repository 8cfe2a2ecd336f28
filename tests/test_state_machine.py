"""The Python stream client's rules, without sockets or a clock: against a scripted server, and against real rooms."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagwidget import protocol as p
from dagwidget.client.state_machine import TRANSITIONS, Batch, Connect, Disconnect, Renew, Send, StateMachine
from dagwidget.protocol.limits import Limits
from dagwidget.server.auth.grant import Grant
from dagwidget.server.room import Room
from dagwidget.server.sessions.viewer import ViewerSession

from . import strategies


def log(seq: int | None = None, text: str = "") -> p.NodeLog:
    return p.NodeLog(node_id="a", lines=[text or f"line {seq}"], seq=seq)


def gate(seq: int, gate_id: str = "g1") -> p.HumanGateWaiting:
    return p.HumanGateWaiting(node_id="review", gate_id=gate_id, presentation=p.Presentation(), seq=seq)


def resolved(seq: int, gate_id: str = "g1") -> p.HumanGateResolved:
    return p.HumanGateResolved(
        node_id="review", gate_id=gate_id, decision="reject", by="ben", at=1, source="widget", seq=seq
    )


def decision(command_id: str = "c1", **fields) -> p.HumanDecision:
    return p.HumanDecision(id=command_id, node_id="review", decision="approve", **fields)


class Scripted:
    """A conversation, what it said, and a clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.machine = StateMachine(lambda failures: 2.0 ** (failures - 1))
        self.said: list = []
        self.batches: list[Batch] = []
        self.answers: list[p.CommandAck] = []
        self.connects = self.disconnects = self.renewals = 0

    @property
    def phase(self):
        return self.machine.phase

    @property
    def reason(self):
        return self.machine.connection.reason

    @property
    def lines(self):
        node = self.machine.state.nodes.get("a")
        return node.logs if node is not None else None

    def do(self, method: str, *arguments, **options):
        getattr(self.machine, method)(*arguments, **options)
        for output in self.machine.take_outputs():
            match output:
                case Send():
                    self.said.extend(p.decode_client(output.frame))
                case Connect():
                    self.connects += 1
                case Disconnect():
                    self.disconnects += 1
                case Renew():
                    self.renewals += 1
                case Batch():
                    self.batches.append(output)
                case p.CommandAck():
                    self.answers.append(output)

    def hear(self, *messages):
        """One frame."""
        self.do("receive", p.encode(list(messages)), self.now)

    def pass_(self, seconds: float):
        """Let the time pass, with every tick on time."""
        until = self.now + seconds
        while (due := self.machine.due) is not None and due <= until:
            self.now = max(self.now, due)
            self.do("tick", self.now)
        self.now = until

    def oversleep(self, seconds: float):
        """Let the time pass, with one late tick."""
        self.now += seconds
        self.do("tick", self.now)

    def open(self, **options):
        self.do("opening", "token", self.now)
        self.do("opened", self.now, **options)

    def close(self, code: int | None = 1006, reason: str | None = None):
        self.do("closed", code, reason, self.now)

    def welcome(self, epoch: str = "e", head: int = 0, expires_in: float | None = None, **limits):
        now = 5_000_000
        self.hear(
            p.Welcome(
                protocol=1, dag_id="d", epoch=epoch, head=head, role="operate", heartbeat_ms=15_000, window=1,
                limits=limits, now=now, expires_at=None if expires_in is None else now + round(expires_in * 1000),
            )
        )  # fmt: skip

    def sync(self, *events, seq: int, reset: bool, epoch: str = "e"):
        self.hear(p.Sync(epoch=epoch, seq=seq, reset=reset), *events, p.Synced(seq=seq))

    def said_a(self, kind: type) -> list:
        return [message for message in self.said if isinstance(message, kind)]

    def forget(self):
        self.said.clear()
        self.batches.clear()


@pytest.fixture
def idle():
    return Scripted()


@pytest.fixture
def connecting(idle):
    idle.do("start")
    return idle


@pytest.fixture
def greeting(connecting):
    connecting.open()
    return connecting


@pytest.fixture
def syncing(greeting):
    greeting.welcome()
    return greeting


@pytest.fixture
def live(syncing):
    """In step at seq 2."""
    syncing.sync(log(1), log(2), seq=2, reset=True)
    syncing.forget()
    return syncing


def again(scripted: Scripted) -> None:
    """After a cut: up to the welcome."""
    scripted.pass_(31)
    scripted.open()
    scripted.welcome()


# --- Connecting and greeting


def test_it_connects_when_it_is_started_and_once(idle):
    assert idle.phase == "idle"
    assert idle.machine.due is None
    idle.do("start")
    idle.do("start")
    assert (idle.phase, idle.connects) == ("connecting", 1)


def test_hello_is_the_first_word_and_carries_the_token(greeting):
    assert greeting.phase == "greeting"
    assert greeting.said == [p.Hello(protocol=1, token="token", features=["runs", "engine", "lost"])]


def test_looking_for_the_server_may_take_its_time_but_the_socket_has_5_s(connecting):
    connecting.pass_(60)
    connecting.do("opening", None, connecting.now)
    connecting.pass_(4.9)
    assert connecting.phase == "connecting"
    connecting.pass_(0.2)
    assert (connecting.phase, connecting.disconnects) == ("waiting", 1)
    assert connecting.reason == "the server did not answer in 5 s"


def test_a_socket_that_can_not_be_opened_is_tried_again_with_backoff(connecting):
    for wait in (1, 2, 4, 8):
        connecting.close(None, "refused")
        assert (connecting.phase, connecting.reason) == ("waiting", "refused")
        connecting.pass_(wait - 0.1)
        assert connecting.phase == "waiting"
        connecting.pass_(0.2)
        assert connecting.phase == "connecting"
    assert connecting.machine.connection.attempt == 5


def test_a_server_that_took_the_subprotocol_and_says_no_welcome_is_left_once_it_spoke_v1(live):
    live.close()
    live.pass_(1)
    live.open()
    live.pass_(5)
    assert (live.phase, live.reason) == ("waiting", "no welcome in 5 s")


def test_probing_shortens_the_wait(live):
    live.close()
    live.do("probe", live.now)
    assert live.phase == "connecting"


# --- Catching up


def test_the_state_comes_with_the_sync_and_is_acknowledged(syncing):
    syncing.sync(log(2, "x"), seq=2, reset=True)
    assert syncing.phase == "live"
    assert (syncing.machine.state.epoch, syncing.machine.state.seq) == ("e", 2)
    assert syncing.said_a(p.Ack) == [p.Ack(seq=2)]
    [batch] = syncing.batches
    assert (batch.epoch, batch.after, batch.seq, batch.reset, len(batch.events)) == ("e", 0, 2, True, 1)


def test_the_old_state_stays_until_the_new_one_is_whole(live):
    old = live.machine.state
    live.hear(p.Sync(epoch="e2", seq=1, reset=True))
    live.hear(log(1, "new"))
    assert live.phase == "syncing"
    assert live.machine.state is old
    assert live.lines == ["line 1", "line 2"]
    live.hear(p.Synced(seq=1))
    assert live.lines == ["new"]


def test_who_is_cut_off_before_synced_starts_over_from_the_old_place(live):
    live.hear(p.Sync(epoch="e2", seq=5, reset=True), log(1), log(2))
    live.close()
    live.pass_(1)
    live.open()
    assert live.said_a(p.Hello)[-1].last == p.Cursor(epoch="e", seq=2)


def test_who_has_seen_nothing_has_no_place_and_one_after_an_empty_sync(syncing):
    syncing.sync(seq=0, reset=True)
    syncing.close()
    syncing.pass_(1)
    syncing.open()
    assert [hello.last for hello in syncing.said_a(p.Hello)] == [None, p.Cursor(epoch="e", seq=0)]


def test_after_a_cut_only_the_tail_comes(live):
    state = live.machine.state
    live.close()
    again(live)
    live.sync(log(2), log(3), seq=3, reset=False)
    assert live.machine.state is state
    assert live.lines == ["line 1", "line 2", "line 3"]
    assert [(batch.after, batch.seq, batch.reset) for batch in live.batches] == [(2, 3, False)]


@pytest.mark.parametrize("tail", [[log(4)], [], [log(4), log(3)]])
def test_a_tail_that_does_not_lead_to_its_end_is_followed_by_everything(live, tail):
    live.close()
    again(live)
    live.sync(*tail, seq=4, reset=False)
    assert live.phase == "greeting"
    assert live.said_a(p.Hello)[-1].last is None


def test_a_tail_of_another_run_is_followed_by_everything(live):
    live.sync(log(3), seq=3, reset=False, epoch="e2")
    assert (live.phase, live.said_a(p.Hello)[-1].last) == ("greeting", None)
    assert live.lines == ["line 1", "line 2"]


def test_a_synced_without_a_sync_is_nothing(live):
    live.hear(p.Synced(seq=9))
    assert (live.phase, live.machine.state.seq) == ("live", 2)


# --- Events


def test_events_of_a_frame_are_one_batch(live):
    live.hear(log(3), log(4))
    assert [(batch.after, batch.seq) for batch in live.batches] == [(2, 4)]


def test_duplicates_are_dropped(live):
    live.hear(log(3), log(3), log(1))
    live.hear(log(3), log(4))
    assert live.lines == [f"line {seq}" for seq in (1, 2, 3, 4)]
    assert live.said_a(p.Hello) == []


def test_a_gap_is_asked_for_on_the_same_socket_and_what_comes_before_the_answer_is_dropped(live):
    live.hear(log(3), log(5), log(6))
    assert live.lines == ["line 1", "line 2", "line 3"]
    assert (live.phase, live.connects) == ("greeting", 1)
    assert [hello.last.seq for hello in live.said_a(p.Hello)] == [3]
    live.hear(log(7))
    live.sync(log(4), seq=9, reset=True)
    assert (live.phase, live.machine.state.seq) == ("greeting", 3)
    live.welcome()
    live.sync(*map(log, (4, 5, 6, 7)), seq=7, reset=False)
    assert live.lines == [f"line {seq}" for seq in range(1, 8)]


def test_an_event_of_a_type_from_the_future_moves_the_cursor_on(live):
    live.do("receive", b'[{"type": "node_dreams", "seq": 3}, {"type": "weather"}]', live.now)
    assert (live.phase, live.machine.state.seq) == ("live", 3)


def test_what_is_no_message_ends_the_connection_and_it_comes_back(live):
    live.do("receive", b"[{", live.now)
    assert (live.phase, live.machine.connection.code) == ("waiting", 4400)


# --- Signs of life, and acknowledgements


def test_a_ping_is_answered_and_a_right_head_is_right(live):
    live.hear(p.Ping(head=2))
    assert live.said == [p.Pong(seq=2)]


def test_a_ping_with_another_head_means_that_something_was_missed(live):
    live.hear(p.Ping(head=3))
    (pong, hello) = live.said
    assert pong == p.Pong(seq=2)
    assert (hello.token, hello.last) == ("token", p.Cursor(epoch="e", seq=2))


def test_a_head_says_nothing_while_catching_up(syncing):
    syncing.hear(p.Sync(epoch="e", seq=9, reset=True), p.Ping(head=9))
    assert syncing.phase == "syncing"


def test_every_64_frames_are_acknowledged(live):
    for seq in range(3, 3 + 130):
        live.hear(log(seq))
    assert live.said == [p.Ack(seq=66), p.Ack(seq=130)]


def test_every_256_kib_are_acknowledged(live):
    live.hear(log(3, "x" * 200_000))
    assert live.said == []
    live.hear(log(4, "x" * 100_000))
    assert live.said == [p.Ack(seq=4)]


def test_less_is_acknowledged_after_a_second(live):
    live.hear(log(3))
    live.pass_(0.5)
    live.hear(log(4))
    live.pass_(0.6)
    assert live.said == [p.Ack(seq=4)]
    live.pass_(10)
    assert live.said == [p.Ack(seq=4)]


def test_25_s_of_silence_are_death(live):
    live.pass_(10)
    live.hear(p.Ping(head=2))
    live.pass_(24.9)
    assert live.phase == "live"
    live.pass_(0.2)
    assert (live.phase, live.reason) == ("waiting", "the server was silent for 25 s")


def test_after_a_sleep_it_asks_first_and_is_dead_only_if_nobody_answers(live):
    live.oversleep(3600)
    assert live.phase == "greeting"
    assert len(live.said_a(p.Hello)) == 1
    live.pass_(5.1)
    assert (live.phase, live.disconnects) == ("waiting", 1)


def test_after_a_sleep_the_connection_stands_if_the_server_answers(live):
    live.oversleep(3600)
    live.welcome()
    live.sync(log(3), seq=3, reset=False)
    assert (live.phase, live.connects, live.disconnects) == ("live", 1, 0)
    live.pass_(24)
    assert live.phase == "live"


def test_an_answer_that_lies_in_the_socket_is_waited_for_after_a_sleep(connecting):
    connecting.do("opening", None, connecting.now)
    connecting.oversleep(100)
    assert connecting.phase == "connecting"


# --- Ends


@pytest.mark.parametrize("row", p.CLOSE_CODES, ids=lambda row: row.name)
def test_every_bye_ends_it_or_does_not_as_the_table_says(live, row):
    live.hear(p.Bye(code=row.code, reason="because", retry=row.retry))
    connection = live.machine.connection
    expected = "waiting" if row.retry else "stopped"
    assert (connection.phase, connection.code, connection.reason) == (expected, row.code, "because")
    live.pass_(100)
    assert live.phase == ("connecting" if row.retry else "stopped")


@pytest.mark.parametrize("code", [None, 1005, 1006, 1011, 3999, 4999, *(row.code for row in p.CLOSE_CODES)])
def test_a_close_code_without_a_bye_is_never_final(live, code):
    live.close(code, "because")
    assert (live.phase, live.machine.connection.code) == ("waiting", code)


@pytest.mark.parametrize(("retry", "phase"), [(True, "waiting"), (False, "stopped")])
def test_an_http_answer_to_the_handshake_decides_as_a_bye_does(connecting, retry, phase):
    connecting.do("opening", "token", connecting.now)
    connecting.do("refused", p.Bye(code=4401, reason="401 the token is wrong", retry=retry), connecting.now)
    assert (connecting.phase, connecting.reason, connecting.connects) == (phase, "401 the token is wrong", 1)


def test_a_server_that_was_not_found_is_not_asked_again_at_once(connecting):
    connecting.close(None, "no server")
    assert (connecting.phase, connecting.connects) == ("waiting", 1)


def test_a_bye_before_the_welcome_is_no_plain_server(greeting):
    greeting.do("send", decision(), greeting.now)
    greeting.hear(p.Bye(code=4401, reason="the token is wrong", retry=False))
    assert (greeting.phase, greeting.reason) == ("stopped", "the token is wrong")
    assert [(ack.ok, ack.code) for ack in greeting.answers] == [(False, "not_connected")]
    assert greeting.said_a(p.HumanDecision) == []


def test_the_end_of_a_run_that_is_no_longer_asked_for_is_not_the_end(live):
    live.do("watch", "another", live.now)
    live.hear(p.Bye(code=4410, reason="the run was deleted", retry=False))
    assert live.phase == "waiting"


def test_the_end_of_a_run_is_not_the_end_where_another_is_asked_for_since(greeting):
    greeting.do("watch", "another", greeting.now)
    greeting.hear(p.Bye(code=4410, reason="the run was deleted", retry=False))
    assert greeting.phase == "waiting"


def test_who_is_asked_to_wait_longer_does(live):
    live.hear(p.Bye(code=4429, reason="too often", retry=True, after_ms=20_000))
    live.pass_(19)
    assert live.phase == "waiting"
    live.pass_(2)
    assert live.phase == "connecting"


def test_events_before_the_bye_in_its_frame_count_and_those_after_do_not(live):
    live.hear(log(3), p.Bye(code=4000, reason="restart", retry=True), log(4))
    assert live.machine.state.seq == 3


def test_failures_are_forgotten_after_5_s_connected_and_not_before(live):
    for seconds, wait in [(4.9, 1), (4.9, 2), (4.9, 4), (5.1, 1)]:
        live.hear(p.Ping(head=2))
        live.pass_(seconds)
        live.close()
        assert live.machine.connection.retry_at == pytest.approx(live.now + wait)
        again(live)
        live.sync(seq=2, reset=False)


@pytest.mark.parametrize("name", ["idle", "connecting", "greeting", "syncing", "live"])
def test_closing_is_for_good_from_everywhere(request, name):
    scripted = request.getfixturevalue(name)
    open_before = scripted.phase != "idle"
    scripted.do("close")
    scripted.do("close")
    assert (scripted.phase, scripted.machine.due, scripted.disconnects) == ("stopped", None, int(open_before))
    scripted.do("opened", scripted.now)
    scripted.close(1006)
    scripted.hear(log(3))
    scripted.do("probe", scripted.now)
    scripted.do("start")
    assert scripted.phase == "stopped"


# --- Tokens


@pytest.mark.parametrize(("lifetime", "asked_after"), [(600, 540), (100, 50), (10, 5)])
def test_a_token_is_asked_for_anew_before_the_old_one_expires(greeting, lifetime, asked_after):
    greeting.welcome(expires_in=lifetime)
    greeting.sync(seq=0, reset=True)
    for _ in range(asked_after - 1):
        greeting.pass_(1)
        greeting.hear(p.Ping(head=0))
    assert greeting.renewals == 0
    greeting.pass_(1)
    assert greeting.renewals == 1


def test_another_token_is_shown_over_the_open_connection(live):
    live.do("renewed", "another", live.now)
    (hello,) = live.said_a(p.Hello)
    assert (hello.token, hello.last) == ("another", p.Cursor(epoch="e", seq=2))
    live.welcome(expires_in=10)
    live.sync(seq=2, reset=False)
    assert (live.phase, live.connects, live.disconnects) == ("live", 1, 0)
    live.pass_(5)
    assert live.renewals == 1


@pytest.mark.parametrize("token", ["token", None])
def test_without_another_token_it_is_asked_for_again_until_the_end(greeting, token):
    greeting.welcome(expires_in=10)
    greeting.sync(seq=0, reset=True)
    for _ in range(80):
        before = greeting.renewals
        greeting.pass_(0.125)
        if greeting.renewals > before:
            greeting.do("renewed", token, greeting.now)
    assert greeting.renewals == 4
    assert len(greeting.said_a(p.Hello)) == 1
    assert greeting.phase == "live"


def test_a_token_that_comes_when_the_connection_is_gone_says_nothing(live):
    live.close()
    live.do("renewed", "another", live.now)
    assert live.said == []


# --- Commands


def test_a_command_goes_out_at_once_and_is_answered_once(live):
    live.hear(gate(3))
    live.do("send", decision(), live.now)
    live.do("send", decision(), live.now)
    assert live.said == [decision(gate_id="g1", run_id="e")]
    live.hear(p.CommandAck(id="c1", ok=True), p.CommandAck(id="c1", ok=False))
    assert live.answers == [p.CommandAck(id="c1", ok=True)]
    assert live.machine.pending == []


def test_a_command_waits_for_synced(syncing):
    syncing.do("send", decision(), syncing.now)
    assert syncing.said_a(p.HumanDecision) == []
    syncing.sync(gate(1), seq=1, reset=True)
    assert syncing.said_a(p.HumanDecision) == [decision()]


def test_a_command_that_was_not_answered_is_sent_again_with_its_id(live):
    live.hear(gate(3))
    live.do("send", decision(), live.now)
    live.close()
    again(live)
    # Even where the gate is closed now: it may have been this one that closed it.
    live.sync(resolved(4), seq=4, reset=False)
    assert live.said_a(p.HumanDecision) == [decision(gate_id="g1", run_id="e")] * 2
    live.hear(p.CommandAck(id="c1", ok=True))
    assert len(live.answers) == 1


def test_a_decision_that_was_overtaken_while_it_waited_is_not_sent(live):
    live.hear(gate(3))
    live.close()
    live.do("send", decision(), live.now)
    live.do("send", p.PauseExecution(id="c2"), live.now)
    again(live)
    live.sync(resolved(4), gate(5, "g2"), seq=5, reset=False)
    assert [(ack.id, ack.code, ack.message) for ack in live.answers] == [
        ("c1", "already_decided", "ben was first: reject")
    ]
    assert live.said_a(p.Command) == [p.PauseExecution(id="c2", run_id="e")]


def test_a_decision_for_a_gate_that_is_gone_is_refused(live):
    live.hear(gate(3))
    live.close()
    live.do("send", decision(), live.now)
    again(live)
    live.sync(seq=1, reset=True)
    assert [ack.code for ack in live.answers] == ["no_such_gate"]


def test_a_decision_made_offline_names_the_run_that_the_person_saw_whatever_is_shown_when_it_is_sent(live):
    live.hear(gate(3))
    live.close()
    live.do("send", decision(), live.now)
    live.do("send", p.CancelExecution(id="c2"), live.now)
    again(live)
    live.sync(gate(1), seq=1, reset=True, epoch="e2")
    assert live.answers == []
    assert live.said_a(p.Command) == [decision(run_id="e", gate_id="g1"), p.CancelExecution(id="c2", run_id="e")]


# --- Decisions that are ahead of their gate


def test_a_decision_ahead_of_its_gate_is_held_until_the_gate_opens(live):
    live.do("send", decision(), live.now)
    live.do("send", decision(), live.now)
    live.pass_(2)
    assert (live.said_a(p.HumanDecision), live.answers) == ([], [])
    live.hear(gate(3))
    assert live.said_a(p.HumanDecision) == [decision(run_id="e", gate_id="g1")]
    live.pass_(10)
    assert live.answers == []


def test_a_decision_whose_gate_does_not_open_in_5_s_is_refused_with_what_is_open(live):
    live.hear(p.HumanGateWaiting(node_id="other", gate_id="g9", presentation=p.Presentation(), seq=3))
    live.do("send", decision(), live.now)
    live.pass_(4.9)
    assert live.answers == []
    live.pass_(0.2)
    [answer] = live.answers
    assert (answer.ok, answer.code) == (False, "no_such_gate")
    assert answer.message == "no gate is open at 'review' (there is no such node); open gates: 'other' ('g9')"
    live.hear(gate(4))
    assert live.said_a(p.HumanDecision) == []


def test_a_decision_that_is_not_to_be_held_goes_out_even_where_it_was_held_before(live):
    live.do("send", decision(), live.now)
    live.do("send", decision(), live.now, hold=False)
    assert live.said_a(p.HumanDecision) == [decision(run_id="e")]
    live.pass_(10)
    assert live.answers == []


def test_a_held_decision_is_sent_to_its_run_when_another_is_shown(live):
    live.do("send", decision(), live.now)
    live.sync(gate(1), seq=1, reset=True, epoch="e2")
    assert live.said_a(p.HumanDecision) == [decision(run_id="e")]


def test_a_held_decision_outlives_a_cut(live):
    live.do("send", decision(), live.now)
    live.close()
    again(live)
    live.sync(gate(3), seq=3, reset=False)
    assert [said.id for said in live.said_a(p.HumanDecision)] == ["c1"]


def test_only_what_was_not_sent_can_be_withdrawn(live):
    live.do("send", decision("held"), live.now)
    assert live.machine.withdraw("held")
    live.hear(gate(3))
    assert live.said_a(p.HumanDecision) == []
    live.do("send", decision("sent"), live.now)
    assert not live.machine.withdraw("sent")
    assert not live.machine.withdraw("never heard of")
    live.close()
    live.do("send", p.PauseExecution(id="queued"), live.now)
    assert live.machine.withdraw("queued")
    again(live)
    live.sync(seq=3, reset=False)
    assert [said.id for said in live.said_a(p.Command)] == ["sent", "sent"]


# --- Which run


def test_a_run_that_is_watched_is_named_at_once_and_after_a_cut(live):
    live.do("watch", "r1", live.now)
    assert [(hello.run, hello.follow) for hello in live.said_a(p.Hello)] == [("r1", None)]
    live.welcome("r1")
    live.sync(log(1), seq=1, reset=True, epoch="r1")
    live.close()
    live.pass_(1)
    live.open()
    assert (live.said_a(p.Hello)[-1].run, live.said_a(p.Hello)[-1].last.epoch) == ("r1", "r1")
    live.welcome("r1")
    live.sync(seq=1, reset=False, epoch="r1")
    live.do("watch", None, live.now)
    assert (live.said_a(p.Hello)[-1].run, live.said_a(p.Hello)[-1].follow) == (None, True)


def test_a_run_that_is_chosen_while_the_server_answers_is_asked_for_after_the_answer(live):
    live.do("probe", live.now)
    live.do("watch", "r1", live.now)
    assert [hello.run for hello in live.said_a(p.Hello)] == [None]
    live.welcome()
    assert [hello.run for hello in live.said_a(p.Hello)] == [None, "r1"]
    live.sync(seq=2, reset=False)
    live.welcome("r1")
    live.sync(log(1, "new"), seq=1, reset=True, epoch="r1")
    assert (live.phase, live.machine.state.epoch, live.lines) == ("live", "r1", ["new"])
    assert len(live.said_a(p.Hello)) == 2


def test_a_run_that_begins_here_is_expected_until_it_is_shown_and_then_followed_as_any(live):
    live.do("begin", "r1")
    assert (live.machine.expected, live.said) == ("r1", [])
    live.do("refresh", live.now)
    assert [(hello.run, hello.follow) for hello in live.said_a(p.Hello)] == [("r1", True)]
    # It has not begun at the server yet.
    live.welcome("")
    live.sync(seq=0, reset=True, epoch="")
    assert live.machine.expected == "r1"
    live.sync(log(1, "new"), seq=1, reset=True, epoch="r1")
    assert (live.machine.expected, live.lines) == (None, ["new"])
    live.do("refresh", live.now)
    live.close()
    live.pass_(1)
    live.open()
    assert [hello.run for hello in live.said_a(p.Hello)] == ["r1", None]


def test_a_run_that_will_not_begin_is_expected_no_more_also_before_there_was_another(idle):
    idle.do("begin", "r1")
    idle.do("begin", None)
    assert idle.machine.expected is None


def test_a_run_that_will_not_begin_is_expected_no_more(live):
    live.do("begin", "r1")
    live.do("refresh", live.now)
    live.welcome("")
    live.sync(seq=0, reset=True, epoch="")
    live.do("begin", None)
    live.do("refresh", live.now)
    assert live.machine.expected is None
    assert [(hello.run, hello.follow) for hello in live.said_a(p.Hello)] == [("r1", True), (None, None)]


def test_a_run_that_begins_while_the_server_answers_is_asked_for_too(syncing):
    syncing.do("probe", syncing.now)
    syncing.do("begin", "r1")
    syncing.do("refresh", syncing.now)
    assert [hello.run for hello in syncing.said_a(p.Hello)] == [None, "r1"]


def test_a_run_that_begins_here_moves_nobody_who_watches_one_or_is_there(live):
    live.do("begin", "e")
    live.do("watch", "r1", live.now)
    live.do("begin", "r2")
    live.do("refresh", live.now)
    assert live.machine.expected is None
    assert [hello.run for hello in live.said_a(p.Hello)] == ["r1"]


def test_a_cursor_names_the_log_that_it_comes_from(syncing):
    def hear(epoch: str, log_id: str, reset: bool):
        syncing.hear(
            p.Welcome(
                protocol=1, dag_id="d", epoch=epoch, head=2, role="operate", heartbeat_ms=1, window=1, limits={},
                log=log_id,
            )
        )  # fmt: skip
        syncing.sync(*([log(1), log(2)] if reset else []), seq=2, reset=reset, epoch=epoch)

    def cursor():
        syncing.do("probe", syncing.now)
        return syncing.said_a(p.Hello)[-1].last

    syncing.sync(log(1), log(2), seq=2, reset=True)
    assert cursor() == p.Cursor(epoch="e", seq=2)
    hear("e", "log-1", True)
    assert cursor() == p.Cursor(epoch="e", seq=2, log="log-1")
    hear("e", "log-1", False)
    assert cursor() == p.Cursor(epoch="e", seq=2, log="log-1")
    hear("e", "log-2", True)
    assert cursor() == p.Cursor(epoch="e", seq=2, log="log-2")
    # The server moves the client, and names that run's log; one of before does not.
    hear("e", "log-2", False)
    syncing.hear(p.Sync(epoch="r1", seq=1, reset=True, log="log-3"), log(1), p.Synced(seq=1))
    assert cursor() == p.Cursor(epoch="r1", seq=1, log="log-3")
    hear("r1", "log-3", True)
    syncing.sync(log(1), log(2), seq=2, reset=True, epoch="r2")
    assert cursor() == p.Cursor(epoch="r2", seq=2)


def test_the_run_list_comes_whole_and_then_as_changes(live):
    def run(run_id: str, status: str = "running", **fields) -> p.RunSummary:
        return p.RunSummary(run_id=run_id, status=status, started_at=1, **fields)

    def runs(*runs: p.RunSummary, **fields) -> p.Runs:
        return p.Runs(total=len(runs), live=1, waiting=0, runs=list(runs), **fields)

    live.hear(runs(run("a"), run("b")))
    live.hear(runs(run("b", "completed"), run("c")))
    assert {each.run_id: each.status for each in live.machine.runs.values()} == {
        "a": "running", "b": "completed", "c": "running"
    }  # fmt: skip
    live.hear(runs(removed=["a", "never heard of"]))
    assert set(live.machine.runs) == {"b", "c"}
    # After a cut it is sent whole again: what it does not hold is gone.
    live.close()
    again(live)
    live.sync(seq=2, reset=False)
    live.hear(runs(run("c")))
    assert set(live.machine.runs) == {"c"}


def test_the_engine_is_known_until_another_run_is_shown(live):
    live.hear(p.Engine(state="gone", since=5))
    assert live.machine.engine == p.Engine(state="gone", since=5)
    live.sync(seq=1, reset=True, epoch="r1")
    assert live.machine.engine is None


def test_a_command_that_is_too_large_for_the_server_is_refused_here(greeting):
    greeting.welcome(frame_bytes=500)
    greeting.sync(seq=0, reset=True)
    greeting.do("send", decision(feedback="x" * 500), greeting.now)
    assert [ack.code for ack in greeting.answers] == ["too_large"]
    assert greeting.machine.pending == []


def test_after_the_end_every_command_is_refused_and_told_why(live):
    live.do("send", p.PauseExecution(id="c1"), live.now)
    live.hear(p.Bye(code=4403, reason="not you", retry=False))
    live.do("send", p.PauseExecution(id="c2"), live.now)
    assert [(ack.id, ack.code) for ack in live.answers] == [("c1", "unconfirmed"), ("c2", "not_connected")]
    assert all("not you" in ack.message for ack in live.answers)


# --- A plain server


@pytest.fixture
def plain(connecting):
    """Open without the offer, and silent for long enough."""
    connecting.open(offered=False)
    connecting.pass_(5)
    return connecting


def test_a_plain_server_is_live_after_5_s_and_can_not_resume(plain):
    assert (plain.phase, plain.machine.connection.resumable) == ("live", False)
    plain.hear(log(), log(7), log(3))
    assert plain.lines == ["line None", "line 7", "line 3"]
    assert plain.said_a(p.Ack) == []
    plain.pass_(1000)
    assert plain.phase == "live"


def test_only_a_server_that_was_not_offered_the_subprotocol_is_plain(greeting):
    greeting.hear(log())
    assert (greeting.phase, greeting.lines, greeting.connects, greeting.disconnects) == ("connecting", None, 2, 1)
    greeting.open(offered=False)
    greeting.hear(log())
    assert (greeting.phase, greeting.machine.connection.resumable) == ("live", False)
    assert greeting.lines == ["line None"]


def test_our_own_server_whose_offer_was_lost_is_not_gone_on_from_its_plain_events(connecting):
    connecting.do("opening", "token", connecting.now)
    connecting.close()
    connecting.open(offered=False)
    connecting.hear(log(1, "mixed"))
    assert connecting.machine.connection.resumable is False
    connecting.welcome()
    connecting.sync(log(1), seq=1, reset=False)
    assert connecting.phase == "greeting"
    connecting.welcome()
    connecting.sync(log(1), seq=1, reset=True)
    assert (connecting.phase, connecting.machine.connection.resumable) == ("live", True)
    assert connecting.lines == ["line 1"]
    assert [hello.last for hello in connecting.said_a(p.Hello)] == [None, None]


def test_commands_to_a_plain_server_are_unconfirmed(plain):
    plain.do("send", p.PauseExecution(id="c1"), plain.now)
    assert plain.said[-1] == p.PauseExecution(id="c1")
    assert [(ack.ok, ack.code) for ack in plain.answers] == [(True, "unconfirmed")]


def test_a_command_waits_until_it_is_certain_that_no_welcome_comes(connecting):
    connecting.open(offered=False)
    connecting.hear(log())
    connecting.do("send", p.PauseExecution(id="c1"), connecting.now)
    assert (connecting.phase, connecting.said_a(p.Command), connecting.answers) == ("live", [], [])
    connecting.welcome()
    connecting.welcome()
    connecting.sync(log(1), seq=1, reset=True)
    assert [command.id for command in connecting.said_a(p.Command)] == ["c1"]
    assert connecting.answers == []


# --- Whatever happens on the way, with a real room and real sessions


class World:
    """A room, its sessions, and a network between them and a conversation, that delivers as it is told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.runs = 0
        # One for each run; this server moves its client to each new one.
        self.rooms: dict[str, Room] = {}
        self.session: ViewerSession | None = None
        self.asked = False
        self.reachable = True
        # What was delivered of this run and could come again.
        self.delivered: list[bytes] = []
        self.resetting = False
        self.phases = ["idle"]
        self.answers: list[str] = []
        self.commands = itertools.count()
        self.machine = StateMachine(lambda failures: min(30.0, 2.0 ** (failures - 1)))
        self.start_run()
        self.machine.start()
        self.handle()

    @property
    def ms(self) -> int:
        return int(self.now * 1000)

    def start_run(self):
        self.runs += 1
        self.number = 0
        self.delivered.clear()
        name = f"run {self.runs}"
        self.room = self.rooms[name] = Room("dag", Limits(log_events=12, batch_events=5))
        self.room.attach(p.Attach(protocol=1, publisher=name, epoch=name, start=p.RunStart()), self.ms)
        if self.session is not None and self.session.ready:
            self.session.enter(self.room, self.ms)

    def publish(self, event):
        self.number += 1
        event = p.decode_publisher(p.encode(event))[0]
        event.seq = self.number
        self.room.publish(f"run {self.runs}", [event], self.ms)

    def handle(self):
        for output in self.machine.take_outputs():
            match output:
                case Connect():
                    # The server speaks v1 alone.
                    self.asked = output.offer
                    self.machine.opening(None, self.now)
                case Disconnect():
                    self.session, self.asked = None, False
                case Send() if self.session is not None:
                    self.session.receive(output.frame.decode(), self.ms)
                    self.follow_up(self.session)
                case p.CommandAck():
                    self.answers.append(output.id)
        if self.phases[-1] != self.machine.phase:
            self.phases.append(self.machine.phase)

    def follow_up(self, session: ViewerSession):
        """What the shell around a session does."""
        if session.seek is not None and session.ended is None:
            session.seek = None
            session.enter(self.room, self.ms)
        while session.forwarded:
            run_id, command = session.forwarded.pop(0)
            session.answer(self.rooms.get(run_id), command, self.ms)

    def admit(self):
        if not self.asked:
            return
        self.asked = False
        if self.reachable:
            self.resetting = False
            self.session = ViewerSession(Room("dag"), lambda _token: Grant(role="operate", user="ana"), self.ms)
            self.machine.opened(self.now)
        else:
            self.machine.closed(None, "refused", self.now)
        self.handle()

    def cut(self):
        self.session = None
        self.machine.closed(1006, None, self.now)
        self.handle()

    def deliver(self, how: str) -> bool:
        if self.session is None:
            return False
        if how == "late":
            if self.resetting or not self.delivered:
                return False
            self.give(self.delivered[len(self.delivered) // 2])
            return True
        frame = self.session.pull(self.ms)
        if frame is None:
            if self.session.ended is not None:
                self.machine.closed(self.session.ended.code, None, self.now)
                self.handle()
            return False
        messages = p.decode_server(frame)
        # What is no event arrives in order, and once, as TCP has it; of events a client can tell.
        events = all(isinstance(message, p.Event) for message in messages)
        if any(isinstance(message, p.Sync) for message in messages):
            self.resetting = messages[0].reset
        if any(isinstance(message, p.Synced) for message in messages):
            self.resetting = False
        if events and not self.resetting:
            if how == "lost":
                return True
            self.delivered.append(frame)
            if how == "twice":
                self.give(frame)
        self.give(frame)
        return True

    def give(self, frame: bytes):
        if self.session is not None:
            self.machine.receive(frame, self.now)
            self.handle()

    def pass_(self, seconds: float):
        for _ in range(int(seconds)):
            self.now += 1.0
            while (due := self.machine.due) is not None and due <= self.now:
                self.machine.tick(self.now)
                self.handle()
            self.admit()
            if self.session is not None:
                self.session.tick(self.ms)

    def oversleep(self, seconds: float):
        self.now += seconds
        self.machine.tick(self.now)
        self.handle()

    def quiet(self):
        """Nothing more happens, and everything arrives."""
        self.reachable = True
        for _ in range(100):
            self.pass_(1)
            while self.deliver("once"):
                pass


actions = st.one_of(
    st.tuples(st.just("publish"), strategies.events),
    st.tuples(st.just("publish"), strategies.events),
    st.tuples(st.just("deliver"), st.sampled_from(["once", "once", "once", "once", "twice", "lost", "late"])),
    st.tuples(st.just("deliver"), st.sampled_from(["once", "once", "once", "once", "twice", "lost", "late"])),
    st.tuples(st.just("pass"), st.integers(1, 20)),
    st.tuples(st.just("oversleep"), st.integers(2, 100)),
    st.tuples(st.sampled_from(["cut", "refuse", "run", "command"]), st.none()),
)


def act(world: World, action: str, argument) -> None:
    match action:
        case "publish":
            world.publish(argument)
        case "deliver":
            world.deliver(argument)
        case "pass":
            world.reachable = True
            world.pass_(argument)
        case "oversleep":
            world.oversleep(argument)
        case "cut":
            world.cut()
        case "refuse":
            world.reachable = False
            world.cut()
            world.pass_(3)
        case "run":
            world.start_run()
        case "command":
            world.machine.send(p.PauseExecution(id=str(next(world.commands))), world.now)
            world.handle()


@settings(max_examples=300)
@given(st.lists(actions, min_size=10, max_size=60))
def test_it_ends_with_the_state_of_the_room_whatever_happens_on_the_way(steps):
    world = World()
    world.pass_(1)
    for step in steps:
        act(world, *step)
    world.quiet()
    assert world.machine.phase == "live"
    assert world.machine.state.to_dict() == world.room.state.to_dict()
    assert sorted(world.answers) == sorted({str(i) for i in range(next(world.commands))})
    for before, after in itertools.pairwise(world.phases):
        assert after in TRANSITIONS[before]


def test_every_way_to_go_is_gone_when_much_happens():
    chance = random.Random(7)
    gone = set()
    for _ in range(60):
        world = World()
        for _ in range(150):
            action = chance.choice(["publish", "deliver", "deliver", "deliver", "pass", "oversleep", "cut", "run"])
            how = chance.choice(["once", "once", "once", "lost", "twice"])
            act(world, action, {"publish": log(), "deliver": how, "pass": 2, "oversleep": 40}.get(action))
        gone |= set(itertools.pairwise(world.phases))
    closing = {(before, "stopped") for before in TRANSITIONS}
    possible = {(before, after) for before, follow in TRANSITIONS.items() for after in follow if before != after}
    # Only a plain server is live without catching up, or tried again without the offer.
    assert gone >= possible - closing - {("greeting", "live"), ("greeting", "connecting")}


def test_an_answer_that_is_not_on_disk_yet_comes_again_when_it_is(live):
    live.do("send", p.PauseExecution(id="c1"), live.now)
    live.hear(p.CommandAck(id="c1", ok=True, durable=False, message="not on disk yet"))
    live.hear(p.CommandAck(id="c1", ok=True))
    live.hear(p.CommandAck(id="c1", ok=True))
    assert [answer.durable for answer in live.answers] == [False, None]


def test_a_decision_that_is_not_on_disk_is_sent_again_on_the_next_connection(live):
    live.do("send", p.PauseExecution(id="c1"), live.now)
    live.hear(p.CommandAck(id="c1", ok=True, durable=False))
    live.forget()
    live.close()
    live.pass_(1)
    live.open()
    live.welcome()
    assert live.said_a(p.PauseExecution) == []
    live.sync(seq=2, reset=False)
    assert [command.id for command in live.said_a(p.PauseExecution)] == ["c1"]
    live.hear(p.CommandAck(id="c1", ok=True))
    live.close()
    live.pass_(2)
    live.open()
    live.welcome()
    live.sync(seq=2, reset=False)
    assert len(live.said_a(p.PauseExecution)) == 1
