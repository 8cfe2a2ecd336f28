"""Any interleaving of what happens to several runs of one DAG, against what must hold.

Processes start, publish, fork, are cut off, are killed and come back; viewers of every kind connect, follow, pin, are
cut off and decide; the disk is slow; rooms leave memory; runs are lost and deleted; the server restarts. Frames may be
on their way meanwhile. `MODEL_EXAMPLES` says how many interleavings are tried.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque

import rfc8785
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits
from dagwidget.server.budget import BUDGET_NODE
from dagwidget.server.room import Room
from dagwidget.server.sessions.base import Session
from dagwidget.server.sessions.plain import PlainSession
from dagwidget.server.sessions.publisher import PublisherSession
from dagwidget.server.sessions.viewer import ViewerSession
from dagwidget.state import FINAL, DagState

from .one_dag import Disk, Server

NOW = 1_000_000_000
# So tight that logs are cut, windows fill up, who lags is reset, and rooms must leave memory.
LIMITS = Limits(log_events=8, window_bytes=900, batch_events=3, rooms=4, dead_seconds=10**9, commands_burst=10**6)
FEATURES = ["runs", "engine", "lost"]
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "200"))


def canonical(state: DagState) -> bytes:
    return rfc8785.dumps(state.to_dict())


# --- Events that carry the run that they belong to


def node_state(run_id: str, number: int, status: p.NodeStatus) -> p.Event:
    return p.NodeState(node_id=f"n{number}", status=status, message=run_id, output=[run_id, number])


def gate(run_id: str, number: int, seconds: int | None, now: int) -> p.Event:
    deadline = None if seconds is None else now + seconds * 1000
    presentation = p.Presentation(title=run_id, deadline=deadline, on_timeout="approve")
    # The same names in every run.
    return p.HumanGateWaiting(node_id=f"gate{number}", gate_id=f"gate{number}:1", presentation=presentation)


EVENTS = st.one_of(
    st.tuples(st.just("node"), st.integers(0, 3), st.sampled_from(["running", "completed", "failed"])),
    st.tuples(st.just("gate"), st.integers(0, 1), st.sampled_from([None, None, 5, 100])),
    st.tuples(st.just("log"), st.integers(0, 3)),
    st.tuples(st.just("cost"), st.integers(1, 4)),
    st.tuples(st.just("paused")),
)


def belongs(event: p.Event, run_id: str) -> bool:
    """Whether an event may be one of the run."""
    match event:
        case p.NodeState(message=None, output=None):
            # The room ended it, or its gate is open.
            return bool(event.inferred) or event.node_id.startswith("gate") or event.node_id == BUDGET_NODE
        case p.NodeState():
            return event.message in (run_id, None) and (event.output is None or event.output[0] == run_id)
        case p.HumanGateWaiting():
            return event.presentation.title == run_id or event.node_id == BUDGET_NODE
        case p.NodeLog():
            return all(line.startswith(f"{run_id}:") for line in event.lines)
        case p.HumanGateResolved(feedback=str(text)):
            return text.endswith(f"|{run_id}")
        case p.ExecutionComplete():
            return event.results in (run_id, None)
        case _:
            return True


def check_unmixed(state: DagState, run_id: str) -> None:
    """Nothing of another run is in a viewer's state."""
    for node in state.nodes.values():
        assert node.output is None or node.output[0] == run_id, f"{run_id} shows {node}"
        assert all(line.startswith(f"{run_id}:") for line in node.logs or ()), f"{run_id} shows {node}"
    for each in state.gates.values():
        assert each.presentation.title == run_id or each.node_id == BUDGET_NODE, f"{run_id} shows {each}"
    for decision in state.decisions:
        assert decision.feedback is None or decision.feedback.endswith(f"|{run_id}"), f"{run_id} shows {decision}"
    assert state.results in (run_id, None)


# --- Those who take part


