"""The server on real sockets: who is let in, what they are told, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from dagwidget import protocol as p
from dagwidget.discovery import Endpoint
from dagwidget.protocol.limits import Limits
from dagwidget.server.app import StreamServer
from dagwidget.server.room_registry import Rooms
from dagwidget.server.storage.sqlite import SqliteJournal
from dagwidget.state import DagState

TOKEN = "a-token-of-the-test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
# Far longer than anything takes: only a fault gets here.
PATIENCE = 20.0


@pytest.fixture
async def server():
    async with StreamServer(token=TOKEN, user="ana") as server:
        yield server


def running(node_id: str = "a", **fields) -> p.NodeState:
    return p.NodeState(node_id=node_id, status="running", **fields)


def socket_to(url: str, **options) -> connect:
    return connect(url, compression=None, ping_interval=None, proxy=None, max_size=None, **options)


class Peer:
    """One end of a WebSocket, message by message."""

    def __init__(self, socket: ClientConnection, decode=p.decode_server) -> None:
        self.socket = socket
        self._decode = decode
        self._waiting: list = []

    async def say(self, *messages: p.Struct) -> None:
        for message in messages:
            await self.socket.send(p.encode(message), text=True)

    async def hear(self):
        """The next message; the acknowledgements that flow control wants are sent in passing."""
        while not self._waiting:
            frame = await asyncio.wait_for(self.socket.recv(), PATIENCE)
            self._waiting = self._decode(frame)
            await self._acknowledge(self._waiting)
        return self._waiting.pop(0)

    async def hear_a(self, kind: type):
        """The next message of that kind; others are passed over."""
        while True:
            message = await self.hear()
            if isinstance(message, kind):
                return message

    async def end(self) -> tuple[p.Bye | None, int]:
        """Hear to the end: the server's `bye`, if it said one, and the close code."""
        bye = None
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = await self.hear()
                bye = message if isinstance(message, p.Bye) else bye
        return bye, self.socket.close_code

    async def _acknowledge(self, messages: list) -> None:
        pass


class Viewer(Peer):
    """A v1 client, and the state that it has been told of."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(socket)
        self.state = DagState()

    async def _acknowledge(self, messages: list) -> None:
        numbers = [message.seq for message in messages if isinstance(message, p.Event | p.Synced)]
        if numbers:
            with contextlib.suppress(ConnectionClosed):
                await self.say(p.Ack(seq=numbers[-1]))

    async def hear(self):
        message = await super().hear()
        match message:
            case p.Sync(reset=True):
                self.state = DagState(epoch=message.epoch)
            case p.Synced():
                self.state.seq = message.seq
            case p.Event():
                self.state.apply(message)
        return message

    async def hear_up_to(self, seq: int) -> None:
        while self.state.seq < seq:
            await self.hear()


class Plain(Peer):
    """A client that knows seven events; it must never see a batch."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(socket)
        self.state = DagState()

    async def hear(self):
        message = await super().hear()
        assert not self._waiting
        if isinstance(message, p.Event):
            assert isinstance(message, p.PLAIN_EVENTS)
            self.state.apply(message)
        return message


class Publisher(Peer):
    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(socket, p.decode_reply)
        self._numbered = 0

    async def publish(self, *events: p.Event) -> None:
        """Returns once the room has them."""
        for event in events:
            self._numbered += 1
            event.seq = self._numbered
        await self.socket.send(p.encode(events), text=True)
        while (await self.hear_a(p.Ack)).seq < self._numbered:
            pass


@contextlib.asynccontextmanager
async def viewing(server: StreamServer, dag_id: str = "dag", last: p.Cursor | None = None) -> AsyncIterator[Viewer]:
    url = Endpoint(server.url).stream_url(dag_id)
    async with socket_to(url, subprotocols=[p.SUBPROTOCOL]) as socket:
        viewer = Viewer(socket)
        await viewer.say(p.Hello(protocol=1, token=TOKEN, last=last))
        await viewer.hear_a(p.Welcome)
        yield viewer


@contextlib.asynccontextmanager
async def viewing_plainly(server: StreamServer, dag_id: str = "dag") -> AsyncIterator[Plain]:
    async with socket_to(Endpoint(server.url).stream_url(dag_id), additional_headers=BEARER) as socket:
        yield Plain(socket)


