"""Who may do what, on real sockets: tokens with their roles, their DAG and their end, and who keeps guessing."""

import asyncio
import contextlib
import json
import time
import urllib.error
import urllib.request

import pytest
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed

import dagwidget
from dagwidget import NotConnected
from dagwidget import protocol as p
from dagwidget.client.client import StreamClient
from dagwidget.client.connecting import connect
from dagwidget.protocol.limits import Limits
from dagwidget.server.app import StreamServer
from dagwidget.server.auth.token_store import Tokens
from dagwidget.server.storage.sqlite import SqliteJournal

pytestmark = pytest.mark.slow

# Far longer than anything takes: only a fault gets here.
PATIENCE = 20.0
OWN = "the server's own"
# A command that a slow machine sends late is not let through for that.
BRIEF = Limits(heartbeat_seconds=0.1, commands_per_second=0.001)


def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def tokens(tmp_path):
    return Tokens(tmp_path / "tokens")


@pytest.fixture
async def server(tokens):
    async with StreamServer(token=OWN, tokens=tokens, limits=BRIEF) as server:
        yield server


@pytest.fixture
async def run(server):
    run = dagwidget.start_run("dag", ["review"], url=server.url, token=OWN)
    assert await asyncio.to_thread(run.flush, PATIENCE)
    yield run
    run.complete()
    assert await asyncio.to_thread(run.flush, PATIENCE)


def following(server: StreamServer, token, dag_id: str = "dag") -> StreamClient:
    return connect(dag_id, url=server.url, token=token)


async def get(server: StreamServer, path: str, token: str) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        url = server.url.replace("ws", "http", 1) + path
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


async def until(ready) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_who_may_view_sees_everything_and_steers_nothing(server, run, tokens):
    _, secret = tokens.create("vera", "view", now=now())
    run.gate("review")
    async with following(server, secret) as client:
        await client.synced(PATIENCE)
        assert client.connection.role == "view"
        await until(lambda: client.state.gates)
        for asked in (client.pause(), client.cancel(), client.decide("review", "approve")):
            assert (await asked).code == "forbidden"


async def test_who_may_operate_decides_by_name_and_publishes_nothing(server, run, tokens):
    _, secret = tokens.create("oscar", "operate", now=now())
    waiting = run.gate("review", assignees=["oscar"])
    async with following(server, OWN) as other, following(server, secret) as client:
        await other.synced(PATIENCE)
        await until(lambda: client.state.gates and other.state.gates)
        assert (await other.decide("review", "approve")).code == "not_assigned"
        assert (await client.decide("review", "approve")).state == "accepted"
        assert (await waiting).by == "oscar"
    publisher = dagwidget.attach(server.url, "dag", token=secret)
    publisher.log("review", "let me in")
    assert not await asyncio.to_thread(publisher.flush, 5)
    assert "this token may operate, not publish" in publisher._channel._transport.refused


async def test_who_may_publish_runs_its_own_dag_and_no_other(server, tokens):
    _, secret = tokens.create("paul", "publish", now=now(), dag_id="pauls")
    mine = dagwidget.start_run("pauls", ["a"], url=server.url, token=secret)
    others = dagwidget.start_run("dag", ["a"], url=server.url, token=secret)
    assert await asyncio.to_thread(mine.flush, PATIENCE)
    assert not await asyncio.to_thread(others.flush, PATIENCE)
    assert "for another DAG" in others._channel._transport.refused
    for path, status in [("/api/dags/pauls", 200), ("/api/dags/dag", 401), ("/api/dags/dag/runs", 401)]:
        assert (await get(server, path, secret))[0] == status
    mine.complete()
    assert await asyncio.to_thread(mine.flush, PATIENCE)


async def test_a_list_shows_what_a_token_is_for(server, run, tokens):
    _, secret = tokens.create("vera", "view", now=now(), dag_id="veras")
    assert json.loads((await get(server, "/api/dags", secret))[1]) == []
    assert [dag["dag_id"] for dag in json.loads((await get(server, "/api/dags", OWN))[1])] == ["dag"]


