"""`Run`: what an engine holds to publish a run, its nodes, gates and cost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, get_args

from .. import discovery
from .. import protocol as p
from ..errors import NotConnected, RunCancelled, RunEnded, ServerRefused
from ..protocol.json_schema import schema_error
from ..state import Decision
from .arguments import (
    EdgeLike,
    NodeLike,
    check_count,
    check_gate_size,
    check_id,
    check_number,
    chunked,
    convert_each,
    deadline_after,
    edge_spec,
    node_spec,
    numeric_metrics,
    presentation_of,
    split_mutation,
)
from .handles import Checkpoint, OpenGate
from .node import NodeExecution
from .pricing import Price, Usage
from .serialize import RESULTS, Redact, preview, previewed, redacted, whole
from .tracebacks import describe
from .transport import Uplink

_LINE: Final = 2_000
_OVER: Final = "the run is over"
# The close code of a run that a newer one has replaced.
_REPLACED: Final = 4006
# Of a whole output, in characters: quoted again, a part still fits into an event.
_OUTPUT_PART: Final = 32 * 1024
# How long a worker that leaves its `with` block waits until everything is delivered.
_WORKER_SECONDS: Final = 10.0

_STATUSES: Final = frozenset(get_args(p.NodeStatus))


class Run:
    """A run that is being published: what `start_run` and `attach` give. Every method may be called in any thread.

    Nothing here blocks or raises for a fault of the network: events are delivered by a thread, in order, each once.
    As a context manager it completes the run at the end of the block, or fails it with the exception that left it.

    Attributes:
        dag_id: The DAG.
        run_id: The run, its epoch; None for a worker that joined whichever was the current one.
        owned: Whether this process started the run, and so ends it.
    """

    def __init__(
        self,
        dag_id: str,
        locate: Callable[[], discovery.Endpoint],
        *,
        start: p.RunStart | None,
        epoch: str | None,
        redact: Redact | None,
        price: Price,
    ) -> None:
        self.dag_id = dag_id
        self.run_id = epoch
        self.owned = start is not None
        self._redact = redact
        self._price = price
        self._lock = threading.RLock()
        self._over = False
        self._incoming: dict[str, list[str]] = {}
        self._finished: set[str] = set()
        self._visits: dict[str, int] = {}
        self._open: dict[str, int] = {}
        self._reported: BaseException | None = None
        self._gates: dict[str, OpenGate] = {}
        self._decided: dict[str, Decision] = {}
        self._gate_counts: dict[str, int] = {}
        self._asked: p.LiveStatus = "running"
        self._pause: Future[None] | None = None
        self._listeners: list[Callable[[str], None]] = []
        self._spent = 0.0
        # A little more than the budget: the room adds up in another order, and must have come to it too.
        self._stop_at: float | None = None
        can_pause = start is not None and (start.capabilities is None or start.capabilities.pause != "none")
        if can_pause and start is not None and start.budget is not None and start.on_budget in ("pause", "gate"):
            self._stop_at = start.budget * (1 + 1e-9)
        self._uplink = Uplink(dag_id, locate, start=start, epoch=epoch, hear=self._hear, lost=self._lose)

    def __repr__(self) -> str:
        return f"<run {self.run_id or 'current'} of {self.dag_id!r}{': over' if self._over else ''}>"

    # --- Nodes

    def node(self, node_id: str, *, instance: str | None = None) -> NodeExecution:
        """An execution of a node: a context manager (plain or `async`), or a decorator.

        Args:
            node_id: The node.
            instance: Which of many, where the node runs several times at once.
        """
        return NodeExecution(
            self, check_id(node_id, "node_id"), None if instance is None else check_id(instance, "instance")
        )

    def update(
        self,
        node_id: str,
        status: p.NodeStatus,
        *,
        output: Any = None,
        metrics: Mapping[str, float | str] | None = None,
        error: str | None = None,
        progress: float | None = None,
        attempt: int | None = None,
        instance: str | None = None,
        native: str | None = None,
        reason: str | None = None,
        message: str | None = None,
    ) -> None:
        """Say what state a node is in; for engines whose hooks tell. The fields are those of `node_state`.

        Raises:
            TypeError, ValueError: an argument is not what it should be.
        """
        if status not in _STATUSES:
            raise ValueError(f"a node's status is one of {', '.join(sorted(_STATUSES))}; not {status!r}")
        if progress is not None:
            progress = check_number(progress, "progress goes from 0 to 1", 0, 1)
        if instance is not None:
            check_id(instance, "instance")
        if attempt is not None:
            attempt = check_count(attempt, "attempt")
        for name, text in (("error", error), ("native", native), ("reason", reason), ("message", message)):
            if text is not None and not isinstance(text, str):
                raise TypeError(f"{name} must be a string, not {type(text).__name__}: {text!r:.200}")
        shown, size = (None, None) if output is None else self._show(check_id(node_id, "node_id"), instance, output)
        self._uplink.publish(
            p.NodeState(
                node_id=check_id(node_id, "node_id"),
                status=status,
                output=shown,
                output_bytes=size,
                metrics=numeric_metrics(metrics) if metrics else None,
                error=error,
                progress=progress,
                attempt=attempt,
                instance=instance,
                native=native,
                reason=reason,
                message=message,
            )
        )

    def edge(self, source: str, target: str, *, active: bool = True) -> None:
        """Say that something flows along an edge (or no longer does)."""
        if not isinstance(active, bool):
            raise TypeError(f"active is True or False, not {active!r:.200}")
        self._uplink.publish(
            p.EdgeActive(from_=check_id(source, "source"), to=check_id(target, "target"), active=active)
        )

    def log(self, node_id: str, *lines: object) -> None:
        """Lines for a node's log."""
        texts = [line[:_LINE] for text in lines for line in str(text).splitlines() or [""]]
        for chunk in chunked(texts, 100):
            self._uplink.publish(p.NodeLog(node_id=check_id(node_id, "node_id"), lines=chunk))

    def error(
        self, message: object, *, node_id: str | None = None, code: str | None = None, detail: Any = None
    ) -> None:
        """Report an error, of a node or of the run, which goes on; `message` may be the exception itself."""
        if isinstance(message, BaseException):
            # It may pass through several nodes on its way out; where it came from is the first.
            if message is self._reported:
                return
            self._reported = message
            code = code or type(message).__name__
        if code is not None and not isinstance(code, str):
            raise TypeError(f"code must be a string, not {type(code).__name__}: {code!r:.200}")
        if node_id is not None:
            check_id(node_id, "node_id")
        self._uplink.publish(
            p.RunError(
                message=str(message) or type(message).__name__,
                node_id=node_id,
                code=code,
                detail=None if detail is None else preview(detail, redact=self._redact),
            )
        )

    def mutate(
        self,
        *,
        add_nodes: Iterable[NodeLike] = (),
        update_nodes: Iterable[NodeLike] = (),
        remove_nodes: Iterable[str] = (),
        add_edges: Iterable[EdgeLike] = (),
        remove_edges: Iterable[EdgeLike] = (),
    ) -> None:
        """Change the graph under way, in the order of the arguments.

        Raises:
            TypeError, ValueError: something is not a node or an edge.
        """
        self._mutate(
            p.Mutation(
                add_nodes=convert_each(node_spec, add_nodes, "add_nodes"),
                update_nodes=convert_each(node_spec, update_nodes, "update_nodes"),
                remove_nodes=convert_each(lambda name: check_id(name, "a node's id"), remove_nodes, "remove_nodes"),
                add_edges=convert_each(edge_spec, add_edges, "add_edges"),
                remove_edges=convert_each(edge_spec, remove_edges, "remove_edges"),
            )
        )

    # --- Cost

    def cost(
        self,
        amount: float | None = None,
        *,
        node_id: str | None = None,
        tokens_in: int = 0,
        tokens_out: int = 0,
        model: str | None = None,
        cache_read: int = 0,
        cache_write: int = 0,
    ) -> float | None:
        """What has been spent just now: a difference, not a total; the room adds up what all processes spend.

        Args:
            amount: In units of the run's currency. When absent, the price of the tokens; where that is not known, they
                are counted, and shown as tokens without a price.
            node_id: The node that spent it.
            tokens_in: Tokens that went in, those of a cache included.
            tokens_out: Tokens that came out.
            model: The model, to look its price up.
            cache_read: How many of `tokens_in` were read from the provider's cache.
            cache_write: How many of `tokens_in` were written to it.

        Returns:
            The amount; None where the price is not known.

        Raises:
            TypeError, ValueError: an argument is not what it should be.
        """
        if amount is not None:
            amount = check_number(amount, "amount is a number")
        if node_id is not None:
            check_id(node_id, "node_id")
        tokens_in, tokens_out = check_count(tokens_in, "tokens_in"), check_count(tokens_out, "tokens_out")
        if amount is None and model is not None and (tokens_in or tokens_out):
            usage = Usage(tokens_in=tokens_in, tokens_out=tokens_out, cache_read=cache_read, cache_write=cache_write)
            amount = self._price(model, usage)
        self._uplink.publish(
            p.CostDelta(
                amount=None if amount is None else float(amount),
                node_id=node_id,
                tokens_in=tokens_in or None,
                tokens_out=tokens_out or None,
            )
        )
        if amount is not None and self._stop_at is not None:
            self._mind_budget(amount)
        return amount

    def _mind_budget(self, amount: float) -> None:
        """Pause at the budget, as the room will ask us to: a fast loop would be far beyond it until it has."""
        with self._lock:
            self._spent += amount
            stop = self._stop_at is not None and self._spent > self._stop_at
            if stop:
                self._stop_at = None
        if stop:
            self._control("pausing")

    # --- People

    def gate(
        self,
        node_id: str,
        *,
        title: str | None = None,
        body: str | None = None,
        data: Any = None,
        schema: Any = None,
        options: Sequence[Any] | None = None,
        allowed: Sequence[p.Verdict] | None = None,
        timeout: float | None = None,
        on_timeout: str | None = None,
        default: Any = None,
        assignees: Sequence[str] | None = None,
        required: int | None = None,
        gate_id: str | None = None,
    ) -> OpenGate:
        """Ask a person: `decision = await run.gate("review", …)`, or `run.gate(…).result()` in plain code.

        The node waits meanwhile. Inside `with run.node(node_id)` it then goes on; else the gate is all that the node
        is, and it is completed by the decision.

        Args:
            node_id: The node that asks.
            title: The question.
            body: More about it, in Markdown.
            data: What is under review; a modification starts from it.
            schema: JSON Schema of the answer's value.
            options: Values to choose from.
            allowed: Which of `approve`, `reject` and `modify` it takes; all three when absent.
            timeout: Seconds until it is answered in people's place, by `on_timeout`.
            on_timeout: `fail` (the default: `GateTimeout` is raised), `reject`, `approve` or `default`.
            default: The value that is taken, with `on_timeout="default"`.
            assignees: Who may decide, by the names of their tokens; anybody when absent.
            required: How many of them must approve, no one twice; one rejection is enough. One when absent.
            gate_id: Names the gate; one that was decided before is not asked again.

        Returns:
            A handle to wait for: its result is a `Decision` with `decision`, `feedback`, `value` and `by`. Waiting
            for it raises `RunCancelled` once a person has cancelled the run.

        Raises:
            TypeError, ValueError: an argument is not what it should be.
        """
        if schema is not None:
            fault = schema_error(schema)
            if fault is not None:
                raise ValueError(f"schema is no JSON Schema: {fault}")
        presentation = presentation_of(
            {
                "title": title,
                "body": body,
                "data": data,
                "schema": schema,
                "options": None if options is None else list(options),
                "allowed": None if allowed is None else list(allowed),
                "deadline": None if timeout is None else deadline_after(timeout),
                "on_timeout": on_timeout if on_timeout is not None or timeout is None else "fail",
                "default": default,
                "assignees": None if assignees is None else list(assignees),
                "required": required,
            }
        )
        with self._lock:
            self._flow_into(check_id(node_id, "node_id"))
        return self.ask(node_id, presentation, gate_id=gate_id, settle=self._settle_gate)

    def ask(
        self,
        node_id: str,
        presentation: p.Presentation,
        *,
        gate_id: str | None = None,
        instance: str | None = None,
        settle: Callable[[OpenGate, Decision | None], None] = lambda _gate, _decision: None,
    ) -> OpenGate:
        """Open a gate, and leave the node's states to the engine; `gate` does more."""
        check_id(node_id, "node_id")
        if gate_id is not None:
            check_id(gate_id, "gate_id")
        check_gate_size(presentation)
        with self._lock:
            if gate_id is None:
                count = self._gate_counts[node_id] = self._gate_counts.get(node_id, 0) + 1
                gate_id = f"{node_id}:{count}" if self.owned else f"{node_id}:{self._uplink.name[:8]}:{count}"
            gate = OpenGate(gate_id, node_id, presentation, settle=settle)
            self._gates[gate_id] = gate
            decided = self._decided.get(gate_id)
        if decided is not None:
            gate.decided(decided)
        elif self.cancelling:
            gate.give_up(self._cancellation())
        elif self._over or self._uplink.refused is not None:
            gate.give_up(self._unanswerable(gate_id, self._uplink.refused or _OVER))
        else:
            self._uplink.publish(
                p.HumanGateWaiting(node_id=node_id, gate_id=gate_id, presentation=presentation, instance=instance)
            )
        return gate

    def checkpoint(self) -> Checkpoint:
        """Where the engine honours pause and cancel: `await run.checkpoint()`, or `run.checkpoint().result()`.

        Waiting for it raises `RunCancelled` once a person has cancelled the run.
        """
        with self._lock:
            pause = self._pause
            if self._asked == "pausing":
                self._asked = "paused"
                self._uplink.publish(p.ExecutionState(status="paused"))
        return Checkpoint(pause, self._check)

    def on_control(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Be told what a person asks: `pausing`, `resuming` or `cancelling`; for engines that can do it themselves.

        `callback` is called in another thread. The engine confirms with `run.status("paused")` or `"running"`.

        Returns:
            A function that stops it.
        """
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def status(self, status: p.LiveStatus) -> None:
        """Say that the run as a whole is now `paused`, or `running` again."""
        if status not in get_args(p.LiveStatus):
            raise ValueError(f"a run's status is one of {', '.join(get_args(p.LiveStatus))}; not {status!r}")
        with self._lock:
            self._asked = status
        self._uplink.publish(p.ExecutionState(status=status))

    @property
    def cancelling(self) -> bool:
        """Whether a person has cancelled the run."""
        return self._asked == "cancelling"

    # --- The end

    def complete(self, results: Any = None) -> None:
        """The run is over, and went well. What has not settled is skipped or cancelled."""
        self._end("completed", results)

    def fail(self, error: object = None, results: Any = None) -> None:
        """The run is over, and failed; `error` is an exception or a sentence."""
        if error is not None:
            self.error(error, detail=describe(error) if isinstance(error, BaseException) else None)
        self._end("failed", results)

    def cancelled(self, results: Any = None) -> None:
        """The run is over, as a person cancelled it."""
        self._end("cancelled", results)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the room has everything, for at most `timeout` seconds; says whether it has. Blocks."""
        return self._uplink.flush(timeout)

    def close(self) -> None:
        """Deliver what is left in the background, then disconnect. Returns at once."""
        self._uplink.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self.owned and not self._over:
            if error is None:
                self.complete()
            elif isinstance(error, RunCancelled):
                self.cancelled()
            else:
                self.fail(error)
        if not self.owned:
            self.flush(_WORKER_SECONDS)
        self.close()

    async def __aenter__(self) -> Run:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    # --- For node executions

    def enter_node(self, node_id: str, instance: str | None) -> int | None:
        """A node begins. Returns its attempt, from the second on."""
        attempt = None
        with self._lock:
            self._flow_into(node_id)
            self._open[node_id] = self._open.get(node_id, 0) + 1
            if instance is None:
                visits = self._visits[node_id] = self._visits.get(node_id, 0) + 1
                attempt = visits if visits > 1 else None
        return attempt

    def _flow_into(self, node_id: str) -> None:
        """What a node has waited for flows into it, unless it is running already."""
        if node_id not in self._open:
            for source in self._incoming.get(node_id, ()):
                if source in self._finished:
                    self._uplink.publish(p.EdgeActive(from_=source, to=node_id))

    def leave_node(self, node_id: str) -> None:
        """A node has ended."""
        with self._lock:
            self._open[node_id] -= 1
            if not self._open[node_id]:
                del self._open[node_id]
                self._finished.add(node_id)

    # --- Helpers

    def _lose(self, reason: str) -> None:
        """In the uplink's thread: whoever waits would wait for ever."""
        with self._lock:
            gates, pause = tuple(self._gates.values()), self._pause
        for gate in gates:
            gate.give_up(self._unanswerable(gate.gate_id, reason))
        if pause is not None and not pause.done():
            pause.set_result(None)

    def _end(self, status: p.FinalStatus, results: Any) -> None:
        with self._lock:
            if self._over:
                return
            self._over = True
            gates = tuple(self._gates.values())
        for gate in gates:
            gate.give_up(self._unanswerable(gate.gate_id, _OVER))
        shown = None if results is None else preview(results, RESULTS, self._redact)
        self._uplink.publish(p.ExecutionComplete(results=shown, status=status))
        self._uplink.close()

    def _show(self, node_id: str, instance: str | None, output: Any) -> tuple[Any, int | None]:
        """A preview of an output and, where that is not all of it, the size of the whole, which goes out before it."""
        value = redacted(output, self._redact)
        shown, cut = previewed(value)
        # Whole outputs must not pile up while there is no server.
        text = whole(value) if cut and not self._uplink.lags else None
        if text is None:
            return shown, None
        parts = -(-len(text) // _OUTPUT_PART)
        for part in range(parts):
            piece = text[part * _OUTPUT_PART : (part + 1) * _OUTPUT_PART]
            self._uplink.publish(p.NodeOutput(node_id=node_id, instance=instance, text=piece, part=part, parts=parts))
        return shown, len(text.encode())

    def _mutate(self, mutation: p.Mutation) -> None:
        with self._lock:
            for edge in mutation.add_edges or ():
                self._incoming.setdefault(edge.to, []).append(edge.from_)
        for part in split_mutation(mutation):
            self._uplink.publish(p.DagMutated(mutation=part))

    def _settle_gate(self, gate: OpenGate, decision: Decision | None) -> None:
        failed = (
            decision is not None and decision.source == "timeout" and gate.presentation.on_timeout in (None, "fail")
        )
        if decision is None:
            self.update(gate.node_id, "cancelled", reason="nobody waits for the decision any more")
            gate.give_up(NotConnected(f"the gate {gate.gate_id!r} was closed: who waited for it was cancelled"))
        elif gate.node_id in self._open:
            self.update(gate.node_id, "running")
        elif failed:
            self.update(gate.node_id, "failed", error="nobody decided before the deadline")
        else:
            output = {"decision": decision.decision, "feedback": decision.feedback, "value": decision.value}
            shown = {name: value for name, value in output.items() if value is not None}
            self.update(gate.node_id, "completed", output=shown, reason=f"{decision.decision} by {decision.by}")
            with self._lock:
                self._finished.add(gate.node_id)

    def _check(self) -> None:
        if self.cancelling:
            raise self._cancellation()

    def _cancellation(self) -> RunCancelled:
        return RunCancelled(f"the run of {self.dag_id!r} was cancelled", dag_id=self.dag_id, run_id=self.run_id)

    def _unanswerable(self, gate_id: str, reason: str) -> NotConnected:
        message, code = f"nobody can answer at the gate {gate_id!r}: {reason}", self._uplink.refused_code
        if code in (None, _REPLACED):
            return RunEnded(message, dag_id=self.dag_id, run_id=self.run_id)
        return ServerRefused(message, code=code)

    def _hear(self, event: p.HumanGateResolved | p.ExecutionState) -> None:
        """In the uplink's thread: a decision, or what is asked of the engine."""
        if isinstance(event, p.HumanGateResolved):
            fields = {name: getattr(event, name) for name in Decision.__struct_fields__}
            decision = Decision(**fields)
            with self._lock:
                first = self._decided.setdefault(event.gate_id, decision)
                gate = self._gates.get(event.gate_id)
            if gate is not None:
                gate.decided(first)
            return
        if event.status in ("pausing", "resuming", "cancelling"):
            self._control(event.status)

    def _control(self, status: p.LiveStatus) -> None:
        """Do what is asked of the engine."""
        with self._lock:
            if self._asked == status:
                return
            resumed = self._take_control(status)
            gates = tuple(self._gates.values()) if status == "cancelling" else ()
        if resumed is not None:
            resumed.set_result(None)
        for gate in gates:
            gate.give_up(self._cancellation())
        for listener in tuple(self._listeners):
            listener(status)

    def _take_control(self, status: p.LiveStatus) -> Future[None] | None:
        """Note what is asked; returns the pause that it ends."""
        if status == "pausing":
            self._asked = "pausing"
            self._pause = self._pause or Future()
            return None
        ended, self._pause = self._pause, None
        if status == "cancelling":
            self._asked = "cancelling"
        else:
            self._asked = "running"
            if not self._listeners:
                self._uplink.publish(p.ExecutionState(status="running"))
        return ended
