"""A person at a screen, for tests of engines: a plain client that waits for what it sees, and answers."""

from __future__ import annotations

import json
import urllib.request
import uuid
from typing import Any
from urllib.parse import quote

from websockets.sync.client import ClientConnection, connect

from .serving import Served

_SECONDS = 20.0


class Person:
    """Watches one DAG. A context manager."""

    def __init__(self, server: Served, dag_id: str) -> None:
        self._url = f"{server.url}/api/dags/{quote(dag_id, safe='')}"
        self._headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
        self._socket: ClientConnection | None = None

    def __enter__(self) -> Person:
        self._socket = connect(f"{self._url}/stream", additional_headers=self._headers, proxy=None, close_timeout=0.5)
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @property
    def socket(self) -> ClientConnection:
        assert self._socket is not None
        return self._socket

    def wait(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next message of that type that has these fields."""
        while True:
            message: dict[str, Any] = json.loads(self.socket.recv(_SECONDS))
            if message["type"] == kind and all(message.get(name) == value for name, value in fields.items()):
                return message

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a command, and give its answer."""
        command = {"type": kind, "id": str(uuid.uuid4()), **fields}
        self.socket.send(json.dumps(command))
        return self.wait("command_ack", id=command["id"])

    def decide(self, node_id: str, decision: str = "approve", **fields: Any) -> dict[str, Any]:
        """Wait for the gate at a node, and answer it."""
        gate = self.wait("human_gate_waiting", node_id=node_id)
        return self.ask("human_decision", node_id=node_id, gate_id=gate["gate_id"], decision=decision, **fields)

    def state(self) -> dict[str, Any]:
        """What the server holds of the DAG now."""
        state: dict[str, Any] = self._get("")["state"]
        return state

    def log(self, run_id: str) -> list[dict[str, Any]]:
        """The first events of a run."""
        events: list[dict[str, Any]] = self._get(f"/runs/{quote(run_id, safe='')}/events")["events"]
        return events

    def _get(self, path: str) -> Any:
        http = self._url.replace("ws", "http", 1) + path
        with urllib.request.urlopen(urllib.request.Request(http, headers=self._headers), timeout=_SECONDS) as answer:
            return json.load(answer)