class Process:
    """A publisher. It keeps what the server has not acknowledged, and sends it again."""

    def __init__(self, name: str, run_id: str | None, start: p.RunStart | None, off: int = 0) -> None:
        self.name = name
        self.run_id = run_id
        self.start = start
        self.off = off
        self.session: PublisherSession | None = None
        self.attached = False
        self.alive = True
        self.said: list[p.Event] = []
        self.acknowledged = 0
        self._sent = 0
        self.decisions: set[str] = set()

    def connect(self, server: Server) -> None:
        self.attached = False
        self.session = server.connect(PublisherSession)
        start = None if self.start is None else replace(self.start)
        now = server.now + self.off
        server.say(self.session, p.Attach(protocol=1, publisher=self.name, epoch=self.run_id, start=start, now=now))

    def publish(self, event: p.Event) -> None:
        event.seq = len(self.said) + 1
        self.said.append(event)

    def take(self, server: Server) -> bool:
        """Hear what the server says, and send what it lacks."""
        if self.session is None:
            return False
        heard = server.hear(self.session, p.decode_reply)
        for message in heard:
            match message:
                case p.Attached():
                    assert message.seq >= self.acknowledged, "what was acknowledged is lost"
                    assert self.run_id in (None, message.epoch)
                    self.run_id, self.attached = message.epoch, True
                    self.acknowledged = self._sent = message.seq
                case p.Ack():
                    self.acknowledged = max(self.acknowledged, message.seq)
                case p.HumanGateResolved():
                    assert message.feedback is None or message.feedback.endswith(f"|{self.run_id}")
                    self.decisions.add(message.gate_id)
                case p.Bye():
                    assert message.code in (4000, 4404, 4006, 4410, 4412, 4429), message
                    self.leave(server)
                    self.alive = self.alive and message.retry
                    return True
        if self.attached and self._sent < len(self.said):
            news = [replace(event) for event in self.said[self._sent :]]
            self._sent = len(self.said)
            server.say(self.session, news)
            return True
        return bool(heard)

    def leave(self, server: Server) -> None:
        if self.session is not None:
            server.leave(self.session)
        self.session = None


class Viewer:
    """A client that has a state: it complains of what it may not see."""

    kind: type[Session] = ViewerSession

    def __init__(self, name: str) -> None:
        self.name = name
        self.session: Session | None = None
        self.state = DagState()
        self.acks: dict[str, p.CommandAck] = {}
        # Sent by the server, and not yet here.
        self.on_its_way: deque[bytes] = deque()
        self.outbox: list[p.Command] = []
        self.is_live = False
        self.is_final = False
        # What the hello asked for that is not answered.
        self._asked: dict | None = None
        self._welcomed = False
        self._catching_up: tuple[p.Sync, list[p.Event]] | None = None

    def connect(self, server: Server) -> None:
        self.cut(server)
        self.session = server.connect(self.kind)
        self.hello(server)

    def hello(self, server: Server) -> None:
        self.is_live, self._catching_up = False, None
        if self._asked is not None:
            # One at a time: the welcome brings the next.
            return
        self._asked = self.wish()
        epoch, seq = self.state.epoch, self.state.seq
        last = None if epoch is None else p.Cursor(epoch=epoch, seq=seq)
        server.say(self.session, p.Hello(protocol=1, last=last, **self._asked))

    def wish(self) -> dict:
        return {}

    def cut(self, server: Server) -> None:
        if self.session is not None:
            server.leave(self.session)
        self.session, self.is_live, self._asked, self._welcomed = None, False, None, False
        self.on_its_way.clear()

    def pull(self, server: Server) -> bool:
        if self.session is None:
            return False
        frame = server.pull(self.session)
        if frame is not None:
            self.on_its_way.append(frame)
        return frame is not None

    def arrive(self, server: Server) -> bool:
        """Take the next frame."""
        if not self.on_its_way:
            return False
        for message in p.decode_server(self.on_its_way.popleft()):
            if self.session is not None:
                self.take(message, server)
        return True

    def take(self, message, server: Server) -> None:
        match message:
            case p.Bye():
                assert message.code in (4000, 4001, 4008, 4410, 4429), message
                # What ends may be the run before a hello that is not answered.
                outdated = self._asked is not None and (self._welcomed or self._asked != self.wish())
                self.is_final = not message.retry and not outdated
                self.cut(server)
            case p.Welcome():
                asked, self._asked, self._welcomed = self._asked, None, True
                if asked != self.wish():
                    self.hello(server)
            case p.Sync() | p.Synced() | p.Event() if self._asked is not None:
                # It belongs to the cursor before.
                pass
            case p.Sync():
                assert message.reset or message.epoch == self.state.epoch
                self._catching_up = (message, [])
                self.is_live = False
            case p.Synced() if self._catching_up is not None:
                sync, events = self._catching_up
                self._catching_up = None
                if sync.reset:
                    self.state = DagState(epoch=sync.epoch)
                for event in events:
                    assert sync.reset or event.seq == self.state.seq + 1
                    self.apply(event)
                self.state.seq = message.seq
                self.is_live = True
                self.say(server, p.Ack(seq=self.state.seq), *self.outbox)
                self.outbox.clear()
            case p.Ping():
                self.say(server, p.Pong(seq=self.state.seq))
            case p.CommandAck():
                self.acks.setdefault(message.id, message)
            case p.Event() if self._catching_up is not None:
                self._catching_up[1].append(message)
            case p.Event() if self.is_live:
                assert message.seq == self.state.seq + 1
                self.apply(message)
                self.say(server, p.Ack(seq=self.state.seq))

    def apply(self, event: p.Event) -> None:
        assert belongs(event, self.state.epoch), f"{self.state.epoch} is shown {event}"
        self.state.apply(event)
        check_unmixed(self.state, self.state.epoch)

    def say(self, server: Server, *messages: p.Struct) -> None:
        if self.session is not None:
            server.say(self.session, *messages)

    @property
    def shows(self) -> str:
        """The run that a person sees."""
        return self.state.epoch or ""

    def ask(self, server: Server, command: p.Command) -> None:
        if self.is_live:
            self.say(server, command)

    def expected(self, room_state: DagState) -> DagState:
        return room_state


