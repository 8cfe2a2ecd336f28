"""`NodeExecution`: one execution of a node, as a context manager or a decorator."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

from .. import protocol as p
from ..clock import now_ms
from .flow import Flow
from .tracebacks import describe
from .verdict import verdict_of

F = TypeVar("F", bound=Callable[..., Any])


class NodeReporter(Protocol):
    """What an execution reports to: its run."""

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
        reason: str | None = None,
        message: str | None = None,
    ) -> None:
        """See `Run.update`."""

    def error(self, message: object, *, node_id: str | None = None) -> None:
        """See `Run.error`."""

    def cost(
        self, amount: float | None, *, node_id: str | None, tokens_in: int, tokens_out: int, model: str | None
    ) -> float | None:
        """See `Run.cost`."""

    def log(self, node_id: str, *lines: object) -> None:
        """See `Run.log`."""


class NodeExecution:
    """One execution of a node. `run.node("name")` makes it.

    As a context manager, plain or `async`, it is *running* inside the block. At the end it is *completed*; if the block
    raises, it is *failed* or *cancelled*, and the exception propagates. As a decorator, it makes each call of the
    function an execution. The execution of a generator lasts until the generator ends.

    Attributes:
        node_id: The node.
        instance: The instance of the node; None for the node itself.

    Example:
        >>> with run.node("extract") as node:
        ...     node.output(rows=3)
        >>> @run.node("train")
        ... def train(data):
        ...     return {"loss": 0.1}
        >>> train([])
        {'loss': 0.1}
    """

    def __init__(self, run: NodeReporter, flow: Flow, node_id: str, instance: str | None = None) -> None:
        """An execution that has not started.

        Args:
            run: The run to report to.
            flow: The flow of the run.
            node_id: The node.
            instance: The instance of the node; None for the node itself.
        """
        self.node_id = node_id
        self.instance = instance
        self._run = run
        self._flow = flow
        self.attempt: int | None = None
        self.started_at = 0
        self._started = 0.0
        self._metrics: dict[str, int | float | str] = {}

    # --- As a context manager

    def __enter__(self) -> NodeExecution:
        self._started = time.perf_counter()
        self.started_at = now_ms()
        self._flow.enter(self)
        self._update("running")
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._metrics["duration_ms"] = round((time.perf_counter() - self._started) * 1000, 3)
        if not self._flow.leave(self, error):
            return
        status, reason = verdict_of(error)
        if status != "failed" or error is None:
            self._update(status, metrics=self._metrics, reason=reason)
        else:
            self._update("failed", metrics=self._metrics, error=describe(error))
            self._run.error(error, node_id=self.node_id)

    async def __aenter__(self) -> NodeExecution:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    # --- As a decorator

    def __call__(self, function: F) -> F:
        def execution() -> NodeExecution:
            return NodeExecution(self._run, self._flow, self.node_id, self.instance)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                with execution() as node:
                    result = await function(*args, **kwargs)
                    node.output(result)
                    return result

            return cast(F, run_async)

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def run_generator(*args: Any, **kwargs: Any) -> Any:
                with execution():
                    return (yield from function(*args, **kwargs))

            return cast(F, run_generator)

        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def run_async_generator(*args: Any, **kwargs: Any) -> Any:
                with execution():
                    async for item in function(*args, **kwargs):
                        yield item

            return cast(F, run_async_generator)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with execution() as node:
                result = function(*args, **kwargs)
                node.output(result)
                return result

        return cast(F, run)

    # --- During the execution

    def output(self, value: Any = None, **fields: Any) -> None:
        """Publish the node's output: a value, or named fields. Large outputs are shown as a bounded preview.

        Args:
            value: The output. If it is None, `fields` are the output.
            fields: The output as named fields.

        Example:
            >>> node.output(rows=1_000_000)
        """
        shown = fields if value is None and fields else value
        if shown is not None:
            self._update("running", output=shown)

    def progress(self, fraction: float, message: str | None = None) -> None:
        """Publish the node's progress.

        Args:
            fraction: A number from 0 to 1.
            message: What the node is doing.

        Raises:
            TypeError: `message` is not a string.
            ValueError: `fraction` is not a number from 0 to 1.

        Example:
            >>> node.progress(0.3, "step 3 of 10")
        """
        self._update("running", progress=fraction, message=message)

    def metrics(self, **values: float | str) -> None:
        """Publish measurements by name.

        Args:
            values: The measurements.

        Example:
            >>> node.metrics(accuracy=0.93)
        """
        self._metrics.update(values)
        self._update("running", metrics=values)

    def cost(
        self,
        amount: float | None = None,
        *,
        tokens_in: int = 0,
        tokens_out: int = 0,
        model: str | None = None,
    ) -> None:
        """Publish what the node just spent. See `Run.cost`.

        Args:
            amount: The amount, in the run's currency. By default the price of the tokens.
            tokens_in: The input tokens.
            tokens_out: The output tokens.
            model: The model, to look up its price.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An argument has an invalid value.

        Example:
            >>> node.cost(0.02, tokens_in=900, tokens_out=120)
        """
        amount = self._run.cost(amount, node_id=self.node_id, tokens_in=tokens_in, tokens_out=tokens_out, model=model)
        for name, value in (("cost", amount), ("tokens_in", int(tokens_in)), ("tokens_out", int(tokens_out))):
            if value:
                self._metrics[name] = cast(float, self._metrics.get(name, 0)) + value
        if model is not None:
            self._metrics["model"] = model

    def log(self, *lines: object) -> None:
        """Append lines to the node's log.

        Args:
            lines: The lines. Each is converted to a string, and split where it has line breaks.

        Example:
            >>> node.log("read 3 files", "skipped 1")
        """
        self._run.log(self.node_id, *lines)

    def _update(self, status: p.NodeStatus, **fields: Any) -> None:
        self._run.update(self.node_id, status, instance=self.instance, attempt=self.attempt, **fields)
