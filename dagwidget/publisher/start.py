"""`start_run` and `attach`: start a run, or join one as a worker."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from typing import get_args

from .. import discovery, local_runs
from .. import protocol as p
from ..clock import now_ms
from .arguments import (
    EdgeLike,
    NodeLike,
    check_bool,
    check_callable,
    check_choice,
    check_currency,
    check_id,
    check_number,
    convert_each,
    edge_spec,
    node_spec,
)
from .pricing import Price
from .pricing import price as list_price
from .run import Run
from .serialize import Redact


def start_run(
    dag_id: str,
    nodes: Iterable[NodeLike] = (),
    edges: Iterable[EdgeLike] = (),
    *,
    budget: float | None = None,
    on_budget: p.OnBudget | None = None,
    currency: str | None = None,
    url: str | None = None,
    token: discovery.Token | None = None,
    run_id: str | None = None,
    capabilities: p.Capabilities | None = None,
    redact: Redact | None = None,
    price: Price = list_price,
    name: str | None = None,
    tags: Iterable[str] = (),
    keep: bool = False,
) -> Run:
    """Start a run, and publish it to the stream server. Does not wait for the server.

    Args:
        dag_id: The DAG. Everybody who watches it sees this run from now on.
        nodes: The nodes known so far: ids, or mappings with `id` and `label`, `kind`, `group` or `description`.
            `Run.mutate` adds more later.
        edges: The edges known so far: pairs `(from, to)`, or mappings with `from`, `to` and `label` or `conditional`.
            A node that only `edges` names is added.
        budget: The budget of the run, in `currency`.
        on_budget: What happens once the budget is spent. `warn` reports an error; `pause` pauses the run; `gate` pauses
            it and asks a person whether to continue. The run pauses where it calls `Run.checkpoint`. By default the
            widget shows the overspending, and nothing else happens.
        currency: The currency, as three letters. By default `USD`.
        url: The base URL of the stream server. By default `DAGWIDGET_URL`, or else this machine's server, which is
            started if need be.
        token: The token to present, or a function that returns it, called for each connection. By default
            `DAGWIDGET_TOKEN`, or else the token of this machine's server.
        run_id: The id of the run. By default a new one. To continue a run after a crash, pass its id again: this
            process takes it over.
        capabilities: What the engine supports. By default gates, and pause and cancel at `Run.checkpoint`.
        redact: Called with each output. Returns what may leave the process.
        price: `price(model, usage)` returns the price of tokens in `currency`, or None. By default it looks it up in
            the table of `genai-prices`.
        name: The name of the run, for people.
        tags: Words to find the run by.
        keep: Let the run go on when the notebook cell that started it is run again. By default that cancels it.

    Returns:
        The run, to be used in `with`, or ended with `complete`, `fail` or `cancelled`. A run that is left open ends
        with its process.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has an invalid value.

    Example:
        >>> run = dagwidget.start_run("my-dag", ["extract", "train"], [("extract", "train")], budget=5.0)
        >>> with run.node("extract") as node:
        ...     node.output(rows=1_000_000)
        >>> run.complete({"rows": 1_000_000})
    """
    started_at = now_ms()
    p.check_dag_id(dag_id)
    if budget is not None:
        budget = check_number(budget, "budget", 0)
    if on_budget is not None:
        check_choice(on_budget, "on_budget", get_args(p.OnBudget))
        if budget is None:
            raise ValueError(f"on_budget={on_budget!r} requires budget=")
    if currency is not None:
        currency = check_currency(currency)
    if capabilities is not None and not isinstance(capabilities, p.Capabilities):
        raise TypeError(f"capabilities must be a dagwidget.protocol.Capabilities, got {capabilities!r:.200}")
    if run_id is not None:
        p.check_dag_id(run_id, "run_id")
    check_bool(keep, "keep")
    _check_functions(redact, price)
    start = p.RunStart(
        budget=budget,
        currency=currency,
        on_budget=on_budget,
        capabilities=capabilities or p.Capabilities(pause="cooperative", cancel="cooperative", gate="native"),
        started_at=started_at,
        name=None if name is None else check_id(name, "name"),
        tags=convert_each(lambda tag: check_id(tag, "a tag"), tags, "tags") or None,
    )
    graph = p.Mutation(
        add_nodes=convert_each(node_spec, nodes, "nodes"), add_edges=convert_each(edge_spec, edges, "edges")
    )
    epoch = run_id or uuid.uuid4().hex
    run = Run(
        dag_id,
        discovery.locator(url, token),
        start=start,
        epoch=epoch,
        graph=graph,
        redact=redact,
        price=price,
        url=url,
        keep=keep,
    )
    server = discovery.normalized(url)
    local_runs.begin(server, dag_id, epoch)
    if run.refused is not None:
        # So soon that some did not follow it yet.
        local_runs.withdraw(server, dag_id, epoch)
    return run


def attach(
    url: str | None,
    dag_id: str,
    *,
    token: discovery.Token | None = None,
    run_id: str | None = None,
    redact: Redact | None = None,
    price: Price = list_price,
) -> Run:
    """Join a run that another process has started, as a worker. Leaving the `with` block does not end the run.

    At the end of the `with` block, the worker waits up to 10 s until its events are delivered. Without a block, call
    `Run.flush` before the process exits.

    Args:
        url: The base URL of the stream server. None means `DAGWIDGET_URL`, or else this machine's server.
        dag_id: The DAG.
        token: The token to present, or a function that returns it. By default `DAGWIDGET_TOKEN`, or else the token of
            this machine's server.
        run_id: The id of the run. By default `DAGWIDGET_RUN_ID`, or else the DAG's only live run. If several are live,
            the server refuses, and names them.
        redact: Called with each output. Returns what may leave the process.
        price: `price(model, usage)` returns the price of tokens, or None. By default it looks it up in the table of
            `genai-prices`.

    Returns:
        The run, to be used in `with`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has an invalid value.

    Example:
        >>> run = dagwidget.start_run("my-dag")
        >>> with dagwidget.attach(None, "my-dag", run_id=run.run_id) as worker:
        ...     with worker.node("train", instance="worker 1") as node:
        ...         node.output(loss=0.1)
    """
    p.check_dag_id(dag_id)
    if run_id is not None:
        p.check_dag_id(run_id, "run_id")
    _check_functions(redact, price)
    return Run(
        dag_id,
        discovery.locator(url, token),
        start=None,
        epoch=run_id or os.environ.get("DAGWIDGET_RUN_ID") or None,
        graph=p.Mutation(),
        redact=redact,
        price=price,
        url=url,
    )


def _check_functions(redact: Redact | None, price: Price) -> None:
    if redact is not None:
        check_callable(redact, "redact")
    check_callable(price, "price")
