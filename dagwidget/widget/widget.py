"""`DAGStreamWidget`: a running DAG in a notebook cell, and the same state in Python.

The kernel follows the run on a connection of its own (`shared_client`), and so does each page that shows the widget:
both reduce the same events. Decisions made here go out on the page's connection while that is live (`decisions`).
"""

from __future__ import annotations

import functools
import logging
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import anywidget
import msgspec
import traitlets

from .. import discovery
from .. import protocol as p
from ..client.client import StreamClient
from ..client.commands import Commands
from ..client.cross_loop import Waiters
from ..client.followed import Followed, Outcome
from ..client.http import output_at
from ..client.outputs import Batch
from ..client.pending_command import SentCommand
from ..client.waits import Waits
from ..errors import ClientClosed
from ..state import FINAL, Cost, Decision, Fault
from .decisions import Decisions
from .export import snapshot
from .files import Files
from .kernel_bridge import KernelBridge
from .kernel_comm import use_from_any_thread
from .live_state import Changes, LiveEdges, LiveNodes
from .shared_client import Key, acquire, release

__all__ = ["DAGStreamWidget"]

_log = logging.getLogger("dagwidget")

_STATIC: Final = pathlib.Path(__file__).parent / "static"


class DAGStreamWidget(Commands, Waits, Files, anywidget.AnyWidget):
    """A live DAG in a notebook cell.

    The traits are read-only and change once per batch of events. Observe them, or await `wait_for` and `complete`;
    neither needs a browser. Observers are called in a thread of the widget's own, without its locks.

    Args:
        dag_id: The DAG to watch. Its first run may start later.
        url: Base URL of the stream server, such as `wss://example.org/team`. By default `DAGWIDGET_URL`, or this
            machine's server, which is started if need be.
        token: The server's token, or a function that returns it, called for each connection and before it expires. By
            default it is found together with the `url`.
        run: A run, from `dagwidget.runs(dag_id)`. By default the widget follows the DAG: a run that this process
            starts, else the newest live run, else the newest.

    Raises:
        TypeError, ValueError: `dag_id` or `run` is not a non-empty string.

    Example:
        >>> w = dagwidget.DAGStreamWidget("my-dag")
        >>> with dagwidget.start_run("my-dag", ["extract", "train"]) as run:
        ...     run.complete({"model": "v7"})
        >>> await w.complete(timeout=60)
        {'model': 'v7'}
    """

    _esm = _STATIC / "widget.js"
    _details = traitlets.Unicode(read_only=True).tag(sync=True)
    """The second part of the front end, loaded when the graph is drawn: what stands around it."""

    dag_id = traitlets.Unicode(read_only=True).tag(sync=True)
    snapshot = traitlets.Dict(read_only=True).tag(sync=True)
    """A small picture of the state, saved with the notebook and drawn when nothing live is there."""

    run_id = traitlets.Unicode(None, allow_none=True, read_only=True)
    """The run that the traits show; None before the first."""
    runs: traitlets.List[p.RunSummary] = traitlets.List(read_only=True)
    """The DAG's runs, newest first: `dagwidget.protocol.RunSummary`."""
    engine = traitlets.Instance(p.Engine, allow_none=True, read_only=True)
    """Whether the engine behind the run is there: `state` (`connected`, `silent`, `gone`, `ended`) and `since`."""
    status = traitlets.Unicode("pending", read_only=True)
    """`pending`, `running`, `pausing`, `paused`, `resuming`, `cancelling`, `lost`, or how the run has ended."""
    nodes = traitlets.Instance(LiveNodes, read_only=True)
    """`dagwidget.state.Node` by id. `change.changed` holds the ids that changed, None for all."""
    edges = traitlets.Instance(LiveEdges, read_only=True)
    """`dagwidget.state.Edge` by `(from, to)`. `change.changed` holds the pairs that changed, None for all."""
    cost = traitlets.Instance(Cost, allow_none=True, read_only=True)
    gates = traitlets.Dict(read_only=True)
    """The open gates: `dagwidget.state.Gate` by `gate_id`."""
    decisions: traitlets.List[Decision] = traitlets.List(read_only=True)
    """The gates that were decided, in order: `dagwidget.state.Decision`."""
    results = traitlets.Any(read_only=True)
    errors: traitlets.List[Fault] = traitlets.List(read_only=True)
    """What the run reported: `dagwidget.state.Fault`."""
    connection = traitlets.Dict({"phase": "idle"}, read_only=True)
    """The kernel's connection: `phase`, `role`, `reason`, `resumable` …; `page`: the phase of the page's own."""

    # Until there is something to close: a widget whose arguments are refused is closed all the same.
    _closed = True

    def __init__(
        self, dag_id: str, *, url: str | None = None, token: discovery.Token | None = None, run: str | None = None
    ) -> None:
        p.check_dag_id(dag_id)
        if run is not None:
            p.check_dag_id(run, "run")
        self._locate = discovery.locator(url, token)
        super().__init__()
        self.set_trait("dag_id", dag_id)
        self._lock = threading.Lock()
        self._waiters = Waiters()
        self._listeners: list[Callable[[p.AnyEvent | p.Unknown], object]] = []
        self._changes = Changes()
        self._events: list[p.AnyEvent | p.Unknown] = []
        self._news = threading.Event()
        # Held while the widget goes on to another client.
        self._switching = threading.RLock()
        self._idle = True
        self._unsubscribe: list[Callable[[], None]] = []
        self.set_trait("nodes", LiveNodes(lambda: self._client.state))
        self.set_trait("edges", LiveEdges(lambda: self._client.state))
        use_from_any_thread(self.comm)
        self._bridge = KernelBridge(
            self,
            dag_id,
            self._locate,
            run,
            # There are others for each client.
            lambda command_id: self._decisions.mark_sent(command_id),  # noqa: PLW0108
        )
        self._shown = False
        self._key = Key(url, token, dag_id, run)
        self._client = self._subscribe(self._key)
        self._closed = False
        self.on_msg(self._receive)
        self._publisher = threading.Thread(
            target=self._publish_for_ever, name=f"dagwidget-traits-{dag_id}", daemon=True
        )
        self._publisher.start()

    @traitlets.default("_details")
    def _read_details(self) -> str:
        return (_STATIC / "details.js").read_text(encoding="utf-8")

    def __repr__(self) -> str:
        settled = sum(node.settled for node in self.nodes.values())
        return f"DAGStreamWidget({self.dag_id!r}: {self.status}, {settled} of {len(self.nodes)} nodes settled)"

    def close(self) -> None:
        """Close the widget in all pages, and end its connection.

        Example:
            >>> w.close()
        """
        super().close()
        if self._closed:
            return
        with self._switching:
            closed, self._closed = self._closed, True
            if not closed:
                self._drop_client()
                self._news.set()

    @property
    def _followed(self) -> StreamClient:
        return self._client

    def _command(self, command: p.AnyCommand) -> SentCommand:
        if self._closed:
            raise ClientClosed(f"the widget of {self.dag_id!r} is closed", dag_id=self.dag_id)
        return self._decisions.send(command) if isinstance(command, p.HumanDecision) else self._client.send(command)

    def follow(self, run_id: str | None) -> None:
        """Show one run from now on, here and in all views; or follow the DAG again (None).

        Example:
            >>> w.follow(w.runs[0].run_id)
        """
        if run_id is not None:
            p.check_dag_id(run_id, "run_id")
        with self._switching:
            if self._closed:
                raise ClientClosed(f"the widget of {self.dag_id!r} is closed", dag_id=self.dag_id)
            self._drop_client()
            self._key = self._key._replace(run=run_id)
            self._client = self._subscribe(self._key)
            # What the traits hold is of the run before. Observers are called once they are those of this one.
            self._trait_values.update(run_id=run_id or self._client.run_id, status="pending", gates={}, decisions=[])
            self._trait_values.update(engine=None, cost=None, errors=[], results=None)
        self._bridge.follow(run_id)

    # --- Listening and reading

    def on_event(self, callback: Callable[[p.AnyEvent | p.Unknown], object]) -> Callable[[], None]:
        """Call `callback` with every event from now on, in order, in the widget's own thread.

        What happened before the widget was connected is in the traits, and not repeated as events.

        Returns:
            A function that stops it.

        Example:
            >>> stop = w.on_event(print)
            >>> stop()
        """
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def output(self, node_id: str, *, instance: str | None = None) -> Any:
        """Read the whole output of a node, where the widget shows a preview. Asks the server, and blocks.

        Raises:
            UnknownOutput: the server does not have it whole. A preview is never returned in its place.
            NotConnected: the server does not answer, or refuses.

        Example:
            >>> with run.node("extract") as node:
            ...     node.output(rows=3)
            >>> run.flush()
            True
            >>> w.output("extract")
            {'rows': 3}
        """
        return output_at(self._locate, self.dag_id, node_id, instance=instance, run_id=self._client.run_id)

    # --- Pages

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if not self._shown:
            self._shown = True
            self._bridge.displayed()
        return super()._repr_mimebundle_(**kwargs)

    def _receive(self, _widget: Any, message: Any, buffers: Any) -> None:
        self._bridge.receive(message, buffers)
        if isinstance(message, dict) and message.get("type") == "page":
            self._news.set()

    # --- The client

    def _subscribe(self, key: Key) -> StreamClient:
        client = acquire(key, self._locate)
        self._decisions = Decisions(client, self._bridge)
        self._unsubscribe = [
            client.on_batch(self._take),
            client.on_change(self._news.set),
            client.on_begin(self._bridge.begin),
        ]
        with self._lock:
            self._changes.everything = True
        self._news.set()
        return client

    def _drop_client(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._decisions.close()
        release(self._key, self._client)

    def _take(self, batch: Batch) -> None:
        """A batch was applied. In the client's thread, which observers must not hold up."""
        with self._lock:
            self._idle = False
            self._changes.everything = self._changes.everything or batch.reset
            self._changes.add(batch.events, self._client.state)
            if self._listeners and not batch.reset:
                # After a reset they only add up to what has happened before.
                self._events += batch.events
        self._decisions.check()
        self._news.set()

    # --- Traits, in a thread of their own

    def _publish_for_ever(self) -> None:
        while not self._closed:
            self._news.wait()
            self._news.clear()
            try:
                self._publish()
            except Exception:
                _log.exception("an observer of %r failed", self)
            with self._lock:
                self._idle = not self._changes and not self._events
            self._waiters.wake()

    def _publish(self) -> None:
        """Set the traits from the state, once."""
        client = self._client
        with self._lock:
            changes, self._changes = self._changes, Changes()
            events, self._events = self._events, []
        with client.lock:
            state = client.state
            gates = dict(state.gates)
            small = {
                "cost": state.cost,
                "decisions": state.decisions,
                "errors": state.errors,
                "results": state.results,
                "status": "pending" if client.is_behind else state.status,
                "run_id": client.run_id,
                "engine": client.engine,
                "runs": client.runs,
            }
        settled_before, gates_before = self.status in FINAL, self.gates
        self._change_connection(client)
        self._notify_mapping("nodes", changes.nodes, everything=changes.everything)
        self._notify_mapping("edges", changes.edges, everything=changes.everything)
        if gates != gates_before:
            self.set_trait("gates", gates)
        # The status last: who observes it finds all the rest in place.
        for name in ("run_id", "runs", "engine", "cost", "decisions", "errors", "results", "status"):
            if getattr(self, name) is not small[name]:
                self.set_trait(name, small[name])
        if (self.status in FINAL) != settled_before or gates.keys() != gates_before.keys() or changes.everything:
            with client.lock:
                picture = snapshot(client.state)
            self.set_trait("snapshot", picture)
        for event in events:
            for listener in tuple(self._listeners):
                try:
                    listener(event)
                except Exception:
                    _log.exception("a callback of %r failed", self)

    def _notify_mapping(self, name: str, changed: set[Any], *, everything: bool) -> None:
        """Tell observers of a live mapping what changed in it: no copy is made."""
        if not changed and not everything:
            return
        mapping = getattr(self, name)
        self.notify_change(
            traitlets.Bunch(
                name=name,
                old=mapping,
                new=mapping,
                owner=self,
                type="change",
                changed=None if everything else frozenset(changed),
            )
        )

    def _change_connection(self, client: StreamClient) -> None:
        page = self._bridge.page
        connection = {
            **{name: value for name, value in msgspec.structs.asdict(client.connection).items() if name != "seen_at"},
            "page": None if page is None else page.phase,
        }
        if connection != self.connection:
            self.set_trait("connection", connection)

    # --- Helpers

    async def _wait(self, ready: Callable[[Followed], bool], timeout: float | None, what: str) -> Followed:
        """Wait until the widget's client is ready; where the widget goes on to another client, until that one is.

        Returns:
            The client that is ready. The widget may have gone on to another one since.
        """
        deadline = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            return None if deadline is None else max(0.0, deadline - time.monotonic())

        while True:
            client = self._client
            try:
                await client.wait(functools.partial(ready, client), left(), what)
                break
            except ClientClosed:
                if self._closed or client is self._client:
                    raise
        # What was waited for is also in the traits, but for an observer: the thread that sets them waits for it.
        if threading.current_thread() is not self._publisher:
            await self._waiters.wait(lambda: self._idle or self._closed, left(), what)
        return client

    async def _outcome_of(self, run_id: str, timeout: float | None, what: str) -> Outcome:
        """How a run ends that this widget does not follow."""
        key = self._key._replace(run=run_id)
        client = acquire(key, self._locate)
        try:
            await client.wait(lambda: client.outcome(run_id) is not None, timeout, what)
            outcome = client.outcome(run_id)
            assert outcome is not None
            return outcome
        finally:
            release(key, client)
