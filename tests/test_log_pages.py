"""A run's log over HTTP, page by page: what a replay is made of."""

import contextlib
import http.client
import json
from urllib.parse import urlsplit

import msgspec
import pytest

import dagwidget
from dagwidget import protocol as p
from dagwidget.client.http import log_page
from dagwidget.discovery import Endpoint
from dagwidget.protocol.limits import Limits
from dagwidget.server.storage.page import Page
from dagwidget.server.storage.sqlite import SqliteJournal
from dagwidget.state import DagState

from .serving import serving


@pytest.fixture(params=["memory", "sqlite"])
def journal(request, tmp_path):
    if request.param == "memory":
        yield None
        return
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    yield journal
    journal.close()


@pytest.fixture
def server(journal):
    with serving(journal=journal) as server:
        yield server


@contextlib.contextmanager
def running(server, **options):
    """A run that has arrived when it is over."""
    with dagwidget.start_run("dag", ["a", "b"], url=server.url, token=server.token, **options) as run:
        yield run
    assert run.flush(20)


def get(server, path, token=None):
    """The status of the answer, and its text."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token or server.token}"})
    answer = connection.getresponse()
    with contextlib.closing(connection):
        return answer.status, answer.read().decode()


def page(server, run_id, **query):
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    status, text = get(server, f"/api/dags/dag/runs/{run_id}/events?{asked}")
    assert status == 200, text
    return json.loads(text)


def pages(server, run_id, **query):
    """All of a run's events, page by page."""
    after = 0
    while True:
        one = page(server, run_id, after=after, **query)
        yield one
        after = one["after"] + len(one["events"])
        if after >= one["head"]:
            return


def test_the_pages_of_a_run_add_up_to_its_state(server):
    with running(server) as run:
        for i in range(40):
            with run.node("a", instance=f"i{i}"):
                pass
    state = DagState(epoch=run.run_id)
    seen = [*pages(server, run.run_id, limit=7)]
    assert len(seen) > 10
    for one in seen:
        assert one["dag_id"] == "dag"
        assert one["epoch"] == run.run_id
        assert len(one["events"]) <= 7
        for event in p.decode_server(json.dumps(one["events"])):
            assert event.seq == state.seq + 1
            state.apply(event)
    assert state.seq == seen[-1]["head"]
    status, text = get(server, "/api/dags/dag")
    assert (status, json.loads(text)["state"]) == (200, msgspec.to_builtins(state.to_dict()))


def test_after_the_last_event_there_is_an_empty_page(server):
    with running(server) as run:
        pass
    whole = page(server, run.run_id)
    head = whole["head"]
    assert [event["seq"] for event in whole["events"]] == [*range(1, head + 1)]
    assert page(server, run.run_id, after=head)["events"] == []
    assert page(server, run.run_id, after=head + 100)["events"] == []


def test_a_page_has_a_mebibyte_at_most_but_an_event_in_any_case(server):
    with running(server) as run:
        for i in range(12):
            run.error("x" * 200_000, code=f"{i}")
    sizes = [sum(len(json.dumps(event)) for event in one["events"]) for one in pages(server, run.run_id)]
    assert len(sizes) > 2
    assert max(sizes) <= 1024 * 1024
    assert Page(0, 2, [b"x" * 10, b"y"]).within(5) == Page(0, 2, [b"x" * 10])


@pytest.mark.parametrize("query", ["after=x", "after=-1", "limit=1.5", "after=" + "9" * 30])
def test_what_is_no_number_is_refused(server, query):
    with running(server) as run:
        pass
    status, text = get(server, f"/api/dags/dag/runs/{run.run_id}/events?{query}")
    assert status == 400
    assert "is a number, 0 or more" in text


def test_what_is_not_here_and_who_may_not_see_it(server):
    with running(server) as run:
        pass
    for path in ("/api/dags/dag/runs/none/events", "/api/dags/none/runs/none/events", "/api/dags/dag/events"):
        assert get(server, path)[0] == 404
    assert get(server, f"/api/dags/dag/runs/{run.run_id}/events", token="wrong")[0] == 401


def test_what_memory_let_go_is_refused_and_said():
    with serving(limits=Limits(log_events=20)) as server:
        with running(server) as run:
            for _ in range(100):
                run.update("a", "running")
        status, text = get(server, f"/api/dags/dag/runs/{run.run_id}/events")
        assert status == 410
        assert "no log on disk, and keeps the last 20 in memory" in text
        with pytest.raises(dagwidget.NotConnected, match="no log on disk"):
            log_page(lambda: Endpoint(server.url, server.token), "dag", run.run_id, 0)


def test_what_memory_let_go_is_read_from_disk(tmp_path):
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    with contextlib.closing(journal), serving(journal=journal, limits=Limits(log_events=20)) as server:
        with running(server) as run:
            for _ in range(100):
                run.update("a", "running")
        seen = [event["seq"] for one in pages(server, run.run_id, limit=30) for event in one["events"]]
        assert seen == [*range(1, seen[-1] + 1)]
        assert len(seen) > 100


def test_a_past_run_is_read_without_being_loaded(tmp_path):
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    with contextlib.closing(journal), serving(journal=journal) as server:
        with running(server) as first:
            first.update("a", "running")
        with running(server):
            pass
        [whole] = pages(server, first.run_id)
        assert whole["events"][-1]["type"] == "execution_complete"
