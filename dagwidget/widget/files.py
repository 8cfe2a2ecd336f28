"""`Files`: what a widget shows, as files: pictures, which a page draws, and the state as JSON."""

from __future__ import annotations

from typing import Final

from .. import protocol as p
from ..client.client import StreamClient
from .kernel_bridge import KernelBridge

# How long a picture may take: a page that shows the graph draws it at once, but it may have to connect first.
_PICTURE_SECONDS: Final = 30.0


class Files:
    """The files of a widget."""

    _bridge: KernelBridge
    _client: StreamClient

    async def to_svg(self, *, timeout: float | None = _PICTURE_SECONDS) -> str:
        """Draw the whole graph as an SVG file, by a page that shows it.

        Args:
            timeout: The longest wait in seconds; None for no limit.

        Raises:
            NoFrontEnd: no page has drawn it in time.
            DagwidgetError: the page could not, and says why.

        Example:
            >>> svg = await w.to_svg()
        """
        return (await self._bridge.pictures.ask("svg", timeout)).decode()

    async def to_png(self, *, timeout: float | None = _PICTURE_SECONDS) -> bytes:
        """Draw the whole graph as a PNG file at twice its size, or at less where that would be too large.

        Args:
            timeout: The longest wait in seconds; None for no limit.

        Raises:
            NoFrontEnd: no page has drawn it in time.
            DagwidgetError: the page could not, and says why.

        Example:
            >>> png = await w.to_png()
        """
        return await self._bridge.pictures.ask("png", timeout)

    def to_json(self) -> str:
        """The whole state as JSON, as the server has it. Needs no page.

        Example:
            >>> import json
            >>> json.loads(w.to_json())["status"]
            'running'
        """
        with self._client.lock:
            return p.encode_value(self._client.state.to_dict()).decode()
