"""A thousand viewers come back to a server that was restarted, each after the real backoff, until it is in step."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
import time
from pathlib import Path

from dagwidget.backoff import backoff

from .results import Row
from .server import running, serve
from .sockets import Viewer, connected, crowd
from .source import source

CLIENTS = 1000
EVENTS = 1000
# How long a client waits for a server to answer.
_ANSWER_SECONDS = 5.0


async def _come_back(url: str, viewer: Viewer) -> float:
    """When it was in step again, by `time.monotonic`."""
    await viewer.closed
    # The server, when it said goodbye, asked for a second.
    least = 1.0
    for failures in itertools.count(1):
        await asyncio.sleep(max(least, backoff(failures)))
        least = 0.0
        again = Viewer("reconnect", viewer.cursor)
        with contextlib.suppress(OSError):
            await asyncio.wait_for(connected(url, again), _ANSWER_SECONDS)
            await asyncio.wait_for(again.synced, _ANSWER_SECONDS)
            return time.monotonic()
        again.abandon()
    raise AssertionError


async def _measure(log: Path) -> list[float]:
    """Seconds from the server's end until each was back, sorted."""
    with running(serve(log)) as process:
        async with source(process.url, "reconnect") as feed:
            await feed.publish(EVENTS)
            await feed.settled()
        viewers = await crowd(process.url, "reconnect", CLIENTS)
        coming = [asyncio.ensure_future(_come_back(process.url, viewer)) for viewer in viewers]
        began = time.monotonic()
        await asyncio.to_thread(process.stop)
        await asyncio.to_thread(process.start)
        back = await asyncio.gather(*coming)
        return sorted(at - began for at in back)


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="dagwidget-bench-") as folder:
        seconds = asyncio.run(_measure(Path(folder) / "log.sqlite3"))
    return [
        Row(f"reconnect/{CLIENTS}/p50_s", round(seconds[CLIENTS // 2], 2), "s"),
        Row(f"reconnect/{CLIENTS}/p99_s", round(seconds[int(CLIENTS * 0.99)], 2), "s"),
    ]
