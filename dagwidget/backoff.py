"""When to try again: 1, 2, 4, 8, 16, 30, 30 … seconds, less up to half of it. The same as `js/src/backoff.ts`."""

from __future__ import annotations

import random
from typing import Final

_FIRST: Final = 1.0
_LAST: Final = 30.0
# Our own: the numbers of whoever seeded `random` in a notebook must not change because we wait.
_chance: Final = random.Random()  # noqa: S311


def backoff(failures: int) -> float:
    """Seconds to wait after `failures` in a row (1, 2, …): at random, so that not all come back at once."""
    most = min(_LAST, _FIRST * 2.0 ** min(failures - 1, 10))
    return _chance.uniform(most / 2, most)
