"""A client that watches the run lists of all DAGs, such as a page that lists what is running."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, assert_never

from msgspec.structs import replace

from ... import protocol as p
from ..auth.grant import Authorize
from ..room import Refused, Room
from ..run_list import RunList
from .base import Session
from .viewer import RUNS_MS

RunLists: TypeAlias = Callable[[], Iterable[tuple[str, RunList]]]
"""The DAGs of the server, each with its run list; raises `Refused` where they can't be read."""

_NO_RUNS: Final = p.Runs(total=0, live=0, waiting=0, runs=[])


class OverviewSession(Session):
    """`hello`, `welcome`, a `runs` message for each DAG that the token permits, `synced`, then what changes."""

    __slots__ = ("_frames", "_greeted", "_known", "_lists", "_looked_at", "_permits")

    def __init__(
        self,
        room: Room,
        authorize: Authorize,
        now: int,
        token: str | None = None,
        *,
        lists: RunLists,
        permits: Callable[[str | None, str], bool],
    ) -> None:
        """A client that has just connected.

        Args:
            room: A room without a run, for its limits.
            authorize: Says what a token permits.
            now: Unix milliseconds.
            token: What came with the handshake.
            lists: The run lists.
            permits: Whether a token permits to watch a DAG.
        """
        super().__init__(room, authorize, now, token)
        self._lists = lists
        self._permits = permits
        self._greeted = False
        self._frames: list[bytes] = []
        # The lists that the client has, each as of a version. A DAG that is gone and comes back has another list.
        self._known: dict[str, tuple[RunList, int]] = {}
        self._looked_at: int | None = None

    @property
    def ready(self) -> bool:
        return self._greeted

    def enter(self, room: Room, now: int) -> None:
        """Never: it asks for no run."""

    def _handle(self, frame: str | bytes, now: int) -> None:
        for message in p.decode_client(frame):
            match message:
                case p.Hello():
                    self._say_hello(message, now)
                case _ if not self._greeted:
                    raise Refused(4400, "the first message must be hello")
                case p.Command():
                    text = "this is the stream of all DAGs: send commands on the stream of the run's DAG"
                    self._say(p.CommandAck(id=message.id, ok=False, code="unknown_run", message=text))
                case p.Unknown():
                    self._command(message, now)
                case p.Ack() | p.Pong():
                    pass
                case _:
                    assert_never(message)

    def _say_hello(self, hello: p.Hello, now: int) -> None:
        self._check_hello(hello, now)
        self._greeted = True
        self._welcome(now, features=["runs"])
        self._known.clear()
        self._frames = [*self._changed(), p.encode(p.Synced(seq=0))]
        self._looked_at = now

    def _next(self, now: int) -> bytes | None:
        if not self._greeted:
            return None
        if not self._frames and self._looked_at is not None and now - self._looked_at >= RUNS_MS:
            self._looked_at = now
            try:
                self._frames = [*self._changed()]
            except Refused as refused:
                self._end(refused.code, refused.reason, after_ms=refused.after_ms)
                return self._control.pop(0)
        return self._frames.pop(0) if self._frames else None

    def _changed(self) -> Iterable[bytes]:
        """A message for each list that the client does not have as it is."""
        there = dict(self._lists())
        for dag_id, runs in there.items():
            known, version = self._known.get(dag_id, (None, 0))
            if known is runs and version == runs.version:
                continue
            if (len(runs) or known is not None) and self._permits(self._token, dag_id):
                self._known[dag_id] = (runs, runs.version)
                yield runs.encoded(version if known is runs else 0, dag_id)
        for dag_id in self._known.keys() - there.keys():
            # Its last run was deleted.
            del self._known[dag_id]
            yield p.encode(replace(_NO_RUNS, dag_id=dag_id))
