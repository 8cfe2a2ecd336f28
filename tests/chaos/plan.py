"""What happens in a schedule: drawn by its kind, and by a random number generator with a seed of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Final, NamedTuple, TypeAlias

Step: TypeAlias = tuple[object, ...]
"""The name of a method of `Play`, and its arguments."""

_WHO: Final = ("publisher", "client", "page")
_HOUR: Final = 3600


class Schedule(NamedTuple):
    """Which schedule of a run of them."""

    seed: int
    kind: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.number}"

    @property
    def random(self) -> Random:
        """The same numbers each time."""
        return Random(f"{self.seed}/{self.name}")

    def steps(self) -> list[Step]:
        """What happens."""
        random = self.random
        return list(KINDS[self.kind](random))


def schedules(seed: int, count: int) -> list[Schedule]:
    """`count` schedules, of each kind as many."""
    kinds = list(KINDS)
    return [Schedule(seed, kinds[i % len(kinds)], i // len(kinds)) for i in range(count)]


def described(step: Step) -> str:
    """A step as a line of text."""
    return " ".join(str(part) for part in step)


# --- Parts


def _begin(random: Random) -> Iterator[Step]:
    """The engine and those who watch come in any order; each may ask for the run, or follow the DAG."""
    who: list[Step] = [("begin",), ("watch", random.random() < 0.5)]
    random.shuffle(who)
    yield from who


def _say(random: Random) -> Step:
    return ("say", random.randint(5, 50))


def _decide(random: Random, gate: str) -> list[Step]:
    """One viewer decides, or both at once, by whatever is there of the network."""
    deciders = random.choice((["client"], ["page"], ["client", "page"]))
    return [("decide", gate, who, random.choice(("approve", "reject"))) for who in deciders]


def _some(random: Random) -> list[str]:
    return random.sample(_WHO, random.randint(1, 3))


def _around(random: Random, faults: Callable[[int], list[Step]], *, most: int = 3) -> Iterator[Step]:
    """Faults in the midst of events and decisions: each is opened, struck and decided in any order."""
    yield from _begin(random)
    yield _say(random)
    for i in range(random.randint(1, most)):
        gate = f"g{i}"
        struck = faults(i)
        rest: list[Step] = [("open", gate, None), _say(random), *_decide(random, gate)]
        # In order, each of both; the faults fall anywhere in between.
        while struck or rest:
            yield (struck if struck and (not rest or random.random() < 0.5) else rest).pop(0)
        yield _say(random)


# --- On the wire


def _on_wires(random: Random, one: Callable[[str], list[Step]]) -> Iterator[Step]:
    yield from _around(random, lambda _: [step for who in _some(random) for step in one(who)])


def _cut(random: Random) -> Iterator[Step]:
    yield from _on_wires(random, lambda who: [("cut", who)] * random.randint(1, 3))


def _handshake(random: Random) -> Iterator[Step]:
    """The first handshake fails, and later ones."""
    modes = ("reset", "reset late", "503")
    # A single refusal is the meanest: what is tried next succeeds.
    times = (1, 1, 2, None)
    first = _some(random)
    for who in first:
        yield ("refuse", who, random.choice(modes), random.choice(times))
    yield from _begin(random)
    yield ("pause", random.uniform(0.3, 1.5))
    for who in first:
        yield ("mend", who, False)
    yield _say(random)
    yield ("open", "g0", None)
    for who in _some(random):
        yield ("refuse", who, random.choice(modes), random.choice(times))
        yield ("cut", who)
    yield from _decide(random, "g0")
    yield _say(random)
    yield ("pause", random.uniform(0.2, 1.5))


def _delay(random: Random) -> Iterator[Step]:
    yield from _on_wires(random, lambda who: [("delay", who, random.uniform(0.01, 0.3)), ("mend", who, False)])


def _swallow(random: Random) -> Iterator[Step]:
    def faults(who: str) -> list[Step]:
        lost = random.choice((("up",), ("down",), ("up", "down")))
        # Mostly the route says in the end that it was gone; otherwise both ends must notice by themselves.
        says = random.random() < 0.8
        return [("swallow", who, *lost), ("pause", random.uniform(0.1, 1.0)), ("mend", who, says)]

    yield from _on_wires(random, faults)


def _trickle(random: Random) -> Iterator[Step]:
    for who in _some(random):
        yield ("chunk", who, 1)
    yield from _on_wires(random, lambda who: [("chunk", who, random.choice((1, 2, 3, 7)))])


def _double(random: Random) -> Iterator[Step]:
    yield from _on_wires(random, lambda who: [("double", who, random.choice(("up", "down")))] * random.randint(1, 3))


def _half(random: Random) -> Iterator[Step]:
    yield from _on_wires(random, lambda who: [("half", who, random.choice(("up", "down")))])


def _close(random: Random) -> Iterator[Step]:
    yield from _on_wires(random, lambda who: [("close", who, random.choice((1000, 1001, 1011, 1012, 1013)))])


# --- The server


def _restart(random: Random) -> Iterator[Step]:
    yield from _around(random, lambda _: [("stop",), ("start",)], most=2)


def _kill(random: Random) -> Iterator[Step]:
    yield from _around(random, lambda _: [("kill",), ("start",)], most=2)


def _freeze(random: Random) -> Iterator[Step]:
    yield from _around(random, lambda _: [("freeze",), ("pause", random.uniform(0.1, 2.0)), ("thaw",)], most=2)


# --- Disks


def _full(random: Random) -> Iterator[Step]:
    """There is no space, then there is again; in between the server may be killed."""
    yield from _begin(random)
    yield _say(random)
    yield ("fill",)
    yield _say(random)
    yield ("open", "g0", None)
    yield from _decide(random, "g0")
    yield ("decided",)
    yield _say(random)
    if random.random() < 0.5:
        yield from [("kill",), ("free",), ("start",)]
    else:
        yield from [("pause", random.uniform(0.0, 1.0)), ("free",)]
    yield _say(random)
    yield ("open", "g1", None)
    yield from _decide(random, "g1")


def _read_only(random: Random) -> Iterator[Step]:
    yield from _begin(random)
    yield _say(random)
    yield ("open", "g0", None)
    yield from _decide(random, "g0")
    yield (random.choice(("stop", "kill")),)
    yield from [("protect",), ("start_in_vain",), _say(random), ("unprotect",), ("start",)]
    yield _say(random)


def _vanish(random: Random) -> Iterator[Step]:
    yield from _begin(random)
    yield _say(random)
    yield ("open", "g0", None)
    yield from _decide(random, "g0")
    yield ("decided",)
    yield ("vanish",)
    yield _say(random)
    yield ("open", "g1", None)
    yield from _decide(random, "g1")
    yield ("decided",)
    yield ("pause", random.uniform(0.0, 3.0))
    if random.random() < 0.5:
        yield from [(random.choice(("stop", "kill")),), ("start",)]
    yield _say(random)


def _damage(random: Random) -> Iterator[Step]:
    yield from _begin(random)
    # Enough for many pages.
    for _ in range(random.randint(4, 8)):
        yield ("say", 50)
    yield ("open", "g0", None)
    yield from _decide(random, "g0")
    yield ("decided",)
    kind = random.choice(("json", "records", "zeroed", "header", "truncated", "wal"))
    # What was not killed has moved its log into the file.
    yield ("kill" if kind == "wal" else "stop",)
    yield from [("damage", kind), ("start",)]
    yield _say(random)
    yield ("open", "g1", None)
    yield from _decide(random, "g1")


# --- Clocks


def _jumps(random: Random) -> float:
    return random.choice((_HOUR, -_HOUR, 24 * _HOUR, -24 * _HOUR, random.uniform(-300, 300)))


def _clock(whose: str) -> Callable[[Random], Iterator[Step]]:
    def steps(random: Random) -> Iterator[Step]:
        """A clock jumps while a gate is open that approves itself in half an hour, or in two."""
        yield from _begin(random)
        yield _say(random)
        yield ("open", "g0", random.choice((1800, 7200)))
        yield _say(random)
        for _ in range(random.randint(1, 2)):
            yield ("jump", whose, _jumps(random))
            # The server looks twice a second.
            yield ("pause", random.uniform(0.0, 1.5))
            yield _say(random)
        yield ("decide", "g0", random.choice(("client", "page")), "reject")
        if random.random() < 0.3:
            # A server that was down can't tell a clock that was set from time that passed.
            yield from [("decided",), ("kill",), ("start",)]
        yield _say(random)

    return steps


# --- Everything


def _storm(random: Random) -> Iterator[Step]:
    """Wires and the server, as it comes."""

    def one(_: int) -> list[Step]:
        who = random.choice(_WHO)
        return random.choice(
            (
                [("cut", who)],
                [("half", who, random.choice(("up", "down")))],
                [("close", who, random.choice((1000, 1001, 1012)))],
                [("delay", who, 0.05), ("cut", random.choice(_WHO)), ("mend", who, True)],
                [("refuse", who, random.choice(("reset", "503")), 1), ("cut", who)],
                [("kill",), ("cut", who), ("start",)],
                [("stop",), ("start",)],
                [("freeze",), ("cut", who), ("thaw",)],
                [("double", who, "up"), ("chunk", who, 1)],
            )
        )

    yield from _around(random, lambda i: [step for _ in range(random.randint(1, 3)) for step in one(i)])


KINDS: Final[dict[str, Callable[[Random], Iterator[Step]]]] = {
    "cut": _cut,
    "handshake": _handshake,
    "delay": _delay,
    "swallow": _swallow,
    "trickle": _trickle,
    "double": _double,
    "half-close": _half,
    "close-code": _close,
    "restart": _restart,
    "kill": _kill,
    "freeze": _freeze,
    "full": _full,
    "read-only": _read_only,
    "vanish": _vanish,
    "damage": _damage,
    "clock-server": _clock("server"),
    "clock-engine": _clock("publisher"),
    "clock-page": _clock("page"),
    "storm": _storm,
}
"""Each kind of fault."""

SAMPLE: Final = (
    *("cut/0", "handshake/1", "handshake/4", "delay/0", "swallow/1", "trickle/0", "double/0", "half-close/0"),
    *("close-code/1", "close-code/2", "restart/0", "kill/0", "freeze/0", "full/1", "read-only/0", "vanish/3"),
    *("damage/1", "damage/3", "damage/4", "clock-server/3", "clock-engine/0", "clock-page/0", "storm/0"),
)
"""What CI performs, with the seed 13: each kind of fault, and what once lost something."""