@contextlib.asynccontextmanager
async def publishing(
    server: StreamServer, dag_id: str = "dag", name: str = "engine", epoch: str = "run-1"
) -> AsyncIterator[Publisher]:
    async with socket_to(Endpoint(server.url).publish_url(dag_id)) as socket:
        publisher = Publisher(socket)
        await publisher.say(
            p.Attach(protocol=1, publisher=name, token=TOKEN, epoch=epoch, start=p.RunStart(budget=2.0))
        )
        await publisher.hear_a(p.Attached)
        yield publisher


async def get(server: StreamServer, path: str, headers: dict[str, str] | None = BEARER) -> tuple[int, str]:
    """A GET by hand: its status and its body."""
    host, port = urlsplit(server.url).hostname, urlsplit(server.url).port
    reader, writer = await asyncio.open_connection(host, port)
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if not any(line.startswith("Host:") for line in lines):
        lines.append(f"Host: {host}:{port}")
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode()
    body = "" if " 101 " in head else (await asyncio.wait_for(reader.read(), PATIENCE)).decode()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return int(head.split(" ", 2)[1]), body


async def knock(server: StreamServer, path: str = "/api/dags/dag/stream", **headers: str) -> tuple[int, str]:
    """A WebSocket handshake by hand; 101 where it is let in."""
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
        "Sec-WebSocket-Version": "13",
    }
    return await get(server, path, {**upgrade, **headers})


async def dags(server: StreamServer) -> dict[str, dict]:
    status, body = await get(server, "/api/dags")
    assert status == 200
    return {dag["dag_id"]: dag for dag in json.loads(body)}


async def runs(server: StreamServer, dag_id: str = "dag") -> list[dict]:
    """The run list, newest first."""
    status, body = await get(server, f"/api/dags/{dag_id}/runs")
    assert status == 200
    return json.loads(body)


async def until_viewers(server: StreamServer, count: int) -> None:
    """Asks until that many watch, counting those that have been let go."""

    async def ask() -> None:
        while (await dags(server)).get("dag", {}).get("viewers", 0) != count:
            pass

    await asyncio.wait_for(ask(), PATIENCE)


# --- A whole run


async def test_a_viewer_follows_a_run_from_its_first_event_to_its_last(server):
    async with viewing(server) as viewer, publishing(server) as engine:
        await engine.publish(
            p.DagMutated(mutation=p.Mutation(add_nodes=[p.NodeSpec(id="a"), p.NodeSpec(id="b")])),
            running("a"),
            p.CostDelta(amount=0.5, node_id="a", tokens_in=10),
        )
        await engine.publish(p.NodeState(node_id="a", status="completed", output={"rows": 3}), running("b"))
        await engine.publish(p.ExecutionComplete(results="done"))
        await viewer.hear_a(p.ExecutionComplete)
        room = server._rooms.dag("dag").rooms["run-1"]
        assert viewer.state.to_dict() == room.state.to_dict()
        assert (viewer.state.status, viewer.state.nodes["a"].output) == ("completed", {"rows": 3})
        assert viewer.state.nodes["b"].status == "cancelled"
        assert (viewer.state.cost.spent, viewer.state.cost.remaining) == (0.5, 1.5)


async def test_hello_is_welcomed_also_where_the_subprotocol_was_not_offered(server):
    async with publishing(server) as engine:
        await engine.publish(running("a"), p.NodeLog(node_id="a", lines=["one"]))
        async with socket_to(Endpoint(server.url).stream_url("dag"), additional_headers=BEARER) as socket:
            viewer = Viewer(socket)
            # The plain catch-up has begun, on its way to a client that is not plain.
            await viewer.hear_a(p.NodeState)
            await viewer.say(p.Hello(protocol=1))
            head = (await viewer.hear_a(p.Welcome)).head
            await viewer.hear_a(p.Synced)
            assert (viewer.state.nodes["a"].logs, viewer.state.seq) == (["one"], head)


async def test_a_plain_client_follows_a_run_without_knowing_of_us(server):
    async with publishing(server) as engine:
        await engine.publish(running("a"), p.NodeLog(node_id="a", lines=["hidden"]))
        async with viewing_plainly(server) as plain:
            assert plain.socket.subprotocol is None
            await engine.publish(p.NodeState(node_id="a", status="completed"), p.ExecutionComplete(results=7))
            await plain.hear_a(p.ExecutionComplete)
            assert plain.state.nodes["a"].status == "completed"
            assert plain.state.results == 7


async def test_a_client_whose_offer_was_lost_on_the_way_is_sent_no_plain_events_before_its_hello():
    async with StreamServer(token=TOKEN, limits=Limits(plain_seconds=PATIENCE)) as server, publishing(server) as engine:
        await engine.publish(running("a"))
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        async with connect(f"{server.url}/api/dags/dag/stream", additional_headers=bearer) as socket:
            # Far longer than the server takes to send a plain client the state.
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await socket.recv()
            await socket.send('{"type":"hello","protocol":1}')
            assert json.loads(await socket.recv())["type"] == "welcome"


