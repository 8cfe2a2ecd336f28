"""The judge notices what it is there for."""

from typing import Any

import pytest

from .plan import KINDS, Schedule, schedules
from .verdict import Made, Outcome, Seen, judge
from .viewers import Answer, Standing
from .wire import Frames

ACCEPTED = Answer(ok=True, code=None, durable=True, message=None)
DECISION = {"gate_id": "g0", "decision": "approve", "source": "widget"}
STATE = {"epoch": "run", "seq": 3, "status": "completed", "decisions": [DECISION]}
EVENTS = [{"type": "node_state", "message": str(number), "seq": number + 1} for number in range(3)]
STANDING = Standing("live", True, None, None, "run", 3, "completed", [], 2, 0, 0, 1)


def outcome(kind: str = "cut", standing: Standing = STANDING, **changed: Any) -> Outcome:
    """One in which everything is right, but for what is changed."""
    right: dict[str, Any] = {
        "schedule": Schedule(1, kind, 0),
        "said": 3,
        "gates": ["g0"],
        "made": [Made("g0", "page", "approve", ACCEPTED)],
        "end": {"made": {"g0": "approve"}, "flushed": True, "refused": None},
        "seen": [Seen("page", standing, STATE)],
        "before": STATE,
        "after": STATE,
        "events": EVENTS,
        "complaints": [],
    }
    return Outcome(**{**right, **changed})


def test_what_is_right_is_good():
    verdict = judge(outcome())
    assert verdict.is_good
    assert (verdict.events, verdict.acknowledged, verdict.kept) == (3, 1, 1)


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ({"events": EVENTS[:2]}, {"lost": 1}),
        ({"events": EVENTS + EVENTS[:1]}, {"doubled": 1}),
        ({"standing": STANDING._replace(lost=2, doubled=1)}, {"lost": 2, "doubled": 1}),
        ({"standing": STANDING._replace(phase="stopped")}, {"astray": 1}),
        ({"standing": STANDING._replace(resumable=False)}, {"astray": 1}),
        ({"seen": [Seen("page", STANDING, {**STATE, "status": "running"})]}, {"astray": 1}),
        ({"after": {**STATE, "decisions": []}}, {"acknowledged": 1, "kept": 0}),
        ({"after": {**STATE, "decisions": [{**DECISION, "decision": "reject"}]}}, {"acknowledged": 1, "kept": 0}),
    ],
)
def test_what_is_lost_or_astray_is_counted(changed, counts):
    verdict = judge(outcome(**changed))
    assert not verdict.is_good
    assert {name: getattr(verdict, name) for name in counts} == counts


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"after": {**STATE, "seq": 4}}, "another one after a kill"),
        ({"end": {"made": {"g0": "reject"}, "flushed": True, "refused": None}}, "the engine heard reject"),
        ({"end": {"made": {"g0": "approve"}, "flushed": False, "refused": "why"}}, "could not deliver everything"),
        ({"made": [Made("g0", "page", "approve", ACCEPTED)] * 2}, "2 decisions were acknowledged"),
        (
            {"made": [Made("g0", "page", "approve", ACCEPTED._replace(code="unconfirmed"))]},
            "was answered unconfirmed",
        ),
        ({"made": [], "after": {**STATE, "decisions": []}}, "nobody has decided it"),
        ({"after": {**STATE, "decisions": [{**DECISION, "source": "timeout"}]}}, "decided by its deadline"),
        ({"after": {**STATE, "decisions": [DECISION, DECISION]}}, "decided 2 times"),
    ],
)
def test_what_is_wrong_is_said(changed, fault):
    verdict = judge(outcome(**changed))
    assert not verdict.is_good
    assert any(fault in said for said in verdict.faults)


def test_only_a_disk_may_lose_and_only_if_that_is_said():
    lost = {"events": EVENTS[:2]}
    assert judge(outcome("cut", complaints=["oh"], **lost)).lost == 1
    assert judge(outcome("vanish", **lost)).lost == 1
    told = judge(outcome("vanish", complaints=["the file is gone"], **lost))
    assert (told.is_good, told.lost, told.said) == (True, 0, 1)
    # A decision that was acknowledged as durable may be lost with the pages that it was on, and in no other way.
    gone = {"after": {**STATE, "decisions": []}, "before": {**STATE, "decisions": []}, "complaints": ["damaged"]}
    gone["seen"] = [Seen("page", STANDING, gone["before"])]
    assert not judge(outcome("full", **gone)).is_good
    assert judge(outcome("damage", **gone)).is_good
    waiting = [Made("g0", "page", "approve", ACCEPTED._replace(durable=False))]
    assert judge(outcome("full", made=waiting, **gone)).is_good


def test_a_schedule_is_the_same_each_time_and_there_are_as_many_of_each_kind():
    drawn = schedules(7, 3 * len(KINDS))
    assert [each.steps() for each in drawn] == [each.steps() for each in schedules(7, 3 * len(KINDS))]
    assert [sum(each.kind == kind for each in drawn) for kind in KINDS] == [3] * len(KINDS)


def test_a_wire_knows_where_frames_begin_however_they_are_cut():
    small, large, masked = b"\x81\x03abc", b"\x81\x7e\x01\x00" + bytes(256), b"\x81\x82mask12"
    sent = b"HTTP/1.1 101\r\nA: b\r\n\r\n" + small + large + masked
    ends = [len(sent) - len(large) - len(masked), len(sent) - len(masked), len(sent)]
    for size in (1, 2, 3, 7, 400):
        frames, between = Frames(), []
        for at in range(0, len(sent), size):
            frames.feed(sent[at : at + size])
            if frames.between:
                between.append(min(at + size, len(sent)))
        # After the handshake too, and nowhere within a frame.
        assert set(between) <= {len(sent) - len(small + large + masked), *ends}
        assert between[-1] == len(sent)
