"""`Reporter`: what a run reports: its nodes, edges, logs, errors, graph and cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, get_args

from .. import protocol as p
from .arguments import (
    EdgeLike,
    NodeLike,
    check_bool,
    check_choice,
    check_count,
    check_id,
    check_number,
    check_text,
    check_time,
    chunked,
    convert_each,
    edge_spec,
    node_spec,
    numeric_metrics,
    split_mutation,
)
from .channel import Channel
from .flow import Flow
from .lifecycle import Origin
from .node import NodeExecution
from .pricing import Price, Usage
from .serialize import Redact, preview, previewed, redacted, text_of, whole

_LINE: Final = 2_000
# The part of a whole output in one event, in characters: encoded as JSON, it still fits.
_OUTPUT_PART: Final = 32 * 1024

_STATUSES: Final = get_args(p.NodeStatus)


class Reporter:
    """Publishes what happens in a run. Every method is thread-safe, and none waits for the network.

    Args:
        channel: Delivers the events.
        redact: Replaces what must not leave the process, in each output.
        price: Looks up the price of tokens.
    """

    owned = False

    def __init__(self, channel: Channel, *, redact: Redact | None, price: Price) -> None:
        self._channel = channel
        self._redact = redact
        self._price = price
        self._origin = Origin()
        self._flow = Flow(channel.publish, self._worker_name, self._origin)
        # The executions that have not ended, as far as `update` says.
        self._unsettled: set[tuple[str, str | None]] = set()
        self._reported: BaseException | None = None

    # --- Nodes

    def node(self, node_id: str, *, instance: str | None = None) -> NodeExecution:
        """An execution of a node, as a context manager (plain or `async`) or a decorator.

        Args:
            node_id: The node.
            instance: A name for this execution, if the node runs several times in parallel.

        Returns:
            The execution. It starts when the block, or the function, does.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An argument has an invalid value.

        Example:
            >>> with run.node("train", instance="fold 1") as node:
            ...     node.progress(0.5)
            ...     node.output(loss=0.1)
        """
        check_id(node_id, "node_id")
        return NodeExecution(self, self._flow, node_id, None if instance is None else check_id(instance, "instance"))

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
        started_at: datetime | int | None = None,
        ended_at: datetime | int | None = None,
    ) -> None:
        """Publish the status of a node, as an engine's hooks report it. `node` does so by itself.

        Args:
            node_id: The node.
            status: `pending`, `running`, `waiting`, `completed`, `failed`, `skipped` or `cancelled`.
            output: The node's output.
            metrics: Measurements by name.
            error: The error: a summary on the first line, then the traceback.
            progress: A number from 0 to 1.
            attempt: The number of the attempt; events of older attempts are ignored.
            instance: The instance, if the node runs several times in parallel.
            native: The engine's own word for the status, such as `up_for_retry`.
            reason: Why the node has this status.
            message: What the node is doing.
            started_at: When the execution started, by the engine: Unix milliseconds, or a `datetime` with a time zone.
            ended_at: When it ended.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An argument has an invalid value.

        Example:
            >>> run.update("train", "running", progress=0.5)
            >>> run.update("train", "completed", output={"loss": 0.1})
        """
        check_choice(status, "status", _STATUSES)
        if progress is not None:
            progress = check_number(progress, "progress", 0, 1)
        if instance is not None:
            check_id(instance, "instance")
        if attempt is not None:
            attempt = check_count(attempt, "attempt")
        for name, text in (("error", error), ("native", native), ("reason", reason), ("message", message)):
            if text is not None:
                check_text(text, name)
        check_id(node_id, "node_id")
        shown, size, cut = (None, None, None) if output is None else self._publish_output(node_id, instance, output)
        self._channel.publish(
            p.NodeState(
                node_id=node_id,
                status=status,
                output=shown,
                output_bytes=size,
                output_cut=cut,
                metrics=numeric_metrics(metrics) if metrics else None,
                error=error,
                progress=progress,
                attempt=attempt,
                instance=instance,
                native=native,
                reason=reason,
                message=message,
                started_at=None if started_at is None else check_time(started_at, "started_at"),
                ended_at=None if ended_at is None else check_time(ended_at, "ended_at"),
            )
        )
        if status in p.TERMINAL:
            self._unsettled.discard((node_id, instance))
            self._handle_settled()
        else:
            self._unsettled.add((node_id, instance))

    def edge(self, source: str, target: str, *, active: bool = True) -> None:
        """Publish that an edge is active, or no longer active. `node` activates the edges into it by itself.

        Args:
            source: The node where the edge starts.
            target: The node where the edge ends.
            active: Whether something flows along the edge.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An argument has an invalid value.

        Example:
            >>> run.edge("extract", "train")
        """
        check_bool(active, "active")
        self._channel.publish(
            p.EdgeActive(from_=check_id(source, "source"), to=check_id(target, "target"), active=active)
        )

    def log(self, node_id: str, *lines: object) -> None:
        """Append lines to a node's log.

        Args:
            node_id: The node.
            lines: The lines. Each is converted to a string, and split where it has line breaks.

        Raises:
            TypeError: `node_id` is not a string.
            ValueError: `node_id` is empty or too long.

        Example:
            >>> run.log("extract", "read 3 files", "skipped 1")
        """
        check_id(node_id, "node_id")
        texts = [line[:_LINE] for text in lines for line in text_of(text).splitlines() or [""]]
        for chunk in chunked(texts, 100):
            self._channel.publish(p.NodeLog(node_id=node_id, lines=chunk))

    def error(
        self, message: object, *, node_id: str | None = None, code: str | None = None, detail: Any = None
    ) -> None:
        """Report an error of the run or of a node. The run continues; `fail` ends it.

        Args:
            message: The error: a text, or the exception. An exception that several nodes raise is reported once.
            node_id: The node; None for the run.
            code: The kind of error, as one word. By default the name of the exception's class.
            detail: More about the error.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An argument has an invalid value.

        Example:
            >>> run.error("2 files could not be read", node_id="extract")
        """
        if isinstance(message, BaseException):
            # It may leave several nodes. The innermost is the one that failed.
            if message is self._reported:
                return
            self._reported = message
            code = code or type(message).__name__
        if code is not None:
            check_text(code, "code")
        if node_id is not None:
            check_id(node_id, "node_id")
        self._channel.publish(
            p.RunError(
                message=text_of(message) or type(message).__name__,
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
        """Change the graph during the run. The changes are applied in the order of the arguments.

        Args:
            add_nodes: Nodes to add: ids, or mappings with `id` and `label`, `kind`, `group` or `description`.
            update_nodes: Nodes to change, as mappings.
            remove_nodes: Ids of nodes to remove.
            add_edges: Edges to add: pairs `(from, to)`, or mappings with `from`, `to` and `label` or `conditional`.
            remove_edges: Edges to remove.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: A node or an edge is invalid.

        Example:
            >>> run.mutate(add_nodes=["deploy"], add_edges=[("review", "deploy")])
        """
        self._publish_mutation(
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
        """Publish what was just spent: an amount to add, not a total. The server adds up the amounts of all processes.

        Args:
            amount: The amount, in the run's currency. By default the price of the tokens; if that is unknown, the
                tokens are shown without a price.
            node_id: The node that spent it.
            tokens_in: The input tokens, including those of a cache.
            tokens_out: The output tokens.
            model: The model, to look up its price.
            cache_read: How many of `tokens_in` were read from the provider's cache.
            cache_write: How many of `tokens_in` were written to the provider's cache.

        Returns:
            The amount; None if the price is unknown.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An argument has an invalid value.

        Example:
            >>> run.cost(0.02, node_id="train", tokens_in=900, tokens_out=120)
            0.02
        """
        if amount is not None:
            amount = check_number(amount, "amount")
        if node_id is not None:
            check_id(node_id, "node_id")
        tokens_in, tokens_out = check_count(tokens_in, "tokens_in"), check_count(tokens_out, "tokens_out")
        if amount is None and model is not None and (tokens_in or tokens_out):
            usage = Usage(tokens_in=tokens_in, tokens_out=tokens_out, cache_read=cache_read, cache_write=cache_write)
            amount = self._price(model, usage)
        self._channel.publish(
            p.CostDelta(
                amount=None if amount is None else float(amount),
                node_id=node_id,
                tokens_in=tokens_in or None,
                tokens_out=tokens_out or None,
            )
        )
        if amount is not None:
            self._handle_spending(amount)
        return amount

    # --- Helpers

    def _worker_name(self) -> str | None:
        """The name of this process among the workers of the run; None if it owns the run."""
        return None if self.owned else f"worker-{self._channel.name[:8]}"

    def _handle_settled(self) -> None:
        """Called when an execution has ended."""

    def _handle_spending(self, amount: float) -> None:
        """Called with each amount that was spent."""

    def _publish_mutation(self, mutation: p.Mutation) -> None:
        self._flow.add_edges(mutation.add_edges or ())
        for part in split_mutation(mutation):
            self._channel.publish(p.DagMutated(mutation=part))

    def _publish_output(
        self, node_id: str, instance: str | None, output: Any
    ) -> tuple[Any, int | None, Literal[True] | None]:
        """Publish the whole output if its preview is truncated.

        Returns:
            The preview; the size of the whole, if that is published; whether there is a whole that is not.
        """
        value = redacted(output, self._redact)
        shown, truncated = previewed(value)
        if not truncated:
            return shown, None, None
        # Whole outputs must not pile up while the server is unreachable.
        text = None if self._channel.is_behind else whole(value)
        if text is None:
            return shown, None, True
        parts = -(-len(text) // _OUTPUT_PART)
        for part in range(parts):
            piece = text[part * _OUTPUT_PART : (part + 1) * _OUTPUT_PART]
            self._channel.publish(p.NodeOutput(node_id=node_id, instance=instance, text=piece, part=part, parts=parts))
        return shown, len(text.encode()), None
