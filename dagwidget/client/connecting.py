"""`connect`: a client of a DAG, for any Python code."""

from __future__ import annotations

from .. import discovery
from .. import protocol as p
from .client import StreamClient


def connect(
    dag_id: str, *, url: str | None = None, token: discovery.Token | None = None, run: str | None = None
) -> StreamClient:
    """Follow a DAG and steer it, without a widget.

    Args:
        dag_id: The DAG.
        url: The base URL of the stream server. By default `DAGWIDGET_URL`, or else this machine's server, which is
            started if need be.
        token: The token to present, or a function that returns it: called for each connection, and when the token is
            about to expire. By default `DAGWIDGET_TOKEN`, or else the token of this machine's server.
        run: The id of a past run. By default the DAG's current run.

    Returns:
        A client, to be used in `async with` or in `with`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has an invalid value.

    Example:
        >>> with dagwidget.start_run("my-dag", ["extract", "train"]) as run:
        ...     run.complete({"loss": 0.1})
        >>> async with dagwidget.connect("my-dag") as client:
        ...     async for event in client.events():
        ...         if client.state.status == "completed":
        ...             break
        >>> client.state.results
        {'loss': 0.1}
    """
    p.check_dag_id(dag_id)
    if run is not None:
        p.check_dag_id(run, "run")
    return StreamClient(dag_id, discovery.locator(url, token), run)
