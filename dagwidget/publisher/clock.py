"""The publisher's clock. Every time that a publisher sends comes from it."""

from __future__ import annotations

import time


def now_ms() -> int:
    """The current time in Unix milliseconds."""
    return time.time_ns() // 1_000_000
