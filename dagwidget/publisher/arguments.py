"""Checks and converts the arguments that users pass to a run."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from .. import protocol as p
from ..clock import now_ms
from ..protocol.bounds import LARGEST
from ..protocol.json_schema import validation_error
from .serialize import exact, preview

NodeLike: TypeAlias = "str | Mapping[str, Any] | p.NodeSpec"
"""A node: its id, or `id` with `label`, `kind`, `group` or `description`."""

EdgeLike: TypeAlias = "tuple[str, str] | Mapping[str, Any] | p.EdgeSpec"
"""An edge: `(from, to)`, or `from` and `to` with `label` or `conditional`."""

# The most nodes or edges in one event.
_CHUNK: Final = 500

# The largest presentation of a gate, as JSON, in bytes. It is never truncated, because an answer starts from it.
_GATE_BYTES: Final = 200 * 1024

# The target size of an event with log lines or a mutation, in bytes.
_EVENT: Final = 128 * 1024

# The longest time until a deadline, in seconds: a hundred years.
_LONGEST: Final = 100 * 366 * 86_400

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


def check_id(value: Any, name: str) -> str:
    """Return `value` if it is an id: a string of 1 to 512 characters."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {type(value).__name__}: {value!r:.200}")
    if not 1 <= len(value) <= 512:
        raise ValueError(f"{name} must have 1 to 512 characters, got {len(value)}: {value[:50]!r}")
    return value


def check_text(value: Any, name: str) -> str:
    """Return `value` if it is a string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {type(value).__name__}: {value!r:.200}")
    return value


def check_bool(value: Any, name: str) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r:.200}")
    return value


def check_callable(value: T, name: str) -> T:
    """Return `value` if it can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {type(value).__name__}: {value!r:.200}")
    return value


def check_currency(value: Any) -> str:
    """Return `value` if it has the form of an ISO 4217 code."""
    text = check_text(value, "currency")
    if not re.fullmatch(r"[A-Za-z]{3}", text):
        raise ValueError(f"currency must be three letters, such as 'EUR', got {text[:50]!r}")
    return text.upper()


def check_choice(value: Any, name: str, choices: Sequence[str]) -> None:
    """Check that `value` is one of the choices."""
    if value not in choices:
        *others, last = map(repr, choices)
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, got {value!r:.200}")


