"""A simulated run: a graph as large as was asked for, played to its end."""

import threading
import time
from collections import Counter
from graphlib import TopologicalSorter

import pytest

from dagwidget.demo.simulate import graph, simulate

from .person import Person
from .serving import serving


@pytest.mark.parametrize("nodes", [5, 6, 7, 50, 1000, 10_000])
def test_a_graph_has_as_many_nodes_as_was_asked_for_and_holds_together(nodes):
    specs, edges = graph(nodes)
    names = [spec["id"] for spec in specs]
    assert len(set(names)) == len(names) == nodes
    before = {name: set() for name in names}
    for source, target in edges:
        before[target].add(source)
    order = [*TopologicalSorter(before).static_order()]
    assert set(order) == set(names)
    assert (order[0], order[-1]) == ("start", "report")
    assert [name for name, sources in before.items() if not sources] == ["start"]


def test_the_same_seed_gives_the_same_graph():
    assert graph(300) == graph(300) != graph(300, seed=8)


def test_too_few_nodes_are_refused():
    with pytest.raises(ValueError, match="at least 5"):
        simulate("d", 4)


@pytest.mark.slow
@pytest.mark.clock
def test_it_plays_to_its_gate_and_to_its_end(monkeypatch):
    monkeypatch.setattr("dagwidget.demo.simulate._FLAKY", 0.2)
    with serving() as server, Person(server, "big") as person:
        run = simulate("big", 200, 0.5, url=server.url, token=server.token)
        assert person.decide("review")["ok"]
        assert person.wait("execution_complete")["results"] == {"nodes": 200}
        state = person.state()
        assert Counter(node["status"] for node in state["nodes"].values()) == {"completed": 200}
        assert max(node.get("attempt", 1) for node in state["nodes"].values()) == 2
        assert state["cost"]["spent"] > 0
        assert run.flush(20)


@pytest.mark.clock
def test_a_rejection_ends_it():
    with serving() as server, Person(server, "big") as person:
        run = simulate("big", 20, 0.1, url=server.url, token=server.token)
        assert person.decide("review", "reject")["ok"]
        assert person.wait("execution_complete")["status"] == "cancelled"
        assert run.flush(20)


@pytest.mark.clock
def test_it_can_be_paused_and_cancelled():
    with serving() as server, Person(server, "big") as person:
        run = simulate("big", 500, 30, url=server.url, token=server.token)
        person.wait("node_state", status="completed")
        assert person.ask("pause_execution")["ok"]
        deadline = time.monotonic() + 20
        while person.state()["status"] != "paused":
            assert time.monotonic() < deadline
        assert person.ask("cancel_execution")["ok"]
        assert person.wait("execution_complete")["status"] == "cancelled"
        assert run.flush(20)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_it_stops_quietly_when_its_caller_ends_the_run():
    with serving() as server, Person(server, "big") as person:
        run = simulate("big", 5, 0.1, url=server.url, token=server.token)
        person.wait("human_gate_waiting")
        [thread] = [thread for thread in threading.enumerate() if thread.name == "simulation-big"]
        run.complete()
        thread.join(20)
        assert not thread.is_alive()
        assert run.flush(20)
