"""The publisher's transport between two threads: it goes to sleep, and no event that comes just then is left lying."""

import asyncio
from collections.abc import Callable

import pytest

from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits
from dagwidget.publisher import transport as module
from dagwidget.publisher.transport import Transport

# Far longer than anything takes: only a fault gets here.
PATIENCE = 30.0


class Socket:
    """Takes what is sent, and says so."""

    def __init__(self) -> None:
        self.numbers: asyncio.Queue[int] = asyncio.Queue()

    async def send(self, frame: bytes, text: bool) -> None:
        for event in p.decode_publisher(frame):
            self.numbers.put_nowait(event.seq)

    async def has(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.numbers.get() != number:
                pass


class Wakeup(asyncio.Event):
    """What a transport sleeps on. Around its next `clear` something happens, as in another thread."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], object] = lambda: None
        self.after: Callable[[], object] = lambda: None

    def clear(self) -> None:
        before, after = self.before, self.after
        self.before = self.after = lambda: None
        before()
        super().clear()
        after()


class Uplink:
    """A transport that sends, in this loop in place of its own thread's."""

    def __init__(self) -> None:
        self.transport = Transport("dag", lambda: pytest.fail("nobody connects"), start=None, epoch="run")
        self.transport._loop.close()
        self.transport._loop = asyncio.get_running_loop()
        self.transport._wakeup = self.wakeup = Wakeup()
        self.socket = Socket()
        self.sending = asyncio.create_task(self.transport._send_loop(self.socket))

    def publish(self) -> None:
        self.transport.publish(p.NodeState(node_id="a", status="running"))

    def acknowledge(self, number: int) -> None:
        self.transport._handle(p.Ack(seq=number))

    async def asleep(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not self.transport._asleep:
                await asyncio.sleep(0)


@pytest.fixture
async def uplink():
    uplink = Uplink()
    yield uplink
    uplink.sending.cancel()
    await asyncio.gather(uplink.sending, return_exceptions=True)


async def test_an_event_wakes_a_transport_that_sleeps(uplink):
    for number in range(1, 6):
        await uplink.asleep()
        uplink.publish()
        await uplink.socket.has(number)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_event_that_comes_while_it_falls_asleep_is_not_left_lying(uplink, moment):
    for number in range(1, 20, 2):
        await uplink.asleep()
        # The transport finds nothing more to send, and is about to sleep: who publishes just then sees it awake.
        setattr(uplink.wakeup, moment, uplink.publish)
        uplink.publish()
        await uplink.socket.has(number)
        await uplink.socket.has(number + 1)


async def test_an_acknowledgement_makes_room_for_what_waits(uplink, monkeypatch):
    monkeypatch.setattr(module, "_FRAME_EVENTS", 2)
    room = 4 * 2
    for _ in range(3 * room):
        uplink.publish()
    for number in (room, 2 * room, 3 * room):
        await uplink.socket.has(number)
        await uplink.asleep()
        uplink.acknowledge(number)
    assert uplink.transport.undelivered == 0


async def test_a_transport_that_sleeps_ends_as_it_is_closed(uplink):
    uplink.publish()
    await uplink.socket.has(1)
    uplink.acknowledge(1)
    await uplink.asleep()
    uplink.transport.close()
    async with asyncio.timeout(PATIENCE):
        await uplink.sending


def test_a_closed_transport_tries_for_longer_than_a_dead_connection_takes_to_be_noticed():
    # Two pings without an acknowledgement in between; then a new connection, with its pauses and its answer.
    noticed = 2 * Limits().heartbeat_seconds + module._ANSWER_SECONDS
    assert noticed + 30 <= module._CLOSE_SECONDS