async def test_who_comes_late_is_given_the_state_and_then_what_is_new(server):
    async with publishing(server) as engine:
        await engine.publish(running("a"), running("b"))
        async with viewing(server) as viewer:
            await viewer.hear_a(p.Synced)
            assert list(viewer.state.nodes) == ["a", "b"]
            await engine.publish(running("c"))
            assert (await viewer.hear_a(p.NodeState)).node_id == "c"


async def test_who_comes_back_is_given_only_what_it_missed(server):
    async with publishing(server) as engine:
        async with viewing(server) as viewer:
            await engine.publish(running("a"))
            await viewer.hear_up_to(3)
        await engine.publish(running("b"), running("c"))
        async with viewing(server, last=p.Cursor(epoch="run-1", seq=3)) as viewer:
            sync = await viewer.hear()
            assert (sync.reset, sync.seq) == (False, 5)
            assert [(await viewer.hear()).node_id for _ in range(2)] == ["b", "c"]
            assert await viewer.hear() == p.Synced(seq=5)


async def test_a_decision_reaches_the_engine_and_every_viewer(server):
    ask = p.HumanGateWaiting(node_id="review", gate_id="g1", presentation=p.Presentation(title="Ship it?"))
    async with publishing(server) as engine, viewing(server) as one, viewing_plainly(server) as two:
        await engine.publish(ask)
        assert (await two.hear_a(p.HumanGateWaiting)).presentation.title == "Ship it?"
        await two.say(p.HumanDecision(id="c1", node_id="review", decision="approve", feedback="go"))
        assert await two.hear_a(p.CommandAck) == p.CommandAck(id="c1", ok=True)
        told = [await engine.hear_a(p.HumanGateResolved), await one.hear_a(p.HumanGateResolved)]
        assert {(each.decision, each.by, each.feedback) for each in told} == {("approve", "ana", "go")}
        await one.say(p.HumanDecision(id="c2", node_id="review", decision="reject"))
        late = await one.hear_a(p.CommandAck)
        assert (late.code, late.winner.decision) == ("already_decided", "approve")


async def test_an_engine_decides_in_the_name_of_its_token_and_of_nobody_else(server):
    async with publishing(server) as engine, viewing(server) as viewer:
        gate = {"node_id": "review", "gate_id": "review:1"}
        await engine.publish(p.HumanGateWaiting(**gate, presentation=p.Presentation(required=2)))
        forged = [p.Approval(by="boss", at=1), p.Approval(by="carl", at=2)]
        await engine.publish(
            p.HumanGateResolved(**gate, decision="approve", by="boss", at=1, source="widget", approvals=forged)
        )
        resolved = await viewer.hear_a(p.HumanGateResolved)
        # `ana` is whose token it is.
        assert (resolved.by, resolved.source, resolved.approvals) == ("ana", "engine", None)


async def test_a_command_steers_the_engine(server):
    async with publishing(server) as engine, viewing(server) as viewer:
        await viewer.say(p.PauseExecution(id="c1"))
        assert (await engine.hear_a(p.ExecutionState)).status == "pausing"
        await engine.publish(p.ExecutionState(status="paused"))
        while viewer.state.status != "paused":
            await viewer.hear()


async def test_an_engine_that_left_can_not_be_steered(server):
    async with viewing(server) as viewer:
        async with publishing(server) as engine:
            await engine.publish(running())
        await viewer.say(p.CancelExecution(id="c1"))
        assert (await viewer.hear_a(p.CommandAck)).code == "engine_gone"


async def test_runs_of_one_dag_coexist_and_a_follower_goes_on_to_the_next_once_its_own_is_over(server):
    async with publishing(server, name="one") as one, viewing(server) as viewer:
        await one.publish(running("a"))
        async with publishing(server, name="two", epoch="run-2") as two:
            await two.publish(running("b"))
            await one.publish(running("c"), p.ExecutionComplete(results=1))
            end = await viewer.hear_a(p.ExecutionComplete)
            assert (viewer.state.epoch, end.results, list(viewer.state.nodes)) == ("run-1", 1, ["a", "c"])
            assert (await viewer.hear_a(p.Sync)).epoch == "run-2"
            await viewer.hear_a(p.Synced)
            assert list(viewer.state.nodes) == ["b"]


