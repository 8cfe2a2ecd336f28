"""The server's HTTP API: stored runs, their state at any event, their logs, and whole outputs."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from .. import challenge, discovery
from .. import protocol as p
from ..errors import ServerRefused, ServerUnreachable, UnknownOutput, UnknownRun
from ..protocol.http_types import RunInfo
from ..state import DagState, Node

_SECONDS: Final = 30.0
_MISSING: Final = object()
# How many runs before a given one are searched for a completed one, and how many events each may have.
_EARLIER: Final = 3
_EARLIER_EVENTS: Final = 100_000


def runs(dag_id: str, *, url: str | None = None, token: discovery.Token | None = None) -> list[RunInfo]:
    """The runs of a DAG that the server has stored.

    Args:
        dag_id: The DAG.
        url: The base URL of the stream server. By default `DAGWIDGET_URL`, or else this machine's server.
        token: The token to present. By default `DAGWIDGET_TOKEN`, or else the token of this machine's server.

    Returns:
        The runs, the newest first. Each has a `run_id` (for `DAGStreamWidget(dag_id, run=…)` and `run_state`),
        `started_at` in Unix milliseconds, and the number and size of its `events`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has an invalid value.
        ServerUnreachable: The server does not answer.
        ServerRefused: The server refuses, such as for a wrong token.

    Example:
        >>> [each.run_id == run.run_id for each in dagwidget.runs("my-dag")]
        [True]
    """
    p.check_dag_id(dag_id)
    return msgspec.convert(_get(discovery.locator(url, token), dag_id, "/runs") or [], list[RunInfo])


def run_state(
    dag_id: str, run_id: str, *, seq: int | None = None, url: str | None = None, token: discovery.Token | None = None
) -> DagState:
    """The state of a stored run, now or as of one of its events.

    Args:
        dag_id: The DAG.
        run_id: The run, as in `runs(dag_id)`.
        seq: The last event to include. By default all of them.
        url: As for `runs`.
        token: As for `runs`.

    Returns:
        The state.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has an invalid value.
        UnknownRun: The server does not have this run.
        ServerUnreachable: The server does not answer.
        ServerRefused: The server refuses, such as for a wrong token.

    Example:
        >>> run.complete({"loss": 0.1})
        >>> run.flush(timeout=10)
        True
        >>> dagwidget.run_state("my-dag", run.run_id).results
        {'loss': 0.1}
        >>> dagwidget.run_state("my-dag", run.run_id, seq=1).status
        'running'
    """
    p.check_dag_id(dag_id)
    p.check_dag_id(run_id, "run_id")
    if seq is not None and not (isinstance(seq, int) and seq >= 0):
        raise ValueError(f"seq must be the number of an event, 0 or more, got {seq!r}")
    path = f"/runs/{quote(run_id, safe='')}" + ("" if seq is None else f"?seq={seq}")
    answer = _get(discovery.locator(url, token), dag_id, path)
    if answer is None:
        known = ", ".join(repr(run.run_id) for run in runs(dag_id, url=url, token=token)) or "none"
        raise UnknownRun(
            f"the server has no run {run_id!r} of {dag_id!r}; it has: {known}", dag_id=dag_id, run_id=run_id
        )
    return msgspec.convert(answer["state"], DagState)


def output(
    dag_id: str,
    node_id: str,
    *,
    instance: str | None = None,
    run_id: str | None = None,
    url: str | None = None,
    token: discovery.Token | None = None,
) -> Any:
    """The whole output of a node whose state holds only a preview.

    Args:
        dag_id: The DAG.
        node_id: The node.
        instance: The instance, for a node that runs several times at once.
        run_id: The run, as in `runs(dag_id)`. By default the current one.
        url: As for `runs`.
        token: As for `runs`.

    Returns:
        The output, as decoded from JSON; never a preview of it.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has an invalid value.
        UnknownOutput: There is no such node, or its whole output was not kept: it has more than 16 MiB or 100,000
            values, its engine had too much to send, or the server no longer has it.
        ServerUnreachable: The server does not answer.
        ServerRefused: The server refuses, such as for a wrong token.

    Example:
        >>> with run.node("extract") as node:
        ...     node.output([*range(5_000)])
        >>> run.flush(timeout=10)
        True
        >>> len(dagwidget.output("my-dag", "extract"))
        5000
    """
    p.check_dag_id(dag_id)
    if not isinstance(node_id, str):
        raise TypeError(f"node_id must be a string, got {type(node_id).__name__}: {node_id!r}")
    return output_at(discovery.locator(url, token), dag_id, node_id, instance=instance, run_id=run_id)


def output_at(
    locate: Callable[[], discovery.Endpoint],
    dag_id: str,
    node_id: str,
    *,
    instance: str | None = None,
    run_id: str | None = None,
) -> Any:
    """`output`, from the server that `locate` finds."""
    run = "" if run_id is None else f"/runs/{quote(run_id, safe='')}"
    which = "" if instance is None else f"?{urlencode({'instance': instance})}"
    path = f"{run}/nodes/{quote(node_id, safe='')}/output{which}"
    why = ""
    try:
        answer = _get(locate, dag_id, path, missing=_MISSING)
    except ServerRefused as refused:
        if refused.code != http.HTTPStatus.GONE:
            raise
        answer, why = _MISSING, f": {str(refused).partition(' refuses: ')[2]}"
    if answer is _MISSING:
        raise UnknownOutput(
            f"the server has no whole output of {node_id!r} of {dag_id!r}{why}",
            dag_id=dag_id,
            node_id=node_id,
            instance=instance,
            run_id=run_id,
        )
    return answer


class Durations(Struct):
    """How long a completed run and its nodes took, in milliseconds."""

    ms: int
    nodes: dict[str, int]


def earlier_durations(locate: Callable[[], discovery.Endpoint], dag_id: str, run_id: str) -> Durations | None:
    """How long the last completed run before `run_id` took; None if none of the last few completed.

    Raises:
        NotConnected: The server does not answer, or refuses.
    """
    stored = msgspec.convert(_get(locate, dag_id, "/runs") or [], list[RunInfo])
    at = next((i for i, run in enumerate(stored) if run.run_id == run_id), len(stored))
    for run in stored[at + 1 : at + 1 + _EARLIER]:
        # The server reads a whole run to answer.
        if run.events > _EARLIER_EVENTS:
            continue
        answer = _get(locate, dag_id, f"/runs/{quote(run.run_id, safe='')}")
        state = None if answer is None else msgspec.convert(answer["state"], DagState)
        if state is None or state.status != "completed" or state.started_at is None or state.ended_at is None:
            continue
        durations = {node.id: _duration(node) for node in state.nodes.values()}
        return Durations(
            state.ended_at - state.started_at, {name: ms for name, ms in durations.items() if ms is not None}
        )
    return None


def _duration(node: Node) -> int | None:
    if node.started_at is not None and node.ended_at is not None:
        return node.ended_at - node.started_at
    spans = [(each.started_at, each.ended_at) for each in (node.instances or {}).values()]
    starts, ends = [start for start, _ in spans if start is not None], [end for _, end in spans if end is not None]
    return max(ends) - min(starts) if starts and ends else None


def log_page(locate: Callable[[], discovery.Endpoint], dag_id: str, run_id: str, after: int) -> bytes:
    """One page of a run's log, as the server's JSON: the events after number `after`, as many as a page holds.

    Raises:
        UnknownRun: The server does not have this run.
        NotConnected: The server does not answer, or refuses.
    """
    answer = _fetch(locate(), dag_id, f"/runs/{quote(run_id, safe='')}/events?after={after}")
    if answer is None:
        raise UnknownRun(f"the server has no run {run_id!r} of {dag_id!r}", dag_id=dag_id, run_id=run_id)
    return answer


def _get(locate: Callable[[], discovery.Endpoint], dag_id: str, path: str, missing: Any = None) -> Any:
    """The server's answer, decoded; `missing` if it has none."""
    endpoint = locate()
    answer = _fetch(endpoint, dag_id, path)
    try:
        return missing if answer is None else msgspec.json.decode(answer)
    except ValueError as error:
        raise ServerUnreachable(
            f"{endpoint.url} is no dagwidget server: its answer is not JSON ({error})", url=endpoint.url
        ) from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only on the same server: the token is for that one."""

    def redirect_request(self, req: urllib.request.Request, *args: Any) -> urllib.request.Request | None:
        target: str = args[-1]
        # Imported here: it needs `websockets`, and most requests are not redirected.
        from ..handshake import is_same_server, redirected

        if not is_same_server(req.full_url, target):
            raise OSError(redirected(req.full_url, target))
        return super().redirect_request(req, *args)


def _fetch(endpoint: discovery.Endpoint, dag_id: str, path: str) -> bytes | None:
    """The server's answer; None for a 404."""
    address = endpoint.url.replace("ws", "http", 1).rstrip("/")
    headers = {} if endpoint.token is None else {"Authorization": f"Bearer {endpoint.token}"}
    request = urllib.request.Request(f"{address}/api/dags/{quote(dag_id, safe='')}{path}", headers=headers)  # noqa: S310
    # No proxy for a loopback address.
    proxies: dict[str, str] | None = {} if challenge.is_here(urlsplit(address).hostname) else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _Redirects)
    try:
        discovery.proven(endpoint)
        with opener.open(request, timeout=_SECONDS) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(200).decode("utf-8", "replace").strip()
        if error.code == http.HTTPStatus.NOT_FOUND:
            return None
        raise ServerRefused(f"{address} refuses: {text or error.reason}", code=error.code) from None
    except ServerRefused as refused:
        raise ServerRefused(str(refused), code=http.HTTPStatus.UNAUTHORIZED) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ServerUnreachable(f"{address} does not answer: {error}", url=endpoint.url) from None
