from hypothesis import given
from hypothesis import strategies as st

from dagwidget.server.auth.rate_limit import Throttle


def test_so_many_are_let_through_at_once_and_then_as_often_as_it_says():
    throttle = Throttle(3, 2)
    assert [throttle.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert throttle.wait(100.0) == 0.5
    assert not throttle.take(100.4)
    assert throttle.take(100.5)
    assert not throttle.take(100.5)


def test_it_is_full_again_after_a_while_and_never_fuller():
    throttle = Throttle(3, 1)
    throttle.take(0.0)
    assert not throttle.is_full(0.5)
    assert throttle.is_full(1000.0)
    assert [throttle.take(1000.0) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_goes_back_lets_nothing_more_through():
    throttle = Throttle(1, 1)
    assert throttle.take(100.0)
    assert not throttle.take(50.0)


@given(st.lists(st.floats(0, 10), max_size=100), st.integers(1, 5), st.floats(0.1, 10))
def test_never_more_than_the_burst_and_the_rate_allow(pauses, burst, rate):
    throttle, now, taken = Throttle(burst, rate), 0.0, 0
    for pause in pauses:
        now += pause
        taken += throttle.take(now)
    assert taken <= burst + rate * now + 1e-6
