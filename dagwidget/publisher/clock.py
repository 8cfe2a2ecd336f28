"""The publisher's clock: every time that a publisher sends is read from it."""

from __future__ import annotations

import time


def now_ms() -> int:
    """The time in Unix milliseconds."""
    return time.time_ns() // 1_000_000
