"""The runs that this process has begun: widgets and clients of the same process follow them at once."""

from __future__ import annotations

import threading
import weakref
from typing import Protocol


class Follower(Protocol):
    """A client that follows a DAG."""

    def begin(self, run_id: str) -> None:
        """Follow a run that this process is about to publish."""

    def forget(self, run_id: str) -> None:
        """Do not wait for that run: it will not begin."""


_lock = threading.Lock()
_latest: dict[tuple[str | None, str], str] = {}
_followers: dict[tuple[str | None, str], weakref.WeakSet[Follower]] = {}


def begin(url: str | None, dag_id: str, run_id: str) -> None:
    """This process begins a run, at the server `url` (None for the default one): let its followers follow it."""
    with _lock:
        _latest[url, dag_id] = run_id
        followers = list(_followers.get((url, dag_id), ()))
    for follower in followers:
        follower.begin(run_id)


def withdraw(url: str | None, dag_id: str, run_id: str) -> None:
    """The server has refused a run that this process began: nobody is to wait for it."""
    with _lock:
        if _latest.get((url, dag_id)) == run_id:
            del _latest[url, dag_id]
        followers = list(_followers.get((url, dag_id), ()))
    for follower in followers:
        follower.forget(run_id)


def follow(url: str | None, dag_id: str, follower: Follower) -> None:
    """Let a client follow what this process begins from now on, and the last run that it has begun."""
    with _lock:
        _followers.setdefault((url, dag_id), weakref.WeakSet()).add(follower)
        latest = _latest.get((url, dag_id))
    if latest is not None:
        follower.begin(latest)
