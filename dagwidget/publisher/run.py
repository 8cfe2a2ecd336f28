"""`Run`: a published run, which people can answer and control."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, get_args

from .. import discovery, local_runs
from .. import protocol as p
from ..errors import NotConnected, RunCancelled, RunEnded, ServerRefused
from ..protocol.json_schema import schema_error
from ..state import Decision
from . import lifecycle, worker_exit
from .arguments import (
    check_callable,
    check_choice,
    check_gate_size,
    check_id,
    check_text,
    convert_each,
    deadline_after,
    presentation_of,
)
from .channel import Channel
from .control import Control
from .gates import Gates
from .handles import Checkpoint, OpenGate
from .pricing import Price
from .reporter import Reporter
from .serialize import RESULTS, Redact, preview
from .tracebacks import describe
from .verdict import Verdict, verdict_of

# The close code of a run that a newer one has replaced.
_REPLACED: Final = 4006
# How long a worker waits for the delivery of its events when it leaves its `with` block.
_WORKER_SECONDS: Final = 10.0


class Run(Reporter):
    """A run that this process publishes. `start_run` and `attach` make it. Every method is thread-safe.

    Publishing never blocks and never raises because of the network: a thread delivers the events, in order and exactly
    once. Used in `with`, the run completes at the end of the block; if the block raises, it fails or is cancelled.

    Attributes:
        dag_id: The DAG.
        run_id: The id of the run; None for a worker that joined the DAG's only live run.
        owned: Whether this process started the run, and so ends it.
        keep: Whether the run goes on when the notebook cell that started it is run again.

    A `Run` can be pickled, and survives a fork: in the other process it is a worker, as of `attach`.

    Example:
        >>> with dagwidget.start_run("my-dag", ["extract", "train"], [("extract", "train")]) as run:
        ...     with run.node("extract") as node:
        ...         node.output(rows=1_000_000)
        ...     run.complete({"rows": 1_000_000})
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
        """Start to publish a run.

        Args:
            dag_id: The DAG.
            locate: Finds the server. Called in a thread before each connection; may block, and raise `DagwidgetError`.
            start: How to start the run; None for a worker.
            epoch: The id of the run; None for a worker that joins the DAG's only live run.
            graph: The initial graph.
            redact: Replaces what must not leave the process, in each output.
            price: Looks up the price of tokens.
            url: The base URL of the server, as the user gave it.
            keep: Whether the run goes on when the cell that started it is run again.
        """
        super().__init__(Channel(dag_id, locate, start=start, epoch=epoch), redact=redact, price=price)
        self.dag_id = dag_id
        self.run_id = epoch
        self.owned = start is not None
        self.keep = keep
        self._url = url
        self._end_lock = threading.RLock()
        self._ended = False
        # How it ends as soon as all executions have ended, or the time has passed.
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
        return f"<run {self.run_id or 'current'} of {self.dag_id!r}{': ended' if self._ended else ''}>"

    # --- Gates

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
        """Ask a person: `decision = await run.gate("review")`, or `run.gate("review").result()` in plain code.

        The node is *waiting* until the decision. Inside `with run.node(node_id)` it then continues. Otherwise the
        decision completes the node.

        Args:
            node_id: The node that asks.
            title: The question.
            body: More about the question, in Markdown.
            data: What to review, as JSON. A modification starts from it.
            schema: The JSON Schema of the value that a decision carries.
            options: The values to choose from.
            allowed: The decisions that the gate accepts: `approve`, `reject`, `modify`. By default all three.
            timeout: The deadline, in seconds from now.
            on_timeout: What happens at the deadline. `fail`, the default, raises `GateTimeout`. `reject`, `approve`
                and `default` decide.
            default: The value of the decision if `on_timeout` is `default`.
            assignees: Who may decide, by the names of their tokens. By default everybody.
            required: How many people must approve. By default one. A single rejection is enough.
            gate_id: The id of the gate. A gate that was decided before returns that decision.

        Returns:
            A handle to wait for. Its value is a `Decision`, with `decision`, `feedback`, `value` and `by`. The wait
            raises `RunCancelled` if a person cancels the run.

        Raises:
            TypeError: An argument has the wrong type, or is not JSON.
            ValueError: An argument has an invalid value.

        Example:
            >>> decision = await run.gate("review", title="Ship it?", data={"accuracy": 0.93})
            >>> decision.decision
            'approve'
        """
        if schema is not None:
            problem = schema_error(schema)
            if problem is not None:
                raise ValueError(f"schema is not a valid JSON Schema: {problem}")
        presentation = presentation_of(
            {
                "title": title,
                "body": body,
                "data": data,
                "schema": schema,
                "options": None if options is None else convert_each(lambda option: option, options, "options"),
                "allowed": None if allowed is None else convert_each(lambda verdict: verdict, allowed, "allowed"),
                "deadline": None if timeout is None else deadline_after(timeout),
                "on_timeout": on_timeout if on_timeout is not None or timeout is None else "fail",
                "default": default,
                "assignees": None
                if assignees is None
                else convert_each(lambda name: check_text(name, "an assignee"), assignees, "assignees"),
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
        """Open a gate without changing the node's status, for engines that do so by themselves. See `gate`.

        Args:
            node_id: The node that asks.
            presentation: What the gate shows.
            gate_id: The id of the gate. A gate that was decided before returns that decision.
            instance: The instance of the node that asks.
            settle: Called once when the wait ends: with the decision, or with None if the wait was cancelled.

        Returns:
            A handle to wait for. Its value is a `Decision`.

        Raises:
            TypeError: An id is not a string.
            ValueError: An id is empty or too long, or the gate is too large.

        Example:
            >>> from dagwidget.protocol import Presentation
            >>> gate = run.ask("review", Presentation(title="Ship it?"))
            >>> (await gate).decision
            'approve'
        """
        check_id(node_id, "node_id")
        if gate_id is not None:
            check_id(gate_id, "gate_id")
        check_gate_size(presentation)
        if gate_id is None:
            number = self._gates.next_number(node_id)
            gate_id = f"{node_id}:{number}" if self.owned else f"{node_id}:{self._channel.name[:8]}:{number}"
        outcome = self._gates.outcome(gate_id)
        if not outcome.done():
            if self.cancelling:
                self._gates.fail(gate_id, self._cancellation())
            elif self._ended or self._channel.refused is not None:
                self._gates.fail(gate_id, self._gate_closed(gate_id))
            else:
                self._gates.opened(gate_id, node_id)
                self._channel.publish(
                    p.HumanGateWaiting(node_id=node_id, gate_id=gate_id, presentation=presentation, instance=instance)
                )
        return OpenGate(gate_id, node_id, presentation, outcome=outcome, settle=settle)

    # --- Control

    def checkpoint(self) -> Checkpoint:
        """Pause or cancel here if a person asked for that: `await run.checkpoint()`, or `.result()` in plain code.

        Returns:
            A handle to wait for. The wait ends with the pause, and raises `RunCancelled` if a person cancelled the run.

        Example:
            >>> for step in range(3):
            ...     await run.checkpoint()
        """
        return Checkpoint(self._control.reach_checkpoint(), self._check_cancelled)

    def on_control(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call back when a person pauses, resumes or cancels the run, for engines that do so by themselves.

        Args:
            callback: Called in another thread with `pausing`, `resuming` or `cancelling`. The engine answers with
                `run.status("paused")` or `run.status("running")`.

        Returns:
            A function that stops the calls.

        Example:
            >>> stop = run.on_control(print)
            >>> stop()
        """
        return self._control.listen(check_callable(callback, "callback"))

    def status(self, status: p.LiveStatus) -> None:
        """Publish the status of the whole run, for engines that pause by themselves.

        Args:
            status: `running`, `pausing`, `paused`, `resuming` or `cancelling`.

        Raises:
            ValueError: `status` is something else.

        Example:
            >>> run.status("paused")
            >>> run.status("running")
        """
        check_choice(status, "status", get_args(p.LiveStatus))
        self._control.set_status(status)

    @property
    def cancelling(self) -> bool:
        """Whether a person has cancelled the run."""
        return self._control.cancelling

    # --- The end

    def complete(self, results: Any = None, *, wait: float | None = None) -> None:
        """End the run as completed. Nodes that have not ended become skipped or cancelled.

        Args:
            results: The results of the run.
            wait: Let open executions end first, for at most this many seconds; for engines that report ends out of
                order. The call returns at once all the same.

        Example:
            >>> run.complete({"model": "v7"})
        """
        if wait is None or not self._unsettled:
            self._end("completed", results)
            return
        self._ending = ("completed", results)
        timer = threading.Timer(wait, self._end_at_last)
        timer.daemon = True
        timer.start()
        self._handle_settled()

    def fail(self, error: object = None, results: Any = None) -> None:
        """End the run as failed.

        Args:
            error: The error: a text, or the exception.
            results: The results of the run.

        Example:
            >>> run.fail("the input is empty")
        """
        if error is not None:
            self.error(error, detail=describe(error) if isinstance(error, BaseException) else None)
        self._end("failed", results)

    def cancelled(self, results: Any = None, *, reason: str | None = None) -> None:
        """End the run as cancelled.

        Args:
            results: The results of the run.
            reason: Why, if no person cancelled it.

        Example:
            >>> try:
            ...     await run.checkpoint()
            ... except dagwidget.RunCancelled:
            ...     run.cancelled()
        """
        self._end("cancelled", results, reason)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the server has acknowledged all events. Blocks.

        Args:
            timeout: How many seconds to wait; None for no limit.

        Returns:
            Whether it has. False also if it has refused some (`refused` says why), or has them in memory only, as its
            log can't be written.

        Example:
            >>> run.flush(timeout=10)
            True
        """
        return self._channel.flush(timeout)

    @property
    def refused(self) -> str | None:
        """Why the server accepts nothing more from this process; None while it does."""
        return self._channel.refused if self._channel.refused_code is not None else None

    def close(self) -> bool:
        """Deliver the remaining events in the background, then disconnect. Returns at once. The run does not end.

        Returns:
            Whether the server has acknowledged all events already.

        Example:
            >>> run = dagwidget.start_run("my-dag")
            >>> _ = run.close()
        """
        self._channel.close()
        return self._channel.flush(0)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self.owned and not self._ended:
            self._end_left_open(verdict_of(error), error)
        if not self.owned:
            self.flush(_WORKER_SECONDS)
        self.close()

    async def __aenter__(self) -> Run:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    # --- For the end of its process or cell, and for forks

    @property
    def origin(self) -> lifecycle.Origin:
        """Where the run was started."""
        return self._origin

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self._ended

    def _end_left_open(self, verdict: Verdict, error: BaseException | None) -> None:
        """End the run the way its block, cell or process has ended."""
        if self._ending is not None:
            self._end_at_last()
        elif verdict.status == "failed":
            self.fail(error if error is not None else verdict.reason)
        elif verdict.status == "cancelled":
            self.cancelled(reason=None if isinstance(error, RunCancelled) else verdict.reason)
        else:
            self.complete()

    def _become_worker(self) -> None:
        """In a forked child: the parent owns the run, and only its exit ends it."""
        self.owned = False
        self._ending = None
        self._end_lock = threading.RLock()
        self._gates = Gates()
        self._flow.after_fork()
        self._unsettled.clear()
        self._channel.after_fork()
        self._control = Control(self._channel.publish, on_cancel=self._cancel_gates, start=None)

    def _handle_settled(self) -> None:
        if self._ending is not None and not self._unsettled:
            self._end_at_last()

    def _end_at_last(self) -> None:
        ending = self._ending
        if ending is not None:
            self._end(*ending)

    def _end(self, status: p.FinalStatus, results: Any, reason: str | None = None) -> None:
        with self._end_lock:
            if self._ended:
                return
            self._ended = True
        self._gates.fail_all(self._gate_closed)
        shown = None if results is None else preview(results, RESULTS, self._redact)
        self._channel.publish(p.ExecutionComplete(results=shown, status=status, reason=reason))
        self._channel.close()

    # --- Helpers

    def _receive(self, event: p.HumanGateResolved | p.ExecutionState) -> None:
        """Handle a decision or a request. Called in the transport's thread."""
        if isinstance(event, p.HumanGateResolved):
            self._gates.decide(event)
        elif event.status in ("pausing", "resuming", "cancelling"):
            self._control.request(event.status)

    def _abandon(self) -> None:
        """End all waits, because nothing can arrive any more. Called in the transport's thread."""
        self._gates.fail_all(self._gate_closed)
        self._control.release()
        if self.owned and self.refused is not None:
            assert self.run_id is not None
            local_runs.withdraw(discovery.normalized(self._url), self.dag_id, self.run_id)

    def _handle_spending(self, amount: float) -> None:
        self._control.spend(amount)

    def _settle_gate(self, gate: OpenGate, decision: Decision | None) -> None:
        """Set the status of a gate's node when the wait ends; while other gates are open there, it waits for those."""
        if decision is None:
            message = f"gate {gate.gate_id!r} is closed: the code that waited for its decision was cancelled"
            self._gates.fail(gate.gate_id, NotConnected(message))
        if self._gates.is_open_at(gate.node_id):
            return
        if decision is None:
            self.update(gate.node_id, "cancelled", reason="the code that waited for the decision was cancelled")
        elif self._flow.is_running(gate.node_id):
            self.update(gate.node_id, "running")
        elif decision.source == "timeout" and gate.presentation.on_timeout in (None, "fail"):
            self.update(gate.node_id, "failed", error="nobody decided before the deadline")
        else:
            output = {"decision": decision.decision, "feedback": decision.feedback, "value": decision.value}
            shown = {name: value for name, value in output.items() if value is not None}
            self.update(gate.node_id, "completed", output=shown, reason=f"{decision.decision} by {decision.by}")
            self._flow.finish(gate.node_id)

    def _check_cancelled(self) -> None:
        if self.cancelling:
            raise self._cancellation()

    def _cancellation(self) -> RunCancelled:
        return RunCancelled(f"the run of {self.dag_id!r} was cancelled", dag_id=self.dag_id, run_id=self.run_id)

    def _cancel_gates(self) -> None:
        self._gates.fail_all(lambda _gate_id: self._cancellation())

    def _gate_closed(self, gate_id: str) -> NotConnected:
        """Why nobody can decide any more. The end of the run comes first: the transport closes soon after it."""
        code = None if self._ended else self._channel.refused_code
        reason = "the run has ended" if self._ended else self._channel.refused
        message = f"gate {gate_id!r} is closed: {reason}"
        if code in (None, _REPLACED):
            return RunEnded(message, dag_id=self.dag_id, run_id=self.run_id)
        return ServerRefused(message, code=code)


_unpickled: weakref.WeakValueDictionary[tuple[Any, ...], Run] = weakref.WeakValueDictionary()


def _unpickle(dag_id: str, run_id: str | None, url: str | None, redact: Redact | None, price: Price) -> Run:
    """A run that another process has pickled: one worker of it in each process."""
    key = (os.getpid(), dag_id, run_id, url)
    run = _unpickled.get(key)
    if run is None:
        locate = discovery.locator(url)
        run = Run(dag_id, locate, start=None, epoch=run_id, graph=p.Mutation(), redact=redact, price=price, url=url)
        _unpickled[key] = run
        from .transport import deliver_at_exit

        worker_exit.deliver_at_exit(deliver_at_exit)
    return run
