"""`start_run` and `attach`: begin a run, or join one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from typing import get_args

from .. import discovery, local_runs
from .. import protocol as p
from .arguments import EdgeLike, NodeLike, check_id, convert_each, edge_spec, node_spec
from .clock import now_ms
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
    """Start a run of the DAG `dag_id`, and publish it to its room. Never waits for the server.

    Args:
        dag_id: The DAG; whoever watches it sees this run from now on.
        nodes: The graph as far as it is known; more can come with `run.mutate`.
        edges: Between nodes; one that is not among `nodes` is added.
        budget: How much may be spent, in units of `currency`.
        on_budget: What happens once it is spent: `warn` says so, `pause` pauses the run, `gate` pauses it and asks
            whether to go on. The engine stops where it calls `run.checkpoint`. By default it is only shown.
        currency: Three letters, `USD` when absent.
        url: Base URL of the stream server. By default `DAGWIDGET_URL`, or this machine's server, which is started if
            need be.
        token: What the server asks for, or a function that gives it, called for each connection; found together with a
            default `url`.
        run_id: Names the run (its epoch). To go on with a run after a crash, give its name again.
        capabilities: What the engine can honour; by default pause and cancel where it calls `run.checkpoint`.
        redact: Takes each output, and gives what may be shown of it.
        price: `price(model, usage)` in units of `currency`; by default from the table of `genai-prices`.
        name: What people call the run.
        tags: Words to find it by.
        keep: Let the run go on when the notebook cell that began it is run again; by default that cancels it.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
    """
    started_at = now_ms()
    p.check_dag_id(dag_id)
    if budget is not None and not (isinstance(budget, (int, float)) and budget >= 0):
        raise ValueError(f"budget must be a number, 0 or more: {budget!r}")
    if on_budget is not None and on_budget not in get_args(p.OnBudget):
        raise ValueError(f"on_budget is {', '.join(map(repr, get_args(p.OnBudget)))}; not {on_budget!r}")
    if on_budget is not None and budget is None:
        raise ValueError(f"on_budget={on_budget!r} needs a budget")
    start = p.RunStart(
        budget=None if budget is None else float(budget),
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
    if run_id is not None:
        p.check_dag_id(run_id, "run_id")
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
    local_runs.begin(url, dag_id, epoch)
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
    """Join a run that another process has started; for workers. Leaving the `with` block does not end the run.

    A worker that is about to exit calls `run.flush()`, or leaves the `with` block, which does.

    Args:
        url: Base URL of the stream server, or None for `DAGWIDGET_URL` or this machine's.
        dag_id: The DAG.
        token: What the server asks for; by default `DAGWIDGET_TOKEN`, or the one of this machine's server.
        run_id: The run to join; by default the one that `DAGWIDGET_RUN_ID` names, else the DAG's only live run. Where
            several are live, the server refuses, and names them.
        redact: As for `start_run`.
        price: As for `start_run`.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
    """
    p.check_dag_id(dag_id)
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
