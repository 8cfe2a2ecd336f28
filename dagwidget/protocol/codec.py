"""Encodes and decodes frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar, get_args

import msgspec
from msgspec import Struct

from ..errors import ProtocolError
from .messages import AnyEvent, ClientMessage, PublisherMessage, PublishReply, ServerMessage, Unknown
from .tolerance import Understood, understand

# How much of a message an error quotes, in characters.
_QUOTED: Final = 200

M = TypeVar("M")

_encoder: Final = msgspec.json.Encoder()


class _Header(Struct):
    type: str


_header: Final = msgspec.json.Decoder(_Header)
_unknown: Final = msgspec.json.Decoder(Unknown)
_raw_list: Final = msgspec.json.Decoder(list[msgspec.Raw])


class _Direction(Generic[M]):
    """The messages that one side sends to another, and their decoder."""

    def __init__(self, union: Any) -> None:
        # Its lists hold no `Unknown`, but callers of `decode` must expect one.
        self._frame: Final[msgspec.json.Decoder[M | list[M | Unknown]]] = msgspec.json.Decoder(union | list[union])
        self._message: Final[msgspec.json.Decoder[M]] = msgspec.json.Decoder(union)
        self._by_type: Final = {cls.__struct_config__.tag: cls for cls in get_args(union)}

    def decode(self, frame: str | bytes) -> list[M | Unknown]:
        try:
            decoded = self._frame.decode(frame)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return self._decode_one_by_one(frame)
        return decoded if isinstance(decoded, list) else [decoded]

    def _decode_one_by_one(self, frame: str | bytes) -> list[M | Unknown]:
        """Decode a frame that holds an unknown type or an error."""
        return [self._decode_one(part) for part in _parts(frame)]

    def take(self, frame: str | bytes) -> tuple[list[M | Unknown], int]:
        """Decode a frame as far as it is understood. Returns also how many parts of it were not."""
        try:
            decoded = self._frame.decode(frame)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            understood = [self._take_one(part) for part in _parts(frame)]
            return [each.value for each in understood], sum(each.unfit for each in understood)
        return (decoded if isinstance(decoded, list) else [decoded]), 0

    def _take_one(self, raw: msgspec.Raw) -> Understood:
        try:
            return Understood(self._message.decode(raw), 0)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            _type_of(raw)
        return understand(msgspec.json.decode(raw), self._by_type)

    def _decode_one(self, raw: msgspec.Raw) -> M | Unknown:
        try:
            return self._message.decode(raw)
        except msgspec.ValidationError as error:
            problem = _shorten(str(error))
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ProtocolError(f"not a JSON message: {error}. In: {_quote(raw)}") from None
        name = _type_of(raw)
        if name not in self._by_type:
            try:
                return _unknown.decode(raw)
            except msgspec.ValidationError as error:
                problem = _shorten(str(error))
        raise ProtocolError(f"{name[:_QUOTED]}: {problem}. In: {_quote(raw)}")


def _parts(frame: str | bytes) -> list[msgspec.Raw]:
    """The messages of a frame."""
    raw = frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else bytes(frame)
    try:
        return _raw_list.decode(raw) if raw.lstrip()[:1] == b"[" else [msgspec.Raw(raw)]
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ProtocolError(f"not a JSON message: {error}. In: {_quote(raw)}") from None


def _type_of(raw: msgspec.Raw) -> str:
    try:
        return _header.decode(raw).type
    except msgspec.ValidationError as error:
        raise ProtocolError(
            f'a message must be an object with a "type" (a string): {_shorten(str(error))}. In: {_quote(raw)}'
        ) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProtocolError(f"not a JSON message: {error}. In: {_quote(raw)}") from None


_EVENTS: Final = _Direction[AnyEvent](AnyEvent)
_FROM_SERVER: Final = _Direction[ServerMessage](ServerMessage)
_FROM_CLIENT: Final = _Direction[ClientMessage](ClientMessage)
_FROM_PUBLISHER: Final = _Direction[PublisherMessage](PublisherMessage)
_TO_PUBLISHER: Final = _Direction[PublishReply](PublishReply)


def encode(message: Struct | Sequence[Struct]) -> bytes:
    """Encode one message, or a batch of them, as a frame.

    Args:
        message: The message or the batch.

    Returns:
        The frame: UTF-8 JSON.

    Example:
        >>> from dagwidget import protocol
        >>> protocol.encode(protocol.NodeState(node_id="train", status="running"))
        b'{"type":"node_state","node_id":"train","status":"running"}'
    """
    return _encoder.encode(message)


def encode_value(value: Any) -> bytes:
    """Encode a value as UTF-8 JSON.

    Args:
        value: A value that JSON can hold.

    Returns:
        The JSON.

    Example:
        >>> from dagwidget import protocol
        >>> protocol.encode_value({"loss": 0.1})
        b'{"loss":0.1}'
    """
    return _encoder.encode(value)


def decode_events(frame: str | bytes) -> list[AnyEvent | Unknown]:
    """Decode the events of a stored log.

    Args:
        frame: One event, or an array of them.

    Returns:
        The events; an `Unknown` for each whose type this version does not know.

    Raises:
        ProtocolError: The text is not JSON, or a field of a known event is wrong.

    Example:
        >>> from dagwidget import protocol
        >>> [event] = protocol.decode_events('{"type":"error","message":"disk full","seq":7}')
        >>> event.message, event.seq
        ('disk full', 7)
    """
    return _EVENTS.decode(frame)


def decode_server(frame: str | bytes) -> list[ServerMessage | Unknown]:
    """Decode a frame from a server to a viewer.

    Args:
        frame: The frame: one message, or an array of them.

    Returns:
        The messages; an `Unknown` for each whose type this version does not know.

    Raises:
        ProtocolError: The frame is not JSON, or a field of a known message is wrong.

    Example:
        >>> from dagwidget import protocol
        >>> [event] = protocol.decode_server('{"type":"node_state","node_id":"train","status":"running","seq":7}')
        >>> event.node_id, event.seq
        ('train', 7)
    """
    return _FROM_SERVER.decode(frame)


def take_server(frame: str | bytes) -> tuple[list[ServerMessage | Unknown], int]:
    """Decode a frame from a server to a viewer as far as it is understood. A plain server may be anybody's.

    Args:
        frame: The frame: one message, or an array of them.

    Returns:
        The messages, and how many parts of them were not understood, and left out. A message that can't do without
        such a part is an `Unknown` of the type "malformed …".

    Raises:
        ProtocolError: The frame is not JSON, or holds something other than messages.

    Example:
        >>> from dagwidget import protocol
        >>> [event], unfit = protocol.take_server('{"type":"cost_update","spent":0.5,"tokens":"many"}')
        >>> event.spent, event.tokens, unfit
        (0.5, None, 1)
    """
    return _FROM_SERVER.take(frame)


def decode_client(frame: str | bytes) -> list[ClientMessage | Unknown]:
    """Decode a frame from a viewer to a server.

    Args:
        frame: The frame: one message, or an array of them.

    Returns:
        The messages; an `Unknown` for each whose type this version does not know.

    Raises:
        ProtocolError: The frame is not JSON, or a field of a known message is wrong.

    Example:
        >>> from dagwidget import protocol
        >>> protocol.decode_client('{"type":"pong","seq":7}')
        [Pong(seq=7)]
    """
    return _FROM_CLIENT.decode(frame)


def decode_publisher(frame: str | bytes) -> list[PublisherMessage | Unknown]:
    """Decode a frame from a publisher to a server.

    Args:
        frame: The frame: one message, or an array of them.

    Returns:
        The messages; an `Unknown` for each whose type this version does not know.

    Raises:
        ProtocolError: The frame is not JSON, or a field of a known message is wrong.

    Example:
        >>> from dagwidget import protocol
        >>> protocol.decode_publisher('{"type":"node_state","node_id":7}')
        Traceback (most recent call last):
        dagwidget.errors.ProtocolError: node_state: Expected `str`, got `int` - at `$.node_id`. In: ...
    """
    return _FROM_PUBLISHER.decode(frame)


def decode_reply(frame: str | bytes) -> list[PublishReply | Unknown]:
    """Decode a frame from a server to a publisher.

    Args:
        frame: The frame: one message, or an array of them.

    Returns:
        The messages; an `Unknown` for each whose type this version does not know.

    Raises:
        ProtocolError: The frame is not JSON, or a field of a known message is wrong.

    Example:
        >>> from dagwidget import protocol
        >>> protocol.decode_reply('[{"type":"ping","head":7},{"type":"ack","seq":7}]')
        [Ping(head=7), Ack(seq=7, durable=None)]
    """
    return _TO_PUBLISHER.decode(frame)


def _quote(raw: bytes | msgspec.Raw) -> str:
    text = bytes(raw)[: (_QUOTED + 1) * 4].decode("utf-8", "replace")
    return text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"


def _shorten(problem: str) -> str:
    """Shorten msgspec's message in the middle, where it may quote a long value; it ends with the field's path."""
    half = _QUOTED // 2
    return problem if len(problem) <= _QUOTED else f"{problem[: half - 1]}…{problem[-half:]}"
