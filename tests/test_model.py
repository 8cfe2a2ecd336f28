"""Any interleaving of publishing, connecting, cutting, resuming, deciding and restarting, against what must hold."""

from __future__ import annotations

from collections import deque

import pytest
import rfc8785
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits
from dagwidget.server.auth.grant import Grant
from dagwidget.server.room import Room
from dagwidget.server.sessions.plain import PlainSession
from dagwidget.server.sessions.publisher import PublisherSession
from dagwidget.server.sessions.viewer import ViewerSession
from dagwidget.server.storage.event_store import Record
from dagwidget.state import DagState

from . import strategies

pytestmark = pytest.mark.slow

NOW = 1_000_000
# So tight that logs are cut, windows fill up, and who lags is reset.
LIMITS = Limits(log_events=8, window_bytes=600, batch_events=3)


def anybody(_token: str | None):
    return Grant(role="publish", user="ana")


def canonical(state: DagState) -> bytes:
    return rfc8785.dumps(state.to_dict())


class Viewer:
    """A client that follows the protocol, and complains of whatever it may not see."""

    def __init__(self) -> None:
        self.state = DagState()
        self.session: ViewerSession | None = None
        self.acks: dict[str, p.CommandAck] = {}
        self.plain: PlainSession | None = None
        self._catching_up: tuple[p.Sync, list[p.Event]] | None = None

    def connect(self, room: Room) -> None:
        self._catching_up = None
        self.session = ViewerSession(room, anybody, NOW)
        epoch, seq = self.state.epoch, self.state.seq
        last = None if epoch is None else p.Cursor(epoch=epoch, seq=seq)
        self.say(p.Hello(protocol=1, last=last))

    def say(self, message) -> None:
        self.session.receive(p.encode(message).decode(), NOW)

    def cut(self, lost: int) -> None:
        """Some frames were already on their way."""
        for _ in range(lost):
            self.session.pull(NOW)
        self.session = None

    def take(self, frames: int) -> bool:
        """Read so many frames; says whether there was one."""
        took = False
        for _ in range(frames):
            frame = self.session.pull(NOW)
            if frame is None:
                break
            took = True
            for message in p.decode_server(frame):
                self._take(message)
            if self._catching_up is None:
                self.say(p.Ack(seq=self.state.seq))
        assert self.session.ended is None, self.session.ended
        return took

    def _take(self, message) -> None:
        match message:
            case p.Sync():
                assert message.reset or message.epoch == self.state.epoch
                self._catching_up = (message, [])
            case p.Synced():
                sync, events = self._catching_up
                self._catching_up = None
                if sync.reset:
                    self.state = DagState(epoch=sync.epoch)
                for event in events:
                    assert sync.reset or event.seq == self.state.seq + 1
                    self.state.apply(event)
                self.state.seq = message.seq
            case p.CommandAck():
                before = self.acks.setdefault(message.id, message)
                assert before.ok == message.ok
            case p.Event() if self._catching_up is not None:
                self._catching_up[1].append(message)
            case p.Event():
                assert message.seq == self.state.seq + 1
                self.state.apply(message)


