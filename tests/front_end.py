"""A front end without a browser: it speaks to a widget as js/src/widget/kernel.ts does, over a Python stream client."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import Any

import msgspec

import dagwidget
from dagwidget import protocol as p
from dagwidget.client.state_machine import Batch

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
PNG = b"\x89PNG\r\n\x1a\n"


class PlayedFrontEnd:
    """Connects a widget to the server that the environment names. A context manager; inside it the widget is live."""

    def __init__(self, widget: dagwidget.DAGStreamWidget) -> None:
        self._widget = widget
        self._client = dagwidget.connect(widget.dag_id)
        self._relays: set[asyncio.Task[None]] = set()
        self._live = threading.Event()

    def __enter__(self) -> PlayedFrontEnd:
        self._stack = contextlib.ExitStack()
        client = self._stack.enter_context(self._client)
        self._widget.send = self._receive
        client.on_batch(self._forward)
        self._say(type="connection", connection={"phase": "live", "attempt": 1})
        with client.lock:
            self._send_state()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _say(self, *buffers: bytes, **message: Any) -> None:
        self._widget._handle_custom_msg(message, [memoryview(each) for each in buffers])

    def _send_state(self) -> None:
        self._say(type="state", source="played", state=self._client.state.to_dict())

    def _forward(self, batch: Batch) -> None:
        if batch.reset:
            self._send_state()
        else:
            events = msgspec.to_builtins(batch.events)
            self._say(type="events", source="played", epoch=batch.epoch, after=batch.after, events=events)

    def _receive(self, message: dict[str, Any], buffers: Sequence[bytes] = ()) -> None:
        match message["type"]:
            case "command":
                [command] = p.decode_client(msgspec.json.encode(message["command"]))
                self._client._call(lambda: self._relay(command))
            case "state?":
                self._client._call(self._send_state)
            case "picture?":
                drawn = SVG if message["format"] == "svg" else PNG
                # As from a page: after the question, from elsewhere.
                self._client._call(lambda: self._say(drawn, type="picture", id=message["id"]))

    def _relay(self, command: p.AnyCommand) -> None:
        async def relay() -> None:
            sent = await self._client._send(command)
            ack = p.CommandAck(
                id=sent.id, ok=sent.state == "accepted", code=sent.code, message=sent.message, winner=sent.winner
            )
            self._say(type="ack", ack=msgspec.to_builtins(ack))

        task = asyncio.get_running_loop().create_task(relay())
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)
