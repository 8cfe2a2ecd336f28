"""`KernelBridge`: one widget's messages to and from the pages that show it.

A page holds its own connection to the stream server. From the kernel it learns where that is, which run to watch, and
which decisions to send; the kernel learns from it whether it is live, and reads the server for it where it can't.
"""

from __future__ import annotations

import gzip
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from .. import challenge, discovery
from .. import protocol as p
from ..client.http import earlier_durations, log_page, output_at
from ..errors import DagwidgetError
from .export import Pictures

_log = logging.getLogger("dagwidget")

# When a new view is told where the server is, in seconds after it was displayed: a page that can't ask while a cell
# runs can still be told.
_INTRODUCTIONS: Final = (0.1, 0.3, 0.7, 1.5, 3.0, 6.0, 12.0)


class Page(NamedTuple):
    """What a page reports of its connection."""

    phase: str
    role: str | None
    run: str | None
    at: float


class Comm(Protocol):
    """What sends a custom message to every page."""

    def send(self, content: Any, buffers: Any = None) -> None:
        """Send a message, and binary buffers."""


class KernelBridge:
    """One widget's messages to and from its pages. Its methods may be called in any thread."""

    def __init__(
        self,
        comm: Comm,
        dag_id: str,
        locate: Callable[[], discovery.Endpoint],
        run: str | None,
        sent: Callable[[str], None],
    ) -> None:
        """A bridge that looks for the server in a thread.

        Args:
            comm: The widget.
            dag_id: The DAG.
            locate: Finds the server; may block and raise.
            run: The run that the pages watch; None to follow the DAG.
            sent: Called with the id of each command that a page has sent.
        """
        self.pictures = Pictures(self._post)
        self._comm = comm
        self._dag_id = dag_id
        self._locate = locate
        self._run = run
        self._sent = sent
        self._expected: str | None = None
        self._endpoint: discovery.Endpoint | None = None
        self._pages: dict[str, Page] = {}
        self._in_thread(self._announce)

    # --- Pages

    def sends(self, command: p.AnyCommand) -> bool:
        """Let a live page send a command on its own connection. False if no page is live that may.

        The page says once it has; one that was closed without a word never does.
        """
        for page in tuple(self._pages.values()):
            if page.phase == "live" and page.role in ("operate", "publish"):
                self._post({"type": "command", "command": msgspec.to_builtins(command)})
                return True
        return False

    @property
    def page(self) -> Page | None:
        """The page that reported itself last."""
        return max(self._pages.values(), key=lambda page: page.at, default=None)

    def displayed(self) -> None:
        """A view was made: tell its page where the server is."""
        self._in_thread(self._introduce)

    def follow(self, run: str | None) -> None:
        """Let all pages watch a run, or follow the DAG (None); also views whose person has picked another run."""
        self._run, self._expected = run, None
        self._post({**self._followed(), "all": True})

    def begin(self, run: str | None) -> None:
        """Let all pages follow a run that this process begins; None: it will not begin."""
        self._expected = run
        self._post(self._followed())

    # --- Messages

    def receive(self, message: Any, buffers: Any) -> None:
        """Handle a message of a page."""
        kind = message.get("type") if isinstance(message, dict) else None
        match kind:
            case "endpoint?":
                # It may have to ask for a token.
                self._in_thread(self._renew_endpoint)
                self.pictures.repeat()
            case "page":
                self._pages[str(message["id"])] = Page(
                    str(message["phase"]), message.get("role"), message.get("run"), time.monotonic()
                )
                if message.get("run") == self._expected:
                    self._expected = None
            case "sent":
                self._sent(str(message["id"]))
            case "output?":
                self._in_thread(self._post_output, message["node_id"], message.get("run"))
            case "log?":
                self._in_thread(self._post_log, message["run"], message["after"])
            case "earlier?":
                self._in_thread(self._post_earlier, message["run"])
            case "picture":
                self.pictures.answer(message, buffers)
            case _:
                raise ValueError(f"the page sent a message of an unknown type: {kind!r}")

    def _post(self, message: dict[str, Any], buffers: Any = None) -> None:
        self._comm.send(message, buffers)

    def _post_endpoint(self) -> None:
        endpoint = self._endpoint
        if endpoint is not None:
            # First what to watch there, so that a page connects once.
            self._post(self._followed())
            url = endpoint.stream_url(self._dag_id)
            message: dict[str, Any] = {"type": "endpoint", "url": url, "token": endpoint.token}
            if endpoint.token is not None and challenge.is_needed(endpoint.url):
                # The page asks for the proof itself, as it connects later, and to its own machine.
                message["challenge"] = challenge.question(endpoint.url, endpoint.token)
            self._post(message)

    def _followed(self) -> dict[str, Any]:
        return {"type": "follow", "run": self._run or self._expected, "pin": self._run is not None}

    def _announce(self) -> None:
        """Find the server, and tell the pages."""
        try:
            self._endpoint = self._locate()
        except DagwidgetError as error:
            self._post({"type": "fault", "reason": str(error)})
        else:
            self._post_endpoint()

    def _introduce(self) -> None:
        for delay in _INTRODUCTIONS:
            time.sleep(delay)
            if self._pages:
                return
            self._post_endpoint()

    def _renew_endpoint(self) -> None:
        """A page (re)connects, or its token expires: the server may have moved since it was last told."""
        if self._endpoint is None:
            # It is being found for the first time.
            return
        try:
            self._endpoint = self._locate()
        except DagwidgetError as error:
            _log.warning("the stream server of %r was not found again: %s", self._dag_id, error)
        self._post_endpoint()

    # --- Reads, which the server answers to the kernel

    def _post_output(self, node_id: str, run: str | None) -> None:
        about = {"type": "output", "node_id": node_id, "run": run}
        try:
            text = json.dumps(output_at(self._locate, self._dag_id, node_id, run_id=run), ensure_ascii=False)
        except DagwidgetError as error:
            self._post({**about, "fault": str(error)})
        else:
            self._post({**about, "text": text})

    def _post_log(self, run_id: str, after: int) -> None:
        about = {"type": "log", "run": run_id, "after": after}
        try:
            page = log_page(self._locate, self._dag_id, run_id, after)
        except DagwidgetError as error:
            self._post({**about, "fault": str(error)})
        else:
            # Jupyter's server drops what a kernel sends faster than 1 MB/s.
            self._post(about, [gzip.compress(page, compresslevel=3)])

    def _post_earlier(self, run_id: str) -> None:
        try:
            earlier = earlier_durations(self._locate, self._dag_id, run_id)
        except DagwidgetError as error:
            self._post({"type": "earlier", "run": run_id, "fault": str(error)})
        else:
            self._post({"type": "earlier", "run": run_id, "durations": msgspec.to_builtins(earlier)})

    def _in_thread(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run what may have to wait for a server."""
        threading.Thread(target=function, args=arguments, name=f"dagwidget{function.__name__}", daemon=True).start()
