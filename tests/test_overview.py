"""The stream of all DAGs: their run lists, filtered by what the token permits."""

import asyncio
import contextlib
import json
import time

import pytest
from websockets.asyncio.client import connect as open_socket

import dagwidget
from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits
from dagwidget.server.app import StreamServer
from dagwidget.server.auth.grant import Grant
from dagwidget.server.auth.token_store import Tokens
from dagwidget.server.room import Refused, Room
from dagwidget.server.run_list import RunList
from dagwidget.server.sessions.overview import OverviewSession

# Far longer than anything takes: only a fault gets here.
PATIENCE = 20.0
OWN = "the server's own"


def summary(run_id: str, **fields) -> p.RunSummary:
    return p.RunSummary(**{"run_id": run_id, "status": "running", "started_at": 1, "engine": "connected", **fields})


class Overview:
    """A session without a socket, and the time."""

    def __init__(self, lists: dict[str, RunList], permits=lambda _token, _dag: True) -> None:
        def authorize(token):
            return GRANT if token == "good" else None

        self.now = 0
        self.session = OverviewSession(Room("", Limits()), authorize, self.now, lists=lists.items, permits=permits)

    def say(self, **message) -> None:
        self.session.receive(json.dumps(message), self.now)

    def said(self) -> list[dict]:
        frames = iter(lambda: self.session.pull(self.now), None)
        return [json.loads(frame) for frame in frames]

    def a_second_later(self) -> list[dict]:
        self.now += 1000
        return self.said()


GRANT = Grant(role="view", user="ann")


@pytest.fixture
def lists():
    found = {"a": RunList(), "b": RunList(), "empty": RunList()}
    found["a"].put(summary("a1"))
    found["b"].put(summary("b1", gates=1))
    return found


@pytest.fixture
def overview(lists):
    overview = Overview(lists)
    overview.say(type="hello", protocol=1, token="good")
    return overview


def test_it_begins_with_the_whole_list_of_each_dag_that_has_runs(overview):
    welcome, *runs, synced = overview.said()
    assert (welcome["type"], welcome["dag_id"], synced["type"]) == ("welcome", "", "synced")
    assert {each["dag_id"]: [run["run_id"] for run in each["runs"]] for each in runs} == {"a": ["a1"], "b": ["b1"]}
    assert [each["waiting"] for each in runs] == [0, 1]


def test_then_only_what_changed_at_most_once_a_second(overview, lists):
    overview.said()
    lists["a"].put(summary("a2", started_at=2))
    lists["a"].put(summary("a3", started_at=3))
    assert overview.said() == []
    (runs,) = overview.a_second_later()
    assert (runs["dag_id"], runs["total"]) == ("a", 3)
    assert [run["run_id"] for run in runs["runs"]] == ["a3", "a2"]
    assert overview.a_second_later() == []


def test_a_dag_that_is_gone_has_no_runs_and_is_listed_whole_when_it_is_back(overview, lists):
    overview.said()
    del lists["a"]
    (gone,) = overview.a_second_later()
    assert (gone["dag_id"], gone["total"], gone["runs"]) == ("a", 0, [])
    lists["a"] = RunList()
    lists["a"].put(summary("a9"))
    (back,) = overview.a_second_later()
    assert [run["run_id"] for run in back["runs"]] == ["a9"]


def test_a_dag_that_the_token_does_not_permit_is_never_named(lists):
    overview = Overview(lists, permits=lambda token, dag_id: (token, dag_id) == ("good", "a"))
    overview.say(type="hello", protocol=1, token="good")
    lists["b"].put(summary("b2"))
    told = overview.said() + overview.a_second_later()
    assert {each["dag_id"] for each in told if each["type"] == "runs"} == {"a"}


def test_it_says_nothing_before_hello_and_takes_no_commands(lists):
    overview = Overview(lists)
    assert overview.said() == []
    overview.say(type="hello", protocol=1, token="good")
    overview.said()
    overview.say(type="pause_execution", id="c1", run_id="a1")
    (ack,) = overview.said()
    assert (ack["id"], ack["ok"], ack["code"]) == ("c1", False, "unknown_run")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "hello", "protocol": 1}, 4401),
        ({"type": "hello", "protocol": 0, "token": "good"}, 4409),
        ({"type": "ack", "seq": 1}, 4400),
    ],
)
def test_who_may_not_watch_is_told_why(lists, message, code):
    overview = Overview(lists)
    overview.say(**message)
    (bye,) = overview.said()
    assert (bye["type"], bye["code"]) == ("bye", code)


def test_lists_that_can_not_be_read_are_said_to_be_never_shown_as_empty(lists):
    def unreadable():
        raise Refused(4008, "the runs can't be read: the disk is gone", after_ms=5000)

    for told_before in (False, True):
        overview = Overview(lists)
        if told_before:
            overview.say(type="hello", protocol=1, token="good")
            overview.said()
        overview.session._lists = unreadable
        if not told_before:
            overview.say(type="hello", protocol=1, token="good")
        *_, bye = overview.a_second_later()
        assert (bye["code"], bye["reason"], bye["retry"]) == (4008, "the runs can't be read: the disk is gone", True)


async def test_over_a_socket_each_token_sees_the_runs_of_its_dags(tmp_path):
    tokens = Tokens(tmp_path / "tokens")
    _, guest = tokens.create("guest", "view", now=time.time_ns() // 1_000_000, dag_id="mine")
    async with StreamServer(token=OWN, tokens=tokens) as server, contextlib.AsyncExitStack() as stack:
        runs = {dag_id: dagwidget.start_run(dag_id, url=server.url, token=OWN) for dag_id in ("mine", "theirs")}
        for run in runs.values():
            assert await asyncio.to_thread(run.flush, PATIENCE)

        async def watch(token):
            socket = await stack.enter_async_context(open_socket(f"{server.url}/api/stream"))
            await socket.send(json.dumps({"type": "hello", "protocol": 1, "token": token}))
            return socket

        async def listed(socket, until):
            seen = {}
            async with asyncio.timeout(PATIENCE):
                while True:
                    message = json.loads(await socket.recv())
                    if message["type"] == "runs":
                        seen[message["dag_id"]] = [run["status"] for run in message["runs"]]
                    if until(message):
                        return seen

        def synced(message):
            return message["type"] == "synced"

        own, limited = await watch(OWN), await watch(guest)
        assert await listed(own, synced) == {"mine": ["running"], "theirs": ["running"]}
        assert await listed(limited, synced) == {"mine": ["running"]}
        for run in runs.values():
            run.complete()
        changed = await listed(limited, lambda message: message["type"] == "runs")
        assert changed == {"mine": ["completed"]}
