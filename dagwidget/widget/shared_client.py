"""The kernel's own stream clients: widgets that watch the same run on the same server share one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from .. import discovery, local_runs
from ..client.client import StreamClient


class Key(NamedTuple):
    """What a client watches: `run` is None for one that follows the DAG."""

    url: str | None
    token: discovery.Token | None
    dag_id: str
    run: str | None


_lock = threading.Lock()
_clients: dict[Key, tuple[StreamClient, int]] = {}


def acquire(key: Key, locate: Callable[[], discovery.Endpoint]) -> StreamClient:
    """The client of `key`, opened in a thread of its own where there is none; `release` it once."""
    with _lock:
        found = _clients.get(key)
        if found is not None and found[0].connection.phase != "stopped":
            _clients[key] = (found[0], found[1] + 1)
            return found[0]
        client = StreamClient(key.dag_id, locate, key.run)
        if key.run is None:
            local_runs.follow(discovery.normalized(key.url), key.dag_id, client)
        client.open()
        _clients[key] = (client, 1)
        return client


def release(key: Key, client: StreamClient) -> None:
    """Give a client back; the last one to do so closes it."""
    with _lock:
        found = _clients.get(key)
        if found is not None and found[0] is client:
            if found[1] > 1:
                _clients[key] = (client, found[1] - 1)
                return
            del _clients[key]
    client.close()