@pytest.mark.clock
async def test_a_token_that_expires_ends_the_connection_and_another_one_goes_on(server, run, tokens):
    given = []

    def give() -> str:
        # Its successor is only there when it is asked for after the end.
        if not given or given[-1][0].expires_at <= now():
            given.append(tokens.create("vera", "view", now=now(), expires_at=now() + 1500))
        return given[-1][1]

    async with following(server, give) as client:
        await client.synced(PATIENCE)
        phases = set()
        client.on_batch(lambda _batch: None)
        await until(lambda: phases.add((client.connection.phase, client.connection.code)) or len(given) > 1)
        assert ("waiting", 4005) in phases
        await client.synced(PATIENCE)
        run.log("review", "still here")
        await until(lambda: client.state.nodes["review"].logs == ["still here"])


@pytest.mark.clock
async def test_a_token_is_renewed_over_the_open_connection(server, run, tokens):
    given = []

    def give() -> str:
        _, secret = tokens.create("vera", "view", now=now(), expires_at=now() + 2000)
        given.append(secret)
        return secret

    async with following(server, give) as client:
        await client.synced(PATIENCE)
        await until(lambda: len(given) == 5)
        await client.synced(PATIENCE)
        assert (client.connection.phase, client.connection.attempt) == ("live", 1)


async def test_a_token_that_is_taken_back_ends_its_connections(server, run, tokens):
    token, secret = tokens.create("vera", "view", now=now())
    async with following(server, secret) as client, following(server, OWN) as other:
        await client.synced(PATIENCE)
        await other.synced(PATIENCE)
        tokens.revoke(token.id)
        await until(lambda: client.connection.phase == "stopped")
        assert (client.connection.code, other.connection.phase) == (4401, "live")
        with pytest.raises(NotConnected, match="taken back"):
            await client.synced(PATIENCE)


async def test_an_expired_token_is_refused_at_the_door(server, tokens):
    _, secret = tokens.create("vera", "view", now=now(), expires_at=now() - 1)
    assert await get(server, "/api/dags", secret) == (401, "the token has expired\n")
    async with following(server, secret) as client:
        await until(lambda: client.connection.code == 4005)


async def test_wrong_tokens_are_told_to_wait_and_never_the_right_one_from_the_same_address():
    async with StreamServer(token=OWN, limits=Limits(failures_burst=2, failures_per_second=0.001)) as server:
        # One over HTTP, and one in a hello.
        assert (await get(server, "/api/dags", "guess"))[0] == 401
        async with open_socket(f"{server.url}/api/dags/dag/stream", subprotocols=[p.SUBPROTOCOL], proxy=None) as socket:
            await socket.send(p.encode(p.Hello(protocol=1, token="guess")), text=True)
            await asyncio.wait_for(socket.wait_closed(), PATIENCE)
        for _ in range(12):
            status, text = await get(server, "/api/dags", "guess")
            assert (status, "too many" in text) == (429, True)
            assert (await get(server, "/api/dags", OWN))[0] == 200
        assert (await get(server, "/healthz", "guess"))[0] == 200
        async with following(server, OWN) as client:
            await client.synced(PATIENCE)
            assert client.connection.attempt == 1


async def test_a_wrong_token_in_a_hello_is_told_to_wait_after_a_few():
    async with StreamServer(token=OWN, limits=Limits(failures_burst=1, failures_per_second=0.001)) as server:
        byes = []
        for _ in range(2):
            url = f"{server.url}/api/dags/dag/stream"
            async with open_socket(url, subprotocols=[p.SUBPROTOCOL], proxy=None) as socket:
                await socket.send(p.encode(p.Hello(protocol=1, token="guess")), text=True)
                [bye] = p.decode_server(await asyncio.wait_for(socket.recv(), PATIENCE))
                byes.append(bye)
                await asyncio.wait_for(socket.wait_closed(), PATIENCE)
                assert socket.close_code == bye.code
        first, second = byes
        assert (first.code, first.retry, first.after_ms) == (4401, False, None)
        assert (second.code, second.retry) == (4429, True)
        assert second.after_ms > 900_000
        assert "the token is wrong" in second.reason
        assert "too many" in second.reason


async def silent(url: str, count: int, stack: contextlib.AsyncExitStack) -> None:
    """That many connections to a stream without a token, which say nothing."""
    for _ in range(count):
        await stack.enter_async_context(open_socket(url, subprotocols=[p.SUBPROTOCOL], proxy=None))


