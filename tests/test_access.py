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
from dagwidget.client.client import StreamClient, connect
from dagwidget.protocol.limits import Limits
from dagwidget.server.app import StreamServer
from dagwidget.server.auth.token_store import Tokens

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


@pytest.mark.clock
async def test_who_shows_wrong_tokens_again_and_again_has_to_wait_and_the_right_one_is_good_all_the_same():
    async with StreamServer(token=OWN, limits=Limits(failures_burst=3, failures_per_second=5)) as server:
        for i in range(3):
            assert (await get(server, "/api/dags", f"guess {i}"))[0] == 401
        for token, status in (("guess", 401), (OWN, 200)):
            began = time.monotonic()
            assert (await get(server, "/api/dags", token))[0] == status
            assert time.monotonic() - began > 0.1
        async with following(server, OWN) as client:
            await client.synced(PATIENCE)


async def test_wrong_tokens_in_hello_count_too_and_few_may_wait():
    async with StreamServer(token=OWN, limits=Limits(failures_burst=2, failures_per_second=0.001)) as server:
        for _ in range(2):
            async with following(server, "guess") as client:
                await until(lambda client=client: client.connection.code == 4401)
        asked = [asyncio.create_task(get(server, "/api/dags", f"guess {i}")) for i in range(12)]
        answers = [status for status, _ in await asyncio.gather(*asked)]
        assert sorted(answers) == [401] * 5 + [429] * 7
        assert (await get(server, "/healthz", "guess"))[0] == 200


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
