"""What is taken out of the widget: pictures that a page draws, and the small one that is saved with the notebook."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias

from ..client.cross_loop import Waiters
from ..errors import DagwidgetError, NoFrontEnd
from ..state import DagState

PictureFormat: TypeAlias = Literal["svg", "png"]


# The largest graph that is saved with the notebook, in nodes.
_SNAPSHOT_NODES: Final = 500
_SNAPSHOT_NODE_FIELDS: Final = ("id", "label", "kind", "group", "status", "counts", "started_at", "ended_at")


class _Asked:
    """One picture that was asked for; `drawn` or `fault` is set once there is an answer."""

    def __init__(self, format: PictureFormat) -> None:
        self.format: PictureFormat = format
        self.drawn: bytes | None = None
        self.fault: str | None = None

    @property
    def answered(self) -> bool:
        return self.drawn is not None or self.fault is not None


class Pictures:
    """Asks the front end for pictures. Answers may come in any thread, and from any of the pages that are open."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._asked: dict[str, _Asked] = {}
        self._waiters = Waiters()

    async def ask(self, format: PictureFormat, timeout: float | None) -> bytes:
        """Wait until the graph is drawn.

        Raises:
            NoFrontEnd: no front end has drawn it in `timeout` seconds.
            DagwidgetError: the front end could not.
        """
        name, asked = str(uuid.uuid4()), _Asked(format)
        with self._lock:
            self._asked[name] = asked
        try:
            self._post(name, asked)
            await self._waiters.wait(lambda: asked.answered, timeout, "the picture")
        except TimeoutError:
            raise NoFrontEnd(
                f"no front end has drawn the graph in {timeout} s: show the widget, with a run that has nodes, in a "
                "cell of a notebook that is open in a browser",
                timeout=timeout,
            ) from None
        finally:
            with self._lock:
                del self._asked[name]
        if asked.drawn is None:
            raise DagwidgetError(f"the front end could not draw the graph: {asked.fault}")
        return asked.drawn

    def repeat(self) -> None:
        """Ask again for what nobody has drawn: there is another front end."""
        with self._lock:
            waiting = [(name, asked) for name, asked in self._asked.items() if not asked.answered]
        for name, asked in waiting:
            self._post(name, asked)

    def answer(self, message: dict[str, Any], buffers: Sequence[Any] | None) -> None:
        """Take what a front end has drawn, or why it could not; of several pages, the first counts."""
        with self._lock:
            asked = self._asked.get(message["id"])
            if asked is None or asked.answered:
                return
            if buffers:
                asked.drawn = bytes(buffers[0])
            else:
                asked.fault = str(message.get("fault") or "it sent nothing")
        self._waiters.wake()

    def _post(self, name: str, asked: _Asked) -> None:
        self._send({"type": "picture?", "id": name, "format": asked.format})


def snapshot(state: DagState) -> dict[str, Any]:
    """What is saved with the notebook, and drawn when nothing live is there; empty for a large graph."""
    if len(state.nodes) > _SNAPSHOT_NODES:
        return {}
    whole = state.to_dict()
    nodes = whole["nodes"].values()
    small = {node["id"]: {name: node[name] for name in _SNAPSHOT_NODE_FIELDS if name in node} for node in nodes}
    return {**whole, "nodes": small, "gates": {}, "errors": whole["errors"][-1:]}
