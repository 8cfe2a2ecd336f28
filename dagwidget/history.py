"""Past runs: which a server has kept, and what they had come to at any moment."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from . import local
from . import protocol as p
from .errors import NotConnected, UnknownRun
from .log.journal import RunInfo
from .state import DagState

_SECONDS = 30.0


def runs(dag_id: str, *, url: str | None = None, token: local.Token | None = None) -> list[RunInfo]:
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
    return msgspec.convert(_get(dag_id, "/runs", url, token) or [], list[RunInfo])


def run_state(
    dag_id: str, run_id: str, *, seq: int | None = None, url: str | None = None, token: local.Token | None = None
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
    if seq is not None and seq < 0:
        raise ValueError(f"seq is the number of an event, 0 or more: {seq!r}")
    path = f"/runs/{quote(run_id, safe='')}" + ("" if seq is None else f"?seq={seq}")
    answer = _get(dag_id, path, url, token)
    if answer is None:
        known = ", ".join(repr(run.run_id) for run in runs(dag_id, url=url, token=token)) or "none"
        raise UnknownRun(f"no run {run_id!r} of {dag_id!r} is kept; there are: {known}")
    return msgspec.convert(answer["state"], DagState)


def _get(dag_id: str, path: str, url: str | None, token: local.Token | None) -> Any:
    """What the server says; None where it knows of nothing."""
    endpoint = local.locator(url, token)()
    address = endpoint.url.replace("ws", "http", 1).rstrip("/")
    headers = {} if endpoint.token is None else {"Authorization": f"Bearer {endpoint.token}"}
    request = urllib.request.Request(f"{address}/api/dags/{quote(dag_id, safe='')}{path}", headers=headers)  # noqa: S310
    # This machine is on no other side of any proxy.
    proxies: dict[str, str] | None = {} if urlsplit(address).hostname in local.LOOPBACK else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            return msgspec.json.decode(answer.read())
    except urllib.error.HTTPError as error:
        said = error.read(200).decode("utf-8", "replace").strip()
        if error.code == http.HTTPStatus.NOT_FOUND:
            return None
        raise NotConnected(f"{address} refuses: {said or error.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NotConnected(f"{address} does not answer: {error}") from None
