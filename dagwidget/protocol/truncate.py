"""`cut`: an event that is too large, made to fit: rather a shorter one than none."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from . import messages as p
from .codec import encode, encode_value

# What an output that is too large is cut to, in characters.
_PREVIEW: Final = 4096
# What is cut to a preview, as it may hold anything.
_PAYLOADS: Final = {p.NodeState: "output", p.ExecutionComplete: "results", p.RunError: "detail"}
# To how many characters every text is shortened, until it fits; ids have 512 at most.
_LENGTHS: Final = (20_000, 2_000, 512)
_NOTICE: Final = 40


def cut(event: p.Event, size: int, most: int) -> p.Event:
    """The event, whose JSON has `size` bytes, in at most `most`.

    What was put out becomes a preview, then texts are shortened, and say by how much. What can't be cut is left out,
    with an error in its place.
    """
    name = _PAYLOADS.get(type(event))
    if name is not None:
        whole = encode_value(getattr(event, name))
        length = min(_PREVIEW, most // 4)
        if len(whole) > length:
            # Quoted once more it may double in size.
            preview = whole[:length].decode("utf-8", "ignore")
            setattr(event, name, {"preview": preview, "bytes": len(whole), "truncated": True})
        if len(encode(event)) <= most:
            return event
    for length in _LENGTHS:
        shorter = msgspec.convert(_shortened(msgspec.to_builtins(event), length), type(event))
        if len(encode(shorter)) <= most:
            return shorter
    kind = type(event).__struct_config__.tag
    return p.RunError(
        message=f"an event {kind} of {size:,} bytes was left out: an event may have {most:,}",
        node_id=getattr(event, "node_id", None),
        code="too_large",
        seq=event.seq,
        ts=event.ts,
    )


def _shortened(value: Any, length: int) -> Any:
    if isinstance(value, str):
        return (
            value if len(value) <= length else f"{value[: length - 40]}… {len(value) - length + 40:,} more characters"
        )
    if isinstance(value, dict):
        return {name: _shortened(item, length) for name, item in value.items()}
    return [_shortened(item, length) for item in value] if isinstance(value, list) else value