@pytest.mark.parametrize("dag_id", ["my dag/nightly?#%", "é😀", "..", "stream"])
async def test_a_dag_with_an_odd_name_has_a_room_of_its_own(server, dag_id):
    async with publishing(server, dag_id) as engine, viewing(server, dag_id) as viewer:
        await engine.publish(running("a"))
        await viewer.hear_a(p.NodeState)
        assert list(await dags(server)) == [dag_id]


async def test_the_server_may_sit_below_another_path(server):
    async with viewing(server, "dag"):
        assert (await knock(server, "/user/ana/proxy/8899/api/dags/dag/stream"))[0] == 101
        status, body = await get(server, "/user/ana/proxy/8899/api/dags")
        assert (status, json.loads(body)[0]["dag_id"]) == (200, "dag")


# --- HTTP


async def test_health_says_which_process_answers_and_asks_for_no_token(server):
    status, body = await get(server, "/healthz", headers=None)
    assert (status, json.loads(body)) == (200, {"status": "ok", "protocol": 1, "pid": os.getpid()})


async def test_the_list_of_dags_sums_each_up(server):
    assert await dags(server) == {}
    async with publishing(server) as engine, viewing(server), viewing_plainly(server) as plain:
        await engine.publish(running("a"), p.HumanGateWaiting(node_id="b", gate_id="g1", presentation=p.Presentation()))
        await plain.hear_a(p.HumanGateWaiting)
        assert (await dags(server))["dag"] == {
            "dag_id": "dag",
            "epoch": "run-1",
            "status": "running",
            "seq": 4,
            "nodes": 2,
            "gates": 1,
            "viewers": 2,
        }


async def test_a_dag_is_there_with_its_whole_state(server):
    async with publishing(server, "my dag/x") as engine:
        await engine.publish(running("a"))
        status, body = await get(server, "/api/dags/my%20dag%2Fx")
        assert status == 200
        assert json.loads(body)["state"] == server._rooms.dag("my dag/x").rooms["run-1"].state.to_dict()


async def test_a_run_outlives_everybody_who_was_connected(server):
    async with publishing(server) as engine:
        await engine.publish(running("a"))
    await until_viewers(server, 0)
    assert (await dags(server))["dag"]["status"] == "running"


async def test_a_room_in_which_nothing_ever_ran_is_forgotten_with_its_last_viewer(server):
    async with viewing(server):
        assert list(await dags(server)) == ["dag"]

    async def ask() -> None:
        while await dags(server):
            pass

    await asyncio.wait_for(ask(), PATIENCE)


@pytest.mark.parametrize("path", ["/", "/api", "/api/dags/dag", "/api/dags/dag/other", "/api/dags//stream"])
async def test_what_is_not_there_is_not_found(server, path):
    status, body = await get(server, path)
    assert status == 404
    assert path in body


@pytest.mark.parametrize("endpoint", ["stream", "publish"])
async def test_a_websocket_endpoint_wants_a_websocket(server, endpoint):
    status, body = await get(server, f"/api/dags/dag/{endpoint}")
    assert (status, "WebSocket" in body) == (426, True)


@pytest.mark.parametrize("path", ["/api/dags", "/api/dags/dag", "/api/dags/dag/stream", "/elsewhere"])
async def test_a_wrong_token_is_unauthorized(server, path):
    status, body = await get(server, path, {"Authorization": "Bearer wrong"})
    assert (status, "token" in body) == (401, True)


@pytest.mark.parametrize("path", ["/api/dags", "/api/dags/dag", "/elsewhere"])
async def test_a_missing_token_is_unauthorized(server, path):
    status, body = await get(server, path, headers=None)
    assert (status, "Authorization: Bearer" in body) == (401, True)


@pytest.mark.parametrize("dag_id", ["%00", "%ff", "x" * 201, "a%0Ab"])
async def test_a_name_that_no_dag_may_have_is_a_bad_request(server, dag_id):
    status, body = await knock(server, f"/api/dags/{dag_id}/stream")
    assert (status, bool(body)) == (400, True)
    assert await dags(server) == {}


async def test_without_authentication_everybody_is_let_in():
    async with StreamServer() as server:
        assert (await get(server, "/api/dags", headers=None))[0] == 200
        async with socket_to(f"{server.url}/api/dags/dag/publish") as socket:
            engine = Publisher(socket)
            await engine.say(p.Attach(protocol=1, publisher="x", epoch="e", start=p.RunStart()))
            await engine.hear_a(p.Attached)
            await engine.publish(running("a"))
        async with socket_to(f"{server.url}/api/dags/dag/stream") as socket:
            assert (await Plain(socket).hear_a(p.NodeState)).node_id == "a"


