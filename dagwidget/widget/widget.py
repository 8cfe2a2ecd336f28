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
import uuid
from collections.abc import Callable
from typing import Any, Final

import anywidget
import msgspec
import traitlets

from .. import discovery
from .. import protocol as p
from ..client.client import Outcome, StreamClient
from ..client.cross_loop import Waiters
from ..client.http import output_at
from ..client.outputs import Batch
from ..client.pending_command import SentCommand
from ..errors import ClientClosed, InvalidDecision, RunFailed
from ..publisher.run import Run
from ..state import FINAL, Cost, Decision, Fault, Gate
from .decisions import Decisions, check_decision, open_gate
from .export import snapshot
from .files import Files
from .kernel_bridge import KernelBridge
from .kernel_comm import use_from_any_thread
from .live_state import Changes, LiveEdges, LiveNodes
from .shared_client import Key, acquire, release

__all__ = ["DAGStreamWidget"]

_log = logging.getLogger("dagwidget")

_STATIC: Final = pathlib.Path(__file__).parent / "static"


class DAGStreamWidget(Files, anywidget.AnyWidget):
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

    # --- What a person asks

    def decide(
        self,
        node_id: str,
        decision: p.Verdict,
        *,
        feedback: str | None = None,
        value: Any = None,
        gate_id: str | None = None,
    ) -> SentCommand:
        """Decide at a gate. Never blocks; may be called in any cell and thread.

        The decision goes out on the browser's connection while that is live, else on the kernel's own. Where the gate
        is not known here yet, as its engine opened it just now, the decision waits for it for a few seconds.

        Args:
            node_id: The node that waits.
            decision: `approve`, `reject` or `modify`.
            feedback: A comment for other people and for the engine.
            value: The answer itself, JSON-safe; needed to `modify`.
            gate_id: The gate, if several are open at the node.

        Returns:
            A handle: `state` is `waiting`, `sent`, `accepted` or `refused`. Await it for the server's answer.

        Raises:
            TypeError: `node_id` is not a string.
            InvalidDecision: the gate does not accept this decision.
            UnknownGate: the run has ended, or several gates are open at the node.
            ClientClosed: the widget is closed.

        Example:
            >>> gate = run.gate("review", title="Ship it?")
            >>> sent = await w.decide("review", "approve", feedback="looks good")
            >>> sent.state
            'accepted'
        """
        check_decision(node_id, decision, value)
        if self._closed:
            raise ClientClosed(f"the widget of {self.dag_id!r} is closed", dag_id=self.dag_id)
        client = self._client
        with client.lock:
            gate = None if client.is_behind else open_gate(client.state, node_id, gate_id)
            run_id = client.run_id
        if gate is not None:
            allowed = gate.presentation.allowed
            if allowed is not None and decision not in allowed:
                raise InvalidDecision(
                    f"gate {gate.gate_id!r} does not accept {decision!r}; it accepts {' or '.join(allowed)}",
                    node_id=node_id,
                    decision=decision,
                    allowed=tuple(allowed),
                )
            gate_id = gate.gate_id
        return self._decisions.send(
            p.HumanDecision(
                id=str(uuid.uuid4()),
                run_id=run_id,
                node_id=node_id,
                gate_id=gate_id,
                decision=decision,
                feedback=feedback,
                value=value,
                source="python",
            )
        )

    def pause(self) -> SentCommand:
        """Ask the engine to start nothing new.

        Example:
            >>> (await w.pause()).state
            'accepted'
        """
        return self._client.send(p.PauseExecution(id=str(uuid.uuid4()), run_id=self._client.run_id))

    def resume(self) -> SentCommand:
        """Ask the engine to go on after a pause.

        Example:
            >>> (await w.resume()).state
            'accepted'
        """
        return self._client.send(p.ResumeExecution(id=str(uuid.uuid4()), run_id=self._client.run_id))

    def cancel(self) -> SentCommand:
        """Ask the engine to stop the run for good.

        Example:
            >>> (await w.cancel()).state
            'accepted'
        """
        return self._client.send(p.CancelExecution(id=str(uuid.uuid4()), run_id=self._client.run_id))

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

    # --- Waiting and listening

    async def wait_for(self, node_id: str | None = None, *, timeout: float | None = None) -> Gate:
        """Wait until a gate is open.

        Args:
            node_id: The node that will ask; any node by default.
            timeout: The longest wait in seconds. By default there is no limit once the server was reached.

        Returns:
            The gate.

        Raises:
            RunFailed: the run has ended, and no gate is open.
            NotConnected: the server refuses, or was never reached.
            TimeoutError: `timeout` seconds have passed.

        Example:
            >>> asked = run.gate("review", title="Ship it?")
            >>> gate = await w.wait_for("review", timeout=60)
            >>> gate.presentation.title
            'Ship it?'
            >>> sent = w.decide("review", "approve", gate_id=gate.gate_id)
        """
        where = "a gate" if node_id is None else f"a gate at {node_id!r}"
        await self._wait(lambda _client: self._is_over() or bool(self._gates_at(node_id)), timeout, where)
        gates = self._gates_at(node_id)
        if not gates:
            state = self._client.state
            text = f"{where} did not open: the run of {self.dag_id!r} is {state.status}"
            raise self._failure(text, state.epoch, state.status)
        return gates[0]

    async def complete(self, run: Run | str | None = None, *, timeout: float | None = None) -> Any:
        """Wait until a run has ended.

        Args:
            run: The run, or its id; by default the run that the widget follows when this is called.
            timeout: The longest wait in seconds. By default there is no limit once the server was reached.

        Returns:
            The run's results.

        Raises:
            RunFailed: the run failed or was cancelled; the text holds its last error.
            NotConnected: the server refuses, or was never reached.
            TimeoutError: `timeout` seconds have passed.

        Example:
            >>> run.complete({"model": "v7"})
            >>> await w.complete(timeout=60)
            {'model': 'v7'}
        """
        what = "the end of the run"
        target = run.run_id if isinstance(run, Run) else run
        if target is None:
            client = await self._wait(lambda each: each.run_id is not None or self._is_over(), timeout, "the first run")
            target = client.run_id
        # A plain server names no runs.
        run_id = target or ""
        if self._client.run_id == target:
            # It may go on to another run before this one's end has arrived.
            await self._wait(lambda each: each.outcome(run_id) is not None or each.run_id != target, timeout, what)
        outcome = self._client.outcome(run_id) or await self._outcome_of(run_id, timeout, what)
        if outcome.status != "completed":
            last = outcome.errors[-1].message if outcome.errors else "it gave no reason"
            text = f"run {run_id!r} of {self.dag_id!r} is {outcome.status}: {last}"
            raise self._failure(text, run_id, outcome.status, outcome.errors)
        return outcome.results

    async def next_run(self, after: str | None = None, *, timeout: float | None = None) -> str:
        """Wait until a newer run has begun.

        Args:
            after: The run that it is newer than; by default the one that the widget shows.
            timeout: The longest wait in seconds. By default there is no limit once the server was reached.

        Returns:
            The id of the newest run.

        Raises:
            NotConnected: the server refuses, or was never reached.
            TimeoutError: `timeout` seconds have passed.

        Example:
            >>> newer = dagwidget.start_run("my-dag")
            >>> await w.next_run(run.run_id, timeout=60) == newer.run_id
            True
        """
        before = after if after is not None else self._client.run_id

        def newer(client: StreamClient) -> str | None:
            runs = client.runs
            age = {run.run_id: (run.started_at, run.run_id) for run in runs}
            if not runs or runs[0].run_id == before or (before in age and age[before] >= age[runs[0].run_id]):
                return None
            return runs[0].run_id

        found = newer(await self._wait(lambda each: newer(each) is not None, timeout, "the next run"))
        assert found is not None
        return found

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
            UnknownOutput: the server does not have it.
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

    async def _wait(self, ready: Callable[[StreamClient], bool], timeout: float | None, what: str) -> StreamClient:
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

    def _is_over(self) -> bool:
        return self._client.state.status in FINAL and not self._client.is_behind

    def _gates_at(self, node_id: str | None) -> list[Gate]:
        client = self._client
        if client.is_behind:
            return []
        with client.lock:
            return [gate for gate in client.state.gates.values() if node_id is None or gate.node_id == node_id]

    def _failure(self, text: str, run_id: str | None, status: str, errors: list[Fault] | None = None) -> RunFailed:
        errors = self._client.state.errors if errors is None else errors
        return RunFailed(text, dag_id=self.dag_id, run_id=run_id, status=status, errors=tuple(errors))
