"""`StreamClient`: follows a run from Python. The shell around `StateMachine`, which holds every rule."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, assert_never

from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import broadcast
from websockets.exceptions import ConnectionClosed, WebSocketException

from .. import discovery
from .. import protocol as p
from ..errors import ClientClosed, DagwidgetError, NotConnected, ServerRefused, ServerUnreachable
from ..handshake import open_socket, refusal
from ..state import FINAL, DagState
from .callbacks import Callbacks
from .commands import Commands
from .cross_loop import Waiters
from .event_stream import EventStream
from .followed import Followed, Outcome
from .in_thread import in_thread
from .outbox import checked
from .outputs import Batch, Connect, Connection, Disconnect, Output, Renew, Send, Sent
from .pending_command import SentCommand, mark_sent, settle
from .state_machine import StateMachine
from .waits import Waits

_log = logging.getLogger("dagwidget")

# The close codes that only a stream server gives.
_ANSWERS: Final = frozenset(row.code for row in p.CLOSE_CODES if row.code >= 4000)
# How many ended runs are remembered, for those who wait for one.
_OUTCOMES: Final = 100
# How long a wait without a limit goes on where there never was a connection.
_FIRST_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 1.0
# The errors of a connection attempt that the network or the server causes.
_EXPECTED: Final = (OSError, EOFError, DagwidgetError, WebSocketException)


class StreamClient(Callbacks, Commands, Waits):
    """Follows a DAG, over as many connections as it takes. `connect` makes one.

    In `async with` it runs in the current event loop. In a plain `with` it runs in a thread of its own, and its
    coroutines can be awaited in any loop.

    Attributes:
        dag_id: The DAG.
        lock: Held while events are applied. A client in a thread of its own changes its state at any time: hold the
            lock to read more than one thing.

    Example:
        >>> with dagwidget.connect("my-dag") as client:
        ...     await client.synced(timeout=10)
        ...     client.connection.phase
        'live'
    """

    def __init__(self, dag_id: str, locate: Callable[[], discovery.Endpoint], run: str | None = None) -> None:
        """A client that is not connected yet.

        Args:
            dag_id: The DAG.
            locate: Finds the server. Called in a thread before each attempt; may block and raise.
            run: The id of a past run; None for the current one.
        """
        super().__init__()
        self.dag_id = dag_id
        self.lock = threading.RLock()
        self._locate = locate
        self._run = run
        self._machine = StateMachine(run=run)
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()
        # Where the server was last looked for.
        self._url = ""
        self._commands: dict[str, SentCommand] = {}
        self._streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        self._waiters = Waiters()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        # All attempts whose task still runs: those that were cancelled are closing their sockets.
        self._attempts: set[asyncio.Task[None]] = set()
        self._socket: ClientConnection | None = None
        self._thread: threading.Thread | None = None
        self._stop_thread: Callable[[], object] = lambda: None

    def __repr__(self) -> str:
        return f"<StreamClient of {self.dag_id!r}: {self._machine.phase}>"

    # --- Start and end

    async def __aenter__(self) -> StreamClient:
        if self._loop is not None:
            raise RuntimeError("a StreamClient is used once: call connect() again")
        self._loop = asyncio.get_running_loop()
        self._input(lambda _now: self._machine.start())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._input(lambda _now: self._machine.close())
        if self._renewing is not None:
            self._renewing.cancel()
        if self._attempts:
            await asyncio.wait(self._attempts)

    def open(self) -> None:
        """Run in a thread of its own, as in `with`, until `close`.

        Example:
            >>> client = dagwidget.connect("my-dag")
            >>> client.open()
            >>> await client.synced(timeout=10)
            >>> client.close()
        """
        self.__enter__()

    def close(self) -> None:
        """End what `open` has begun. Returns at once, and may be called in any thread, and again.

        Example:
            >>> client = dagwidget.connect("my-dag")
            >>> client.open()
            >>> client.close()
        """
        self._stop_thread()

    def __enter__(self) -> StreamClient:
        if self._loop is not None or self._thread is not None:
            raise RuntimeError("a StreamClient is used once: call connect() again")
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run_in_thread(ready)), name=f"dagwidget-client-{self.dag_id}", daemon=True
        )
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._thread is not None:
            self._thread.join()

    async def _run_in_thread(self, ready: threading.Event) -> None:
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()

        def stop() -> None:
            # The loop is closed once the client is.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stopped.set)

        self._stop_thread = stop
        async with self:
            ready.set()
            await stopped.wait()

    # --- The state

    @property
    def state(self) -> DagState:
        """The state of the run. After a reset it is another object; until that is complete, the old one stays."""
        return self._machine.state

    @property
    def connection(self) -> Connection:
        """The state of the connection. Its times are Unix milliseconds."""
        connection = self._machine.connection
        ahead = time.time() - (self._loop.time() if self._loop is not None else 0.0)
        times = {
            name: round((at + ahead) * 1000)
            for name in ("retry_at", "seen_at")
            if (at := getattr(connection, name)) is not None
        }
        return replace(connection, **times)

    @property
    def run_id(self) -> str | None:
        """The run that the state is of; None before the first."""
        return self._machine.expected or self._machine.state.epoch or None

    @property
    def is_behind(self) -> bool:
        """Whether this process has begun a run that the state is not of yet."""
        return self._machine.expected is not None

    @property
    def runs(self) -> list[p.RunSummary]:
        """The DAG's run list as the server sends it, newest first."""
        with self.lock:
            return sorted(self._machine.runs.values(), key=lambda run: (run.started_at, run.run_id), reverse=True)

    @property
    def engine(self) -> p.Engine | None:
        """The state of the run's engine; None where the server has not reported it."""
        return self._machine.engine

    def outcome(self, run_id: str) -> Outcome | None:
        """How a run has ended that the client has seen end, also after it went on to another run.

        Example:
            >>> run.complete({"loss": 0.1})
            >>> await client.wait(lambda: client.outcome(run.run_id) is not None, 10, "the end of the run")
            >>> client.outcome(run.run_id).results
            {'loss': 0.1}
        """
        with self.lock:
            state = self._machine.state
            if (state.epoch or "") == run_id and not self.is_behind and state.status in FINAL:
                return Outcome(state.status, state.results, state.errors)
            return self._outcomes.get(run_id)

    def follow(self, run_id: str | None) -> None:
        """Watch one run from now on, or follow the DAG again.

        Args:
            run_id: The run; None to follow the DAG's newest live run.

        Example:
            >>> client.follow(run.run_id)
            >>> client.follow(None)
        """
        if run_id is not None:
            p.check_dag_id(run_id, "run_id")
        self._check_open()
        self._run = run_id
        self._call(lambda: self._input(lambda now: self._machine.watch(run_id, now)))

    def begin(self, run_id: str) -> None:
        """Follow a run that this process is about to publish; from now on `is_behind` until it has arrived.

        Example:
            >>> client.begin("run-7")
            >>> client.run_id, client.is_behind
            ('run-7', True)
        """
        self._expect(run_id)

    def forget(self, run_id: str) -> None:
        """Do not wait for a run that `begin` has named: it will not begin, as the server has refused it.

        Example:
            >>> client.begin("run-7")
            >>> client.forget("run-7")
            >>> client.is_behind
            False
        """
        if self._machine.expected in (None, run_id):
            self._expect(None)

    def _expect(self, run_id: str | None) -> None:
        with self.lock:
            self._machine.begin(run_id)
        self._tell(self._beginners, run_id)
        if self._loop is not None:
            self._call(lambda: self._input(self._machine.refresh))

    def events(self) -> EventStream:
        """The events from now on.

        A `protocol.Sync` among them means that the events after it build a new state from scratch. One comes with each
        new run, and after the reader or the connection has fallen too far behind. The iteration ends when the client is
        closed.

        Returns:
            An asynchronous iterator, for any event loop. It raises `ServerRefused` if the server ends the connection
            for good.

        Example:
            >>> run.update("train", "running")
            >>> async for event in client.events():
            ...     print(event.node_id, event.status)
            ...     break
            train running
        """
        with self.lock:
            stream = EventStream(lambda: self.state, self._waiters, self._ended)
            self._streams.add(stream)
            return stream

    async def synced(self, timeout: float | None = None) -> None:
        """Wait until the client has the server's current state.

        Args:
            timeout: The longest wait in seconds. By default there is no limit.

        Raises:
            ServerRefused: The server has ended the connection for good.
            ClientClosed: The client was closed.
            TimeoutError: `timeout` seconds have passed.

        Example:
            >>> async with dagwidget.connect("my-dag") as client:
            ...     await client.synced(timeout=10)
            ...     client.connection.role
            'publish'
        """
        await self._waiters.wait(lambda: self._machine.phase == "live" or self._ended(), timeout, "the run's state")
        if self._machine.phase == "stopped":
            raise ClientClosed(f"the client of {self.dag_id!r} is closed", dag_id=self.dag_id)

    def _ended(self) -> bool:
        connection = self._machine.connection
        if connection.phase == "stopped" and connection.reason is not None:
            raise ServerRefused(f"{connection.reason} (code {connection.code})", code=connection.code)
        return connection.phase == "stopped"

    # --- Commands

    def handle(self, command: p.AnyCommand) -> SentCommand:
        """The handle of a command, which `send` settles later: for one that goes out on another connection first.

        Example:
            >>> from dagwidget import protocol
            >>> client.handle(protocol.PauseExecution(id="pause-1")).state
            'waiting'
        """
        return self._commands.setdefault(command.id, SentCommand(command, self._withdraw))

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function in the client's loop, `seconds` from now. May be called in any thread.

        Example:
            >>> client.call_later(0.01, lambda: None)
        """

        def schedule() -> None:
            assert self._loop is not None
            if not self._loop.is_closed():
                self._loop.call_later(seconds, function)

        self._call(schedule)

    async def wait(self, ready: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Wait until `ready()`, through cuts of the connection.

        Args:
            ready: Checked whenever something has arrived.
            timeout: The longest wait in seconds. Without one it waits for ever once there was a connection.
            what: What is waited for, for the error's text.

        Raises:
            ServerUnreachable: There was never a connection, for 30 s or for `timeout`.
            ServerRefused: The server has ended the connection for good, or has not let it in for as long.
            ClientClosed: The client was closed.
            TimeoutError: `timeout` seconds have passed.

        Example:
            >>> await client.wait(lambda: "train" in client.state.nodes, 10, "the node")
        """

        def check() -> bool:
            if ready():
                return True
            if self._ended():
                raise ClientClosed(f"the client of {self.dag_id!r} is closed", dag_id=self.dag_id)
            return False

        started = time.monotonic()
        first = _FIRST_SECONDS if timeout is None else min(timeout, _FIRST_SECONDS)
        try:
            await self._waiters.wait(lambda: check() or self._machine.was_live, first, what)
        except TimeoutError:
            if self._machine.was_live:
                raise
            raise self._never_live(f"timed out after {first:.3g} s waiting for {what}") from None
        left = None if timeout is None else max(0.0, timeout - (time.monotonic() - started))
        try:
            await self._waiters.wait(check, left, what)
        except TimeoutError:
            raise TimeoutError(f"timed out after {timeout:.3g} s waiting for {what}") from None

    def _never_live(self, what: str) -> NotConnected:
        connection = self._machine.connection
        reason = connection.reason or "no answer"
        if connection.code in _ANSWERS:
            return ServerRefused(f"{what}: the server answered that {reason}", code=connection.code)
        return ServerUnreachable(f"{what}: there was no connection to the stream server ({reason})", url=self._url)

    # What `Commands` and `Waits` need

    @property
    def _followed(self) -> Followed:
        return self

    def _command(self, command: p.AnyCommand) -> SentCommand:
        return self.send(checked(command) if isinstance(command, p.HumanDecision) else command)

    async def _wait(self, ready: Callable[[Followed], bool], timeout: float | None, what: str) -> Followed:
        await self.wait(functools.partial(ready, self), timeout, what)
        return self

    async def _outcome_of(self, run_id: str, timeout: float | None, what: str) -> Outcome:
        async with StreamClient(self.dag_id, self._locate, run_id) as client:
            await client.wait(lambda: client.outcome(run_id) is not None, timeout, what)
            outcome = client.outcome(run_id)
            assert outcome is not None
            return outcome

    def send(self, command: p.AnyCommand, *, hold: bool = True) -> SentCommand:
        """Send a command, now or once there is a connection; the same command again has the same answer.

        Args:
            command: The command.
            hold: Whether a decision waits a few seconds for a gate that is not known yet.

        Raises:
            ClientClosed: The client is not open yet.

        Example:
            >>> from dagwidget import protocol
            >>> (await client.send(protocol.PauseExecution(id="pause-1"))).state
            'accepted'
        """
        self._check_open()
        sent = self.handle(command)
        self._call(lambda: self._input(functools.partial(self._machine.send, command, hold=hold)))
        return sent

    def _withdraw(self, command_id: str) -> bool:
        with self.lock:
            return self._machine.withdraw(command_id)

    def probe(self) -> None:
        """Reconnect, or check the connection, at once: call it when the network may be back.

        Example:
            >>> client.probe()
        """
        self._check_open()
        self._call(lambda: self._input(self._machine.probe))

    def _check_open(self) -> None:
        if self._loop is None:
            raise ClientClosed(
                f"the client of {self.dag_id!r} is not open: use it in `async with` or in `with`", dag_id=self.dag_id
            )

    # --- The shell around the state machine

    def _call(self, function: Callable[[], None]) -> None:
        """Call a function in the client's event loop, or here if that loop is closed and can't interfere."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            function()

    def _input(self, handle: Callable[[float], None]) -> None:
        """Pass an input to the machine, with the time, and carry out its outputs."""
        assert self._loop is not None
        with self.lock:
            handle(self._loop.time())
            outputs = self._machine.take_outputs()
            for output in outputs:
                if isinstance(output, Batch):
                    self._note_outcome(output)
                    for stream in tuple(self._streams):
                        stream._append(output)
        for output in outputs:
            self._do(output)
        self._schedule(self._loop)
        self._tell(self._changes)
        self._waiters.wake()

    def _note_outcome(self, batch: Batch) -> None:
        if batch.epoch is None:
            return
        for event in batch.events:
            if isinstance(event, p.ExecutionComplete):
                self._outcomes[batch.epoch] = Outcome(event.status or "completed", event.results, batch.state.errors)
            elif isinstance(event, p.ExecutionState):
                self._outcomes.pop(batch.epoch, None)
        if len(self._outcomes) > _OUTCOMES:
            self._outcomes.popitem(last=False)

    def _do(self, output: Output) -> None:
        match output:
            case Connect():
                assert self._loop is not None
                self._attempt = self._loop.create_task(self._connect(output.offer))
                self._attempts.add(self._attempt)
                self._attempt.add_done_callback(self._attempts.discard)
            case Renew():
                assert self._loop is not None
                self._renewing = self._loop.create_task(self._renew())
            case Send():
                if self._socket is not None:
                    # `broadcast` never waits. A peer that does not read leaves little behind, until it is dropped.
                    broadcast([self._socket], output.frame, text=True)
            case Disconnect():
                if self._attempt is not None:
                    self._attempt.cancel()
                    self._attempt = self._socket = None
            case Batch():
                self._tell(self._listeners, output)
            case Sent():
                waiting = self._commands.get(output.id)
                if waiting is not None and self._socket is not None:
                    mark_sent(waiting)
            case p.Engine() | p.Runs():
                pass
            case p.CommandAck():
                sent = self._commands.get(output.id)
                if sent is not None:
                    settle(sent, output)
                if output.durable is not False:
                    self._commands.pop(output.id, None)
            case _:
                assert_never(output)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        due = self._machine.due
        if self._timer is not None:
            if self._timer.when() == due and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = None if due is None else loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._input(self._machine.tick)

    async def _renew(self) -> None:
        try:
            endpoint = await in_thread(self._locate)
        except DagwidgetError as error:
            _log.warning("%r can't renew its token: %s", self, error)
            endpoint = None
        self._input(functools.partial(self._machine.renewed, endpoint and endpoint.token))

    async def _connect(self, offer: bool) -> None:
        """One attempt to connect, and the connection if it succeeds."""
        code, reason, refused = None, None, None
        try:
            endpoint = await in_thread(lambda: discovery.proven(self._locate()))
            self._url = endpoint.url
            self._input(lambda now: self._machine.opening(endpoint.token, now))
            async with self._open(endpoint, offer) as socket:
                try:
                    self._socket = socket
                    accepted = socket.subprotocol == p.SUBPROTOCOL
                    self._input(lambda now: self._machine.opened(now, offered=accepted))
                    while True:
                        frame = await socket.recv(decode=False)
                        self._input(functools.partial(self._machine.receive, frame))
                finally:
                    if self._machine.phase != "stopped":
                        # An orderly close would hang on a peer that does not read.
                        socket.transport.abort()
        except ConnectionClosed as closed:
            code, reason = closed.rcvd.code if closed.rcvd else 1006, closed.rcvd.reason if closed.rcvd else None
        except ServerRefused as error:
            # Of a token that was not sent: who says so has not proven to be the server.
            code, reason = error.code, str(error)
            if reason != self._machine.connection.reason:
                _log.warning("%r: %s; it is tried again", self, reason)
        except Exception as error:
            reason, refused = f"{type(error).__name__}: {error}", refusal(error)
            if not isinstance(error, _EXPECTED):
                _log.exception("%r failed; it reconnects", self)
        if self._attempt is not asyncio.current_task():
            return
        if refused is not None:
            self._input(functools.partial(self._machine.refused, refused))
        else:
            self._input(lambda now: self._machine.closed(code, reason, now))

    def _open(self, endpoint: discovery.Endpoint, offer: bool) -> open_socket:
        return open_socket(
            endpoint.stream_url(self.dag_id, self._run),
            endpoint.token,
            subprotocols=[p.SUBPROTOCOL] if offer else None,
            # The state machine has its own timeouts.
            open_timeout=None,
            close_timeout=_CLOSE_SECONDS,
            # The server's limits bound its frames.
            max_size=None,
        )