class Engine:
    """A publisher that keeps what the room has not acknowledged, and sends it again."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.session: PublisherSession | None = None
        self._numbered = 0
        self._acknowledged = 0
        self._unacknowledged: deque[tuple[int, str]] = deque()

    def connect(self, room: Room) -> None:
        self.session = PublisherSession(room, anybody, NOW)
        start = p.RunStart(budget=5.0, on_budget="gate")
        attach = p.Attach(protocol=1, publisher=self.epoch, epoch=self.epoch, start=start)
        self.session.receive(p.encode(attach).decode(), NOW)
        # Also what has arrived before, and only its acknowledgement was lost.
        for _, text in self._unacknowledged:
            self.session.receive(text, NOW)

    def publish(self, event: p.Event) -> None:
        self._numbered += 1
        event.seq = self._numbered
        text = p.encode(event).decode()
        self._unacknowledged.append((self._numbered, text))
        if self.session is not None:
            self.session.receive(text, NOW)

    def take(self) -> None:
        while self.session is not None and (frame := self.session.pull(NOW)) is not None:
            for message in p.decode_reply(frame):
                match message:
                    case p.Attached():
                        assert message.seq >= self._acknowledged, "what was acknowledged is lost"
                    case p.Ack():
                        self._acknowledged = max(self._acknowledged, message.seq)
                        while self._unacknowledged and self._unacknowledged[0][0] <= message.seq:
                            self._unacknowledged.popleft()
                    case p.Bye():
                        self.session = None


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.viewers = [Viewer() for _ in range(3)]
        self.disk: dict[str, list[Record]] = {}
        self.room = Room("dag", LIMITS, journaled=True)
        # Who asked what: the viewer, the command, and the run that it was about.
        self.asked: list[tuple[Viewer, p.HumanDecision, str]] = []
        self.runs = 0

    @initialize()
    def begin(self) -> None:
        self.begin_a_run()

    @rule()
    def begin_a_run(self) -> None:
        self.runs += 1
        self.engine = Engine(f"run-{self.runs}")
        self.engine.connect(self.room)

    @rule(
        events=st.lists(strategies.events | st.builds(p.CostDelta, amount=st.floats(0, 2, width=16)), max_size=5),
        kept=st.booleans(),
    )
    def publish(self, events: list[p.Event], kept: bool) -> None:
        for event in events:
            self.engine.publish(event)
        self.engine.take()
        if kept:
            self.keep()

    @rule()
    def cut_the_engine(self) -> None:
        if self.engine.session is not None:
            self.engine.session.leave()
        self.engine.session = None

    @precondition(lambda self: self.engine.session is None)
    @rule()
    def resume_the_engine(self) -> None:
        self.engine.connect(self.room)
        self.engine.take()

    @rule(which=st.integers(0, 2), frames=st.integers(1, 6))
    def follow(self, which: int, frames: int) -> None:
        viewer = self.viewers[which]
        if viewer.session is None:
            viewer.connect(self.room)
        viewer.take(frames)

    @rule(which=st.integers(0, 2), lost=st.integers(0, 3))
    def cut(self, which: int, lost: int) -> None:
        if self.viewers[which].session is not None:
            self.viewers[which].cut(lost)

    @rule()
    def a_plain_client_reads(self) -> None:
        session = PlainSession(self.room, anybody, NOW)
        while (frame := session.pull(NOW)) is not None:
            [event] = p.decode_server(frame)
            assert isinstance(event, p.PLAIN_EVENTS)

    @precondition(lambda self: self.room.state.gates)
    @rule(which=st.integers(0, 2), gate=st.integers(0, 2), verdict=st.sampled_from(["approve", "reject"]))
    def decide(self, which: int, gate: int, verdict: str) -> None:
        gates = list(self.room.state.gates.values())
        open_gate = gates[gate % len(gates)]
        self.follow(which, 1)
        viewer = self.viewers[which]
        # What it says tells this decision from all others.
        name = f"c{len(self.asked)}"
        command = p.HumanDecision(
            id=name, node_id=open_gate.node_id, gate_id=open_gate.gate_id, decision=verdict, feedback=name
        )
        self.asked.append((viewer, command, self.room.epoch))
        viewer.say(command)

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 100))
    def ask_again(self, which: int) -> None:
        viewer, command, epoch = self.asked[which % len(self.asked)]
        if viewer.session is not None and epoch == self.room.epoch and command.id not in viewer.acks:
            viewer.say(command)

    @rule()
    def keep(self) -> None:
        for run, records in self.room.take_unstored().items():
            self.disk.setdefault(run, []).extend(records)
            self.room.kept(run, records[-1].seq)
        self.engine.take()

    @rule()
    def restart(self) -> None:
        for viewer in self.viewers:
            if viewer.state.epoch:
                assert viewer.state.seq <= len(self.disk[viewer.state.epoch]), "what was told is lost"
            viewer.session = None
        self.engine.session = None
        self.room = Room("dag", LIMITS, journaled=True)
        if self.disk:
            *earlier, newest = self.disk
            self.room.restore(newest, self.disk[newest], earlier)

    def teardown(self) -> None:
        if self.engine.session is None:
            self.engine.connect(self.room)
        quiet = False
        while not quiet:
            self.keep()
            for viewer in self.viewers:
                if viewer.session is None:
                    viewer.connect(self.room)
            quiet = sum(viewer.take(100) for viewer in self.viewers) == 0
        for viewer in self.viewers:
            assert canonical(viewer.state) == canonical(self.room.state)
        made = [decision.feedback for decision in self.room.state.decisions]
        for viewer, command, epoch in self.asked:
            ack = viewer.acks.get(command.id)
            if ack is not None and epoch == self.room.epoch:
                assert made.count(command.id) == ack.ok, "an acknowledged decision is not the one that was made"
        assert all(made.count(name) <= 1 for name in made if name and name.startswith("c"))


Model.TestCase.settings = settings(max_examples=2000, stateful_step_count=25)
test_every_interleaving_leaves_every_viewer_with_the_rooms_state = Model.TestCase
