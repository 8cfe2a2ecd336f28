"""Encoding and decoding of frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import msgspec
from msgspec import Struct

from ..errors import ProtocolError
from .messages import ClientMessage, PublisherMessage, PublishReply, ServerMessage, Unknown

# What an error message may quote of a peer's message, in characters.
_QUOTED = 200

_encoder = msgspec.json.Encoder()


class _Header(Struct):
    type: str


_header = msgspec.json.Decoder(_Header)

_unknown = msgspec.json.Decoder(Unknown)

_raw_list = msgspec.json.Decoder(list[msgspec.Raw])


class _Direction:
    """The messages that go one way: decoders for them, and their names."""

    def __init__(self, union: Any) -> None:
        self.frame = msgspec.json.Decoder(union | list[union])
        self.message = msgspec.json.Decoder(union)
        self.tags = frozenset(cls.__struct_config__.tag for cls in get_args(union))


_FROM_SERVER = _Direction(ServerMessage)

_FROM_CLIENT = _Direction(ClientMessage)

_FROM_PUBLISHER = _Direction(PublisherMessage)

_TO_PUBLISHER = _Direction(PublishReply)


def encode(message: Struct | Sequence[Struct]) -> bytes:
    """Encode one message, or a batch of them, as one UTF-8 JSON frame."""
    return _encoder.encode(message)


def encode_value(value: Any) -> bytes:
    """Encode any JSON-safe value as UTF-8 JSON."""
    return _encoder.encode(value)


def decode_server(frame: str | bytes) -> list[Any]:
    """Decode what a server sent to a viewer: a list of `ServerMessage`, with `Unknown` for types from the future.

    Raises:
        ProtocolError: the frame is not JSON, or a field of a known message is wrong.
    """
    return _decode(frame, _FROM_SERVER)


def decode_client(frame: str | bytes) -> list[Any]:
    """Decode what a viewer sent: a list of `ClientMessage`, with `Unknown` for types from the future.

    Raises:
        ProtocolError: the frame is not JSON, or a field of a known message is wrong.
    """
    return _decode(frame, _FROM_CLIENT)


def decode_publisher(frame: str | bytes) -> list[Any]:
    """Decode what a publisher sent: a list of `PublisherMessage`, with `Unknown` for types from the future.

    Raises:
        ProtocolError: the frame is not JSON, or a field of a known message is wrong.
    """
    return _decode(frame, _FROM_PUBLISHER)


def decode_reply(frame: str | bytes) -> list[Any]:
    """Decode what a server sent to a publisher: a list of `PublishReply`, with `Unknown` for types from the future.

    Raises:
        ProtocolError: the frame is not JSON, or a field of a known message is wrong.
    """
    return _decode(frame, _TO_PUBLISHER)


def _decode(frame: str | bytes, direction: _Direction) -> list[Any]:
    try:
        decoded = direction.frame.decode(frame)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _decode_one_by_one(frame, direction)
    return decoded if isinstance(decoded, list) else [decoded]


def _decode_one_by_one(frame: str | bytes, direction: _Direction) -> list[Any]:
    """Decode a frame in which something is new or wrong."""
    raw = frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else bytes(frame)
    try:
        parts = _raw_list.decode(raw) if raw.lstrip()[:1] == b"[" else [msgspec.Raw(raw)]
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ProtocolError(f"not a JSON message: {error}. In: {_quote(raw)}") from None
    return [_decode_one(part, direction) for part in parts]


def _decode_one(raw: msgspec.Raw, direction: _Direction) -> Any:
    try:
        return direction.message.decode(raw)
    except msgspec.ValidationError as error:
        problem = _shorten(str(error))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProtocolError(f"not a JSON message: {error}. In: {_quote(raw)}") from None
    try:
        header = _header.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ProtocolError(
            f'a message must be an object with a "type" (a string): {_shorten(str(error))}. In: {_quote(raw)}'
        ) from None
    if header.type not in direction.tags:
        try:
            return _unknown.decode(raw)
        except msgspec.ValidationError as error:
            problem = _shorten(str(error))
    raise ProtocolError(f"{header.type[:_QUOTED]}: {problem}. In: {_quote(raw)}")


def _quote(raw: bytes | msgspec.Raw) -> str:
    text = bytes(raw)[: (_QUOTED + 1) * 4].decode("utf-8", "replace")
    return text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"


def _shorten(problem: str) -> str:
    """What msgspec says, less most of the value that it may quote; it ends with the place."""
    half = _QUOTED // 2
    return problem if len(problem) <= _QUOTED else f"{problem[: half - 1]}…{problem[-half:]}"
