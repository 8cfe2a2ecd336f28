"""`DAGStreamWidget`: a running DAG in a notebook cell, and the same state in Python.

The front end (`js/src/widget.ts`) holds the connection to the stream server. What arrives there is forwarded as
custom messages, never as synced traits, and reduced here once more; commands go the other way.
"""

from __future__ import annotations

import gzip
import json
import logging
import pathlib
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Final, get_args

import anywidget
import msgspec
import traitlets

from .. import discovery, local_runs
from .. import protocol as p
from ..client.http import earlier_durations, log_page, output_at
from ..client.pending_command import SentCommand, settle
from ..cross_loop import Waiters
from ..errors import DagwidgetError, InvalidDecision, NoFrontEnd, ProtocolError, RunFailed, UnknownGate
from ..state import FINAL, Cost, DagState, Decision, Edge, Fault, Gate
from .export import Pictures
from .kernel_comm import use_from_any_thread

__all__ = ["DAGStreamWidget"]

_log = logging.getLogger("dagwidget")

_STATIC: Final = pathlib.Path(__file__).parent / "static"

# The largest graph that is saved with the notebook, in nodes.
_SNAPSHOT_NODES: Final = 500
# How long a picture may take: a page that shows the graph draws it at once, but it may have to connect first.
_PICTURE_SECONDS: Final = 30.0
_SNAPSHOT_NODE_FIELDS: Final = ("id", "label", "kind", "group", "status", "counts", "started_at", "ended_at")


