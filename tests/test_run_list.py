"""The run list of a DAG: its order, which run a client follows, and what clients are sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagwidget import protocol as p
from dagwidget.server.run_list import RunList


def run(run_id: str, started_at: int = 0, **fields) -> p.RunSummary:
    return p.RunSummary(
        **{"run_id": run_id, "started_at": started_at, "status": "running", "engine": "connected", **fields}
    )


def ended(run_id: str, started_at: int = 0) -> p.RunSummary:
    return run(run_id, started_at, status="completed", engine="ended")


@pytest.fixture
def runs():
    return RunList()


def ids(runs) -> list[str]:
    return [each.run_id for each in runs]


def test_runs_are_ordered_by_their_own_start_and_then_by_id(runs):
    for each in (run("b", 2), run("a", 2), run("c", 1), run("d", 3)):
        runs.put(each)
    assert ids(runs) == ["d", "b", "a", "c"]


def test_the_start_of_a_run_is_set_once(runs):
    runs.put(run("a", 2))
    runs.put(run("a", 9, status="paused"))
    assert (runs.get("a").started_at, runs.get("a").status) == (2, "paused")


@pytest.mark.parametrize(
    ("current", "followed"),
    [
        (None, "live"),
        ("old", "old"),
        ("live", "live"),
        ("ended", "live"),
        ("lost", "live"),
        ("gone", "live"),
        ("?", "live"),
    ],
)
def test_a_client_stays_while_its_run_lives_and_else_follows_the_newest_live_one(runs, current, followed):
    for each in (
        run("old", 1),
        run("live", 2),
        ended("ended", 3),
        run("lost", 4, status="lost", engine="gone"),
        run("gone", 5, engine="gone"),
    ):
        runs.put(each)
    assert runs.followed(current) == followed


def test_without_a_live_run_it_follows_the_newest(runs):
    assert runs.followed("?") is None
    runs.put(ended("a", 2))
    runs.put(run("b", 1, engine="gone"))
    assert [runs.followed(current) for current in (None, "a", "b")] == ["a", "a", "a"]
    runs.put(run("b", 1))
    assert runs.followed("a") == "b"
    runs.remove("b")
    assert runs.followed("b") == "a"


statuses = st.sampled_from(
    [("running", "connected"), ("running", "silent"), ("paused", "gone"), ("lost", "gone"), ("failed", "ended")]
)
rows = st.tuples(st.sampled_from("abcd"), st.integers(0, 3), statuses)


@given(st.lists(rows | st.sampled_from("abcd"), max_size=12), st.sampled_from([None, *"abcd"]))
def test_what_is_followed_is_the_same_however_the_list_came_to_be(changes, current):
    runs, first = RunList(), {}
    for change in changes:
        if isinstance(change, str):
            runs.remove(change)
            first.pop(change, None)
        else:
            run_id, started_at, (status, engine) = change
            runs.put(run(run_id, started_at, status=status, engine=engine))
            first.setdefault(run_id, started_at)
        # Each answer may be remembered.
        runs.followed(None)
    live = {each.run_id for each in runs if each.status in ("running", "paused") and each.engine != "gone"}
    newest = sorted(first, key=lambda run_id: (first[run_id], run_id))
    choice = [run_id for run_id in newest if run_id in live] or newest or [None]
    assert ids(runs) == newest[::-1]
    assert runs.followed(current) == (current if current in live else choice[-1])


def test_a_client_is_sent_the_50_newest_and_those_with_open_gates_and_then_what_changed(runs):
    for number in range(60):
        runs.put(run(f"run-{number:02}", number, gates=int(number == 3)))
    whole = runs.message()
    assert (whole.total, whole.live, whole.waiting, whole.removed) == (60, 60, 1, None)
    assert [each.run_id for each in whole.runs] == [*(f"run-{number:02}" for number in range(59, 9, -1)), "run-03"]
    since = runs.version
    runs.put(ended("run-05", 5))
    runs.remove("run-00")
    news = runs.message(since)
    assert ([each.run_id for each in news.runs], news.removed, news.total, news.live) == (
        ["run-05"],
        ["run-00"],
        59,
        58,
    )


def test_what_changes_with_each_event_is_no_news(runs):
    runs.put(run("a"))
    before = runs.version
    runs.put(run("a", events=5, spent=0.5))
    assert runs.version == before
    assert (runs.get("a").events, runs.get("a").spent) == (5, 0.5)


def test_it_is_encoded_once_for_all_at_the_same_place(runs):
    runs.put(run("a"))
    whole = runs.encoded()
    assert runs.encoded() is whole
    runs.put(run("a", events=5))
    assert runs.encoded() != whole
    [message] = p.decode_server(runs.encoded())
    assert message == runs.message()


def test_a_removed_run_is_remembered_until_it_begins_again(runs):
    runs.put(run("a"))
    runs.remove("a")
    runs.remove("never")
    assert (runs.was_removed("a"), runs.was_removed("never"), runs.get("a")) == (True, False, None)
    runs.put(run("a"))
    assert not runs.was_removed("a")


def test_only_so_many_removed_runs_are_remembered(runs):
    for number in range(1500):
        runs.put(run(str(number)))
        runs.remove(str(number))
    assert not runs.was_removed("0")
    assert runs.was_removed("1499")
    assert len(runs.message(1).removed) == 1000
