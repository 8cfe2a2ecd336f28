"""Takes of a malformed message what is understood. The same tolerance as that of `js/src/protocol/fits.ts`."""

from __future__ import annotations

from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Struct

from .messages import ESSENTIAL, Event, Unknown


class Understood(NamedTuple):
    """What a value is understood as, and how many parts of it were not understood and left out."""

    value: Any
    unfit: int


class Unfit(Exception):
    """Nothing of a value can be used."""


def understand(message: dict[str, Any], types: dict[str, type[Struct]]) -> Understood:
    """A message as one of `types`, without the parts that do not fit.

    One that can't do without such a part, or is of no known type, is `Unknown`, and counts as one part.

    Args:
        message: The message as JSON values. Its `type` is a string.
        types: The known messages, by `type`.
    """
    name: str = message["type"]
    kind = types.get(name)
    if kind is not None:
        try:
            return _take_struct(message, kind)
        except Unfit:
            name = f"malformed {name}"
    stamp = {key: message.get(key) for key in ("seq", "ts", "id")}
    unknown, unfit = _take_struct({**stamp, "type": name}, Unknown)
    return Understood(unknown, unfit + 1)


def _take(value: Any, kind: Any) -> Understood:
    try:
        return Understood(msgspec.convert(value, kind), 0)
    except (msgspec.ValidationError, RecursionError):
        pass
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for alternative in arguments:
            try:
                return _take(value, alternative)
            except Unfit:
                continue
    elif origin is list and isinstance(value, list):
        return _take_all(value, arguments[0])
    elif origin is dict and isinstance(value, dict):
        # `null` means absent.
        names = [name for name, each in value.items() if each is not None]
        fitting = [(name, _take_or_none(value[name], arguments[1])) for name in names]
        taken = {name: each.value for name, each in fitting if each is not None}
        return Understood(taken, sum(1 if each is None else each.unfit for _, each in fitting))
    elif isinstance(kind, type) and issubclass(kind, Struct) and isinstance(value, dict):
        return _take_struct(value, kind)
    raise Unfit


def _take_all(values: list[Any], kind: Any) -> Understood:
    fitting = [_take_or_none(each, kind) for each in values]
    taken = [each.value for each in fitting if each is not None]
    return Understood(taken, sum(1 if each is None else each.unfit for each in fitting))


def _take_or_none(value: Any, kind: Any) -> Understood | None:
    try:
        return _take(value, kind)
    except Unfit:
        return None


def _take_struct(value: dict[str, Any], kind: type[Struct]) -> Understood:
    fields: dict[str, Any] = {}
    unfit = 0
    for field in msgspec.structs.fields(kind):
        given = value.get(field.encode_name)
        taken = None if given is None else _take_or_none(given, field.type)
        if taken is not None:
            fields[field.name] = taken.value
            unfit += taken.unfit
            continue
        if given is not None:
            if issubclass(kind, Event) and field.name in ESSENTIAL:
                raise Unfit
            unfit += 1
        if field.default is NODEFAULT and field.default_factory is NODEFAULT:
            # Where it may be `null`, it may be absent.
            fields[field.name] = _take(None, field.type).value
    return Understood(kind(**fields), unfit)
