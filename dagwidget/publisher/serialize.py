"""Previews: values as bounded JSON. Any value has a preview, and making it never fails."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Set
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import Struct

from ..protocol import encode_value

Redact: TypeAlias = "Callable[[Any], Any]"


class Bounds(Struct, frozen=True, kw_only=True):
    """The size of a preview.

    Attributes:
        depth: How many containers may be nested.
        items: The most items of one list or mapping.
        text: The most characters of one string.
        total: The most values in all.
    """

    depth: int = 6
    items: int = 100
    text: int = 4_000
    total: int = 2_000


OUTPUT: Final = Bounds()
"""The bounds of a node's output."""
RESULTS: Final = Bounds(depth=12, items=1_000, text=20_000, total=5_000)
"""The bounds of a run's results and of a gate."""

_WHOLE: Final = Bounds(depth=100, items=100_000, text=16 * 1024 * 1024, total=100_000)
"""The bounds of a whole output. Its text as JSON has the same bound as one string."""


class Preview(NamedTuple):
    """A preview, and whether it leaves anything out."""

    shown: Any
    truncated: bool


def preview(value: Any, bounds: Bounds = OUTPUT, redact: Redact | None = None) -> Any:
    """Make a preview of a value.

    Args:
        value: Any value: containers, dataclasses, pydantic models, messages, arrays, data frames …
        bounds: The size of the preview.
        redact: Called with the value; returns what may be shown. If it raises, nothing is shown.

    Returns:
        JSON values. The preview counts what it leaves out (`… 950 more`), and describes what is not JSON.
    """
    return previewed(redacted(value, redact), bounds).shown


def previewed(value: Any, bounds: Bounds = OUTPUT) -> Preview:
    """Make a preview of a value, and say whether it leaves anything out."""
    previewer = _Previewer(bounds)
    shown = previewer.show(value, bounds.depth)
    return Preview(shown, previewer.truncated)


def text_of(value: object) -> str:
    """The text of any value: its `__str__` may raise anything, and Python writes no integer of many digits."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__} without a text>"


def redacted(value: Any, redact: Redact | None) -> Any:
    """Apply `redact` to a value. If it raises, return a note that says so."""
    if redact is None:
        return value
    try:
        return redact(value)
    except Exception as error:
        return f"<hidden: redact() raised {type(error).__name__}>"


def whole(value: Any) -> str | None:
    """Encode a whole value as JSON. Returns None if it has more than 16 MiB or 100,000 values."""
    shown, truncated = previewed(value, _WHOLE)
    if truncated:
        return None
    text = encode_value(shown).decode()
    return text if len(text) <= _WHOLE.text else None


def exact(value: Any) -> Any:
    """Convert a value to JSON values, without leaving anything out.

    Raises:
        TypeError: The value holds something that is not JSON.
        ValueError: The value holds a number or a text that is not JSON, or refers to itself.
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        there = text[max(0, error.start - 20) : error.end + 20]
        raise ValueError(f"half of a surrogate pair is no character, in {there!r}") from None
    return json.loads(text)


class _Previewer:
    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.truncated = False
        self._left = bounds.total
        self._inside: set[int] = set()

    def show(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(str(value))
        if isinstance(value, int):
            # JavaScript does not represent larger integers exactly.
            return int(value) if abs(value) < 2**53 else text_of(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"<{len(value):,} bytes>"
        if getattr(value, "shape", None) == () and hasattr(value, "item"):
            # A scalar of numpy, or of a similar library.
            return self._scalar(value)
        if depth <= 0 or id(value) in self._inside:
            self.truncated = self.truncated or id(value) not in self._inside
            return self._describe(value)
        self._inside.add(id(value))
        try:
            return self._container(value, depth)
        except Exception:
            # The methods of a user's class may raise anything.
            return self._describe(value)
        finally:
            self._inside.discard(id(value))

    def _container(self, value: Any, depth: int) -> Any:
        fields = _fields(value)
        if fields is not None:
            return self._mapping(fields, depth)
        if isinstance(value, (list, tuple, Set)):
            return self._list(value, len(value), depth)
        return self._describe(value)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        shown = {}
        for key, item in islice(value.items(), self._bounds.items):
            if self._left <= 0:
                break
            shown[self._text(text_of(key))] = self.show(item, depth - 1)
        if len(shown) < len(value):
            self.truncated = True
            shown["…"] = f"{len(value) - len(shown):,} more"
        return shown

    def _list(self, value: Iterable[Any], length: int, depth: int) -> list[Any]:
        shown = []
        for item in islice(value, self._bounds.items):
            if self._left <= 0:
                break
            shown.append(self.show(item, depth - 1))
        if len(shown) < length:
            self.truncated = True
            shown.append(f"… {length - len(shown):,} more")
        return shown

    def _scalar(self, value: Any) -> Any:
        try:
            plain = value.item()
        except Exception:
            return self._describe(value)
        return self.show(plain, 1) if isinstance(plain, (bool, int, float, str)) else self._describe(plain)

    def _describe(self, value: Any) -> str:
        kind = type(value).__name__
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple):
            return f"<{kind} {' × '.join(map(str, shape))}>"
        try:
            return self._text(repr(value))
        except Exception:
            return f"<{kind}>"

    def _text(self, text: str) -> str:
        most = self._bounds.text
        text = text.encode("utf-8", "replace").decode() if not text.isascii() else text
        if len(text) <= most:
            return text
        self.truncated = True
        return f"{text[:most]}… {len(text) - most:,} more characters"


def _fields(value: Any) -> Mapping[Any, Any] | None:
    """The named fields of a value, if it has any."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    model = type(value)
    if hasattr(model, "model_fields") and hasattr(value, "model_dump"):
        fields = {name: getattr(value, name) for name in model.model_fields}
        # A chat message has a dozen fields, and most are empty.
        return {name: item for name, item in fields.items() if item not in (None, "", [], {})}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        named: Mapping[Any, Any] = value._asdict()
        return named
    return None