async def test_silent_connections_without_a_token_keep_no_valid_one_out():
    limits = Limits(unauthenticated=20, hello_seconds=60)
    async with StreamServer(token=OWN, limits=limits) as server, contextlib.AsyncExitStack() as stack:
        url = f"{server.url}/api/dags/dag/stream"
        await silent(url, 25, stack)
        # They are as many as may be: the oldest were ended.
        assert len(server._door) == 20
        bearer = {"Authorization": f"Bearer {OWN}"}
        await stack.enter_async_context(open_socket(url, additional_headers=bearer, proxy=None))
        assert (await get(server, "/api/dags", OWN))[0] == 200
        clients = [await stack.enter_async_context(following(server, OWN)) for _ in range(5)]
        for client in clients:
            await client.synced(PATIENCE)
            assert client.connection.attempt == 1
        await silent(url, 25, stack)
        # Who is inside does not make room for who is not.
        assert {client.connection.phase for client in clients} == {"live"}


async def test_connections_that_never_send_a_request_are_counted_too():
    limits = Limits(unauthenticated=3)
    async with StreamServer(token=OWN, limits=limits) as server, contextlib.AsyncExitStack() as stack:
        port = int(server.url.rpartition(":")[2])
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        for _, writer in streams:
            stack.callback(writer.close)
        assert await asyncio.wait_for(streams[0][0].read(), PATIENCE) == b""
        assert (await get(server, "/api/dags", OWN))[0] == 200


async def test_a_stranger_opens_no_room_and_no_log(tmp_path):
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    async with StreamServer(token=OWN, journal=journal) as server:
        run = dagwidget.start_run("dag", ["review"], url=server.url, token=OWN)
        run.complete()
        assert await asyncio.to_thread(run.flush, PATIENCE)
    async with StreamServer(token=OWN, journal=journal) as server:
        read = []
        journal.load = lambda *asked: read.append(asked)
        first = p.Attach(protocol=1, publisher="x", token="guess", epoch="e", start=p.RunStart())
        for endpoint, options, hello in (
            ("stream", {"subprotocols": [p.SUBPROTOCOL]}, p.Hello(protocol=1, token="guess", run=run.run_id)),
            ("stream", {}, p.Hello(protocol=1, token="guess")),
            (f"runs/{run.run_id}/stream", {}, p.PauseExecution(id="x", run_id=run.run_id)),
            ("publish", {}, first),
        ):
            for dag_id in ("dag", "made-up"):
                async with open_socket(f"{server.url}/api/dags/{dag_id}/{endpoint}", proxy=None, **options) as socket:
                    await until(lambda: len(server._door) == 1)
                    assert not [*server._rooms.sessions]
                    await socket.send(p.encode(hello), text=True)
                    with contextlib.suppress(ConnectionClosed):
                        while True:
                            assert p.decode_reply(await asyncio.wait_for(socket.recv(), PATIENCE))[0].code == 4401
                    assert socket.close_code == 4401
        assert ([*server._rooms._dags], server._rooms.dag("dag").rooms, read) == (["dag"], {}, [])
    journal.close()


async def test_five_hundred_viewers_in_bursts_of_forty_all_get_in():
    async with StreamServer(token=OWN) as server, contextlib.AsyncExitStack() as stack:
        clients: list[StreamClient] = []
        for start in range(0, 500, 40):
            burst = [following(server, OWN) for _ in range(min(40, 500 - start))]
            clients += [await stack.enter_async_context(client) for client in burst]
            # The next burst comes on top of this one.
            await burst[0].synced(PATIENCE)
        for client in clients:
            await client.synced(PATIENCE)
        assert {client.connection.attempt for client in clients} == {1}
        assert len(server._door) == 0


@pytest.mark.clock
async def test_who_sends_too_many_commands_is_told_so_and_stays(run, server):
    async with following(server, OWN) as client:
        await client.synced(PATIENCE)
        sent = [client.pause() for _ in range(BRIEF.commands_burst + 50)]
        codes = [(await each).code for each in sent]
        assert codes.count("too_often") > 20
        assert codes[0] is None
        assert client.connection.phase == "live"


@pytest.mark.clock
async def test_who_asks_for_the_state_too_often_is_sent_away_for_a_while(run, server):
    url = f"{server.url}/api/dags/dag/stream"
    async with open_socket(url, subprotocols=[p.SUBPROTOCOL], proxy=None) as socket:
        for _ in range(BRIEF.commands_burst + 1):
            await socket.send(p.encode(p.Hello(protocol=1, token=OWN)), text=True)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(socket.recv(), PATIENCE)
        assert socket.close_code == 4429
