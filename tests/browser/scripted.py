"""A stream server that shows each viewer the same moment of a run, and refuses every command: nothing changes."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from websockets.sync.server import ServerConnection, serve

from dagwidget import protocol as p


@contextlib.contextmanager
def scripted(events: list[dict[str, Any]], *, epoch: str = "run-1") -> Iterator[str]:
    """Serve a run that has come to `events`; yields the base URL."""
    numbered = [{**event, "seq": i} for i, event in enumerate(events, 1)]
    head = len(numbered)

    def handle(connection: ServerConnection) -> None:
        for frame in connection:
            message = json.loads(frame)
            if "id" in message:
                connection.send(
                    p.encode(p.CommandAck(id=message["id"], ok=False, message="this run is a script")), text=True
                )
            if message["type"] != "hello":
                continue
            welcome = p.Welcome(
                protocol=p.PROTOCOL,
                dag_id="dag",
                epoch=epoch,
                head=head,
                role="operate",
                heartbeat_ms=15_000,
                window=1 << 20,
                limits={},
            )
            for opening in (welcome, p.Sync(epoch=epoch, seq=head, reset=True)):
                connection.send(p.encode(opening), text=True)
            connection.send(json.dumps([*numbered, {"type": "synced", "seq": head}]))

    with serve(handle, "127.0.0.1", 0, subprotocols=[p.SUBPROTOCOL]) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def busy_run() -> list[dict[str, Any]]:
    """A run in which every part of the widget has something to show: nodes in each status, two gates, costs, errors."""
    now = round(time.time() * 1000)
    rows = [{"region": region, "orders": 40 + i} for i, region in enumerate(["north", "south", "east", "west"] * 20)]
    report = {"model": "gbm-7", "folds": [1, 2, 3], "summary": "Trained on 80 rows. " * 12}
    losses = ((i, 1 / i, 1.2 / i, 0.1 / i) for i in range(1, 60))
    log = [f"epoch {i}: loss {a:.3f}, validation loss {b:.3f}, learning rate {c:.6f}" for i, a, b, c in losses]
    metrics = {"duration_ms": 4210, "cost": 0.0123, "tokens_in": 1842, "tokens_out": 311, "model": "gpt-5-mini"}
    parts = [f"part-{i}" for i in range(20)]
    traceback = 'Traceback (most recent call last):\n  File "a.py", line 8, in load\n    raise'
    error = f"ValueError: row 17 has 9 columns\n{traceback}"
    states: list[dict[str, Any]] = [
        {"node_id": "load", "status": "completed", "output": rows, "metrics": metrics, "output_bytes": 5_200_000},
        {"node_id": "train", "status": "completed", "output": report, "metrics": metrics},
        {"node_id": "check", "status": "failed", "error": error, "metrics": metrics},
        {"node_id": "tools", "status": "skipped"},
        *({"node_id": "map", "instance": str(i), "status": "completed" if i % 4 else "running"} for i in range(12)),
        *({"node_id": part, "status": "running"} for part in parts[:6]),
    ]
    edges = [
        ("load", "train"),
        ("load", "check"),
        ("train", "map"),
        ("train", "review"),
        ("review", "ship"),
        ("tools", "ship"),
    ]
    edges += [("train", part) for part in parts] + [(part, "ship") for part in parts]
    nodes: list[dict[str, Any]] = [
        {"id": "load", "group": "data"},
        {"id": "check", "group": "data", "description": "Counts rows."},
    ]
    nodes += [{"id": name} for name in ("train", "map", "tools", "review", "ship", *parts)]
    schema = {
        "type": "object",
        "required": ["replicas"],
        "properties": {
            "replicas": {"type": "integer"},
            "canary": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
    }
    ship = {
        "title": "Ship it?",
        "body": "The **model** is trained.\n\n- 80 rows\n- `gbm-7`",
        "data": {"replicas": 2},
        "schema": schema,
    }
    where = {
        "title": "Where?",
        "options": ["staging", "production"],
        "deadline": now + 3_600_000,
        "allowed": ["approve", "reject"],
    }
    decided = {
        "node_id": "train",
        "gate_id": "train:1",
        "decision": "approve",
        "by": "ann",
        "at": now - 30_000,
        "source": "widget",
    }
    events = [
        {
            "type": "execution_state",
            "status": "running",
            "capabilities": {"pause": "cooperative", "cancel": "native", "gate": "native"},
        },
        {
            "type": "dag_mutated",
            "mutation": {"add_nodes": nodes, "add_edges": [{"from": a, "to": b} for a, b in edges]},
        },
        *({"type": "node_state", **state} for state in states),
        {"type": "node_log", "node_id": "train", "lines": log},
        {
            "type": "cost_update",
            "spent": 0.41,
            "budget": 0.5,
            "remaining": 0.09,
            "tokens": 91_402,
            "by_node": {"load": 0.0123},
        },
        {"type": "human_gate_resolved", **decided},
        {"type": "human_gate_waiting", "node_id": "review", "gate_id": "review:1", "presentation": ship},
        {"type": "human_gate_waiting", "node_id": "ship", "gate_id": "ship:1", "presentation": where},
        {"type": "error", "message": "ValueError: row 17 has 9 columns", "node_id": "check", "code": "ValueError"},
    ]
    return [{"ts": now - 60_000 + 100 * i, **event} for i, event in enumerate(events)]
