"""LangGraph: `await dagwidget.engines.langgraph.run(graph, input, dag_id="…")` streams a compiled graph.

It listens to what `graph.astream` says of its tasks, and to what models report of their tokens. An `interrupt()`
becomes a gate, and its decision resumes the graph; `dagwidget.engines.langgraph.hitl` tells which forms are recognised.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, cast

try:
    from langchain_core.runnables.config import RunnableConfig, merge_configs
    from langgraph.runtime import RunControl as _  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'dagwidget.engines.langgraph needs LangGraph 1.2 or newer: pip install "dagwidget[langgraph]" ({error})'
    ) from error

from ... import discovery
from ... import protocol as p
from ...publisher.pricing import Price
from ...publisher.pricing import price as list_price
from ...publisher.serialize import Redact
from ...publisher.start import start_run
from .callbacks import Callbacks
from .driver import Answer, Driver
from .watch import Watch

__all__ = ["run"]


async def run(
    graph: Any,
    input: Any,
    *,
    dag_id: str,
    config: Mapping[str, Any] | None = None,
    context: Any = None,
    budget: float | None = None,
    on_budget: p.OnBudget | None = None,
    url: str | None = None,
    token: discovery.Token | None = None,
    redact: Redact | None = None,
    price: Price = list_price,
    answer: Answer | None = None,
) -> Any:
    """Run a compiled graph, as `graph.ainvoke` does, and publish what happens.

    Pausing works between supersteps and, like `interrupt()`, needs a checkpointer. A decision resumes the graph at
    once, also while other gates are open; LangGraph then runs each node that still waits from its start.

    A node tells how far it has come with LangGraph's `get_stream_writer()` or `dispatch_custom_event`: a mapping with
    `progress` (0 to 1) or `message`. A stream writer does not say which of several nodes wrote, so where several run
    at once, it needs a `node` too; everything else that is written goes to the node's log.

    Args:
        graph: A compiled graph.
        input: Its input.
        dag_id: The DAG to publish as.
        config: A `RunnableConfig`. Where the graph has a checkpointer and there is no `thread_id`, a new one is made.
        context: The graph's context.
        budget: How much may be spent, in US dollars.
        on_budget: What happens once it is spent, as for `start_run`; the run pauses between supersteps.
        url: Base URL of the stream server; see `dagwidget.start_run`.
        token: What the server asks for.
        redact: Takes each output, and gives what may be shown of it.
        price: `price(model, usage)`; by default from the table of `genai-prices`.
        answer: `answer(value, decision)` makes of a person's decision what `interrupt(value)` returns, in place of the
            forms that are recognised.

    Returns:
        The graph's output.

    Raises:
        TypeError: `graph` is no compiled graph.
        DagwidgetError: it asks with `interrupt()`, and has no checkpointer.
        RunCancelled: a person cancelled the run.
        Exception: whatever the graph raises.
    """
    if not hasattr(graph, "astream") or not hasattr(graph, "get_graph"):
        hint = ": call its compile()" if hasattr(graph, "compile") else ""
        raise TypeError(f"graph must be a compiled graph, not {type(graph).__name__}{hint}")
    has_checkpointer = bool(getattr(graph, "checkpointer", None))
    capabilities = p.Capabilities(
        pause="native" if has_checkpointer else "none", cancel="native", gate="native" if has_checkpointer else "none"
    )
    handle = start_run(
        dag_id,
        budget=budget,
        on_budget=on_budget,
        url=url,
        token=token,
        capabilities=capabilities,
        redact=redact,
        price=price,
    )
    with handle:
        watch = Watch(handle, graph)
        driver = Driver(handle, graph, watch, answer=answer, breakpoints=has_checkpointer)
        settings = merge_configs(cast(RunnableConfig, config), {"callbacks": [Callbacks(watch)]})
        if has_checkpointer:
            settings = merge_configs({"configurable": {"thread_id": uuid.uuid4().hex}}, settings)
        try:
            output = await driver.drive(input, settings, context)
        except asyncio.CancelledError:
            handle.cancelled()
            raise
        handle.complete(output)
        return output
