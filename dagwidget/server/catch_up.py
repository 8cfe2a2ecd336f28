"""What brings a client to the head of a room's log, as frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

# What a frame of a compacted state holds, in bytes, where its events allow.
_CHUNK: Final = 64 * 1024


class CatchUp(NamedTuple):
    """What brings a client to `seq`: the tail that it lacks or, after a reset, the whole state. One frame each."""

    reset: bool
    seq: int
    frames: Sequence[bytes]


def join_frame(events: Sequence[bytes]) -> bytes:
    return events[0] if len(events) == 1 else b"[" + b",".join(events) + b"]"


def chunk_frames(events: Sequence[bytes]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    size = 0
    for event in events:
        if chunk and size + len(event) > _CHUNK:
            yield join_frame(chunk)
            chunk, size = [], 0
        chunk.append(event)
        size += len(event)
    if chunk:
        yield join_frame(chunk)
