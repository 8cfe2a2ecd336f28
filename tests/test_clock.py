"""The machine's clock is set while runs are under way: an hour ahead, or back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import dagwidget
from dagwidget.client.client import StreamClient
from dagwidget.client.connecting import connect
from dagwidget.clock import Clock
from dagwidget.protocol.limits import Limits
from dagwidget.server.app import StreamServer
from dagwidget.server.auth.token_store import Tokens
from dagwidget.server.room_registry import now_ms

# Far longer than anything takes: only a fault gets here.
PATIENCE = 30.0
TOKEN = "a-token-of-the-test"
HOUR = 3600
LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


async def until(ready) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


class Times:
    """Two clocks: the date, which is set, and one that nobody sets; in seconds."""

    def __init__(self) -> None:
        self.date = self.unset = 1000.0
        self.clock = Clock(lambda: round(self.date * 1e9), lambda: round(self.unset * 1e9))

    def go(self, seconds: float, *, set_by: float = 0) -> None:
        self.date += seconds + set_by
        self.unset += seconds


def test_the_time_goes_on_and_never_jumps():
    times = Times()
    assert (times.clock.now(), times.clock.ahead()) == (1_000_000, 0)
    times.go(5)
    assert (times.clock.now(), times.clock.ahead()) == (1_005_000, 0)
    times.go(5, set_by=HOUR)
    assert (times.clock.now(), times.clock.ahead()) == (1_010_000, -HOUR * 1000)
    times.go(0, set_by=-2 * HOUR)
    assert (times.clock.now(), times.clock.ahead()) == (1_010_000, HOUR * 1000)


def test_a_clock_that_is_slewed_has_not_jumped():
    times = Times()
    times.go(60, set_by=0.9)
    assert times.clock.ahead() == 0


@contextlib.contextmanager
def date_set(monkeypatch, seconds: int) -> Iterator[None]:
    """The date of this process, set by so many seconds."""
    real = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: real() + seconds * 10**9)
        patch.setattr(time, "time", lambda: time.time_ns() / 1e9)
        yield


@contextlib.asynccontextmanager
async def gate_with_half_an_hour_left(url: str):
    """A run at a gate that is approved at its deadline, and a client that watches it."""
    run = dagwidget.start_run("dag", ["review"], url=url, token=TOKEN)
    run.gate("review", timeout=HOUR / 2, on_timeout="approve")
    assert await asyncio.to_thread(run.flush, PATIENCE)
    async with connect("dag", url=url, token=TOKEN) as client:
        await client.synced(PATIENCE)
        yield run, client
    run.complete()
    assert await asyncio.to_thread(run.flush, PATIENCE)


async def pinged(client: StreamClient, times: int) -> None:
    """Wait until the server has broken so many silences."""
    for _ in range(times):
        seen_at = client.connection.seen_at
        await until(lambda seen_at=seen_at: client.connection.seen_at != seen_at)


def is_as_before(client: StreamClient) -> None:
    assert (client.connection.phase, client.connection.attempt) == ("live", 1)
    assert client.state.status == "running"
    assert [gate.node_id for gate in client.state.gates.values()] == ["review"]


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
async def test_when_the_clock_is_set_nobody_is_dropped_and_no_deadline_passes(monkeypatch, seconds):
    limits = Limits(heartbeat_seconds=0.1)
    async with (
        StreamServer(token=TOKEN, limits=limits) as server,
        gate_with_half_an_hour_left(server.url) as (run, client),
    ):
        with date_set(monkeypatch, seconds):
            server._rooms.tick(now_ms())
            await pinged(client, 3)
            run.log("review", "still here")
            await until(lambda: client.state.nodes["review"].logs)
            is_as_before(client)
            assert (await client.decide("review", "approve")).state == "accepted"
            await until(lambda: client.state.decisions)
            [decision] = client.state.decisions
            assert decision.by != "deadline"
            # What happens now is dated as if the clock had not been set.
            assert abs(decision.at - now_ms()) < PATIENCE * 1000


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
async def test_a_new_gate_is_open_for_as_long_as_it_says_after_the_clock_was_set(monkeypatch, seconds):
    async with StreamServer(token=TOKEN) as server, gate_with_half_an_hour_left(server.url) as (run, client):
        with date_set(monkeypatch, seconds):
            run.gate("later", timeout=HOUR / 2)
            await until(lambda: len(client.state.gates) == 2)
            left = {gate.presentation.deadline - now_ms() for gate in client.state.gates.values()}
            assert all(HOUR / 2 - PATIENCE < each / 1000 <= HOUR / 2 for each in left)


async def test_a_token_expires_at_its_date_whenever_the_clock_was_set(monkeypatch, tmp_path):
    tokens = Tokens(tmp_path)
    date = time.time_ns() // 1_000_000
    _, soon = tokens.create("soon", "view", now=date, expires_at=date + HOUR * 500)
    _, later = tokens.create("later", "view", now=date, expires_at=date + HOUR * 2500)
    async with StreamServer(token=TOKEN, tokens=tokens) as server, gate_with_half_an_hour_left(server.url):
        with date_set(monkeypatch, HOUR):
            _, new = tokens.create("new", "view", now=date, expires_at=date + HOUR * 1000 + HOUR * 500)
            async with contextlib.AsyncExitStack() as stack:
                clients = [
                    await stack.enter_async_context(connect("dag", url=server.url, token=token))
                    for token in (soon, later, new)
                ]
                await until(lambda: clients[0].connection.phase == "waiting")
                for client in clients[1:]:
                    await client.synced(PATIENCE)
        with date_set(monkeypatch, -HOUR):
            # A token of half an hour that is made now is good at once, and for half an hour.
            _, new = tokens.create("new", "view", now=date, expires_at=date - HOUR * 1000 + HOUR * 500)
            async with connect("dag", url=server.url, token=new) as client:
                await client.synced(PATIENCE)
            grant = server._access.authorize(new)
            assert 0 < grant.expires_at - now_ms() <= HOUR * 500


SERVER = """
import asyncio, logging, sys
from dagwidget.protocol.limits import Limits
from dagwidget.server.app import StreamServer

async def main():
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    limits = Limits(heartbeat_seconds=0.2, dead_seconds=20)
    async with StreamServer(token=sys.argv[1], limits=limits) as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")
@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
async def test_when_the_clock_of_a_real_server_is_set_nobody_is_dropped_and_no_deadline_passes(tmp_path, seconds):
    date = tmp_path / "date"
    date.write_text("+0")
    environment = {
        **os.environ,
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(date),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-c", SERVER, TOKEN]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        url = process.stdout.readline().strip()
        async with gate_with_half_an_hour_left(url) as (_, client):
            date.write_text(f"{seconds:+d}")
            # The server has noticed, and has looked after everybody since.
            noticed = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), PATIENCE)
            assert "the machine's clock was set" in noticed
            assert f"{seconds:+d} s" in noticed
            await pinged(client, 5)
            is_as_before(client)
            assert (await client.decide("review", "reject")).state == "accepted"
    finally:
        process.kill()
        process.communicate()
