"""The JSON Schema of protocol 1."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, get_args

import msgspec

from .close_codes import CLOSE_CODES
from .messages import (
    ESSENTIAL,
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
    definitions = components([*messages, *publishing], "#/$defs/{name}")
    for name, union in unions.items():
        definitions[name] = {"anyOf": [{"$ref": f"#/$defs/{cls.__name__}"} for cls in get_args(union)]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:dagwidget:protocol:1",
        "title": "Protocol",
        "x-protocol": PROTOCOL,
        "x-subprotocol": SUBPROTOCOL,
        "x-closeCodes": msgspec.to_builtins(CLOSE_CODES),
        "x-essential": list(ESSENTIAL),
        "$defs": definitions,
    }


def components(types: Iterable[type[Any]], ref_template: str) -> dict[str, Any]:
    """The JSON Schemas of `types`, and of the types that they refer to, by name: the same with any msgspec and Python.

    A description is the type's docstring. How far that is indented depends on Python (3.13 removes the indentation) and
    on msgspec (0.23 removes it too). Before msgspec 0.22, `null` is the first alternative and not the last.
    """
    _, schemas = msgspec.json.schema_components(types, ref_template=ref_template)
    for each in schemas.values():
        if "description" in each:
            each["description"] = inspect.cleandoc(each["description"])
        _put_null_last(each)
    return schemas


def _put_null_last(schema: Any) -> None:
    if isinstance(schema, dict):
        if "anyOf" in schema:
            schema["anyOf"].sort(key=lambda alternative: alternative == {"type": "null"})
        for part in schema.values():
            _put_null_last(part)
    elif isinstance(schema, list):
        for part in schema:
            _put_null_last(part)
