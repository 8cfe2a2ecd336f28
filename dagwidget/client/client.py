"""`StreamClient`: a run's stream in Python, with the browser's backoff and resume. Every rule is in `conversation`."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.asyncio.connection import broadcast
from websockets.exceptions import ConnectionClosed, WebSocketException

from .. import discovery
from .. import protocol as p
from ..cross_loop import Waiters
from ..errors import DagwidgetError, InvalidDecision, NotConnected, ProtocolError
from ..state import DagState
from .event_stream import Feed
from .pending_command import SentCommand
from .state_machine import Batch, Connect, Connection, Conversation, Disconnect, Output, Renew, Send

_log = logging.getLogger("dagwidget")

_CLOSE_SECONDS: Final = 1.0
_EXPECTED: Final = (OSError, EOFError, DagwidgetError, WebSocketException)


def connect(
    dag_id: str, *, url: str | None = None, token: discovery.Token | None = None, run: str | None = None
) -> StreamClient:
    """Follow a DAG, and steer it: `async with dagwidget.connect("my-dag") as client: …`.

    Args:
        dag_id: The DAG.
        url: Base URL of the stream server; by default `DAGWIDGET_URL`, or this machine's, started if need be.
        token: What the server asks for, or a function that gives it, called for each connection and when it is about
            to expire; by default `DAGWIDGET_TOKEN`, or the one of this machine's server.
        run: A past run, by its id; the DAG's current one when absent.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
    """
    p.check_dag_id(dag_id)
    if run is not None:
        p.check_dag_id(run, "run")
    return StreamClient(dag_id, discovery.locator(url, token), run)


class StreamClient:
    """A DAG's state as it changes, over as many connections as it takes.

    In a coroutine it runs in the loop there: `async with connect(…) as client`. In plain code `with connect(…) as
    client` gives it a thread of its own; what is awaited may be awaited in any loop all the same.

    Attributes:
        lock: Held while events are applied. With a thread of its own, hold it to read more than one thing.
    """

    def __init__(self, dag_id: str, locate: Callable[[], discovery.Endpoint], run: str | None = None) -> None:
        """A client that has not begun.

        Args:
            dag_id: The DAG.
            locate: Finds the server; called in a thread before each attempt. May block and raise.
            run: A past run; the current one when absent.
        """
        self.dag_id = dag_id
        self.lock = threading.RLock()
        self._locate = locate
        self._run = run
        self._conversation = Conversation()
        self._commands: dict[str, SentCommand] = {}
        self._feeds: weakref.WeakSet[Feed] = weakref.WeakSet()
        self._listeners: list[Callable[[Batch], object]] = []
        self._waiters = Waiters()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        # Attempts that were let go of, and close their sockets.
        self._ending: set[asyncio.Task[None]] = set()
        self._socket: ClientConnection | None = None
        self._thread: threading.Thread | None = None
        self._leave: Callable[[], object] = lambda: None

    def __repr__(self) -> str:
        return f"<StreamClient of {self.dag_id!r}: {self._conversation.phase}>"

    # --- Beginning and end

    async def __aenter__(self) -> StreamClient:
        if self._loop is not None:
            raise RuntimeError("a StreamClient is used once: call connect() again")
        self._loop = asyncio.get_running_loop()
        self._input(lambda _now: self._conversation.start())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._input(lambda _now: self._conversation.close())
        if self._renewing is not None:
            self._renewing.cancel()
        if self._ending:
            await asyncio.wait(self._ending)

    def __enter__(self) -> StreamClient:
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name=f"dagwidget-client-{self.dag_id}", daemon=True
        )
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread is not None
        self._leave()
        self._thread.join()

    async def _serve(self, ready: threading.Event) -> None:
        left, loop = asyncio.Event(), asyncio.get_running_loop()
        self._leave = lambda: loop.call_soon_threadsafe(left.set)
        async with self:
            ready.set()
            await left.wait()

    # --- What a reader sees

    @property
    def state(self) -> DagState:
        """What the run has come to. After a reset it is another object, and until that is whole the old one."""
        return self._conversation.state

    @property
    def connection(self) -> Connection:
        """How the connection stands; its times are Unix milliseconds."""
        connection = self._conversation.connection
        ahead = time.time() - (self._loop.time() if self._loop is not None else 0.0)
        times = {
            name: round((at + ahead) * 1000)
            for name in ("retry_at", "seen_at")
            if (at := getattr(connection, name)) is not None
        }
        return replace(connection, **times)

    def events(self) -> Feed:
        """What happens from now on, event by event: `async for event in client.events()`.

        A `protocol.Sync` among them says that the state begins anew with the events after it: at first, with a new
        run, or where the reader or the connection was too far behind. The iteration ends when the client is closed.

        Raises:
            NotConnected: while iterating: the server has ended it for good.
        """
        with self.lock:
            feed = Feed(lambda: self.state, self._waiters, self._ended)
            self._feeds.add(feed)
            return feed

    def on_batch(self, callback: Callable[[Batch], object]) -> Callable[[], None]:
        """Be handed each batch of events after it was applied, in the client's loop. Returns how to end that."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    async def synced(self, timeout: float | None = None) -> None:
        """Wait until the state is the server's own.

        Raises:
            NotConnected: the connection has ended for good.
            TimeoutError: `timeout` seconds are over.
        """
        await self._waiters.wait(lambda: self._conversation.phase == "live" or self._ended(), timeout, "the state")
        if self._conversation.phase == "stopped":
            raise NotConnected("the client was closed")

    def _ended(self) -> bool:
        connection = self._conversation.connection
        if connection.phase == "stopped" and connection.reason is not None:
            raise NotConnected(f"{connection.reason} (code {connection.code})")
        return connection.phase == "stopped"

    # --- Commands

    def decide(
        self,
        node_id: str,
        decision: p.Verdict,
        *,
        feedback: str | None = None,
        value: Any = None,
        gate_id: str | None = None,
    ) -> SentCommand:
        """Answer the gate that is open at a node, now or once there is a connection. Await it for the answer.

        Args:
            node_id: The node that waits.
            decision: `approve`, `reject` or `modify`.
            feedback: A word to whoever reads the decision, and to the engine.
            value: The answer itself, JSON-safe; needed to `modify`.
            gate_id: Which gate, where several are open at the node.

        Raises:
            InvalidDecision: it is not one that a server could take.
        """
        command = p.HumanDecision(
            id=str(uuid.uuid4()),
            node_id=node_id,
            decision=decision,
            gate_id=gate_id,
            feedback=feedback,
            value=value,
            source="python",
        )
        try:
            p.decode_client(p.encode(command))
        except (ProtocolError, TypeError, ValueError, RecursionError) as error:
            raise InvalidDecision(str(error)) from None
        return self._send(command)

    def pause(self) -> SentCommand:
        """Ask the engine to start nothing new."""
        return self._send(p.PauseExecution(id=str(uuid.uuid4())))

    def resume(self) -> SentCommand:
        """Ask the engine to go on."""
        return self._send(p.ResumeExecution(id=str(uuid.uuid4())))

    def cancel(self) -> SentCommand:
        """Ask the engine to stop the run for good."""
        return self._send(p.CancelExecution(id=str(uuid.uuid4())))

    def _send(self, command: p.AnyCommand) -> SentCommand:
        if self._loop is None:
            raise NotConnected("the client has not begun: use it in `async with`, or in `with`")
        sent = self._commands[command.id] = SentCommand(command)
        sent.state = "sent"
        self._call(lambda: self._input(lambda _now: self._conversation.send(command)))
        return sent

    def probe(self) -> None:
        """The network may have come back: look at once."""
        self._call(lambda: self._input(self._conversation.probe))

    # --- Around the conversation

    def _call(self, function: Callable[[], None]) -> None:
        """Call it in the client's loop; where that is closed, nothing can come in between."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            function()

    def _input(self, take: Callable[[float], None]) -> None:
        assert self._loop is not None
        with self.lock:
            take(self._loop.time())
            outputs = self._conversation.take()
            for output in outputs:
                if isinstance(output, Batch):
                    for feed in tuple(self._feeds):
                        feed.take(output)
        for output in outputs:
            self._do(output)
        self._schedule(self._loop)
        self._waiters.wake()

    def _do(self, output: Output) -> None:
        match output:
            case Connect():
                assert self._loop is not None
                self._attempt = self._loop.create_task(self._converse())
                self._ending.add(self._attempt)
                self._attempt.add_done_callback(self._ending.discard)
            case Renew():
                assert self._loop is not None
                self._renewing = self._loop.create_task(self._renew())
            case Send() if self._socket is not None:
                # It never waits: what a peer does not read is little, and ends with the connection.
                broadcast([self._socket], output.frame, text=True)
            case Disconnect() if self._attempt is not None:
                self._attempt.cancel()
                self._attempt = self._socket = None
            case Batch():
                for listener in tuple(self._listeners):
                    try:
                        listener(output)
                    except Exception:
                        _log.exception("a listener of %r failed", self)
            case p.CommandAck():
                sent = self._commands.pop(output.id, None)
                if sent is not None:
                    sent.answer(output)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        due = self._conversation.due
        if self._timer is not None:
            if self._timer.when() == due and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = None if due is None else loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._input(self._conversation.tick)

    async def _renew(self) -> None:
        try:
            endpoint = await asyncio.to_thread(self._locate)
        except DagwidgetError as error:
            _log.warning("the token of %r can't be renewed: %s", self, error)
            endpoint = None
        self._input(functools.partial(self._conversation.renewed, endpoint and endpoint.token))

    async def _converse(self) -> None:
        """One attempt, and the connection that it leads to."""
        code, reason = None, None
        try:
            endpoint = await asyncio.to_thread(self._locate)
            self._input(lambda now: self._conversation.opening(endpoint.token, now))
            async with self._open(endpoint) as socket:
                try:
                    self._socket = socket
                    spoken = socket.subprotocol == p.SUBPROTOCOL
                    self._input(lambda now: self._conversation.opened(now, v1=spoken))
                    while True:
                        frame = await socket.recv(decode=False)
                        self._input(functools.partial(self._conversation.receive, frame))
                finally:
                    if self._conversation.phase != "stopped":
                        # An orderly close hangs on a peer that does not read.
                        socket.transport.abort()
        except ConnectionClosed as closed:
            code, reason = closed.rcvd.code if closed.rcvd else 1006, closed.rcvd.reason if closed.rcvd else None
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if not isinstance(error, _EXPECTED):
                _log.exception("following %r ran into a fault", self.dag_id)
        if self._attempt is asyncio.current_task():
            self._input(lambda now: self._conversation.closed(code, reason, now))

    def _open(self, endpoint: discovery.Endpoint) -> open_socket:
        return open_socket(
            endpoint.stream_url(self.dag_id, self._run),
            subprotocols=[p.SUBPROTOCOL],  # type: ignore[list-item]
            # The conversation minds the time.
            open_timeout=None,
            close_timeout=_CLOSE_SECONDS,
            ping_interval=None,
            compression=None,
            # A frame holds whole events, as many as the server's own limits allow.
            max_size=None,
            # A loopback server is on no other side of any proxy.
            proxy=None if urlsplit(endpoint.url).hostname in discovery.LOOPBACK else True,
        )
