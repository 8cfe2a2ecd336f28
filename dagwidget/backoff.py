"""Exponential backoff with jitter, between connection attempts. The same as `js/src/stream/backoff.ts`."""

from __future__ import annotations

import random
from typing import Final

_FIRST: Final = 1.0
_LAST: Final = 30.0
# A generator of its own, so that reconnecting does not disturb a notebook that called `random.seed`.
_random: Final = random.Random()  # noqa: S311


def backoff(failures: int) -> float:
    """How long to wait before the next attempt: 1, 2, 4, 8, 16, 30, 30 … seconds, less up to half of it at random.

    The jitter keeps clients that lost the same server from reconnecting all at once.

    Args:
        failures: The number of failures in a row, from 1.

    Returns:
        The delay in seconds.
    """
    longest = min(_LAST, _FIRST * 2.0 ** min(failures - 1, 10))
    return _random.uniform(longest / 2, longest)
