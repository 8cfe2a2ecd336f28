"""What networks do, on real sockets: nothing is lost or doubled, and what is seen is true or says that it isn't."""

import asyncio
import contextlib
import time
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect as open_socket

import dagwidget
from dagwidget import protocol as p
from dagwidget.client.client import StreamClient
from dagwidget.client.connecting import connect
from dagwidget.client.state_machine import StateMachine
from dagwidget.protocol.limits import Limits
from dagwidget.server.app import StreamServer

from .proxy import CutProxy

pytestmark = pytest.mark.slow

# Far longer than anything takes: only a fault gets here.
PATIENCE = 30.0


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Nobody waits for long before the next attempt, neither those who watch nor those who publish."""
    monkeypatch.setattr(
        "dagwidget.client.client.StateMachine", lambda run: StateMachine(lambda _failures: 0.05, run=run)
    )
    monkeypatch.setattr("dagwidget.publisher.transport.backoff", lambda _failures: 0.05)


@pytest.fixture
async def server():
    async with StreamServer(limits=Limits(heartbeat_seconds=0.2, dead_seconds=1.0, connections=2000)) as server:
        yield server


@pytest.fixture
def proxy(server):
    proxy = CutProxy(urlsplit(server.url).port)
    yield proxy
    proxy.close()


def following(server: StreamServer, through: CutProxy | None = None) -> StreamClient:
    return connect("dag", url=server.url if through is None else f"ws://127.0.0.1:{through.port}")


@contextlib.asynccontextmanager
async def publishing(server: StreamServer, through: CutProxy | None = None):
    """A run that has arrived when it is over."""
    run = dagwidget.start_run("dag", ["a"], url=server.url if through is None else f"ws://127.0.0.1:{through.port}")
    yield run
    run.complete()
    assert await asyncio.to_thread(run.flush, PATIENCE)


async def until(ready) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


class Lines:
    """The log lines of a run, as a client was told of them: what is lost or doubled shows."""

    def __init__(self, client: StreamClient) -> None:
        self.seen: list[str] = []
        client.on_batch(self._take)

    def _take(self, batch) -> None:
        if batch.reset:
            self.seen.clear()
        self.seen += [line for event in batch.events if isinstance(event, p.NodeLog) for line in event.lines]

    async def are(self, count: int) -> None:
        await until(lambda: self.seen and self.seen[-1] == str(count - 1))
        # After a reset, only as many as the state keeps.
        assert self.seen == [str(i) for i in range(count)][-len(self.seen) :]
        assert len(self.seen) == len(set(self.seen)) >= min(count, 200)


@pytest.mark.clock
async def test_a_half_open_connection_is_noticed_by_both_ends(server, proxy, monkeypatch):
    monkeypatch.setattr("dagwidget.client.state_machine.DEAD", 0.6)
    monkeypatch.setattr("dagwidget.client.state_machine.ANSWER", 0.3)
    async with following(server, proxy) as client, publishing(server) as run:
        await client.synced(PATIENCE)
        proxy.swallows = True
        run.update("a", "running", message="nobody hears this")
        await until(lambda: client.connection.phase == "waiting")
        assert "silent" in client.connection.reason
        # What the proxy alone holds open goes too; the engine stays.
        await until(lambda: len(server._rooms._where) == 1)
        proxy.cut()
        proxy.swallows = False
        proxy.open()
        await until(lambda: "a" in client.state.nodes and client.state.nodes["a"].message == "nobody hears this")


@pytest.mark.clock
async def test_what_a_publisher_said_into_the_void_is_said_again(server, proxy):
    async with following(server) as client, publishing(server, proxy) as run:
        lines = Lines(client)
        assert await asyncio.to_thread(run.flush, PATIENCE)
        proxy.swallows = True
        for i in range(100):
            run.log("a", i)
        assert not await asyncio.to_thread(run.flush, 0.3)
        # What was swallowed is gone for good: only a new connection helps.
        proxy.swallows = False
        await lines.are(100)


@pytest.mark.clock
async def test_a_proxy_that_cuts_again_and_again_loses_and_doubles_nothing(server, proxy):
    async with following(server, proxy) as client, publishing(server, proxy) as run:
        lines = Lines(client)
        await client.synced(PATIENCE)
        for i in range(600):
            run.log("a", i)
            if i % 20 == 10:
                proxy.cut()
                before = proxy.taken
                proxy.open()
                # Both are coming back; how far they have come when the next cut hits them is left to chance.
                await until(lambda before=before: proxy.taken >= before + 2)
            await asyncio.sleep(0.002)
        await lines.are(600)


async def test_messages_that_arrive_byte_by_byte_are_whole(server, proxy):
    proxy.chunk = 1
    async with following(server, proxy) as client, publishing(server, proxy) as run:
        lines = Lines(client)
        for i in range(20):
            run.log("a", i)
        await lines.are(20)


@pytest.mark.clock
async def test_a_stream_may_be_cut_after_any_byte(server, proxy):
    async with following(server, proxy) as client, publishing(server) as run:
        lines = Lines(client)
        await client.synced(PATIENCE)
        cuts = 0
        for i in range(80):
            # The handshake is some 150 bytes, the welcome and the run list twice as many, an event as many again.
            proxy.cut()
            await until(lambda: client.connection.phase == "waiting")
            proxy.left = i * 13
            proxy.open()
            client.probe()
            run.log("a", i)
            await until(lambda i=i: proxy.left is None or str(i) in lines.seen)
            cuts += proxy.left is None
        proxy.left = None
        client.probe()
        await lines.are(80)
        assert cuts > 40


async def test_of_many_who_decide_at_once_one_is_first_and_all_are_told_who(server):
    async with following(server) as one, following(server) as two, publishing(server) as run:
        for number in range(20):
            waiting = run.gate("a", gate_id=f"g{number}")
            await until(lambda: one.state.gates and two.state.gates)
            asked = [
                client.decide("a", verdict, feedback=f"{name} {verdict}")
                for verdict in ("approve", "reject")
                for name, client in (("one", one), ("two", two))
            ]
            answers = [await each for each in asked]
            (won,) = [answer for answer in answers if answer.state == "accepted"]
            made = await waiting
            assert (made.decision, made.feedback) == (won.command.decision, won.command.feedback)
            for lost in answers:
                if lost is not won:
                    assert (lost.code, lost.winner.feedback) == ("already_decided", made.feedback)
            await until(lambda: not one.state.gates and not two.state.gates)
        assert [each.feedback for each in one.state.decisions] == [each.feedback for each in two.state.decisions]
        assert len(one.state.decisions) == 20


async def test_a_thousand_rooms_are_kept_apart_and_one_more_takes_the_place_of_one_that_was_left():
    async with StreamServer(limits=Limits(rooms=1000, gone_seconds=0)) as server:

        async def begin(number: int) -> None:
            url = f"{server.url}/api/dags/dag%20{number}/publish"
            async with open_socket(url, proxy=None, compression=None) as socket:
                attach = p.Attach(protocol=1, publisher="x", epoch=f"run {number}", start=p.RunStart())
                event = p.NodeState(node_id=f"node {number}", status="running", seq=1)
                await socket.send(p.encode(attach), text=True)
                await socket.send(p.encode([event]), text=True)
                while not isinstance(p.decode_reply(await socket.recv())[0], p.Ack):
                    pass

        for start in range(0, 1000, 50):
            await asyncio.gather(*(begin(number) for number in range(start, start + 50)))
        rooms = [server._rooms.dag(f"dag {number}").rooms[f"run {number}"] for number in range(1000)]
        assert {(room.dag_id, room.epoch): [*room.state.nodes] for room in rooms} == {
            (f"dag {number}", f"run {number}"): [f"node {number}"] for number in range(1000)
        }
        # All of them were left by their engines: one more takes the place of one, once that is known to be gone.
        async with asyncio.timeout(PATIENCE):
            while not any(
                run.engine == "gone" for number in range(1000) for run in server._rooms.dag(f"dag {number}").runs
            ):
                await asyncio.sleep(0.05)
        await begin(1000)
        kept = [number for number in range(1001) if server._rooms.dag(f"dag {number}").rooms]
        assert (len(kept), kept[-1]) == (1000, 1000)


async def test_five_hundred_who_watch_see_all_of_it():
    async with StreamServer() as server, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(following(server)) for _ in range(500)]
        lines = [Lines(client) for client in clients]
        for client in clients:
            await client.synced(PATIENCE)
        async with publishing(server) as run:
            for i in range(300):
                run.log("a", i)
                await asyncio.sleep(0.001)
            for each in lines:
                await each.are(300)
