"""`truncate`: makes an event that is too large fit. A shortened event is better than none."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from . import messages as p
from .codec import encode, encode_value

# The length of the preview that replaces a large value, in characters.
_PREVIEW: Final = 4096
# The field of each event that may hold anything; it is replaced by a preview.
_PAYLOADS: Final = {p.NodeState: "output", p.ExecutionComplete: "results", p.RunError: "detail"}
# Every text is shortened to these lengths in turn, until the event fits. Ids have at most 512 characters.
_LENGTHS: Final = (20_000, 2_000, 512)
# Room for the notice that says how much was cut off.
_NOTICE: Final = 40


def truncate(event: p.Event, size: int, limit: int) -> p.Event:
    """Make an event fit into `limit` bytes.

    A large payload becomes a preview; then texts are shortened, and say by how much. An event that still does not fit
    is replaced by an error.

    Args:
        event: The event; it may be changed.
        size: The size of its JSON in bytes.
        limit: The largest size allowed.

    Returns:
        The event, a shortened copy, or the error in its place.
    """
    name = _PAYLOADS.get(type(event))
    if name is not None:
        whole = encode_value(getattr(event, name))
        length = min(_PREVIEW, limit // 4)
        if len(whole) > length:
            # The preview is JSON inside a JSON string: escaping may double its size.
            preview = whole[:length].decode("utf-8", "ignore")
            setattr(event, name, {"preview": preview, "bytes": len(whole), "truncated": True})
            if isinstance(event, p.NodeState) and event.output_bytes is None:
                event.output_cut = True
        if len(encode(event)) <= limit:
            return event
    for length in _LENGTHS:
        shorter = msgspec.convert(_shorten(msgspec.to_builtins(event), length), type(event))
        if len(encode(shorter)) <= limit:
            return shorter
    kind = type(event).__struct_config__.tag
    return p.RunError(
        message=f"an event {kind} of {size:,} bytes was dropped: the limit is {limit:,} bytes",
        node_id=getattr(event, "node_id", None),
        code="too_large",
        seq=event.seq,
        ts=event.ts,
    )


def _shorten(value: Any, length: int) -> Any:
    if isinstance(value, str):
        if len(value) <= length:
            return value
        kept = length - _NOTICE
        return f"{value[:kept]}… {len(value) - kept:,} more characters"
    if isinstance(value, dict):
        return {name: _shorten(item, length) for name, item in value.items()}
    return [_shorten(item, length) for item in value] if isinstance(value, list) else value
