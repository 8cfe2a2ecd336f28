"""Checks and conversions of what users pass to a `Run`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from .. import protocol as p
from .clock import now_ms
from .serialize import exact, preview

NodeLike: TypeAlias = "str | Mapping[str, Any] | p.NodeSpec"
"""A node: its id, or `id` with `label`, `kind`, `group` or `description`."""

EdgeLike: TypeAlias = "tuple[str, str] | Mapping[str, Any] | p.EdgeSpec"
"""An edge: `(from, to)`, or `from` and `to` with `label` or `conditional`."""

# What one event carries of a graph; a room takes no event larger than 256 KiB.
_CHUNK: Final = 500

# What a gate may show, as JSON, in bytes: it can't be cut, since an answer starts from it.
_GATE_BYTES: Final = 200 * 1024

# Of a log or a mutation, in bytes of one event.
_EVENT: Final = 128 * 1024

T = TypeVar("T")


def check_id(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, not {type(value).__name__}: {value!r}")
    if not 1 <= len(value) <= 512:
        raise ValueError(f"{what} must have 1 to 512 characters, not {len(value)}: {value[:50]!r}")
    return value


def check_number(value: Any, what: str, least: float = -math.inf, most: float = math.inf) -> float:
    """A number as the wire takes it; numpy's numbers are numbers too."""
    try:
        number = math.nan if isinstance(value, (str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and least <= number <= most):
        raise ValueError(f"{what}, not {value!r:.200}")
    return number


def check_count(value: Any, what: str) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        count = -1
    if count < 0:
        raise ValueError(f"{what} counts from 0, in whole numbers; not {value!r:.200}")
    return count


def convert_each(convert: Callable[[Any], T], items: Iterable[Any], what: str) -> list[T]:
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise TypeError(f"{what} must be a list, not {type(items).__name__}: {items!r:.200}")
    return [*map(convert, items)]


def node_spec(node: NodeLike) -> p.NodeSpec:
    if isinstance(node, str):
        return p.NodeSpec(id=check_id(node, "a node's id"))
    return _convert(node, p.NodeSpec, "a node is an id, or a mapping with id and label, kind, group or description")


def edge_spec(edge: EdgeLike) -> p.EdgeSpec:
    if isinstance(edge, (tuple, list)) and len(edge) == 2:
        return p.EdgeSpec(from_=check_id(edge[0], "an edge's source"), to=check_id(edge[1], "an edge's target"))
    return _convert(edge, p.EdgeSpec, "an edge is (from, to), or a mapping with from, to and label or conditional")


def _convert(value: Any, kind: type[T], expected: str) -> T:
    try:
        return msgspec.convert(msgspec.to_builtins(value) if isinstance(value, kind) else value, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{expected}; not {value!r} ({error})") from None


def presentation_of(fields: dict[str, Any]) -> p.Presentation:
    given = {name: value for name, value in fields.items() if value is not None}
    if given.get("on_timeout") == "default" and "default" not in given:
        raise ValueError('on_timeout="default" needs default=…')
    try:
        given = exact(given)
    except (TypeError, ValueError) as error:
        raise TypeError(f"what a gate shows must be JSON: {error}") from None
    return _convert(given, p.Presentation, "a gate can't be asked like this")


def check_gate_size(presentation: p.Presentation) -> None:
    size = len(p.encode(presentation))
    if size > _GATE_BYTES:
        raise ValueError(f"what a gate shows has {size:,} bytes as JSON, and may have {_GATE_BYTES:,}: show less of it")


def deadline_after(timeout: float) -> int:
    if timeout <= 0:
        raise ValueError(f"timeout must be more than 0 seconds: {timeout!r}")
    return now_ms() + round(timeout * 1000)


def numeric_metrics(values: Mapping[str, Any]) -> dict[str, int | float | str]:
    """Measurements as the wire takes them; numpy's numbers are numbers too."""
    metrics = {}
    for name, value in values.items():
        shown = preview(value)
        if isinstance(shown, (int, float, str)):
            metrics[str(name)] = int(shown) if isinstance(shown, bool) else shown
    return metrics


def split_mutation(mutation: p.Mutation) -> Iterator[p.Mutation]:
    """A mutation as events of a size that a room takes, in the same order."""
    for name in mutation.__struct_fields__:
        for chunk in chunked(getattr(mutation, name) or [], _CHUNK):
            yield p.Mutation(**{name: chunk})


def chunked(items: Sequence[T], most: int) -> Iterator[list[T]]:
    """Items in their order, as many at once as fit into an event, and at most `most`."""
    chunk: list[T] = []
    left = _EVENT
    for item in items:
        # Escaped, a character may have six bytes.
        size = len(item) * 6 if isinstance(item, str) else len(repr(item)) * 2
        if chunk and (len(chunk) == most or size > left):
            yield chunk
            chunk, left = [], _EVENT
        chunk.append(item)
        left -= size
    if chunk:
        yield chunk


def check_time(value: Any, what: str) -> int:
    """A time as the wire takes it: Unix milliseconds, or a `datetime` with a time zone."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{what} needs a time zone: {value!r}")
        return round(value.timestamp() * 1000)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} must be Unix milliseconds or a datetime, not {type(value).__name__}: {value!r:.200}")
    return value
