from dagwidget.backoff import backoff


def test_the_wait_doubles_up_to_half_a_minute_and_is_never_less_than_half():
    for failures, most in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30), (10_000, 30)]:
        for _ in range(50):
            assert most / 2 <= backoff(failures) <= most