def check_number(value: Any, name: str, least: float = -math.inf, most: float = math.inf) -> float:
    """Return `value` as a float if it is a finite number within the bounds; numbers of numpy are accepted."""
    try:
        number = math.nan if isinstance(value, (str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and least <= number <= most):
        bounds = f" from {least:g} to {most:g}" if math.isfinite(most) else ", 0 or more" if least == 0 else ""
        raise ValueError(f"{name} must be a number{bounds}, got {value!r:.200}")
    return number


def check_count(value: Any, name: str) -> int:
    """Return `value` as an int if it is a whole number, 0 or more; numbers of numpy are accepted."""
    try:
        count = operator.index(value)
    except TypeError:
        count = -1
    if not 0 <= count <= LARGEST:
        bounds = "less than 2**53" if count > 0 else "0 or more"
        raise ValueError(f"{name} must be a whole number, {bounds}, got {value!r:.200}")
    return count


def convert_each(convert: Callable[[Any], T], items: Iterable[Any], name: str) -> list[T]:
    """Convert each item of a list."""
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise TypeError(f"{name} must be a list, got {type(items).__name__}: {items!r:.200}")
    return [*map(convert, items)]


def node_spec(node: NodeLike) -> p.NodeSpec:
    """Convert a node."""
    if isinstance(node, str):
        return p.NodeSpec(id=check_id(node, "a node's id"))
    return _convert(
        node, p.NodeSpec, "a node must be an id, or a mapping with id and label, kind, group or description"
    )


def edge_spec(edge: EdgeLike) -> p.EdgeSpec:
    """Convert an edge."""
    if isinstance(edge, (tuple, list)) and len(edge) == 2:
        return p.EdgeSpec(from_=check_id(edge[0], "an edge's source"), to=check_id(edge[1], "an edge's target"))
    expected = "an edge must be a pair (from, to), or a mapping with from, to and label or conditional"
    return _convert(edge, p.EdgeSpec, expected)


def _convert(value: Any, kind: type[S], expected: str) -> S:
    fields = {field.encode_name for field in msgspec.structs.fields(kind)}
    unknown = [key for key in value if key not in fields] if isinstance(value, Mapping) else []
    if unknown:
        raise ValueError(f"{expected}, got {unknown[0]!r:.50} in {value!r:.200}")
    try:
        return msgspec.convert(msgspec.to_builtins(value) if isinstance(value, kind) else value, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{expected}, got {value!r:.200} ({error})") from None


def presentation_of(fields: dict[str, Any]) -> p.Presentation:
    """Convert the arguments of a gate; those that are None are left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    if given.get("on_timeout") == "default" and "default" not in given:
        raise ValueError("on_timeout='default' requires default=")
    try:
        given = exact(given)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"the arguments of a gate must be JSON: {error}") from None
    try:
        presentation = msgspec.convert(given, p.Presentation)
    except msgspec.ValidationError as error:
        raise ValueError(f"invalid gate: {error}") from None
    problem = _contradiction(presentation)
    if problem is not None:
        raise ValueError(f"nobody could decide as this gate asks: {problem}")
    return presentation


def _contradiction(gate: p.Presentation) -> str | None:
    """Why a gate could never be decided in the way that it asks for; None if it can."""
    required, assignees, allowed = gate.required or 1, gate.assignees, gate.allowed
    if allowed == []:
        return "allowed is empty"
    if assignees == []:
        return "assignees is empty"
    if assignees is not None and required > len(set(assignees)):
        return f"{required} people must approve, and {len(set(assignees))} may ({', '.join(assignees)})"
    if required > 1 and allowed is not None and "approve" not in allowed:
        return f"{required} people must approve, and allowed is {', '.join(allowed)}"
    if gate.on_timeout is not None and gate.deadline is None:
        return f"on_timeout={gate.on_timeout!r} needs timeout="
    if gate.default is not None and gate.on_timeout != "default":
        return "default= is for on_timeout='default'"
    if gate.on_timeout == "default" and gate.schema is not None:
        mismatch = validation_error(gate.schema, gate.default)
        if mismatch is not None:
            return f"default does not match schema: {mismatch}"
    return None


def check_gate_size(presentation: p.Presentation) -> None:
    """Check that a gate is small enough to be shown whole."""
    size = len(p.encode(presentation))
    if size > _GATE_BYTES:
        raise ValueError(f"a gate may have {_GATE_BYTES:,} bytes as JSON, got {size:,}: pass less data")


def deadline_after(timeout: float) -> int:
    """The time in `timeout` seconds, in Unix milliseconds."""
    seconds = check_number(timeout, "timeout", 0, _LONGEST)
    if seconds == 0:
        raise ValueError(f"timeout must be more than 0 seconds, got {timeout!r}")
    return now_ms() + round(seconds * 1000)


def numeric_metrics(values: Mapping[str, Any]) -> dict[str, int | float | str]:
    """Convert measurements; numbers of numpy are accepted, and what is no number or string is left out."""
    if not isinstance(values, Mapping):
        raise TypeError(f"metrics must be a mapping from names to numbers, got {values!r:.200}")
    metrics = {}
    for name, value in values.items():
        shown = preview(value)
        if isinstance(shown, (int, float, str)):
            metrics[str(name)] = int(shown) if isinstance(shown, bool) else shown
    return metrics


def split_mutation(mutation: p.Mutation) -> Iterator[p.Mutation]:
    """Split a mutation into events that a room accepts, in the same order."""
    for name in mutation.__struct_fields__:
        for chunk in chunked(getattr(mutation, name) or [], _CHUNK):
            yield p.Mutation(**{name: chunk})


def chunked(items: Sequence[T], most: int) -> Iterator[list[T]]:
    """Split items into lists that fit into an event and have at most `most` items, in the same order."""
    chunk: list[T] = []
    left = _EVENT
    for item in items:
        # An escaped character may have six bytes.
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
    if abs(value) > LARGEST:
        raise ValueError(f"{what} must be Unix milliseconds, got {value!r:.200}")
    return value
