"""LangGraph: `await dagwidget.engines.langgraph.run(graph, input, dag_id="my-dag")` runs and publishes a graph.

Tasks come from `graph.astream`, tokens from the models' callbacks. An `interrupt()` becomes a gate, and its decision
resumes the graph: `dagwidget.engines.langgraph.hitl` lists the requests that are recognised.
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
        f'dagwidget.engines.langgraph requires LangGraph 1.2 or newer: pip install "dagwidget[langgraph]" ({error})'
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
    """Run a compiled graph, as `graph.ainvoke` does, and publish the run.

    Pausing works between supersteps. Like `interrupt()`, it requires a checkpointer. A decision resumes the graph at
    once, even if other gates are open; LangGraph then restarts each node that still waits.

    A node reports its progress with LangGraph's `get_stream_writer()` or `dispatch_custom_event`: a mapping with
    `progress` (0 to 1) or `message`. Other values go to the node's log. LangGraph does not say which node used a stream
    writer: if several nodes run in parallel, add the node's name as `node`.

    Args:
        graph: A compiled graph.
        input: The graph's input.
        dag_id: The DAG.
        config: A `RunnableConfig`. If the graph has a checkpointer and `config` has no `thread_id`, a new one is made.
        context: The graph's context.
        budget: The budget of the run, in US dollars.
        on_budget: What happens once the budget is spent, as in `dagwidget.start_run`. The run pauses between
            supersteps.
        url: The base URL of the stream server, as in `dagwidget.start_run`.
        token: The token to present, as in `dagwidget.start_run`.
        redact: Called with each output. Returns what may leave the process.
        price: `price(model, usage)` returns the price of tokens, or None. By default it looks it up in the table of
            `genai-prices`.
        answer: `answer(value, decision)` returns what `interrupt(value)` returns in the node. By default this follows
            the form of `value`.

    Returns:
        The graph's output.

    Raises:
        TypeError: `graph` is not a compiled graph.
        DagwidgetError: A node calls `interrupt()`, and the graph has no checkpointer.
        RunCancelled: A person cancelled the run.
        Exception: The graph raised it.

    Example:
        >>> from langgraph.graph import END, START, StateGraph
        >>> graph = StateGraph(dict)
        >>> _ = graph.add_node("greet", lambda state: {"text": f"hello {state['name']}"})
        >>> _ = graph.add_edge(START, "greet").add_edge("greet", END)
        >>> await dagwidget.engines.langgraph.run(graph.compile(), {"name": "Ana"}, dag_id="my-dag")
        {'text': 'hello Ana'}
    """
    if not hasattr(graph, "astream") or not hasattr(graph, "get_graph"):
        hint = ": call its compile()" if hasattr(graph, "compile") else ""
        raise TypeError(f"graph must be a compiled graph, got {type(graph).__name__}{hint}")
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
