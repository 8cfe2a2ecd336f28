"""What a publisher can't claim: people's decisions, the room's own words, and the future."""

import re
from pathlib import Path

import pytest

from dagwidget import protocol as p
from dagwidget.server.room_codes import ROOM_CODES
from dagwidget.state import Gate

from .test_room import NOW, Engine, decide, room, told

__all__ = ["room"]

GATE = {"node_id": "review", "gate_id": "review:1"}
FORGED = [p.Approval(by="ana", at=NOW, feedback="fine"), p.Approval(by="ben", at=NOW)]


@pytest.fixture
def engine(room):
    return Engine(room)


def only_gate(room) -> Gate:
    [gate] = room.state.gates.values()
    return gate


def resolved(**fields) -> p.HumanGateResolved:
    return p.HumanGateResolved(**{**GATE, "decision": "approve", "by": "boss", "at": NOW, "source": "widget", **fields})


@pytest.mark.parametrize("source", ["widget", "python", "timeout", "budget", "engine"])
def test_a_decision_of_an_engine_is_its_own(room, engine, source):
    engine.ask()
    engine.say(resolved(source=source, approvals=FORGED))
    [decision] = room.state.decisions
    assert (decision.by, decision.source, decision.approvals) == ("engine", "engine", None)
    assert told(room)[-1].approvals is None


def test_a_gate_has_the_approvals_that_people_gave(room, engine):
    engine.say(p.HumanGateWaiting(**GATE, presentation=p.Presentation(required=3), approvals=FORGED))
    assert only_gate(room).approvals is None
    decide(room, by="ana")
    engine.say(p.HumanGateWaiting(**GATE, presentation=p.Presentation(required=3), approvals=FORGED))
    assert [each.by for each in only_gate(room).approvals] == ["ana"]
    engine.say(resolved(approvals=FORGED))
    assert [each.by for each in room.state.decisions[0].approvals] == ["ana"]


def test_what_people_approved_can_not_be_exchanged(room, engine):
    engine.ask(title="Delete a.txt?", required=2)
    engine.ask(title="Delete b.txt?", required=2)
    decide(room, by="ana")
    engine.ask(title="Delete everything?", required=1)
    gate = only_gate(room)
    assert (gate.presentation.title, gate.presentation.required) == ("Delete b.txt?", 2)


def test_a_decision_is_about_the_node_of_its_gate(room, engine):
    engine.ask()
    engine.say(resolved(node_id="another"))
    assert room.state.decisions[0].node_id == "review"


@pytest.mark.parametrize(
    "event",
    [
        p.NodeState(node_id="a", status="cancelled", inferred=True),
        p.ExecutionState(status="paused", inferred=True),
        p.ExecutionComplete(results=None, status="cancelled", inferred=True),
    ],
)
def test_only_the_room_infers(room, engine, event):
    engine.say(event)
    assert told(room)[-1].inferred is None


def test_only_the_room_says_that_an_engine_is_lost(room, engine):
    engine.say(p.ExecutionState(status="lost"))
    assert room.state.status == "running"


@pytest.mark.parametrize("code", sorted(ROOM_CODES))
def test_only_the_room_warns_of_itself(room, engine, code):
    engine.say(p.RunError(message="all is lost", code=code), p.RunError(message="all is lost", code="mine"))
    assert [error.code for error in room.state.errors] == [None, "mine"]
    room.warn(code, "all is lost", NOW)
    assert room.state.errors[-1].code == code


def test_the_protocol_lists_the_codes_that_only_a_room_uses():
    text = (Path(__file__).parents[1] / "docs/protocol.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \| room \|", text, re.MULTILINE)) == ROOM_CODES


@pytest.mark.parametrize("other", [{"node_id": "deploy"}, {"node_id": "review", "instance": "2"}])
def test_approvals_are_for_the_node_that_asked(room, engine, other):
    engine.ask(title="Delete a.txt?", required=3)
    decide(room, by="ana")
    shown = p.Presentation(title="Delete everything?", required=2)
    engine.say(p.HumanGateWaiting(**{**GATE, **other}, presentation=shown))
    gate = only_gate(room)
    assert (gate.node_id, gate.presentation.title, gate.approvals) == (other["node_id"], shown.title, None)


def test_no_node_has_started_or_ended_in_the_future(room, engine):
    engine.say(p.NodeState(node_id="a", status="completed", started_at=NOW + 10**9, ended_at=NOW + 10**9))
    engine.say(p.NodeState(node_id="b", status="completed", started_at=NOW - 5, ended_at=NOW - 1))
    times = [(node.started_at, node.ended_at) for node in room.state.nodes.values()]
    assert times == [(NOW, NOW), (NOW - 5, NOW - 1)]


def test_nothing_has_happened_in_the_future(room, engine):
    engine.ask()
    engine.say(p.NodeLog(node_id="a", lines=["x"], ts=NOW + 10**9), p.NodeLog(node_id="a", lines=["x"], ts=NOW - 5))
    engine.say(resolved(at=NOW + 10**9))
    assert [event.ts for event in told(room)[-3:-1]] == [NOW, NOW - 5]
    assert room.state.decisions[0].at == NOW
