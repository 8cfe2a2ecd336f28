"""Where a request goes: the paths that the server knows."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, TypeAlias, cast
from urllib.parse import unquote

What: TypeAlias = Literal["dags", "dag", "runs", "run", "events", "output", "stream", "publish", "overview"]

# One pattern for all, so that the DAG that a token is checked for is the one that is served.
# Behind a proxy, the path may begin with anything.
_PATH: Final = re.compile(
    r"(?:/.*?|)/api/dags"
    r"(?:/(?P<dag_id>[^/]+)(?:/runs/(?P<run_id>[^/]+))?(?:/(?P<what>stream|publish|runs|events|nodes/(?P<node_id>[^/]+)/output))?)?"
)


_OVERVIEW: Final = re.compile(r"(?:/.*?|)/api/stream")


class Route(NamedTuple):
    """What a path asks for."""

    what: What
    dag_id: str = ""
    run_id: str | None = None
    node_id: str = ""

    @property
    def is_socket(self) -> bool:
        return self.what in ("stream", "publish", "overview")


def route(path: str) -> Route | None:
    """What a path asks for, if anything.

    Raises:
        ValueError: what is quoted in it is not UTF-8.
    """
    if _OVERVIEW.fullmatch(path):
        return Route("overview")
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    dag_id, run_id, what, node_id = (
        None if part is None else unquote(part, errors="strict")
        for part in found.group("dag_id", "run_id", "what", "node_id")
    )
    if dag_id is None:
        return Route("dags")
    if (what in ("publish", "runs") and run_id is not None) or (what == "events" and run_id is None):
        return None
    if node_id is not None:
        return Route("output", dag_id, run_id, node_id)
    return Route(cast(What, what or ("dag" if run_id is None else "run")), dag_id, run_id)
