"""Malformed messages, and what a client understands of them. Both clients run `tests/vectors/tolerance.json`.

`python -m tests.tolerance` writes it: each field of each message that a server sends, missing and with wrong values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from dagwidget import protocol as p
from dagwidget.state import reduce

VECTORS = Path(__file__).parent / "vectors" / "tolerance.json"

_APPROVAL = {"by": "ana", "at": 1, "feedback": "ok"}
_NODE = {"id": "a", "label": "A", "group": "g"}
_EDGE = {"from": "a", "to": "b", "label": "data"}
# One of each, with every field that a reducer reads.
WHOLE: list[dict[str, Any]] = [
    {
        "type": "node_state",
        "node_id": "a",
        "status": "completed",
        "output": 1,
        "metrics": {"cost": 0.5, "model": "m"},
        "error": "none",
        "progress": 0.5,
        "attempt": 2,
        "instance": "i",
        "native": "done",
        "reason": "r",
        "message": "m",
        "started_at": 1,
        "ended_at": 2,
        "inferred": False,
        "output_bytes": 7,
        "seq": 1,
        "ts": 3,
    },
    {"type": "edge_active", "from": "a", "to": "b", "active": False},
    {
        "type": "dag_mutated",
        "mutation": {
            "add_nodes": [_NODE, {"id": "b"}],
            "update_nodes": [{"id": "b", "label": "B"}],
            "remove_nodes": ["c"],
            "add_edges": [_EDGE],
            "remove_edges": [{"from": "b", "to": "a"}],
        },
    },
    {
        "type": "cost_update",
        "spent": 0.5,
        "budget": 2,
        "remaining": 1.5,
        "currency": "EUR",
        "tokens": 5,
        "by_node": {"a": 0.5},
        "unpriced": 1,
        "on_budget": "pause",
    },
    {"type": "execution_complete", "results": {"x": 1}, "status": "failed", "reason": "r", "inferred": False},
    {
        "type": "human_gate_waiting",
        "node_id": "a",
        "gate_id": "g",
        "instance": "i",
        "approvals": [_APPROVAL],
        "presentation": {
            "title": "T",
            "body": "B",
            "data": 1,
            "schema": {},
            "options": [1],
            "allowed": ["approve"],
            "deadline": 5,
            "on_timeout": "fail",
            "default": 1,
            "assignees": ["ana"],
            "required": 2,
        },
    },
    {"type": "error", "message": "m", "node_id": "a", "code": "c", "detail": {"x": 1}},
    {
        "type": "human_gate_resolved",
        "node_id": "a",
        "gate_id": "g",
        "decision": "approve",
        "by": "ana",
        "at": 1,
        "source": "widget",
        "feedback": "f",
        "value": 1,
        "approvals": [_APPROVAL],
    },
    {"type": "execution_state", "status": "paused", "capabilities": {"pause": "native"}, "inferred": True},
    {"type": "node_log", "node_id": "a", "lines": ["one", "two"]},
    {
        "type": "welcome",
        "protocol": 1,
        "dag_id": "d",
        "epoch": "e",
        "head": 1,
        "role": "view",
        "heartbeat_ms": 1,
        "window": 1,
        "limits": {"frame_bytes": 1},
        "now": 1,
        "expires_at": 2,
        "server": "1",
        "log": "l",
        "features": ["x"],
    },
    {"type": "sync", "epoch": "e", "seq": 1, "reset": True},
    {"type": "synced", "seq": 1},
    {"type": "ping", "head": 1},
    {"type": "command_ack", "id": "c", "ok": True, "code": "x", "message": "m"},
    {"type": "engine", "state": "gone", "since": 1},
    {
        "type": "runs",
        "total": 1,
        "live": 1,
        "waiting": 0,
        "removed": ["r"],
        "runs": [{"run_id": "r", "status": "running", "started_at": 1, "tags": ["t"], "gates": 1}],
    },
    {"type": "bye", "code": 4000, "reason": "r", "retry": True, "after_ms": 1},
    {"type": "weather", "seq": 1, "ts": 2},
]

_ABSENT = object()
_WRONG = [_ABSENT, None, "word", -1, 1.5, 2**53, True, ["word", 1, None], {"x": {}, "y": None, "z": 1}]


def cases() -> Iterator[dict[str, Any]]:
    """The messages: whole, and each with one thing that is wrong, at the top or inside."""
    for message in WHOLE:
        yield message
        for path in _paths(message):
            for wrong in _WRONG:
                yield _with(message, path, wrong)


def _paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    names = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for name in names:
        if (*at, name) != ("type",):
            yield (*at, name)
            yield from _paths(value[name], (*at, name))


def _with(message: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    name, *rest = path
    copy = message.copy()
    if rest:
        copy[name] = _with(copy[name], tuple(rest), wrong)
    elif wrong is _ABSENT:
        del copy[name]
    else:
        copy[name] = wrong
    return copy


def understood(message: Any) -> dict[str, Any]:
    """What is made of a message: its type, how many parts were left out, and the state that an event leads to."""
    [taken], unfit = p.take_server(json.dumps(message))
    kind = taken.type if isinstance(taken, p.Unknown) else taken.__struct_config__.tag
    state = reduce([taken]).to_dict() if isinstance(taken, (*get_args(p.AnyEvent), p.Unknown)) else None
    return {"message": message, "type": kind, "unfit": unfit, "state": state}


def main() -> None:
    """Write the vectors."""
    seen: dict[str, str] = {}
    for case in cases():
        seen.setdefault(json.dumps(case), json.dumps(understood(case), separators=(",", ":")))
    VECTORS.write_text("[\n" + ",\n".join(seen.values()) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
