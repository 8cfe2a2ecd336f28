"""`Reporter`: what a run says of itself: its nodes, edges, logs, errors, graph and cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, get_args

from .. import protocol as p
from .arguments import (
    EdgeLike,
    NodeLike,
    check_count,
    check_id,
    check_number,
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
from .lifecycle import Origin, note_exit, whereabouts
from .node import NodeExecution
from .pricing import Price, Usage
from .serialize import Redact, preview, previewed, redacted, whole

_LINE: Final = 2_000
# Of a whole output, in characters: quoted again, a part still fits into an event.
_OUTPUT_PART: Final = 32 * 1024

_STATUSES: Final = frozenset(get_args(p.NodeStatus))


class Reporter:
    """Publishes what happens in a run. Every method may be called in any thread, and none waits for the network."""

    owned = False

    def __init__(self, channel: Channel, *, redact: Redact | None, price: Price) -> None:
        self._channel = channel
        self._redact = redact
        self._price = price
        self._flow = Flow(channel.publish, self._worker_name)
        self._origin = Origin()
        # The executions that have not ended, as far as `update` says.
        self._unsettled: set[tuple[str, str | None]] = set()
        self._reported: BaseException | None = None

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
        started_at: datetime | int | None = None,
        ended_at: datetime | int | None = None,
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
        self._channel.publish(
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
                started_at=None if started_at is None else check_time(started_at, "started_at"),
                ended_at=None if ended_at is None else check_time(ended_at, "ended_at"),
            )
        )
        if status in p.TERMINAL:
            self._unsettled.discard((node_id, instance))
            self._settled()
        else:
            self._unsettled.add((node_id, instance))

    def edge(self, source: str, target: str, *, active: bool = True) -> None:
        """Say that something flows along an edge (or no longer does)."""
        if not isinstance(active, bool):
            raise TypeError(f"active is True or False, not {active!r:.200}")
        self._channel.publish(
            p.EdgeActive(from_=check_id(source, "source"), to=check_id(target, "target"), active=active)
        )

    def log(self, node_id: str, *lines: object) -> None:
        """Lines for a node's log."""
        texts = [line[:_LINE] for text in lines for line in str(text).splitlines() or [""]]
        for chunk in chunked(texts, 100):
            self._channel.publish(p.NodeLog(node_id=check_id(node_id, "node_id"), lines=chunk))

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
        self._channel.publish(
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
        self._channel.publish(
            p.CostDelta(
                amount=None if amount is None else float(amount),
                node_id=node_id,
                tokens_in=tokens_in or None,
                tokens_out=tokens_out or None,
            )
        )
        if amount is not None:
            self._spend(amount)
        return amount

    # --- For node executions

    def enter_node(self, execution: NodeExecution) -> None:
        """An execution begins: it is given its attempt and, where it overlaps another, its instance."""
        self._origin.note(whereabouts())
        self._flow.enter(execution)

    def leave_node(self, execution: NodeExecution, error: BaseException | None) -> None:
        """An execution has ended, by an exception if one is given."""
        note_exit(error)
        self._flow.leave(execution)

    # --- Helpers

    def _worker_name(self) -> str | None:
        """What this process is called among the workers of the run; None where it owns the run."""
        return None if self.owned else f"worker-{self._channel.name[:8]}"

    def _settled(self) -> None:
        """Called when an execution has ended."""

    def _spend(self, amount: float) -> None:
        """Called with each amount that was spent."""

    def _publish_mutation(self, mutation: p.Mutation) -> None:
        self._flow.add_edges(mutation.add_edges or ())
        for part in split_mutation(mutation):
            self._channel.publish(p.DagMutated(mutation=part))

    def _show(self, node_id: str, instance: str | None, output: Any) -> tuple[Any, int | None]:
        """A preview of an output and, where that is not all of it, the size of the whole, which goes out before it."""
        value = redacted(output, self._redact)
        shown, cut = previewed(value)
        # Whole outputs must not pile up while there is no server.
        text = whole(value) if cut and not self._channel.is_behind else None
        if text is None:
            return shown, None
        parts = -(-len(text) // _OUTPUT_PART)
        for part in range(parts):
            piece = text[part * _OUTPUT_PART : (part + 1) * _OUTPUT_PART]
            self._channel.publish(p.NodeOutput(node_id=node_id, instance=instance, text=piece, part=part, parts=parts))
        return shown, len(text.encode())
