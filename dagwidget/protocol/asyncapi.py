"""`asyncapi()`: protocol 1 as an AsyncAPI 3.0 document, from the server's side: it receives what clients send."""

from __future__ import annotations

import inspect
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

import msgspec

from . import messages as p
from .close_codes import CLOSE_CODES
from .schema import components

_SCHEMAS: Final = "#/components/schemas/{name}"
_WEBSOCKET_BINDING: Final = "0.1.0"

Channel: TypeAlias = Literal["stream", "publish", "overview"]


class _Operation(NamedTuple):
    """The messages of one purpose on a channel, and their replies."""

    name: str
    action: Literal["send", "receive"]
    channel: Channel
    messages: tuple[type[Any], ...]
    summary: str
    replies: tuple[type[Any], ...] = ()


_EVENTS: Final = get_args(p.AnyEvent)
_COMMANDS: Final = get_args(p.AnyCommand)
_PUBLISHED: Final = tuple(message for message in get_args(p.PublisherMessage) if issubclass(message, p.Event))

_OPERATIONS: Final = (
    _Operation("hello", "receive", "stream", (p.Hello,), "A viewer authenticates, and names its cursor.", (p.Welcome,)),
    _Operation("catchUp", "send", "stream", (p.Sync, p.Synced), "Catching up starts, and has ended."),
    _Operation(
        "presence", "send", "stream", (p.Engine, p.Runs), "Whether the engine is there, and the runs of the DAG."
    ),
    _Operation("event", "send", "stream", _EVENTS, "What happens in the run."),
    _Operation("acknowledge", "receive", "stream", (p.Ack,), "The viewer's cursor."),
    _Operation("command", "receive", "stream", _COMMANDS, "What a person asks for.", (p.CommandAck,)),
    _Operation("heartbeat", "send", "stream", (p.Ping,), "A heartbeat after silence.", (p.Pong,)),
    _Operation("end", "send", "stream", (p.Bye,), "Why the connection will close."),
    _Operation("attach", "receive", "publish", (p.Attach,), "A publisher joins or starts a run.", (p.Attached,)),
    _Operation("publish", "receive", "publish", _PUBLISHED, "The events of an engine.", (p.Ack,)),
    _Operation(
        "steer", "send", "publish", (p.HumanGateResolved, p.ExecutionState), "Decisions, and what people asked for."
    ),
    _Operation("publisherHeartbeat", "send", "publish", (p.Ping,), "A heartbeat after silence.", (p.Pong,)),
    _Operation("publisherEnd", "send", "publish", (p.Bye,), "Why the connection will close."),
    _Operation("overviewHello", "receive", "overview", (p.Hello,), "A client authenticates.", (p.Welcome,)),
    _Operation("overview", "send", "overview", (p.Runs, p.Synced), "The runs of every DAG, then what changes."),
    _Operation("overviewHeartbeat", "send", "overview", (p.Ping,), "A heartbeat after silence.", (p.Pong,)),
    _Operation("overviewEnd", "send", "overview", (p.Bye,), "Why the connection will close."),
)

_DESCRIPTIONS: Final[dict[Channel, str]] = {
    "stream": "For viewers. `/api/dags/{dag_id}/runs/{run}/stream` is the same for a stored run. "
    f"A client that does not offer the subprotocol `{p.SUBPROTOCOL}` gets the seven basic events, one per frame.",
    "overview": "For clients that list the runs of all DAGs. It takes no commands.",
    "publish": "For engines. Here `seq` is the publisher's own number; the room replaces it by its own.",
}


def asyncapi() -> dict[str, Any]:
    """The protocol as an AsyncAPI 3.0 document: its channels, their messages, and which side sends them when."""
    messages = dict.fromkeys(message for operation in _OPERATIONS for message in _messages_of(operation))
    schemas = components(messages, _SCHEMAS)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "dagwidget",
            "version": str(p.PROTOCOL),
            "description": "A running DAG that people watch and steer. The full reference is `docs/protocol.md`. "
            "A frame holds one message or an array of them.",
            "license": {"name": "BSD-3-Clause"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:8899",
                "protocol": "ws",
                "description": "`dagwidget serve`. Behind a proxy the path may have any prefix.",
                "security": [{"$ref": "#/components/securitySchemes/bearer"}],
            }
        },
        "channels": {channel: _channel(channel) for channel in get_args(Channel)},
        "operations": {operation.name: _operation(operation) for operation in _OPERATIONS},
        "components": {
            "messages": {message.__name__: _message(message) for message in messages},
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Or as `token` in the first message, if the client can't set headers.",
                }
            },
        },
        "x-subprotocol": p.SUBPROTOCOL,
        "x-closeCodes": msgspec.to_builtins(CLOSE_CODES),
    }


def _messages_of(operation: _Operation) -> tuple[type[Any], ...]:
    return (*operation.messages, *operation.replies)


def _channel(channel: Channel) -> dict[str, Any]:
    messages = dict.fromkeys(
        message for operation in _OPERATIONS if operation.channel == channel for message in _messages_of(operation)
    )
    address: dict[str, Any] = {"address": "/api/stream"}
    if channel != "overview":
        address = {
            "address": f"/api/dags/{{dag_id}}/{channel}",
            "parameters": {"dag_id": {"description": "The DAG, percent-encoded: 1 to 200 printable characters."}},
        }
    return {
        **address,
        "description": _DESCRIPTIONS[channel],
        "messages": {message.__name__: {"$ref": f"#/components/messages/{message.__name__}"} for message in messages},
        "bindings": {"ws": {"method": "GET", "bindingVersion": _WEBSOCKET_BINDING}},
    }


def _operation(operation: _Operation) -> dict[str, Any]:
    channel = {"$ref": f"#/channels/{operation.channel}"}

    def references(messages: tuple[type[Any], ...]) -> list[dict[str, str]]:
        return [{"$ref": f"{channel['$ref']}/messages/{message.__name__}"} for message in messages]

    described: dict[str, Any] = {
        "action": operation.action,
        "channel": channel,
        "summary": operation.summary,
        "messages": references(operation.messages),
    }
    if operation.replies:
        described["reply"] = {"channel": channel, "messages": references(operation.replies)}
    return described


def _message(message: type[Any]) -> dict[str, Any]:
    summary, _, rest = (inspect.getdoc(message) or "").partition("\n\n")
    described: dict[str, Any] = {
        "name": message.__struct_config__.tag,
        "title": message.__name__,
        "summary": summary,
        "payload": {"$ref": _SCHEMAS.format(name=message.__name__)},
    }
    if rest:
        described["description"] = rest
    return described
