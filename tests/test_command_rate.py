"""How many commands a connection may send: so many at once, and so many a second for as long as it likes."""

import pytest

from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits
from dagwidget.server.room import Room

from .test_session import NOW, ended, greeted, heard, hello, plain, send, start_run

DEFAULT = Limits()


def begun(limits: Limits = DEFAULT) -> Room:
    room = Room("dag", limits)
    start_run(room)
    return room


def refused(session, first: int, count: int, now: int) -> int:
    """Sends `count` commands at once; gives how many of them came too often."""
    send(session, *(p.PauseExecution(id=f"c{first + i}") for i in range(count)), now=now)
    acks = [message for message in heard(session, now) if isinstance(message, p.CommandAck)]
    assert len(acks) == count
    return sum(ack.code == "too_often" for ack in acks)


@pytest.mark.parametrize("make", [greeted, plain])
@pytest.mark.parametrize("limits", [DEFAULT, Limits(commands_burst=5, commands_per_second=2)])
def test_after_a_burst_no_more_commands_are_taken_than_so_many_a_second(make, limits):
    session = make(begun(limits))
    send(session, hello())
    heard(session)
    # The hello of a v1 client counts, and so does each more.
    sent = refused(session, 0, limits.commands_burst + 10, NOW)
    assert 10 <= sent <= 12
    rate, asked, late = int(limits.commands_per_second), 0, 0
    for second in range(1, 31):
        asked += 3 * rate
        late += refused(session, 1000 * second, 3 * rate, NOW + second * 1000)
    assert asked - late == 30 * rate


def test_after_a_burst_no_more_hellos_are_taken_than_so_many_a_second():
    session = greeted(begun())
    rate = int(DEFAULT.commands_per_second)
    send(session, *[hello()] * (DEFAULT.commands_burst - 1))
    heard(session)
    for second in range(1, 4):
        send(session, *[hello()] * rate, now=NOW + second * 1000)
        heard(session, NOW + second * 1000)
        assert session.ended is None
    send(session, hello(), now=NOW + 3000)
    ended(session, 4429)
