"""`python -m benchmarks.soak [seconds]`: nothing is lost or doubled, whatever happens to connections and the server.

One engine publishes 500 numbered events a second; 50 clients follow, some of whose connections are cut every second or
two, the engine's among them, while the server is killed every 30 seconds, and started again with its log. A client may
be given the state in place of what it missed; apart from that each number must come to it once, in order. In the end
each must hold the state that the server holds, and the log every number once.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import dagwidget
from dagwidget import protocol as p
from dagwidget.server.storage.sqlite import SqliteJournal
from tests.chaos.ledger import Ledger, numbers_of
from tests.proxy import CutProxy

from .server import Process, running, serve

SECONDS = 600.0
CLIENTS = 50
PROXIES = 10
RATE = 500
KILL_SECONDS = 30.0
CUT_SECONDS = (0.5, 2.0)
# How long a cut lasts: mostly a moment.
AWAY_SECONDS = (0.0, 0.0, 0.0, 5.0)
# So many that what is missed in a moment is less than the state, and comes event by event; in a longer cut it is not.
NODES = 2000
_CATCH_UP_SECONDS = 90.0


async def _publish(run: dagwidget.Run, seconds: float) -> int:
    """Returns how many events there were."""
    began, sent = time.monotonic(), 0
    while (since := time.monotonic() - began) < seconds:
        for number in range(sent, int(since * RATE)):
            run.update(f"n{number % NODES}", "running", message=str(number))
            sent += 1
        await asyncio.sleep(0.01)
    return sent


async def _cut(proxies: list[CutProxy]) -> None:
    while True:
        await asyncio.sleep(random.uniform(*CUT_SECONDS))
        proxy = random.choice(proxies)
        proxy.cut()
        try:
            await asyncio.sleep(random.choice(AWAY_SECONDS))
        finally:
            proxy.open()


async def _kill(process: Process) -> None:
    while True:
        await asyncio.sleep(KILL_SECONDS)
        # In one thread, so that who ends this leaves a server behind.
        await asyncio.shield(asyncio.to_thread(_restart, process))


def _restart(process: Process) -> None:
    process.kill()
    process.start()


async def _caught_up(clients: list[dagwidget.StreamClient], ledgers: list[Ledger], sent: int) -> None:
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    while time.monotonic() < deadline and any(ledger.last < sent - 1 for ledger in ledgers):
        await asyncio.sleep(0.1)
    for client in clients:
        await client.synced(_CATCH_UP_SECONDS)


async def _soak(process: Process, proxies: list[CutProxy], seconds: float) -> tuple[list[Ledger], int, int, int]:
    """The clients' ledgers, whose state differs from the server's, how many events there were, and memory at first."""
    urls = [f"ws://127.0.0.1:{proxy.port}" for proxy in proxies]
    ledgers = [Ledger() for _ in range(CLIENTS)]
    async with AsyncExitStack() as stack:
        run = stack.enter_context(dagwidget.start_run("soak", run_id="soak", url=urls[0]))
        clients = []
        for i, ledger in enumerate(ledgers):
            client = dagwidget.connect("soak", url=urls[i % PROXIES])
            client.on_batch(ledger.take)
            clients.append(await stack.enter_async_context(client))
        await asyncio.gather(*(client.synced(_CATCH_UP_SECONDS) for client in clients))
        memory = process.memory
        faults = [asyncio.create_task(_cut(proxies)), asyncio.create_task(_kill(process))]
        sent = await _publish(run, seconds)
        for fault in faults:
            fault.cancel()
        # A cut or a kill in the middle is finished: the proxy is open again, the server runs.
        await asyncio.gather(*faults, return_exceptions=True)
        await asyncio.to_thread(run.flush, _CATCH_UP_SECONDS)
        await _caught_up(clients, ledgers, sent)
        state = await asyncio.to_thread(_state, process)
        differ = sum(json.loads(p.encode_value(client.state.to_dict())) != state for client in clients)
    return ledgers, differ, sent, memory


def _state(process: Process) -> Any:
    with urllib.request.urlopen(process.url.replace("ws", "http") + "/api/dags/soak") as answer:
        return json.load(answer)["state"]


def _logged(path: Path) -> Ledger:
    """What the log has, read when the server is gone."""
    ledger = Ledger()
    with closing(SqliteJournal(path)) as journal:
        kept = journal.snapshot("soak", "soak")
        for record in [] if kept is None else journal.follow("soak", "soak", 0, kept.run.events):
            for number in numbers_of(p.decode_server(record.data)):
                ledger.count(number)
    return ledger


@contextmanager
def _proxies(port: int) -> Iterator[list[CutProxy]]:
    with ExitStack() as stack:
        yield [stack.enter_context(closing(CutProxy(port))) for _ in range(PROXIES)]


def main(seconds: float) -> int:
    with tempfile.TemporaryDirectory(prefix="dagwidget-soak-") as folder:
        log = Path(folder) / "log.sqlite3"
        with running(serve(log)) as process, _proxies(process.port) as proxies:
            ledgers, differ, sent, before = asyncio.run(_soak(process, proxies, seconds))
            after = process.memory
        logged = _logged(log)
    for ledger in (*ledgers, logged):
        ledger.lost += sent - 1 - ledger.last
    lost = sum(ledger.lost for ledger in (*ledgers, logged))
    doubled = sum(ledger.doubled for ledger in (*ledgers, logged))
    resets = sum(ledger.resets for ledger in ledgers)
    print(f"{sent} events to {CLIENTS} clients in {seconds:g} s; {resets} times the state in place of a tail")
    print(f"lost: {lost}\ndoubled: {doubled}\nclients whose state is not the server's: {differ}")
    print(f"memory of the server: {before / 1024**2:.1f} MiB at first, {after / 1024**2:.1f} MiB in the end")
    return 1 if lost or doubled or differ else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
