"""`NodeExecution`: one execution of a node, as a context manager or a decorator."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

from .. import protocol as p
from .clock import now_ms
from .tracebacks import describe
from .verdict import verdict_of

F = TypeVar("F", bound=Callable[..., Any])


class NodeReporter(Protocol):
    """What an execution reports to: its run."""

    def enter_node(self, execution: NodeExecution) -> None:
        """An execution begins: it is given its attempt and, where it overlaps another, its instance."""

    def leave_node(self, execution: NodeExecution, error: BaseException | None) -> None:
        """An execution has ended, by an exception if one is given."""

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
    """One execution of a node: what `run.node("name")` gives.

    As a context manager, plain or `async`, the node is running inside of it; then it is completed, failed (with the
    exception, which goes on), or cancelled. As a decorator, each call of the function is an execution of its own; that
    of a generator lasts until it ends.
    """

    def __init__(self, run: NodeReporter, node_id: str, instance: str | None = None) -> None:
        self.node_id = node_id
        self.instance = instance
        self._run = run
        self.attempt: int | None = None
        self.started_at = 0
        self._began = 0.0
        self._metrics: dict[str, int | float | str] = {}

    # --- As a context manager

    def __enter__(self) -> NodeExecution:
        self._began = time.perf_counter()
        self.started_at = now_ms()
        self._run.enter_node(self)
        self._state("running")
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._metrics["duration_ms"] = round((time.perf_counter() - self._began) * 1000, 3)
        status, reason = verdict_of(error)
        self._run.leave_node(self, error)
        if status != "failed" or error is None:
            self._state(status, metrics=self._metrics, reason=reason)
        else:
            self._state("failed", metrics=self._metrics, error=describe(error))
            self._run.error(error, node_id=self.node_id)

    async def __aenter__(self) -> NodeExecution:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    # --- As a decorator

    def __call__(self, function: F) -> F:
        def anew() -> NodeExecution:
            return NodeExecution(self._run, self.node_id, self.instance)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                with anew() as node:
                    result = await function(*args, **kwargs)
                    node.output(result)
                    return result

            return cast(F, run_async)

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def run_generator(*args: Any, **kwargs: Any) -> Any:
                with anew():
                    return (yield from function(*args, **kwargs))

            return cast(F, run_generator)

        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def run_async_generator(*args: Any, **kwargs: Any) -> Any:
                with anew():
                    async for item in function(*args, **kwargs):
                        yield item

            return cast(F, run_async_generator)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with anew() as node:
                result = function(*args, **kwargs)
                node.output(result)
                return result

        return cast(F, run)

    # --- Inside of it

    def output(self, value: Any = None, **fields: Any) -> None:
        """What the node has put out: a value, or named fields. It is shown as a bounded preview."""
        shown = fields if value is None and fields else value
        if shown is not None:
            self._state("running", output=shown)

    def progress(self, fraction: float, message: str | None = None) -> None:
        """How far the node has come, 0 to 1, and what it is at."""
        self._state("running", progress=fraction, message=message)

    def metrics(self, **values: float | str) -> None:
        """Measurements by name, shown with the node."""
        self._metrics.update(values)
        self._state("running", metrics=values)

    def cost(
        self,
        amount: float | None = None,
        *,
        tokens_in: int = 0,
        tokens_out: int = 0,
        model: str | None = None,
    ) -> None:
        """What the node has spent just now. See `Run.cost`."""
        amount = self._run.cost(amount, node_id=self.node_id, tokens_in=tokens_in, tokens_out=tokens_out, model=model)
        for name, value in (("cost", amount), ("tokens_in", int(tokens_in)), ("tokens_out", int(tokens_out))):
            if value:
                self._metrics[name] = cast(float, self._metrics.get(name, 0)) + value
        if model is not None:
            self._metrics["model"] = model

    def log(self, *lines: object) -> None:
        """Lines for the node's log."""
        self._run.log(self.node_id, *lines)

    def _state(self, status: p.NodeStatus, **fields: Any) -> None:
        self._run.update(self.node_id, status, instance=self.instance, attempt=self.attempt, **fields)
