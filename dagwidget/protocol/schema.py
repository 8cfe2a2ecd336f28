"""The JSON Schema of protocol 1."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from .close_codes import CLOSE_CODES
from .messages import (
    PROTOCOL,
    SUBPROTOCOL,
    AnyCommand,
    AnyEvent,
    Attach,
    Attached,
    ClientMessage,
    CostDelta,
    NodeOutput,
    ServerMessage,
)


def schema() -> dict[str, Any]:
    """The JSON Schema of protocol 1.

    Returns:
        A schema of version 2020-12, with every message and every union of messages under `$defs`.

    Example:
        >>> from dagwidget import protocol
        >>> protocol.schema()["$defs"]["Ack"]["required"]
        ['type', 'seq']
    """
    unions: dict[str, Any] = {
        "Event": AnyEvent,
        "Command": AnyCommand,
        "ServerMessage": ServerMessage,
        "ClientMessage": ClientMessage,
    }
    messages = dict.fromkeys(cls for union in unions.values() for cls in get_args(union))
    publishing = (Attach, Attached, CostDelta, NodeOutput)
    _, definitions = msgspec.json.schema_components([*messages, *publishing], ref_template="#/$defs/{name}")
    for name, union in unions.items():
        definitions[name] = {"anyOf": [{"$ref": f"#/$defs/{cls.__name__}"} for cls in get_args(union)]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:dagwidget:protocol:1",
        "title": "Protocol",
        "x-protocol": PROTOCOL,
        "x-subprotocol": SUBPROTOCOL,
        "x-closeCodes": msgspec.to_builtins(CLOSE_CODES),
        "$defs": definitions,
    }