class New(Viewer):
    """It names the run of its commands, pins runs, and keeps commands for as long as it is offline."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.pinned: str | None = None
        # The run that it begins at, before it follows.
        self.begins: str | None = None

    def wish(self) -> dict:
        if self.pinned is None and self.begins is not None:
            return {"features": FEATURES, "run": self.begins, "follow": True}
        return {"features": FEATURES, "run": self.pinned}

    def take(self, message, server: Server) -> None:
        if isinstance(message, p.Sync) and message.epoch == self.begins and self._asked is None:
            self.begins = None
        super().take(message, server)

    def ask(self, server: Server, command: p.Command) -> None:
        command.run_id = self.shows
        if self.is_live:
            self.say(server, command)
        else:
            self.outbox.append(command)


class Old(Viewer):
    """It knows of one run only, as all clients did."""

    def expected(self, room_state: DagState) -> DagState:
        return replace(room_state, status="running") if room_state.status == "lost" else room_state


class Plain(Viewer):
    """It knows the seven events: what it shows is what its nodes say. Its frames are not under way for long."""

    kind = PlainSession

    def hello(self, server: Server) -> None:
        self.is_live = True
        self.state = DagState()

    def pull(self, server: Server) -> bool:
        pulled = super().pull(server)
        self.arrive(server)
        return pulled

    def take(self, message, server: Server) -> None:
        match message:
            case p.Event():
                assert isinstance(message, p.PLAIN_EVENTS)
                self.state.apply(message)
                shown = {node.output[0] for node in self.state.nodes.values() if node.output}
                shown |= {each.presentation.title for each in self.state.gates.values() if each.node_id != BUDGET_NODE}
                assert len(shown) <= 1, f"a plain client is shown {shown}"
            case p.Bye() | p.CommandAck():
                super().take(message, server)

    @property
    def shows(self) -> str:
        shown = [node.output[0] for node in self.state.nodes.values() if node.output]
        return shown[0] if shown else ""


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.viewers: list[Viewer] = [New("new-1"), New("new-2"), Old("old-1"), Old("old-2"), Plain("plain")]
        self.processes: list[Process] = []
        # What each publisher of each run said, when each run started, and the command ids with the run that was meant.
        self.publishers: dict[tuple[str, str], Process] = {}
        self.starts: dict[str, int] = {}
        self.meant: dict[str, str] = {}
        self.asked: list[tuple[Viewer, p.Command]] = []
        self.removed: set[str] = set()

    @initialize(durable=st.booleans(), runs=st.integers(1, 4))
    def begin(self, durable: bool, runs: int) -> None:
        """Some runs, each with an open gate, and everybody watches."""
        self.disk = Disk() if durable else None
        self.server = Server(self.disk, LIMITS, now=NOW, instant=not durable)
        for number in range(runs):
            self.start(0, runs - number)
            self.publish(number, [("node", 0, "running"), ("gate", 0, None)], takes=True)
        self._let_arrive()

    # --- Processes

    @precondition(lambda self: len(self.starts) < 6)
    @rule(off=st.sampled_from([0, -1_500, 2_000, -86_400_000]), ago=st.integers(0, 3))
    def start(self, off: int, ago: int) -> None:
        run_id = f"run-{len(self.starts)}"
        started_at = self.server.now - ago * 1000
        # A server that has no space yet lists the run when it has, and its start is the same.
        self.starts[run_id] = started_at
        start = p.RunStart(started_at=started_at + off, budget=2.0, on_budget="gate")
        self._add(Process(f"owner of {run_id}", run_id, start, off))

    def _add(self, process: Process) -> None:
        self.processes.append(process)
        process.connect(self.server)
        process.take(self.server)

    def _process(self, which: int) -> Process:
        return self.processes[which % len(self.processes)]

    @rule(which=st.integers(0, 20), events=st.lists(EVENTS, min_size=1, max_size=4), takes=st.booleans())
    def publish(self, which: int, events: list[tuple], takes: bool) -> None:
        process = self._process(which)
        run_id = process.run_id
        if not process.alive or run_id is None:
            return
        for kind, *rest in events:
            match kind:
                case "node":
                    process.publish(node_state(run_id, *rest))
                case "gate":
                    process.publish(gate(run_id, *rest, now=self.server.now + process.off))
                case "log":
                    process.publish(p.NodeLog(node_id=f"n{rest[0]}", lines=[f"{run_id}:{len(process.said)}"]))
                case "cost":
                    process.publish(p.CostDelta(amount=rest[0] / 4))
                case "paused":
                    process.publish(p.ExecutionState(status="paused"))
        if takes:
            process.take(self.server)

    @rule(which=st.integers(0, 20), status=st.sampled_from(["completed", "failed", "cancelled"]))
    def complete(self, which: int, status: p.FinalStatus) -> None:
        process = self._process(which)
        if process.alive and process.start is not None:
            process.publish(p.ExecutionComplete(results=process.run_id, status=status))
            process.take(self.server)

    @rule(which=st.integers(0, 20))
    def kill(self, which: int) -> None:
        process = self._process(which)
        process.leave(self.server)
        process.alive = False

    @rule(which=st.integers(0, 20))
    def cut_a_process(self, which: int) -> None:
        self._process(which).leave(self.server)

    @rule(which=st.integers(0, 20))
    def resume_a_process(self, which: int) -> None:
        process = self._process(which)
        if process.alive and process.session is None:
            process.connect(self.server)
        process.take(self.server)

    @precondition(lambda self: len(self.processes) < 12)
    @rule(which=st.integers(0, 5))
    def take_over(self, which: int) -> None:
        """Another process goes on with a run."""
        run_id = f"run-{which % len(self.starts)}"
        started_at = self.server.now
        if run_id in self.server.dag.runs:
            self._add(Process(f"owner {len(self.processes)} of {run_id}", run_id, p.RunStart(started_at=started_at)))

    @precondition(lambda self: len(self.processes) < 12)
    @rule(which=st.integers(0, 20))
    def fork(self, which: int) -> None:
        parent = self._process(which)
        self._add(Process(f"worker {len(self.processes)}", parent.run_id, None, parent.off))

    @precondition(lambda self: len(self.processes) < 12)
    @rule()
    def attach(self) -> None:
        """A worker names no run: it joins the only one that there is, if it is the only one."""
        process = Process(f"worker {len(self.processes)}", None, None)
        owned = [run.run_id for run in self.server.dag.runs if run.status not in FINAL and run.status != "lost"]
        self._add(process)
        if process.run_id is not None:
            assert [process.run_id] == owned
        elif len(owned) > 1:
            assert not process.alive

    # --- Viewers

    @rule(which=st.integers(0, 4), frames=st.integers(1, 8), arrive=st.booleans())
    def follow(self, which: int, frames: int, arrive: bool) -> None:
        viewer = self.viewers[which]
        if viewer.session is None and not viewer.is_final:
            viewer.connect(self.server)
        for _ in range(frames):
            viewer.pull(self.server)
            if arrive:
                viewer.arrive(self.server)

    @rule(which=st.integers(0, 4), frames=st.integers(1, 8))
    def arrive(self, which: int, frames: int) -> None:
        for _ in range(frames):
            self.viewers[which].arrive(self.server)

    @rule(which=st.integers(0, 1), run=st.integers(-1, 6), follows=st.booleans())
    def pin(self, which: int, run: int, follows: bool) -> None:
        viewer = self.viewers[which]
        assert isinstance(viewer, New)
        name = None if run < 0 else f"run-{run}"
        viewer.pinned, viewer.begins = (None, name) if follows else (name, None)
        viewer.is_final = False
        if viewer.session is not None:
            viewer.hello(self.server)

    @rule(which=st.integers(0, 4))
    def cut(self, which: int) -> None:
        self.viewers[which].cut(self.server)

    def _ask(self, viewer: Viewer, command: p.Command) -> None:
        self.meant[command.id] = viewer.shows
        self.asked.append((viewer, command))
        viewer.ask(self.server, command)

    @rule(which=st.integers(0, 4), number=st.integers(0, 1), verdict=st.sampled_from(["approve", "reject"]))
    def decide(self, which: int, number: int, verdict: p.Verdict) -> None:
        viewer = self.viewers[which]
        name = f"c{len(self.asked)}"
        if not viewer.shows or f"gate{number}:1" not in viewer.state.gates:
            return
        text = f"{name}|{viewer.shows}"
        gate_id = None if isinstance(viewer, Plain) else f"gate{number}:1"
        command = p.HumanDecision(id=name, node_id=f"gate{number}", gate_id=gate_id, decision=verdict, feedback=text)
        self._ask(viewer, command)

    @rule(which=st.integers(0, 3), number=st.integers(0, 1), steers=st.booleans())
    def act_while_the_run_ends(self, which: int, number: int, steers: bool) -> None:
        """A person acts on what the screen shows, while the end of the run, and the next run, are on their way."""
        viewer = self.viewers[which]
        for process in self.processes:
            if process.run_id == viewer.shows and process.alive and process.start is not None and process.attached:
                process.publish(p.ExecutionComplete(results=process.run_id))
                process.take(self.server)
        while self.server.write() or self.server.read() or viewer.pull(self.server):
            pass
        if steers:
            self.steer(which, p.CancelExecution)
        else:
            self.decide(which, number, "approve")

    @rule(which=st.integers(0, 4), kind=st.sampled_from([p.PauseExecution, p.CancelExecution, p.ResumeExecution]))
    def steer(self, which: int, kind: type[p.Command]) -> None:
        if self.viewers[which].shows:
            self._ask(self.viewers[which], kind(id=f"c{len(self.asked)}"))

    @rule(which=st.integers(0, 1))
    def give_up(self, which: int) -> None:
        if self.viewers[which].shows:
            self._ask(self.viewers[which], p.CancelExecution(id=f"c{len(self.asked)}", give_up=True))

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 100))
    def ask_again(self, which: int) -> None:
        viewer, command = self.asked[which % len(self.asked)]
        if viewer.is_live and isinstance(viewer, New):
            viewer.say(self.server, command)

    # --- The server, its disk and the clock

    @rule(times=st.integers(1, 5))
    def write(self, times: int) -> None:
        for _ in range(times):
            self.server.write()

    @rule(times=st.integers(1, 3))
    def read(self, times: int) -> None:
        for _ in range(times):
            self.server.read()

    @rule(seconds=st.sampled_from([0.1, 1, 5, 11, 61, 1000]))
    def wait(self, seconds: float) -> None:
        self.server.wait(seconds)

    @precondition(lambda self: self.disk is not None)
    @rule()
    def restart(self) -> None:
        for process in self.processes:
            process.session = None
        for viewer in self.viewers:
            viewer.session = None
            viewer.cut(self.server)
            stored = self.disk.runs.get(viewer.state.epoch or "")
            if viewer.state.epoch and stored is not None and not isinstance(viewer, Plain):
                assert viewer.state.seq <= stored.records[-1].seq, "what was shown is lost"
        self.server = Server(self.disk, LIMITS, now=self.server.now, instant=False)

    def _deletable(self) -> list[str]:
        written = {room.epoch for room, _ in self.server.writing}
        watched = {room.epoch for room in self.server.dag.where.values()}
        return [
            run.run_id
            for run in self.server.dag.runs
            if run.status in FINAL and run.run_id not in written and run.run_id not in watched
        ]

    @precondition(lambda self: self._deletable())
    @rule(which=st.integers(0, 5))
    def remove(self, which: int) -> None:
        """Retention deletes a run that has ended, and that nobody watches."""
        runs = self._deletable()
        run_id = runs[which % len(runs)]
        self.server.remove(run_id)
        self.removed.add(run_id)
        for process in self.processes:
            if process.run_id == run_id:
                process.leave(self.server)
                process.alive = False

    def _unused(self) -> list[str]:
        return [run_id for run_id in self.server.dag.rooms if self.server.dag.can_leave(run_id)]

    @precondition(lambda self: self._unused())
    @rule(which=st.integers(0, 5))
    def unload(self, which: int) -> None:
        """A room that nobody uses leaves memory."""
        unused = self._unused()
        self.server.dag.unload(unused[which % len(unused)])

    # --- What must hold

    @invariant()
    def runs_are_listed_by_their_own_start(self) -> None:
        listed = [run.run_id for run in self.server.dag.runs]
        assert listed == sorted(listed, key=lambda run_id: (self.starts[run_id], run_id), reverse=True)

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        self._settle()
        logs = self._logs()
        self._check_publishers(logs)
        self._check_commands(logs)
        self._check_viewers(logs)
        self._check_answers()

    def _settle(self) -> None:
        """Everything that is left arrives."""
        self.server.limits = replace(LIMITS, rooms=1000)
        for process in self.processes:
            if process.alive and process.session is None and process.run_id is not None:
                process.connect(self.server)
        # Whatever has been asked for too often by now may be asked for again.
        self.server.wait(30)
        self._let_arrive()

    def _let_arrive(self) -> None:
        quiet = False
        while not quiet:
            done = [self.server.read(), self.server.write()]
            done += [process.take(self.server) for process in self.processes]
            for viewer in self.viewers:
                if viewer.session is None and not viewer.is_final:
                    viewer.connect(self.server)
                done += [viewer.pull(self.server), viewer.arrive(self.server)]
            quiet = not (any(done) or self.server.reading or self.server.writing)

    def _logs(self) -> dict[str, list]:
        """The kept log of each run: its records, or its entries where there is no disk."""
        if self.disk is not None:
            return {run_id: stored.records for run_id, stored in self.disk.runs.items()}
        return {run_id: [] for run_id in self.server.dag.rooms}

    def _check_publishers(self, logs: dict[str, list]) -> None:
        """The log of each run holds what its publishers said: in order, all of it, once."""
        for process in self.processes:
            if process.alive and process.attached and process.run_id not in self.removed:
                assert process.acknowledged == len(process.said), f"{process.name} could not deliver"
        for process in self.processes:
            if process.session is not None and process.attached and process.run_id in self.server.dag.rooms:
                made = {decision.gate_id for decision in self.server.dag.rooms[process.run_id].state.decisions}
                assert made == process.decisions, f"{process.name} knows of {process.decisions}, not of {made}"
        owners = [process.run_id for process in self.processes if process.start and process.session is not None]
        assert len(owners) == len({*owners}), "two processes own one run"
        if self.disk is None:
            return
        for run_id, records in logs.items():
            taken: defaultdict[str, list[list[p.Event]]] = defaultdict(list)
            spent = 0.0
            for expected, record in enumerate(records, start=1):
                event = record.event()
                assert record.seq == event.seq == expected
                assert belongs(event, run_id), f"{run_id} has {event}"
                if record.publisher is not None:
                    groups = taken[record.publisher]
                    if record.number == len(groups):
                        groups[-1].append(event)
                    else:
                        assert record.number == len(groups) + 1
                        groups.append([event])
            for process in self.processes:
                if process.run_id != run_id:
                    continue
                groups = taken.pop(process.name, [])
                assert len(groups) >= process.acknowledged
                for said, group in zip(process.said, groups, strict=False):
                    check_taken(said, group, process.off)
                    spent += said.amount if isinstance(said, p.CostDelta) else 0
            assert not taken
            state = DagState(epoch=run_id)
            for record in records:
                state.apply(record.event())
            assert (state.cost.spent if state.cost else 0) == spent

    def _check_commands(self, logs: dict[str, list]) -> None:
        """Each command changed only the run that it was meant for; what was acknowledged was done, once."""
        done: defaultdict[str, list[p.Event]] = defaultdict(list)
        for run_id, records in logs.items():
            for record in records:
                if record.command is not None:
                    assert self.meant[record.command] == run_id, f"{record.command} changed {run_id}"
                    done[record.command].append(record.event())
        for viewer, command in self.asked:
            ack = viewer.acks.get(command.id)
            made = [event for event in done[command.id] if isinstance(event, p.HumanGateResolved)]
            assert len(made) <= 1
            run_id = self.meant[command.id]
            if ack is not None and ack.ok and isinstance(command, p.HumanDecision) and run_id in logs and logs[run_id]:
                assert made, f"{command.id} was acknowledged, and not made"

    def _check_answers(self) -> None:
        """Whoever asks again gets the same answer, also after a restart, where the command changed something."""
        for viewer, command in self.asked:
            if not viewer.is_live or not isinstance(command, p.HumanDecision) or not isinstance(viewer, New):
                continue
            before, run_id = viewer.acks.pop(command.id, None), self.meant[command.id]
            viewer.say(self.server, command)
            self._let_arrive()
            if before is not None and before.ok and run_id not in self.removed:
                assert viewer.acks[command.id].ok, f"{command.id} was acknowledged, and is refused now"

    def _check_viewers(self, logs: dict[str, list]) -> None:
        """Each viewer is in the run that it is to be in, and has its state."""
        runs = {run.run_id: run for run in self.server.dag.runs}
        live = [run_id for run_id, run in runs.items() if run.status not in (*FINAL, "lost") and run.engine != "gone"]
        newest = (live or list(runs) or [""])[0]
        for viewer in self.viewers:
            if isinstance(viewer, New) and (viewer.pinned or viewer.begins):
                wanted = viewer.pinned or viewer.begins
                if viewer.is_final:
                    assert wanted in self.removed
                    continue
                assert viewer.shows == (wanted if wanted in runs else "")
            elif not isinstance(viewer, Plain):
                assert viewer.shows in (newest, *live), f"{viewer.name} is at {viewer.shows}, not at {newest}"
            if not viewer.shows or isinstance(viewer, Plain):
                continue
            room = self.server.dag.rooms[viewer.shows]
            assert canonical(viewer.state) == canonical(viewer.expected(room.state)), viewer.name
            if logs[viewer.shows]:
                again = Room("dag", LIMITS, journaled=True)
                again.restore(self.disk.runs[viewer.shows])
                assert canonical(again.state) == canonical(room.state)


def check_taken(said: p.Event, group: list[p.Event], off: int) -> None:
    """What the room made of an event: the event itself, after what follows from it."""
    *before, last = group
    match said:
        case p.CostDelta():
            # The gate that asks whether to go on may follow.
            assert isinstance(group[0], p.CostUpdate)
        case p.HumanGateWaiting() if isinstance(last, p.Unknown):
            # It had been decided.
            assert last.type == "decided_gate"
        case p.HumanGateWaiting():
            assert (last.node_id, last.gate_id, last.presentation.title) == (
                said.node_id,
                said.gate_id,
                said.presentation.title,
            )
            if said.presentation.deadline is not None:
                # By the server's clock.
                moved = last.presentation.deadline - said.presentation.deadline
                assert moved in (-off, 0)
        case _:
            assert replace(last, seq=None, ts=None) == replace(said, seq=None, ts=None)
            assert all(isinstance(event, p.NodeState) and event.inferred for event in before)


Model.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=50, report_multiple_bugs=False)
test_every_interleaving_of_several_runs_keeps_each_run_apart_and_whole = Model.TestCase
