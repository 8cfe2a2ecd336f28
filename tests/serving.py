"""A stream server for a test, in a thread of its own, so that the test itself may block."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import NamedTuple

from dagwidget.server import StreamServer


class Served(NamedTuple):
    url: str
    token: str | None


@contextlib.contextmanager
def serving(*, auth: bool = True) -> Iterator[Served]:
    """Yields the base URL and the token of a server on a free loopback port."""
    token = "a-token-of-the-test" if auth else None
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    url = ""

    async def serve() -> None:
        nonlocal url
        async with StreamServer(host="127.0.0.1", port=0, token=token) as server:
            url = server.url
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        if not ready.wait(10):
            raise RuntimeError("the stream server did not start")
        yield Served(url, token)
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()
