"""Clients that have not authenticated: how many may wait, who makes room, and how wrong tokens are counted."""

import pytest

from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits
from dagwidget.server.auth import door as doors
from dagwidget.server.auth.door import Door

LIMITS = Limits(unauthenticated=2, unauthenticated_in_all=3, failures_burst=1, failures_per_second=0.001)


class Waiting:
    """A door, and who was sent away from it."""

    def __init__(self) -> None:
        self.door = Door(LIMITS)
        self.ended: list[str] = []
        self.told: set[int] = set()

    def enter(self, name: str, address: str) -> None:
        def end(why: p.Bye) -> None:
            self.ended.append(name)
            self.told.add(why.code)

        self.door.enter(name, address, end)


@pytest.fixture
def waiting():
    return Waiting()


def test_one_more_of_an_address_ends_its_oldest_and_nobody_elses(waiting):
    for name, address in (("b", "10.0.0.2"), ("a1", "10.0.0.1"), ("a2", "10.0.0.1"), ("a3", "10.0.0.1")):
        waiting.enter(name, address)
    assert (waiting.ended, len(waiting.door)) == (["a1"], 3)


def test_one_more_of_all_ends_the_oldest_where_most_wait(waiting):
    for name, address in (("b", "10.0.0.2"), ("a1", "10.0.0.1"), ("a2", "10.0.0.1"), ("c", "10.0.0.3")):
        waiting.enter(name, address)
    assert (waiting.ended, len(waiting.door)) == (["a1"], 3)


def test_who_has_authenticated_or_left_is_not_counted(waiting):
    for name in "abcdef":
        waiting.enter(name, "10.0.0.1")
        waiting.door.leave(name)
        waiting.door.leave(name)
    assert (waiting.ended, len(waiting.door)) == ([], 0)


def test_a_server_that_stops_ends_them_all_and_who_still_comes(waiting):
    for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2")):
        waiting.enter(name, address)
    waiting.door.shut(p.Bye(code=4000, reason="the server restarts", retry=True))
    waiting.enter("c", "10.0.0.3")
    assert (sorted(waiting.ended), len(waiting.door)) == (["a", "b", "c"], 0)
    assert waiting.told == {4000}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::1", True),
        ("", "", True),
    ],
)
def test_a_machine_is_known_by_its_address_or_its_network(waiting, one, other, same):
    waiting.door.failed(one)
    assert (waiting.door.failed(other) > 0) is same


def test_wrong_tokens_are_told_to_wait_after_a_few():
    door = Door(LIMITS)
    assert door.failed("a") == 0
    assert door.failed("a") > 900
    assert door.failed("b") == 0


def test_there_is_an_end_to_the_addresses_that_are_remembered(monkeypatch):
    monkeypatch.setattr(doors, "_REMEMBERED", 10)
    door = Door(LIMITS)
    for i in range(25):
        door.failed(str(i))
    assert len(door._failures) == 10
    assert door.failed("24") > 0
