"""Whether the engine of a run is connected, silent, gone or lost."""

import pytest

from dagwidget.protocol.limits import Limits
from dagwidget.server.presence import Presence

LIMITS = Limits(silent_seconds=20, gone_seconds=10, lost_seconds=900)
START = 1_000_000


@pytest.fixture
def presence():
    return Presence(LIMITS, START)


def after(seconds: float) -> int:
    return START + round(seconds * 1000)


def test_an_engine_that_answers_is_connected_and_one_that_does_not_is_silent(presence):
    presence.connect(after(0))
    assert presence.state(after(19.9)) == "connected"
    assert presence.state(after(20)) == "silent"
    presence.hear(after(21))
    assert (presence.state(after(22)), presence.heard_at) == ("connected", after(21))
    assert not presence.is_lost(after(10**6))


def test_an_engine_is_gone_10_s_after_its_last_frame_and_lost_15_min_after_it(presence):
    presence.connect(after(0))
    presence.hear(after(5))
    presence.disconnect()
    assert [presence.state(after(seconds)) for seconds in (14.9, 15)] == ["connected", "gone"]
    assert [presence.is_lost(after(seconds)) for seconds in (904.9, 905)] == [False, True]
    presence.connect(after(2000))
    assert presence.state(after(2000)) == "connected"


def test_an_engine_with_two_connections_stays_until_both_have_ended(presence):
    for _ in range(2):
        presence.connect(after(0))
    presence.disconnect()
    assert presence.state(after(15)) == "connected"
    presence.disconnect()
    assert presence.state(after(15)) == "gone"


def test_a_restart_of_the_server_looks_like_no_death_and_forgets_no_time():
    presence = Presence(LIMITS, START, heard_at=START - 10**9)
    assert [presence.state(after(seconds)) for seconds in (9.9, 10)] == ["connected", "gone"]
    assert [presence.is_lost(after(seconds)) for seconds in (899.9, 900)] == [False, True]
    assert presence.heard_at == START - 10**9


def test_a_last_frame_from_the_future_keeps_no_engine_alive():
    presence = Presence(LIMITS, started_at=1_000_000, heard_at=1_000_000 + 3_600_000)
    assert presence.heard_at == 1_000_000
    assert presence.state(1_000_000 + 60_000) == "gone"
