"""What a server has kept: past runs, what they had come to at any moment, and whole outputs."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from .. import discovery
from .. import protocol as p
from ..errors import NotConnected, UnknownOutput, UnknownRun
from ..protocol.http_types import RunInfo
from ..state import DagState, Node

_SECONDS = 30.0
_MISSING = object()
# How many runs before one are looked at for one that has completed, and how large each may be.
_EARLIER = 3
_EARLIER_EVENTS = 100_000


def runs(dag_id: str, *, url: str | None = None, token: discovery.Token | None = None) -> list[RunInfo]:
    """The runs of a DAG that are kept, the newest first.

    Each has a `run_id`, for `DAGStreamWidget(dag_id, run=…)` and `run_state`, `started_at` (Unix milliseconds), and how
    many `events` and `bytes` of it are kept.

    Args:
        dag_id: The DAG.
        url: Base URL of the stream server; by default `DAGWIDGET_URL`, or this machine's.
        token: What the server asks for; by default `DAGWIDGET_TOKEN`, or the one of this machine's server.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
        NotConnected: the server does not answer, or refuses.
    """
    p.check_dag_id(dag_id)
    return msgspec.convert(_get(discovery.locator(url, token), dag_id, "/runs") or [], list[RunInfo])


def run_state(
    dag_id: str, run_id: str, *, seq: int | None = None, url: str | None = None, token: discovery.Token | None = None
) -> DagState:
    """What a run that is kept came to, or had come to at its event `seq`.

    Args:
        dag_id: The DAG.
        run_id: The run, as in `runs(dag_id)`.
        seq: Up to and with which event; all of them when absent.
        url: As for `runs`.
        token: As for `runs`.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
        UnknownRun: the server has not kept this run.
        NotConnected: the server does not answer, or refuses.
    """
    p.check_dag_id(dag_id)
    p.check_dag_id(run_id, "run_id")
    if seq is not None and not (isinstance(seq, int) and seq >= 0):
        raise ValueError(f"seq is the number of an event, 0 or more: {seq!r}")
    path = f"/runs/{quote(run_id, safe='')}" + ("" if seq is None else f"?seq={seq}")
    answer = _get(discovery.locator(url, token), dag_id, path)
    if answer is None:
        known = ", ".join(repr(run.run_id) for run in runs(dag_id, url=url, token=token)) or "none"
        raise UnknownRun(f"no run {run_id!r} of {dag_id!r} is kept; there are: {known}")
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
    """The whole output of a node, where what is shown is only a preview of it.

    Args:
        dag_id: The DAG.
        node_id: The node.
        instance: Which of many, where the node runs several times at once.
        run_id: The run, as in `runs(dag_id)`; the current one when absent.
        url: As for `runs`.
        token: As for `runs`.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
        UnknownOutput: the server has not kept it: there is no such node, or the output was too large, more than 16 MiB.
        NotConnected: the server does not answer, or refuses.
    """
    p.check_dag_id(dag_id)
    if not isinstance(node_id, str):
        raise TypeError(f"node_id must be a string, not {type(node_id).__name__}: {node_id!r}")
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
    answer = _get(locate, dag_id, path, missing=_MISSING)
    if answer is _MISSING:
        raise UnknownOutput(f"no whole output of {node_id!r} of {dag_id!r} is kept")
    return answer


class Durations(Struct):
    """How long a run took that has completed, and its nodes, in milliseconds."""

    ms: int
    nodes: dict[str, int]


def earlier_durations(locate: Callable[[], discovery.Endpoint], dag_id: str, run_id: str) -> Durations | None:
    """Those of the last run before `run_id` that has completed; None where none of the last few is kept.

    Raises:
        NotConnected: the server does not answer, or refuses.
    """
    kept = msgspec.convert(_get(locate, dag_id, "/runs") or [], list[RunInfo])
    at = next((i for i, run in enumerate(kept) if run.run_id == run_id), len(kept))
    for run in kept[at + 1 : at + 1 + _EARLIER]:
        # The server would have to read all of it.
        if run.events > _EARLIER_EVENTS:
            continue
        answer = _get(locate, dag_id, f"/runs/{quote(run.run_id, safe='')}")
        state = None if answer is None else msgspec.convert(answer["state"], DagState)
        if state is None or state.status != "completed" or state.started_at is None or state.ended_at is None:
            continue
        took = {node.id: _took(node) for node in state.nodes.values()}
        return Durations(state.ended_at - state.started_at, {name: ms for name, ms in took.items() if ms is not None})
    return None


def _took(node: Node) -> int | None:
    if node.started_at is not None and node.ended_at is not None:
        return node.ended_at - node.started_at
    spans = [(each.started_at, each.ended_at) for each in (node.instances or {}).values()]
    starts, ends = [start for start, _ in spans if start is not None], [end for _, end in spans if end is not None]
    return max(ends) - min(starts) if starts and ends else None


def log_page(locate: Callable[[], discovery.Endpoint], dag_id: str, run_id: str, after: int) -> bytes:
    """The events of a run that follow `after`, as many as the server gives at once: the JSON that it answers with.

    Raises:
        UnknownRun: the server has not kept this run.
        NotConnected: the server does not answer, or refuses.
    """
    answer = _ask(locate, dag_id, f"/runs/{quote(run_id, safe='')}/events?after={after}")
    if answer is None:
        raise UnknownRun(f"the run {run_id!r} of {dag_id!r} is not kept by the server")
    return answer


def _get(locate: Callable[[], discovery.Endpoint], dag_id: str, path: str, missing: Any = None) -> Any:
    """What the server says; `missing` where it knows of nothing."""
    answer = _ask(locate, dag_id, path)
    try:
        return missing if answer is None else msgspec.json.decode(answer)
    except ValueError as error:
        raise NotConnected(f"the server answers with what is not JSON: {error}") from None


def _ask(locate: Callable[[], discovery.Endpoint], dag_id: str, path: str) -> bytes | None:
    """What the server answers; None where it knows of nothing."""
    endpoint = locate()
    address = endpoint.url.replace("ws", "http", 1).rstrip("/")
    headers = {} if endpoint.token is None else {"Authorization": f"Bearer {endpoint.token}"}
    request = urllib.request.Request(f"{address}/api/dags/{quote(dag_id, safe='')}{path}", headers=headers)  # noqa: S310
    # This machine is on no other side of any proxy.
    proxies: dict[str, str] | None = {} if urlsplit(address).hostname in discovery.LOOPBACK else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(200).decode("utf-8", "replace").strip()
        if error.code == http.HTTPStatus.NOT_FOUND:
            return None
        raise NotConnected(f"{address} refuses: {said or error.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NotConnected(f"{address} does not answer: {error}") from None