# --- Who is let in


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 101),
        ("127.0.0.1", 101),
        ("[::1]:8899", 101),
        ("LOCALHOST", 101),
        ("dag.example.org", 101),
        ("evil.example.org", 403),
        ("localhost.evil.example.org", 403),
        ("[", 403),
    ],
)
async def test_only_names_of_this_server_are_answered_to(host, status):
    async with StreamServer(token=TOKEN, hosts=["dag.example.org"]) as server:
        assert (await knock(server, Host=host))[0] == status
        assert (await get(server, "/healthz", {"Host": host}))[0] == (200 if status == 101 else 403)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8888", 101),
        ("http://127.0.0.1:1", 101),
        ("https://[::1]:8888", 101),
        ("https://hub.example.org", 101),
        ("https://evil.example.org", 403),
        ("https://hub.example.org.evil.example.org", 403),
        ("https://localhost.evil.example.org", 403),
        ("ftp://localhost", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
async def test_only_pages_of_this_machine_and_those_named_may_connect(origin, status):
    async with StreamServer(token=TOKEN, origins=["https://hub.example.org"]) as server:
        answered, body = await knock(server, Origin=origin)
        assert answered == status
        assert status == 101 or "--allow-origin" in body


async def test_a_page_that_the_server_is_called_by_may_connect():
    async with StreamServer(token=TOKEN, hosts=["dag.example.org"]) as server:
        assert (await knock(server, Host="dag.example.org", Origin="https://dag.example.org"))[0] == 101
        assert (await knock(server, Host="localhost", Origin="https://dag.example.org"))[0] == 403


@pytest.mark.parametrize("endpoint", ["stream", "publish"])
async def test_a_wrong_token_is_told_before_the_connection_closes_with_its_code(server, endpoint):
    url = f"{server.url}/api/dags/dag/{endpoint}"
    async with socket_to(url, subprotocols=[p.SUBPROTOCOL]) as socket:
        peer = Peer(socket)
        first = (
            p.Hello(protocol=1, token="wrong")
            if endpoint == "stream"
            else p.Attach(protocol=1, publisher="x", token="wrong", epoch="e", start=p.RunStart())
        )
        await peer.say(first)
        bye, code = await peer.end()
        assert (bye.code, bye.retry, code) == (4401, False, 4401)
    assert "wrong" not in json.dumps(await dags(server))


async def test_our_subprotocol_is_chosen_among_others_and_no_other_is(server):
    url = f"{server.url}/api/dags/dag/stream"
    async with socket_to(url, subprotocols=["graphql-ws", p.SUBPROTOCOL]) as socket:
        assert socket.subprotocol == p.SUBPROTOCOL
    async with socket_to(url, subprotocols=["graphql-ws"], additional_headers=BEARER) as socket:
        assert socket.subprotocol is None


async def test_a_binary_frame_and_one_that_is_too_large_are_refused_with_their_codes(server):
    async with viewing(server) as viewer:
        await viewer.socket.send(b'{"type":"pong","seq":1}')
        bye, code = await viewer.end()
        assert (bye.code, code) == (4400, 4400)
    async with viewing(server) as viewer:
        await viewer.socket.send(json.dumps({"type": "x", "more": "x" * server.limits.frame_bytes}))
        bye, code = await viewer.end()
        assert (bye.code, code) == (4413, 4413)


async def test_one_more_who_has_not_said_who_it_is_takes_the_place_of_the_oldest():
    async with StreamServer(token=TOKEN, limits=Limits(unauthenticated=2)) as server:
        url = f"{server.url}/api/dags/dag/stream"
        async with contextlib.AsyncExitStack() as stack:
            strangers = [
                await stack.enter_async_context(socket_to(url, subprotocols=[p.SUBPROTOCOL])) for _ in range(3)
            ]
            bye, code = await Peer(strangers[0]).end()
            assert (bye.code, bye.retry, code) == (4429, True, 1006)
            for stranger in strangers[1:]:
                known = Viewer(stranger)
                await known.say(p.Hello(protocol=1, token=TOKEN))
                await known.hear_a(p.Welcome)


@pytest.mark.clock
async def test_a_stranger_who_says_nothing_is_sent_away():
    async with StreamServer(token=TOKEN, limits=Limits(hello_seconds=0.05)) as server:
        socket = await socket_to(f"{server.url}/api/dags/dag/stream", subprotocols=[p.SUBPROTOCOL])
        bye, code = await Peer(socket).end()
        assert (bye.code, bye.retry, code) == (4408, True, 4408)


async def test_too_many_connections_are_kept_out():
    async with StreamServer(token=TOKEN, limits=Limits(connections=1)) as server, viewing(server):
        assert (await knock(server))[0] == 503


async def attaches(server: StreamServer, epoch: str) -> p.Attached | p.Bye:
    """The answer to a publisher that starts a run."""
    async with socket_to(Endpoint(server.url).publish_url("dag")) as socket:
        publisher = Publisher(socket)
        await publisher.say(p.Attach(protocol=1, publisher=epoch, token=TOKEN, epoch=epoch, start=p.RunStart()))
        return await publisher.hear()


async def test_a_server_without_a_log_refuses_a_run_while_all_others_are_live():
    async with StreamServer(token=TOKEN, limits=Limits(rooms=1)) as server, publishing(server) as engine:
        bye = await attaches(server, "run-2")
        assert (bye.code, bye.retry) == (4429, True)
        assert "too many runs" in bye.reason
        await engine.publish(p.ExecutionComplete(results=None))
        # It is used as long as its publisher is connected.
        assert isinstance(await attaches(server, "run-2"), p.Bye)
        await engine.socket.close()
        while isinstance(await attaches(server, "run-2"), p.Bye):
            pass
        assert [run["run_id"] for run in await runs(server)] == ["run-2"]


@pytest.mark.parametrize("durable", [False, True])
async def test_a_thousand_abandoned_runs_leave_space_for_another(tmp_path, durable):
    journal = SqliteJournal(tmp_path / "log.sqlite3") if durable else None
    limits = Limits(rooms=20, gone_seconds=0)
    async with StreamServer(token=TOKEN, limits=limits, journal=journal) as server:
        for run in (*(f"run-{number}" for number in range(100)), "another"):
            # A room can be given up once its engine is known to be gone, and its log is stored.
            while not isinstance(await attaches(server, run), p.Attached):
                pass
        async with publishing(server, "another") as engine:
            await engine.publish(running("a"))
        kept = await runs(server)
        assert kept[0]["run_id"] in ("another", "run-99")
        assert len(kept) == 101 if durable else len(kept) < 20
        if durable:
            status, body = await get(server, "/api/dags/dag/runs/run-0")
            assert (status, json.loads(body)["state"]["status"]) == (200, "running")
    if journal is not None:
        journal.close()


# --- Who does not keep up


class Deaf:
    """A viewer that has been let in, and reads nothing more. It is a bare socket: a library would read ahead."""

    def __init__(self, socket: socket.socket) -> None:
        self.socket = socket

    async def read_up_to(self, last: bytes) -> int:
        """Reads, once more, until that came; returns how much it was."""
        loop = asyncio.get_running_loop()
        size, tail = 0, b""
        while last not in tail:
            part = await asyncio.wait_for(loop.sock_recv(self.socket, 1 << 20), PATIENCE)
            assert part, "the server hung up"
            size += len(part)
            tail = tail[-len(last) :] + part
        return size

    async def read_to_the_end(self) -> bytes:
        """What the server had sent nevertheless, before it hung up."""
        data = bytearray()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while part := await asyncio.wait_for(loop.sock_recv(self.socket, 1 << 20), PATIENCE):
                data += part
        return bytes(data)


@contextlib.asynccontextmanager
async def deaf_viewer(server: StreamServer, *, plain: bool) -> AsyncIterator[Deaf]:
    loop = asyncio.get_running_loop()
    with socket.socket() as bare:
        # So little that the server's own buffers fill soon.
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        bare.setblocking(False)
        await loop.sock_connect(bare, ("127.0.0.1", urlsplit(server.url).port))
        offer = "" if plain else f"Sec-WebSocket-Protocol: {p.SUBPROTOCOL}\r\n"
        await loop.sock_sendall(
            bare,
            (
                "GET /api/dags/dag/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n{offer}"
                f"Authorization: Bearer {TOKEN}\r\n\r\n"
            ).encode(),
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await asyncio.wait_for(loop.sock_recv(bare, 1), PATIENCE)
        assert answer.startswith(b"HTTP/1.1 101 ")
        if not plain:
            # A masked text frame, whose mask is zero.
            text = p.encode(p.Hello(protocol=1))
            await loop.sock_sendall(bare, bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)
            while b'"synced"' not in answer:
                answer += await asyncio.wait_for(loop.sock_recv(bare, 1), PATIENCE)
        yield Deaf(bare)


STALL = Limits(window_bytes=64 * 1024, stalled_seconds=0.4, plain_seconds=0)
EVENTS, EVENT_BYTES = 60, 200_000


@pytest.mark.clock
@pytest.mark.parametrize("plain", [False, True], ids=["v1", "plain"])
async def test_who_reads_nothing_is_dropped_and_holds_up_nobody(plain):
    async with (
        StreamServer(token=TOKEN, limits=STALL) as server,
        publishing(server) as engine,
        deaf_viewer(server, plain=plain) as deaf,
        viewing(server) as viewer,
    ):
        buffered = []
        for number in range(EVENTS):
            await engine.publish(running(f"n{number}", message="x" * EVENT_BYTES))
            members = list(server._rooms._where)
            buffered.append(max(member.transport.get_write_buffer_size() for member in members))
            # The one that reads is told at once, whoever else does not.
            await viewer.hear_up_to(3 + number)
        assert max(buffered) < STALL.window_bytes + 2 * EVENT_BYTES
        await until_viewers(server, 1)
        sent = await deaf.read_to_the_end()
        assert len(sent) < EVENTS * EVENT_BYTES
        if not plain:
            # One frame more than the window, at most: it has acknowledged nothing.
            assert len(sent) < STALL.window_bytes + 2 * EVENT_BYTES


@pytest.fixture
def no_tick(monkeypatch):
    """Nobody looks after silence: what is told is told for another reason."""
    monkeypatch.setattr(Rooms, "tick", lambda *_: None)


@pytest.mark.clock
async def test_who_reads_again_is_told_the_rest(no_tick):
    async with (
        StreamServer(token=TOKEN, limits=STALL) as server,
        publishing(server) as engine,
        deaf_viewer(server, plain=True) as slow,
    ):
        for number in range(EVENTS):
            await engine.publish(running(f"n{number}", message="x" * EVENT_BYTES))
        assert await slow.read_up_to(f'"n{EVENTS - 1}"'.encode()) > EVENTS // 2 * EVENT_BYTES


async def test_what_is_new_is_told_at_once(no_tick):
    async with StreamServer(token=TOKEN) as server, publishing(server) as engine, viewing(server) as viewer:
        for number in range(3):
            await engine.publish(running(f"n{number}"))
            await viewer.hear_up_to(3 + number)


@pytest.mark.clock
async def test_who_reads_but_acknowledges_nothing_is_told_why_it_is_dropped():
    async with StreamServer(token=TOKEN, limits=STALL) as server, publishing(server) as engine:
        url = f"{server.url}/api/dags/dag/stream"
        async with socket_to(url, subprotocols=[p.SUBPROTOCOL], additional_headers=BEARER) as socket:
            silent = Peer(socket)
            await silent.say(p.Hello(protocol=1))
            await silent.hear_a(p.Synced)
            for _ in range(2):
                await engine.publish(running(message="x" * 50_000))
                await silent.hear_a(p.NodeState)
            await engine.publish(running())
            bye, code = await silent.end()
            assert (bye.code, bye.retry) == (4001, True)
            assert "acknowledged" in bye.reason
            # Without a close frame: whoever does not read would never answer it.
            assert code == 1006


@pytest.mark.clock
async def test_a_silent_viewer_is_pinged_and_then_taken_for_dead():
    limits = Limits(heartbeat_seconds=0.05, dead_seconds=0.4)
    async with StreamServer(token=TOKEN, limits=limits) as server, viewing(server) as viewer:
        await viewer.hear_a(p.Synced)
        assert await viewer.hear() == p.Ping(head=0)
        bye, _ = await viewer.end()
        assert bye.code == 4001


@pytest.mark.clock
async def test_a_plain_client_that_answers_no_ping_is_dropped_and_one_that_does_stays():
    limits = Limits(heartbeat_seconds=0.05, dead_seconds=1.5)
    async with StreamServer(token=TOKEN, limits=limits) as server, viewing_plainly(server) as alive:
        async with deaf_viewer(server, plain=True) as deaf:
            await until_viewers(server, 2)
            # It is told nothing that would say so: its peer is not there.
            await until_viewers(server, 1)
            assert b'"bye"' not in await deaf.read_to_the_end()
        async with publishing(server) as engine:
            await engine.publish(running("a"))
            assert (await alive.hear_a(p.NodeState)).node_id == "a"


async def test_the_system_asks_a_silent_peer_whether_it_is_there():
    async with StreamServer(token=TOKEN) as server, viewing_plainly(server):
        for connection in server._rooms._where:
            kept = connection.transport.get_extra_info("socket")
            assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            if sys.platform == "linux":
                options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
                assert [kept.getsockopt(socket.IPPROTO_TCP, each) for each in options] == [15, 8, 3, 40_000]


# --- The end


async def test_a_server_that_stops_says_bye_to_everybody():
    async with contextlib.AsyncExitStack() as clients:
        async with StreamServer(token=TOKEN) as server:
            peers = [
                await clients.enter_async_context(publishing(server)),
                await clients.enter_async_context(viewing(server)),
                await clients.enter_async_context(viewing_plainly(server)),
            ]
            ends = asyncio.gather(*(peer.end() for peer in peers))
        *ours, plain = await ends
        for bye, code in ours:
            assert (bye.code, bye.retry, code) == (4000, True, 4000)
            assert bye.after_ms > 0
        # A plain client knows no `bye`.
        assert plain == (None, 4000)


@pytest.mark.clock
async def test_who_does_not_answer_a_close_does_not_hold_up_the_end():
    async with contextlib.AsyncExitStack() as clients:
        server = StreamServer(token=TOKEN, limits=Limits(close_seconds=0.1))
        await server.__aenter__()
        deaf = await clients.enter_async_context(deaf_viewer(server, plain=False))
        await until_viewers(server, 1)
        await asyncio.wait_for(server.__aexit__(None, None, None), PATIENCE)
        assert b'"bye"' in await deaf.read_to_the_end()


async def test_who_comes_in_while_the_server_stops_is_sent_away(server):
    server._bye = p.Bye(code=4000, reason="the server restarts", retry=True)
    for connecting in (viewing_plainly, publishing):
        with contextlib.suppress(ConnectionClosed):
            async with connecting(server) as peer:
                said = None if connecting is viewing_plainly else server._bye
                assert await peer.end() == (said, 4000)


async def test_a_room_that_is_being_read_does_not_hold_up_the_end(tmp_path, monkeypatch):
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    async with StreamServer(token=TOKEN, journal=journal) as server, publishing(server) as engine:
        await engine.publish(running("a"))
    reading, released = asyncio.Event(), threading.Event()
    snapshot, loop = journal.snapshot, asyncio.get_running_loop()

    def slow(*arguments):
        loop.call_soon_threadsafe(reading.set)
        assert released.wait(PATIENCE)
        return snapshot(*arguments)

    monkeypatch.setattr(journal, "snapshot", slow)
    server = StreamServer(token=TOKEN, journal=journal)
    await server.__aenter__()
    async with viewing_plainly(server) as peer:
        await reading.wait()
        ends = asyncio.create_task(peer.end())
        await asyncio.wait_for(server.__aexit__(None, None, None), PATIENCE)
        assert (await ends)[1] == 4000
    released.set()
    journal.close()


# After one turn it is asyncio itself that holds the connection, and Python 3.11 closes that only with its memory.
@pytest.mark.parametrize("turns", [0, 2, 3, 4, 5])
async def test_who_comes_in_as_the_port_closes_is_not_left_there(server, turns):
    """`turns`: of the event loop, between the connection and the end; it is let in over several of them."""
    with socket.create_connection(("127.0.0.1", urlsplit(server.url).port)):
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.close()
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(server._door) == 0


async def test_a_server_that_stops_says_so_to_who_has_not_said_who_it_is(server):
    async with socket_to(f"{server.url}/api/dags/dag/stream", subprotocols=[p.SUBPROTOCOL]) as stranger:
        await server.close()
        bye, _ = await Peer(stranger).end()
        assert (bye.code, bye.retry) == (4000, True)


async def test_a_stopped_server_lets_nobody_in():
    async with StreamServer(token=TOKEN) as server:
        url = server.url
    with pytest.raises(OSError):  # noqa: PT011
        await socket_to(f"{url}/api/dags/dag/stream")


@pytest.mark.clock
async def test_a_server_is_idle_once_nobody_has_been_connected_for_a_while():
    limits = Limits(idle_seconds=0.1, heartbeat_seconds=0.05)
    async with StreamServer(token=TOKEN, limits=limits) as server:
        async with viewing(server) as viewer:
            await viewer.hear_a(p.Ping)
            server.idle.clear()
            busy = server._busy
            # These take longer than `idle_seconds`.
            for _ in range(5):
                await viewer.hear_a(p.Ping)
            assert not server.idle.is_set()
            assert server._busy > busy
        await asyncio.wait_for(server.idle.wait(), PATIENCE)
