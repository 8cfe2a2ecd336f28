"""An exception as the text of a node's `error`."""

from __future__ import annotations

import traceback

_TRACEBACK_CHARACTERS = 8_000


def describe(error: BaseException) -> str:
    """An exception as a node's `error`: a line that sums it up, then where it came from."""
    summary = "".join(traceback.format_exception_only(error)).strip()
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{summary}\n{frames[-_TRACEBACK_CHARACTERS:]}".strip()
