"""A stream server for a test, in a thread of its own, so that the test itself may block."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dagwidget.protocol.limits import Limits
from dagwidget.server.app import StreamServer
from dagwidget.server.storage.event_store import Journal


class Served(NamedTuple):
    url: str
    token: str | None


@contextlib.contextmanager
def serving(
    *, auth: bool = True, port: int = 0, journal: Journal | None = None, limits: Limits | None = None
) -> Iterator[Served]:
    """Yields the base URL and the token of a server on a loopback port, a free one by default."""
    token = "a-token-of-the-test" if auth else None
    ready = threading.Event()
    stop: Callable[[], object]
    url = ""

    async def serve() -> None:
        nonlocal url, stop
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop = functools.partial(loop.call_soon_threadsafe, done.set)
        async with StreamServer(port=port, token=token, journal=journal, limits=limits) as server:
            url = server.url
            ready.set()
            await done.wait()
        # What is closed is gone a few turns of the loop later, however long they take.
        for _ in range(20):
            await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        if not ready.wait(10):
            raise RuntimeError("the stream server did not start")
        yield Served(url, token)
    finally:
        stop()
        thread.join()