class DAGStreamWidget(anywidget.AnyWidget):
    """A live DAG in a notebook cell.

    The traits below are read-only and change once per batch of events; observe them, or await `wait_for` and
    `complete`. Observers may be called in another thread than the cell's (Jupyter's subshells).

    Args:
        dag_id: The DAG to watch; it may start later.
        url: Base URL of the stream server, such as `wss://example.org/team`. By default `DAGWIDGET_URL`, or this
            machine's server, which is started if need be.
        token: What the server asks for, or a function that gives it, called for each connection and when it is about
            to expire; found together with a default `url`.
        run: A run that is kept, from `dagwidget.runs(dag_id)`, to look at; by default the current one, as it runs.

    Raises:
        TypeError, ValueError: `dag_id` or `run` is not a non-empty string.
    """

    _esm = _STATIC / "widget.js"
    _details = traitlets.Unicode(read_only=True).tag(sync=True)
    """The second part of the front end: what stands around the graph, loaded when that is drawn."""

    dag_id = traitlets.Unicode(read_only=True).tag(sync=True)
    snapshot = traitlets.Dict(read_only=True).tag(sync=True)
    """A small picture of the state, saved with the notebook and drawn when nothing live is there."""

    status = traitlets.Unicode("pending", read_only=True)
    """`pending`, `running`, `pausing`, `paused`, `resuming`, `cancelling`, `completed`, `failed` or `cancelled`."""
    nodes = traitlets.Dict(read_only=True)
    """`dagwidget.state.Node` by id."""
    edges = traitlets.Dict(read_only=True)
    """`dagwidget.state.Edge` by `(from, to)`."""
    cost = traitlets.Instance(Cost, allow_none=True, read_only=True)
    gates = traitlets.Dict(read_only=True)
    """The open gates: `dagwidget.state.Gate` by `gate_id`."""
    decisions: traitlets.List[Decision] = traitlets.List(read_only=True)
    """The gates that were decided, in order: `dagwidget.state.Decision`."""
    results = traitlets.Any(read_only=True)
    errors: traitlets.List[Fault] = traitlets.List(read_only=True)
    """What the run reported: `dagwidget.state.Fault`."""
    connection = traitlets.Dict({"phase": "unseen"}, read_only=True)
    """How the front end is connected: `phase` (`unseen` until it exists), `reason`, `role`, `resumable` …"""

    def __init__(
        self, dag_id: str, *, url: str | None = None, token: discovery.Token | None = None, run: str | None = None
    ) -> None:
        p.check_dag_id(dag_id)
        if run is not None:
            p.check_dag_id(run, "run")
        locate = discovery.locator(url, token)
        super().__init__()
        self.set_trait("dag_id", dag_id)
        self._url = url
        self._run = run
        self._locate = locate
        self._endpoint: discovery.Endpoint | None = None
        self._state = DagState()
        self._source: str | None = None
        # The last message of a kind and page: (type, source) to its number.
        self._newest: dict[tuple[str, str], int] = {}
        self._caught_up: str | None = None
        self._lock = threading.RLock()
        self._waiters = Waiters()
        self._commands: dict[str, SentCommand] = {}
        self._listeners: list[Callable[[p.AnyEvent | p.Unknown], None]] = []
        self._pictures = Pictures(self._post)
        self._shown = False
        self.on_msg(self._receive)
        use_from_any_thread(self.comm)
        self._in_thread(self._announce)

    @traitlets.default("_details")
    def _read_details(self) -> str:
        return (_STATIC / "details.js").read_text(encoding="utf-8")

    def __repr__(self) -> str:
        settled = sum(node.settled for node in self.nodes.values())
        return f"DAGStreamWidget({self.dag_id!r}: {self.status}, {settled} of {len(self.nodes)} nodes settled)"

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
        """Answer the gate that is open at a node. Goes out at once, from any cell, and never blocks.

        Before the widget has been shown there is no connection: then the decision waits for it.

        Args:
            node_id: The node that waits.
            decision: `approve`, `reject` or `modify`.
            feedback: A word to whoever reads the decision, and to the engine.
            value: The answer itself, JSON-safe; needed to `modify`.
            gate_id: Which gate, where several are open at the node.

        Raises:
            TypeError: `node_id` is not a string.
            InvalidDecision: the gate does not accept this decision.
            UnknownGate: no such gate is open.
        """
        _check_decision(node_id, decision, value)
        with self._lock:
            # While the connection is not live, what is known here may be behind: then the server judges.
            if self.connection["phase"] == "live" and not self._is_behind():
                gate = self._open_gate(node_id, gate_id)
                allowed = gate.presentation.allowed
                if allowed is not None and decision not in allowed:
                    raise InvalidDecision(
                        f"the gate {gate.gate_id!r} does not take {decision!r}; it takes {' or '.join(allowed)}",
                        node_id=node_id,
                        decision=decision,
                        allowed=tuple(allowed),
                    )
                gate_id = gate.gate_id
        return self._send_command(
            p.HumanDecision(
                id=str(uuid.uuid4()),
                node_id=node_id,
                gate_id=gate_id,
                decision=decision,
                feedback=feedback,
                value=value,
                source="python",
            )
        )

    def pause(self) -> SentCommand:
        """Ask the engine to start nothing new."""
        return self._send_command(p.PauseExecution(id=str(uuid.uuid4())))

    def resume(self) -> SentCommand:
        """Ask the engine to go on."""
        return self._send_command(p.ResumeExecution(id=str(uuid.uuid4())))

    def cancel(self) -> SentCommand:
        """Ask the engine to stop the run for good."""
        return self._send_command(p.CancelExecution(id=str(uuid.uuid4())))

    # --- Waiting and listening

    async def wait_for(self, node_id: str | None = None, *, timeout: float | None = None) -> Gate:
        """Wait until a gate is open (at `node_id`, where given), and return it.

        Args:
            node_id: The node that will ask; any node when absent.
            timeout: Seconds to wait; for ever when absent.

        Raises:
            RunFailed: the run ended, and no gate is open.
            NoFrontEnd: the time is over, and no front end has ever answered.
            TimeoutError: the time is over.
        """

        def found() -> bool:
            return self._is_over() or self._gates_at(node_id) != []

        where = "a gate" if node_id is None else f"a gate at {node_id!r}"
        await self._wait(found, timeout, where)
        gates = self._gates_at(node_id)
        if not gates:
            raise self._failure(f"{where} did not open: the run {self.dag_id!r} is {self.status}")
        return gates[0]

    async def complete(self, *, timeout: float | None = None) -> Any:
        """Wait until the run has ended, and return its results.

        Args:
            timeout: Seconds to wait; for ever when absent.

        Raises:
            RunFailed: the run failed or was cancelled; the text holds its last error.
            NoFrontEnd: the time is over, and no front end has ever answered.
            TimeoutError: the time is over.
        """
        await self._wait(self._is_over, timeout, "the end of the run")
        if self.status != "completed":
            last = self.errors[-1].message if self.errors else "it gave no reason"
            raise self._failure(f"the run {self.dag_id!r} is {self.status}: {last}")
        return self.results

    def on_event(self, callback: Callable[[p.AnyEvent | p.Unknown], None]) -> Callable[[], None]:
        """Call `callback` with every event that is applied, in order.

        Returns:
            A function that stops it.
        """
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def output(self, node_id: str, *, instance: str | None = None) -> Any:
        """The whole output of a node, where what is shown is only a preview of it. Asks the server, and waits for it.

        Raises:
            UnknownOutput: the server has not kept it.
            NotConnected: the server does not answer, or refuses.
        """
        return output_at(self._locate, self.dag_id, node_id, instance=instance, run_id=self._run)

    # --- Files

    async def to_svg(self, *, timeout: float | None = _PICTURE_SECONDS) -> str:
        """The whole graph as an SVG file, drawn by a front end that shows it.

        Args:
            timeout: Seconds to wait; for ever when absent.

        Raises:
            NoFrontEnd: the time is over, and no front end has drawn it.
            DagwidgetError: the front end could not, and says why.
        """
        return (await self._pictures.ask("svg", timeout)).decode()

    async def to_png(self, *, timeout: float | None = _PICTURE_SECONDS) -> bytes:
        """The whole graph as a PNG file at twice its size, or at less where that would be too large.

        Args:
            timeout: Seconds to wait; for ever when absent.

        Raises:
            NoFrontEnd: the time is over, and no front end has drawn it.
            DagwidgetError: the front end could not, and says why.
        """
        return await self._pictures.ask("png", timeout)

    def to_json(self) -> str:
        """The whole state as JSON, in the form that the server has it in too. It needs no front end."""
        with self._lock:
            return p.encode_value(self._state.to_dict()).decode()

    # --- The front end

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if not self._shown:
            self._shown = True
            # A kernel that answers no front end while a cell runs can still speak to it.
            self._in_thread(self._introduce)
        return super()._repr_mimebundle_(**kwargs)

    def _announce(self) -> None:
        """Find the server, and tell the front end."""
        try:
            self._endpoint = self._locate()
        except DagwidgetError as error:
            self._fail(str(error))
        else:
            self._post_endpoint()

    def _introduce(self) -> None:
        for delay in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4):
            time.sleep(delay)
            if self.connection["phase"] != "unseen" or self.comm is None:
                return
            self._post_endpoint()

    def _post(self, message: dict[str, Any]) -> None:
        self.send(message)

    def _post_endpoint(self) -> None:
        endpoint = self._endpoint
        if endpoint is not None:
            self.send({"type": "endpoint", "url": endpoint.stream_url(self.dag_id, self._run), "token": endpoint.token})

    def _post_output(self, node_id: str) -> None:
        try:
            text = json.dumps(self.output(node_id), ensure_ascii=False)
        except DagwidgetError as error:
            self.send({"type": "output", "node_id": node_id, "fault": str(error)})
        else:
            self.send({"type": "output", "node_id": node_id, "text": text})

    def _post_log(self, run_id: str, after: int) -> None:
        about = {"type": "log", "run": run_id, "after": after}
        try:
            page = log_page(self._locate, self.dag_id, run_id, after)
        except DagwidgetError as error:
            self.send({**about, "fault": str(error)})
        else:
            # Jupyter's server drops what a kernel sends faster than 1 MB/s.
            self.send(about, [gzip.compress(page, compresslevel=3)])

    def _post_earlier(self, run_id: str) -> None:
        try:
            earlier = earlier_durations(self._locate, self.dag_id, run_id)
        except DagwidgetError as error:
            self.send({"type": "earlier", "run": run_id, "fault": str(error)})
        else:
            self.send({"type": "earlier", "run": run_id, "durations": msgspec.to_builtins(earlier)})

    def _in_thread(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run what may have to wait for a server."""
        threading.Thread(target=function, args=arguments, name=f"dagwidget{function.__name__}", daemon=True).start()

    def _rouse(self) -> None:
        """Let a front end that gave up, as nobody looked at it, try again."""
        self.send({"type": "state?"})

    def _fail(self, reason: str) -> None:
        with self._lock:
            self.set_trait("connection", {"phase": "stopped", "reason": reason})
        self.send({"type": "fault", "reason": reason})
        self._waiters.wake()

    def _send_command(self, command: p.AnyCommand) -> SentCommand:
        sent = SentCommand(command)
        with self._lock:
            self._commands[sent.id] = sent
            if self.connection["phase"] != "unseen":
                self._post_command(sent)
        return sent

    def _post_command(self, sent: SentCommand) -> None:
        sent.state = "sent"
        self.send({"type": "command", "command": msgspec.to_builtins(sent.command)})

    def _receive(self, _widget: Any, message: Any, buffers: Any) -> None:
        kind = message.get("type") if isinstance(message, dict) else None
        with self._lock:
            match kind:
                case "endpoint?":
                    # It may have to ask somebody for a token.
                    self._in_thread(self._renew_endpoint)
                    self._pictures.repeat()
                case "output?":
                    self._in_thread(self._post_output, message["node_id"])
                case "log?":
                    self._in_thread(self._post_log, message["run"], message["after"])
                case "earlier?":
                    self._in_thread(self._post_earlier, message["run"])
                case "picture":
                    self._pictures.answer(message, buffers)
                case "connection" | "state" if self._is_overtaken(message):
                    pass
                case "connection":
                    self._connected(message["connection"])
                case "state":
                    self._replace(message["source"], message["state"])
                case "events":
                    self._apply(message)
                case "ack":
                    self._acknowledged(message["ack"])
                case _:
                    raise ValueError(f"the front end sent a message of an unknown type: {kind!r}")
        self._waiters.wake()

    def _renew_endpoint(self) -> None:
        """The front end (re)connects, or its token expires: the server may have moved since it was last told."""
        if self._endpoint is None:
            # It is being found for the first time.
            return
        try:
            self._endpoint = self._locate()
        except DagwidgetError as error:
            _log.warning("%r: %s", self, error)
        self._post_endpoint()

    def _is_overtaken(self, message: dict[str, Any]) -> bool:
        """Whether a later one has come before: a message in a subshell overtakes one that waits for a cell to end."""
        key, n = (message["type"], message["source"]), int(message["n"])
        newest = self._newest.get(key, 0)
        self._newest[key] = max(newest, n)
        return n < newest

    def _connected(self, connection: dict[str, Any]) -> None:
        first = self.connection["phase"] == "unseen"
        self.set_trait("connection", connection)
        if connection["phase"] == "idle" and self._waiters.waiting:
            self._rouse()
        if first:
            for sent in self._commands.values():
                if sent.state == "waiting":
                    self._post_command(sent)

    def _replace(self, source: str, state: dict[str, Any]) -> None:
        new = msgspec.convert(state, DagState)
        if new.epoch is not None and new.epoch == self._state.epoch and new.seq <= self._state.seq:
            return
        self._source = source
        self._state = new
        self._publish()

    def _apply(self, message: dict[str, Any]) -> None:
        events = _well_formed(message["events"])
        state = self._state
        if message.get("epoch") is None:
            if self._source is None:
                # The state that these events continue waits for a cell to end.
                self.send({"type": "state?"})
            # A plain server numbers nothing, so with two tabs open only one may speak.
            fresh = events if message["source"] == self._source else []
        elif message["epoch"] != state.epoch or message["after"] > state.seq:
            self.send({"type": "state?"})
            return
        else:
            fresh = [event for event in events if event.seq is None or event.seq > state.seq]
        for event in fresh:
            state.apply(event)
        if fresh:
            self._publish()
            for event in fresh:
                for listener in tuple(self._listeners):
                    try:
                        listener(event)
                    except Exception:
                        _log.exception("a callback of %r failed", self)

    def _acknowledged(self, ack: dict[str, Any]) -> None:
        sent = self._commands.pop(ack["id"], None)
        if sent is not None:
            settle(sent, msgspec.convert(ack, p.CommandAck))

    def _publish(self) -> None:
        """Set the traits from the state, once."""
        state = self._state
        newest = local_runs.latest(self._url, self.dag_id)
        if newest is not None and state.epoch == newest.run_id:
            self._caught_up = state.epoch
        settled_before = self.status in FINAL
        gates_before = self.gates
        with self.hold_trait_notifications():
            self.set_trait("nodes", dict(state.nodes))
            self.set_trait("edges", _edges(state))
            self.set_trait("cost", state.cost)
            self.set_trait("gates", dict(state.gates))
            self.set_trait("decisions", state.decisions)
            self.set_trait("errors", state.errors)
            self.set_trait("results", state.results)
            self.set_trait("status", state.status)
        if (state.status in FINAL) != settled_before or self.gates.keys() != gates_before.keys():
            self.set_trait("snapshot", _snapshot(state))

    # --- Helpers

    def _is_over(self) -> bool:
        return self.status in FINAL and not self._is_behind()

    def _is_behind(self) -> bool:
        """Whether this process has begun a run that is not here yet: what is here is an earlier one's."""
        newest = local_runs.latest(self._url, self.dag_id) if self._run is None else None
        if newest is None or self._state.epoch in (None, newest.run_id):
            return False
        return newest.run_id != self._caught_up and (self._state.started_at or 0) < newest.started_at

    def _gates_at(self, node_id: str | None) -> list[Gate]:
        if self._is_behind():
            return []
        return [gate for gate in self.gates.values() if node_id is None or gate.node_id == node_id]

    def _failure(self, message: str) -> RunFailed:
        run_id, errors = self._state.epoch, tuple(self.errors)
        return RunFailed(message, dag_id=self.dag_id, run_id=run_id, status=self.status, errors=errors)

    def _open_gate(self, node_id: str, gate_id: str | None) -> Gate:
        gates = self._state.gates.values()
        open_gates = {gate.gate_id: gate.node_id for gate in gates}
        matching = [g for g in gates if g.node_id == node_id and gate_id in (None, g.gate_id)]
        if len(matching) == 1:
            return matching[0]
        asked = f"{node_id!r}" if gate_id is None else f"{node_id!r} with gate_id {gate_id!r}"
        if matching:
            ids = ", ".join(repr(gate.gate_id) for gate in matching)
            raise UnknownGate(
                f"{len(matching)} gates are open at {asked}: say which with gate_id=… ({ids})",
                node_id=node_id,
                gate_id=gate_id,
                open_gates=open_gates,
            )
        others = ", ".join(f"{gate.node_id!r}" for gate in gates) or "none"
        hint = "" if node_id in self._state.nodes or not self._state.nodes else " (there is no such node)"
        raise UnknownGate(
            f"no gate is open at {asked}{hint}; open now: {others}. `await w.wait_for(…)` waits for one",
            node_id=node_id,
            gate_id=gate_id,
            open_gates=open_gates,
        )

    async def _wait(self, ready: Callable[[], bool], timeout: float | None, what: str) -> None:
        if self.connection["phase"] == "idle":
            self._rouse()
        try:
            await self._waiters.wait(ready, timeout, what)
        except TimeoutError:
            if self.connection["phase"] != "unseen":
                raise
            raise NoFrontEnd(
                f"no front end has answered in {timeout} s: show the widget in a cell of a notebook that is open in "
                "a browser, or follow the run from where it was started",
                timeout=timeout,
            ) from None


def _check_decision(node_id: object, decision: object, value: object) -> None:
    if not isinstance(node_id, str):
        raise TypeError(f"node_id must be a string, not {type(node_id).__name__}: {node_id!r}")
    verdicts = get_args(p.Verdict)

    def invalid(message: str) -> InvalidDecision:
        return InvalidDecision(message, node_id=node_id, decision=decision, allowed=verdicts)

    if decision not in verdicts:
        raise invalid(f"a decision is {', '.join(map(repr, verdicts))}; not {decision!r}")
    if decision == "modify" and value is None:
        raise invalid("to modify, give the answer: decide(…, 'modify', value=…)")
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise invalid(f"value must be JSON-safe: {error}") from None


def _well_formed(events: list[Any]) -> list[p.AnyEvent | p.Unknown]:
    """The events that follow the protocol. A plain server may be anybody's: what it makes up is left out and logged."""
    try:
        return p.decode_events(msgspec.json.encode(events))
    except ProtocolError:
        good: list[p.AnyEvent | p.Unknown] = []
        for event in events:
            try:
                good += p.decode_events(msgspec.json.encode(event))
            except ProtocolError as error:
                _log.warning("the server sent an event that is left out: %s", error)
        return good


def _edges(state: DagState) -> dict[tuple[str, str], Edge]:
    return {(source, target): edge for target, sources in state.edges.items() for source, edge in sources.items()}


def _snapshot(state: DagState) -> dict[str, Any]:
    if len(state.nodes) > _SNAPSHOT_NODES:
        return {}
    whole = state.to_dict()
    nodes = whole["nodes"].values()
    small = {node["id"]: {name: node[name] for name in _SNAPSHOT_NODE_FIELDS if name in node} for node in nodes}
    return {**whole, "nodes": small, "gates": {}, "errors": whole["errors"][-1:]}
