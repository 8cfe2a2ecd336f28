"""Formats an exception as the text of a node's `error`."""

from __future__ import annotations

import traceback

_TRACEBACK_CHARACTERS = 8_000


def describe(error: BaseException) -> str:
    """Format an exception: its summary on the first line, then the end of its traceback."""
    summary = "".join(traceback.format_exception_only(error)).strip()
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{summary}\n{frames[-_TRACEBACK_CHARACTERS:]}".strip()
