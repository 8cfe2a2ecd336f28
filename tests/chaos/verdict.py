"""`judge`: what the publisher said and the server acknowledged, against what viewers and the log have in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from .plan import Schedule
from .viewers import Answer, Standing

# Where the disk itself is destroyed or gives out, what is lost may be lost, if it is said.
_MAY_LOSE = ("full", "vanish", "damage")


class Made(NamedTuple):
    """A decision that a viewer was to make; without an answer where it saw that another was first."""

    gate: str
    who: str
    verdict: str
    answer: Answer | None


class Seen(NamedTuple):
    """What a viewer has in the end."""

    name: str
    standing: Standing
    state: dict[str, Any]


class Outcome(NamedTuple):
    """Everything that a schedule left behind."""

    schedule: Schedule
    said: int
    gates: list[str]
    made: list[Made]
    end: dict[str, Any]
    seen: list[Seen]
    before: dict[str, Any]
    """The server's state when everybody had it."""
    after: dict[str, Any]
    """The same after it was killed and started again."""
    events: list[dict[str, Any]]
    """The stored log."""
    complaints: list[str]
    """What the server and the publisher said on stderr, and which events the server says are not stored."""


class Verdict(NamedTuple):
    """What came of a schedule.

    Attributes:
        schedule: Which.
        events: How many events the publisher said.
        lost: How many of them are in no log, or were left out on the way to a viewer.
        doubled: How many are twice in the log, or came to a viewer twice.
        acknowledged: How many decisions were acknowledged.
        kept: How many of these are there after a kill.
        astray: How many viewers ended in another state than the server's.
        said: How many events and decisions were lost in a way that DESIGN allows, and that was said.
        faults: Everything else that is wrong.
    """

    schedule: Schedule
    events: int = 0
    lost: int = 0
    doubled: int = 0
    acknowledged: int = 0
    kept: int = 0
    astray: int = 0
    said: int = 0
    faults: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.doubled or self.astray or self.faults) and self.acknowledged == self.kept


def judge(outcome: Outcome) -> Verdict:
    """Compare everything with everything."""
    faults: list[str] = []
    lost, doubled = _log(outcome)
    astray = 0
    for name, standing, state in outcome.seen:
        lost += standing.lost
        doubled += standing.doubled
        problem = _astray(standing, state, outcome.before)
        if problem is not None:
            astray += 1
            faults.append(f"{name}: {problem}")
    if outcome.before != outcome.after:
        faults.append(f"the server's state is another one after a kill: {_difference(outcome.before, outcome.after)}")
    if not outcome.end["flushed"]:
        faults.append(f"the publisher could not deliver everything: {outcome.end['refused']}")
    decisions = _decisions(outcome)
    faults += decisions.faults
    gone, said = decisions.gone, len(decisions.waived)
    if outcome.schedule.kind in _MAY_LOSE and _is_said(outcome):
        said, lost = said + lost, 0
        if outcome.schedule.kind == "damage":
            said, gone = said + len(gone), []
    faults += gone
    return Verdict(
        outcome.schedule,
        events=outcome.said,
        lost=lost,
        doubled=doubled,
        acknowledged=decisions.kept + len(gone),
        kept=decisions.kept,
        astray=astray,
        said=said,
        faults=tuple(faults),
    )


def _log(outcome: Outcome) -> tuple[int, int]:
    """How many numbers the stored log lacks, and how many it has twice."""
    numbers = Counter(
        int(event["message"])
        for event in outcome.events
        if event["type"] == "node_state" and event.get("message") is not None
    )
    missing = sum(number not in numbers for number in range(outcome.said))
    return missing, sum(count - 1 for count in numbers.values())


def _astray(standing: Standing, state: dict[str, Any], right: dict[str, Any]) -> str | None:
    if standing.phase != "live":
        return f"it is {standing.phase} in the end: {standing.reason} (code {standing.code})"
    if standing.resumable is not True:
        return "it takes this server for a plain one"
    if state != right:
        return f"its state is not the server's: {_difference(right, state)}"
    return None


class _Decisions(NamedTuple):
    """What became of the decisions of a schedule.

    Attributes:
        kept: How many were acknowledged and are there after a kill.
        waived: Those that were acknowledged as not durable, and are gone.
        gone: Those that were acknowledged and are gone.
        faults: Everything else that is wrong.
    """

    kept: int
    waived: list[str]
    gone: list[str]
    faults: list[str]


def _decisions(outcome: Outcome) -> _Decisions:
    waived: list[str] = []
    gone: list[str] = []
    faults: list[str] = []
    kept = 0
    stored = {made["gate_id"]: made for made in outcome.after.get("decisions", [])}
    for gate in outcome.gates:
        final = stored.get(gate)
        accepted = 0
        for _, who, verdict, answer in (made for made in outcome.made if made.gate == gate):
            if answer is None:
                continue
            if answer.code not in ((None,) if answer.ok else ("already_decided",)):
                faults.append(f"{gate}: {who} was answered {answer.code}: {answer.message}")
            if not answer.ok:
                continue
            accepted += 1
            if final is not None and final["decision"] == verdict:
                kept += 1
            else:
                lost = f"{gate}: {verdict} was acknowledged to {who}, and is not kept: {final}"
                (gone if answer.durable else waived).append(lost)
        if accepted > 1:
            faults.append(f"{gate}: {accepted} decisions were acknowledged")
        if final is None and not accepted:
            faults.append(f"{gate}: nobody has decided it")
        if final is not None and final["source"] == "timeout":
            faults.append(f"{gate}: it was decided by its deadline, long before that")
        heard = outcome.end["made"].get(gate)
        if final is not None and heard != final["decision"]:
            faults.append(f"{gate}: the engine heard {heard}, and the log has {final['decision']}")
    doubles = Counter(made["gate_id"] for made in outcome.after.get("decisions", []))
    faults += [f"{gate}: it is decided {count} times" for gate, count in doubles.items() if count > 1]
    return _Decisions(kept, waived, gone, faults)


def _is_said(outcome: Outcome) -> bool:
    """Whether anybody said that something is lost, or kept in memory only: on stderr, or to everybody who watches."""
    states = [outcome.before, *(seen.state for seen in outcome.seen)]
    codes = {fault.get("code") for state in states for fault in state.get("errors", [])}
    return bool(outcome.complaints) or bool(codes & {"log_unavailable", "log_lost", "events_lost"})


def _difference(right: Any, other: Any) -> str:
    """Where two states differ, in short."""
    return "; ".join(list(_differences(right, other, ""))[:4])


def _differences(right: Any, other: Any, where: str) -> Iterator[str]:
    if right == other:
        return
    if isinstance(right, dict) and isinstance(other, dict):
        for name in {**right, **other}:
            yield from _differences(right.get(name), other.get(name), f"{where}.{name}" if where else name)
    else:
        yield f"{where} is {str(other)[:120]}, not {str(right)[:120]}"
