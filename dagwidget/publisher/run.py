"""`Run`: what an engine holds to publish a run, and to ask people."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, get_args

from .. import discovery
from .. import protocol as p
from ..errors import NotConnected, RunCancelled, RunEnded, ServerRefused
from ..protocol.json_schema import schema_error
from ..state import Decision
from . import lifecycle
from .arguments import check_gate_size, check_id, deadline_after, presentation_of
from .channel import Channel
from .control import Control
from .gates import Gates
from .handles import Checkpoint, OpenGate
from .pricing import Price
from .reporter import Reporter
from .serialize import RESULTS, Redact, preview
from .tracebacks import describe
from .verdict import Verdict, verdict_of

_OVER: Final = "the run is over"
# The close code of a run that a newer one has replaced.
_REPLACED: Final = 4006
# How long a worker that leaves its `with` block waits until everything is delivered.
_WORKER_SECONDS: Final = 10.0


class Run(Reporter):
    """A run that is being published: what `start_run` and `attach` give. Every method may be called in any thread.

    Nothing here blocks or raises for a fault of the network: events are delivered by a thread, in order, each once.
    As a context manager it completes the run at the end of the block, or fails it with the exception that left it.

    Attributes:
        dag_id: The DAG.
        run_id: The run, its epoch; None for a worker that joined the DAG's only live run.
        owned: Whether this process started the run, and so ends it.
        keep: Whether the run goes on when the cell that began it is run again.

    A `Run` may be pickled, and survives a fork: in the other process it is a worker's, as of `attach`.
    """

    def __init__(
        self,
        dag_id: str,
        locate: Callable[[], discovery.Endpoint],
        *,
        start: p.RunStart | None,
        epoch: str | None,
        graph: p.Mutation,
        redact: Redact | None,
        price: Price,
        url: str | None = None,
        keep: bool = False,
    ) -> None:
        super().__init__(Channel(dag_id, locate, start=start, epoch=epoch), redact=redact, price=price)
        self.dag_id = dag_id
        self.run_id = epoch
        self.owned = start is not None
        self.keep = keep
        self._url = url
        self._end_lock = threading.Lock()
        self._over = False
        # How it ends as soon as all executions have ended, or the time is over.
        self._ending: tuple[p.FinalStatus, Any] | None = None
        self._gates = Gates()
        self._control = Control(self._channel.publish, on_cancel=self._cancel_gates, start=start)
        self._channel.open(receive=self._receive, abandon=self._abandon)
        self._publish_mutation(graph)
        lifecycle.watch(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # Never the token: the other process has its own, or finds this machine's.
        url = self._url or self._channel.url
        return _unpickle, (self.dag_id, self.run_id, url, self._redact, self._price)

    def __repr__(self) -> str:
        return f"<run {self.run_id or 'current'} of {self.dag_id!r}{': over' if self._over else ''}>"

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
        self._flow.activate_into(check_id(node_id, "node_id"))
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
        if gate_id is None:
            number = self._gates.count(node_id)
            gate_id = f"{node_id}:{number}" if self.owned else f"{node_id}:{self._channel.name[:8]}:{number}"
        gate = OpenGate(gate_id, node_id, presentation, settle=settle)
        if self._gates.add(gate):
            return gate
        if self.cancelling:
            gate.give_up(self._cancellation())
        elif self._over or self._channel.refused is not None:
            gate.give_up(self._unanswerable(gate))
        else:
            self._channel.publish(
                p.HumanGateWaiting(node_id=node_id, gate_id=gate_id, presentation=presentation, instance=instance)
            )
        return gate

    def checkpoint(self) -> Checkpoint:
        """Where the engine honours pause and cancel: `await run.checkpoint()`, or `run.checkpoint().result()`.

        Waiting for it raises `RunCancelled` once a person has cancelled the run.
        """
        return Checkpoint(self._control.reach_checkpoint(), self._check)

    def on_control(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Be told what a person asks: `pausing`, `resuming` or `cancelling`; for engines that can do it themselves.

        `callback` is called in another thread. The engine confirms with `run.status("paused")` or `"running"`.

        Returns:
            A function that stops it.
        """
        return self._control.listen(callback)

    def status(self, status: p.LiveStatus) -> None:
        """Say that the run as a whole is now `paused`, or `running` again."""
        if status not in get_args(p.LiveStatus):
            raise ValueError(f"a run's status is one of {', '.join(get_args(p.LiveStatus))}; not {status!r}")
        self._control.confirm(status)

    @property
    def cancelling(self) -> bool:
        """Whether a person has cancelled the run."""
        return self._control.cancelling

    # --- The end

    def complete(self, results: Any = None, *, wait: float | None = None) -> None:
        """The run is over, and went well. What has not settled is skipped or cancelled.

        Args:
            results: What the run has come to.
            wait: Let executions that are still open end first, for at most so many seconds; for engines that report
                ends out of order. Returns at once all the same.
        """
        if wait is None or not self._unsettled:
            self._end("completed", results)
            return
        self._ending = ("completed", results)
        timer = threading.Timer(wait, self._end_at_last)
        timer.daemon = True
        timer.start()
        self._settled()

    def _settled(self) -> None:
        if self._ending is not None and not self._unsettled:
            self._end_at_last()

    def _end_at_last(self) -> None:
        ending = self._ending
        if ending is not None:
            self._end(*ending)

    def fail(self, error: object = None, results: Any = None) -> None:
        """The run is over, and failed; `error` is an exception or a sentence."""
        if error is not None:
            self.error(error, detail=describe(error) if isinstance(error, BaseException) else None)
        self._end("failed", results)

    def cancelled(self, results: Any = None, *, reason: str | None = None) -> None:
        """The run is over, as somebody cancelled it; `reason` says why, where that was not a person's command."""
        self._end("cancelled", results, reason)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the room has everything, for at most `timeout` seconds; says whether it has. Blocks.

        False also where the room has refused something: it will never have it, and `refused` says why.
        """
        return self._channel.flush(timeout)

    @property
    def refused(self) -> str | None:
        """Why the room takes nothing more from this process; None as long as it does."""
        return self._channel.refused if self._channel.refused_code is not None else None

    def close(self) -> bool:
        """Deliver what is left in the background, then disconnect.

        Returns at once: whether everything has been delivered by now. False also where the room has refused something.
        """
        self._channel.close()
        return self._channel.flush(0)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self.owned and not self._over:
            self.end_left_open(verdict_of(error), error)
        if not self.owned:
            self.flush(_WORKER_SECONDS)
        self.close()

    async def __aenter__(self) -> Run:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    # --- Helpers

    def _abandon(self) -> None:
        """In the transport's thread: whoever waits would wait for ever."""
        self._gates.abandon(self._unanswerable)
        self._control.abandon()

    # --- For the end of its process or cell, and for forks

    @property
    def origin(self) -> lifecycle.Origin:
        """Where the run was begun."""
        return self._origin

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self._over

    def end_left_open(self, verdict: Verdict, error: BaseException | None) -> None:
        """End the run by the way that its block, cell or process has ended."""
        if self._ending is not None:
            self._end_at_last()
        elif verdict.status == "failed":
            self.fail(error if error is not None else verdict.reason)
        elif verdict.status == "cancelled":
            self.cancelled(reason=None if isinstance(error, RunCancelled) else verdict.reason)
        else:
            self.complete()

    def become_worker(self) -> None:
        """In a forked child: the parent owns the run, and its exit alone ends it."""
        self.owned = False
        self._ending = None
        self._end_lock = threading.Lock()
        self._gates = Gates()
        self._flow.after_fork()
        self._unsettled.clear()
        self._channel.after_fork()
        self._control = Control(self._channel.publish, on_cancel=self._cancel_gates, start=None)

    def _end(self, status: p.FinalStatus, results: Any, reason: str | None = None) -> None:
        with self._end_lock:
            if self._over:
                return
            self._over = True
        self._gates.abandon(self._unanswerable)
        shown = None if results is None else preview(results, RESULTS, self._redact)
        self._channel.publish(p.ExecutionComplete(results=shown, status=status, reason=reason))
        self._channel.close()

    def _settle_gate(self, gate: OpenGate, decision: Decision | None) -> None:
        failed = (
            decision is not None and decision.source == "timeout" and gate.presentation.on_timeout in (None, "fail")
        )
        if decision is None:
            self.update(gate.node_id, "cancelled", reason="nobody waits for the decision any more")
            gate.give_up(NotConnected(f"the gate {gate.gate_id!r} was closed: who waited for it was cancelled"))
        elif self._flow.is_running(gate.node_id):
            self.update(gate.node_id, "running")
        elif failed:
            self.update(gate.node_id, "failed", error="nobody decided before the deadline")
        else:
            output = {"decision": decision.decision, "feedback": decision.feedback, "value": decision.value}
            shown = {name: value for name, value in output.items() if value is not None}
            self.update(gate.node_id, "completed", output=shown, reason=f"{decision.decision} by {decision.by}")
            self._flow.finish(gate.node_id)

    def _check(self) -> None:
        if self.cancelling:
            raise self._cancellation()

    def _cancellation(self) -> RunCancelled:
        return RunCancelled(f"the run of {self.dag_id!r} was cancelled", dag_id=self.dag_id, run_id=self.run_id)

    def _cancel_gates(self) -> None:
        self._gates.abandon(lambda _gate: self._cancellation())

    def _unanswerable(self, gate: OpenGate) -> NotConnected:
        """Why nobody can answer a gate. The end of the run comes first: its transport closes soon after it."""
        reason, code = (_OVER, None) if self._over else (self._channel.refused, self._channel.refused_code)
        message = f"nobody can answer at the gate {gate.gate_id!r}: {reason}"
        if code in (None, _REPLACED):
            return RunEnded(message, dag_id=self.dag_id, run_id=self.run_id)
        return ServerRefused(message, code=code)

    def _receive(self, event: p.HumanGateResolved | p.ExecutionState) -> None:
        """In the transport's thread: a decision, or what is asked of the engine."""
        if isinstance(event, p.HumanGateResolved):
            self._gates.decide(event)
        elif event.status in ("pausing", "resuming", "cancelling"):
            self._control.request(event.status)

    def _spend(self, amount: float) -> None:
        self._control.spend(amount)


_unpickled: weakref.WeakValueDictionary[tuple[Any, ...], Run] = weakref.WeakValueDictionary()


def _unpickle(dag_id: str, run_id: str | None, url: str | None, redact: Redact | None, price: Price) -> Run:
    """A run that another process has pickled: one worker of it in each process."""
    key = (os.getpid(), dag_id, run_id, url)
    run = _unpickled.get(key)
    if run is None:
        locate = discovery.locator(url)
        run = Run(dag_id, locate, start=None, epoch=run_id, graph=p.Mutation(), redact=redact, price=price, url=url)
        _unpickled[key] = run
        lifecycle.deliver_when_worker_exits()
    return run
