"""A client written from seven event types and four commands alone follows and steers our server, over real sockets.

It knows nothing else of dagwidget: no subprotocol, no `hello`, no ids, no `bye`.
"""

import json
import threading
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as open_socket

import dagwidget

from .proxy import CutProxy
from .serving import serving

# Far longer than anything takes: only a fault gets here.
PATIENCE = 20.0

STATUSES = {"pending", "running", "waiting", "completed", "failed", "skipped", "cancelled"}
NUMBER = (int, float, type(None))
# The fields that each event must have, as the types say.
REQUIRED = {
    "node_state": {"node_id": str, "status": str},
    "edge_active": {"from": str, "to": str},
    "dag_mutated": {"mutation": dict},
    "cost_update": {"spent": (int, float), "budget": NUMBER, "remaining": NUMBER},
    "execution_complete": {"results": object},
    "human_gate_waiting": {"node_id": str, "presentation": dict},
    "error": {"message": str},
}


class SeedClient:
    """Reads one event a frame, and keeps what a page would show."""

    def __init__(self, url: str, token: str) -> None:
        self.socket = open_socket(url, additional_headers={"Authorization": f"Bearer {token}"})
        self.types: set[str] = set()
        self.nodes: dict[str, str] = {}
        self.gates: list[str] = []
        self.errors: list[str] = []
        self.spent = 0.0
        self.active: set[tuple[str, str]] = set()
        self.results: object = None

    def read_until(self, there) -> None:
        while not there():
            self.take(json.loads(self.socket.recv(timeout=PATIENCE)))

    def take(self, event: dict) -> None:
        fields = REQUIRED[event["type"]]
        assert all(isinstance(event[name], kind) for name, kind in fields.items()), event
        self.types.add(event["type"])
        match event["type"]:
            case "node_state":
                assert event["status"] in STATUSES
                self.nodes[event["node_id"]] = event["status"]
            case "edge_active":
                self.active.add((event["from"], event["to"]))
            case "dag_mutated":
                mutation = event["mutation"]
                self.nodes |= {node["id"]: "pending" for node in mutation.get("add_nodes") or ()}
                for node_id in mutation.get("remove_nodes") or ():
                    self.nodes.pop(node_id, None)
            case "cost_update":
                self.spent = event["spent"]
            case "execution_complete":
                self.results = event["results"]
            case "human_gate_waiting":
                self.gates.append(event["node_id"])
                self.nodes[event["node_id"]] = "waiting"
            case "error":
                self.errors.append(event["message"])

    def send(self, kind: str, **fields) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def proxy(server):
    proxy = CutProxy(urlsplit(server.url).port)
    yield proxy
    proxy.close()


def eventually(changed: threading.Condition, there) -> None:
    with changed:
        assert changed.wait_for(there, PATIENCE)


def test_the_seven_events_and_the_four_commands_work_through_a_cut_and_into_a_new_run(server, proxy):
    url = f"ws://127.0.0.1:{proxy.port}/api/dags/seed/stream"
    options = {"url": server.url, "token": server.token}
    asked: list[str] = []
    changed = threading.Condition()

    def note(status: str) -> None:
        with changed:
            asked.append(status)
            changed.notify_all()

    run = dagwidget.start_run("seed", ["a", "review"], [("a", "review")], budget=2.0, **options)
    run.on_control(note)
    client = SeedClient(url, server.token)
    with run.node("a") as node:
        node.cost(0.5)
        run.edge("a", "review")
        run.error("careful")
    first = run.gate("review", title="Ship it?")
    client.read_until(lambda: client.gates and client.spent == 0.5 and client.errors and client.active)
    assert client.nodes == {"a": "completed", "review": "waiting"}

    # A cut: the client connects again, and is given the state, with what happened meanwhile.
    proxy.cut()
    with pytest.raises(ConnectionClosed):
        client.read_until(lambda: False)
    run.error("while you were away")
    assert run.flush(PATIENCE)
    proxy.open()
    client = SeedClient(url, server.token)
    client.read_until(lambda: "while you were away" in client.errors and client.gates)
    client.send("human_decision", node_id="review", decision="modify", feedback="smaller", value={"n": 1})
    decision = first.result(timeout=PATIENCE)
    assert (decision.decision, decision.feedback, decision.value) == ("modify", "smaller", {"n": 1})
    client.send("pause_execution")
    eventually(changed, lambda: "pausing" in asked)
    client.send("resume_execution")
    eventually(changed, lambda: len(asked) > 1)
    client.send("cancel_execution")
    eventually(changed, lambda: "cancelling" in asked)
    run.complete({"model": "v1"})
    client.read_until(lambda: client.results == {"model": "v1"})
    types = client.types | {"edge_active"}

    # A new run: the same connection is taken there, and keeps nothing of the old one.
    with dagwidget.start_run("seed", ["b"], **options) as after:
        client.read_until(lambda: client.nodes == {"b": "pending"})
        second = after.gate("b", title="Again?")
        client.read_until(lambda: client.gates[-1] == "b")
        # What comes within 2 s of the move may mean the run before, unless it is about a gate that opened since.
        client.send("human_decision", node_id="b", decision="approve")
        client.send("human_decision", node_id="b", decision="approve", gate_id=second.gate_id)
        assert second.result(timeout=PATIENCE).decision == "approve"
        after.complete(1)
    client.read_until(lambda: client.results == 1)
    assert types == {*REQUIRED}


def test_nobody_tells_it_goodbye_but_the_close_frame(server):
    with dagwidget.start_run("seed", ["a"], url=server.url, token=server.token) as run:
        client = SeedClient(f"{server.url}/api/dags/seed/stream", server.token)
        client.read_until(lambda: "a" in client.nodes)
        client.socket.send("{")
        with pytest.raises(ConnectionClosed) as closed:
            client.read_until(lambda: False)
        assert closed.value.rcvd.code == 4400
        run.complete()
