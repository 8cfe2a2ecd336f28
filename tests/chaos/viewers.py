"""Who watches a schedule: `PythonViewer` with `dagwidget.connect`, `PageViewer` in a real browser."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from playwright.async_api import Browser, Page

import dagwidget
from dagwidget import protocol as p

from .ledger import Ledger

ROOT = Path(__file__).parents[2]


class Standing(NamedTuple):
    """How a viewer stands: its connection, its cursor, and what it has counted."""

    phase: str
    resumable: bool | None
    code: int | None
    reason: str | None
    epoch: str | None
    seq: int
    status: str
    gates: list[str]
    last: int
    lost: int
    doubled: int
    resets: int


class Answer(NamedTuple):
    """What came of a decision. `durable` is False where the server said that it is not on disk."""

    ok: bool
    code: str | None
    durable: bool
    message: str | None


class Viewer(Protocol):
    name: str

    async def standing(self) -> Standing: ...

    async def state(self) -> dict[str, Any]: ...

    async def decide(self, gate: str, verdict: p.Verdict) -> Answer: ...

    async def close(self) -> None: ...


class PythonViewer:
    """The Python client."""

    name = "client"

    def __init__(self, url: str, dag_id: str, run: str | None) -> None:
        self._client = dagwidget.connect(dag_id, url=url, run=run)
        self._ledger = Ledger()
        self._client.on_batch(self._ledger.take)
        self._stack = contextlib.AsyncExitStack()

    async def open(self) -> None:
        await self._stack.enter_async_context(self._client)

    async def standing(self) -> Standing:
        connection, state, ledger = self._client.connection, self._client.state, self._ledger
        return Standing(
            *(connection.phase, connection.resumable, connection.code, connection.reason),
            *(state.epoch or None, state.seq, state.status, list(state.gates)),
            *(ledger.last, ledger.lost, ledger.doubled, ledger.resets),
        )

    async def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(p.encode_value(self._client.state.to_dict()))
        return state

    async def decide(self, gate: str, verdict: p.Verdict) -> Answer:
        sent = await self._client.decide(gate, verdict, gate_id=gate)
        # An answer that is not durable yet says so; older clients know of none.
        durable = getattr(sent, "durable", None) is not False
        return Answer(sent.state == "accepted", sent.code, durable, sent.message)

    async def close(self) -> None:
        await self._stack.aclose()


class PageViewer:
    """The widget's stream in a page."""

    name = "page"

    def __init__(self, page: Page) -> None:
        self._page = page

    @classmethod
    async def open(cls, browser: Browser, address: str, url: str, dag_id: str, run: str | None) -> PageViewer:
        page = await browser.new_page()
        await page.goto(address)
        stream = f"{url}/api/dags/{dag_id}/stream"
        await page.evaluate("([url, run]) => chaos.open(url, run ?? undefined)", [stream, run])
        return cls(page)

    async def standing(self) -> Standing:
        found = await self._page.evaluate("chaos.standing")
        return Standing(*(found.get(name) for name in Standing._fields))

    async def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(await self._page.evaluate("JSON.stringify(chaos.state)"))
        return state

    async def decide(self, gate: str, verdict: p.Verdict) -> Answer:
        ack = await self._page.evaluate("([gate, verdict]) => chaos.decide(gate, verdict)", [gate, verdict])
        return Answer(ack["ok"], ack.get("code"), ack.get("durable") is not False, ack.get("message"))

    async def jump(self, seconds: float) -> None:
        """The page's clock jumps."""
        await self._page.evaluate("(ms) => chaos.jump(ms)", seconds * 1000)

    async def close(self) -> None:
        await self._page.close()


@contextlib.contextmanager
def serving_page() -> Iterator[str]:
    """The page's address: on this machine, as the server and the browser want it of who connects to loopback."""
    with tempfile.TemporaryDirectory(prefix="dagwidget-page-") as folder:
        source = ROOT / "tests" / "pages" / "chaos.ts"
        subprocess.run(["node", ROOT / "js" / "build.mjs", source, Path(folder) / "chaos.js"], check=True)
        (Path(folder) / "chaos.html").write_text('<!doctype html><script type="module" src="chaos.js"></script>')
        handler = functools.partial(_Quiet, directory=folder)
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as pages:
            thread = threading.Thread(target=pages.serve_forever, daemon=True)
            thread.start()
            yield f"http://127.0.0.1:{pages.server_port}/chaos.html"
            pages.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
