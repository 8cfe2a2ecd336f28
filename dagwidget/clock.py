"""The time of this process: Unix milliseconds that never jump.

The machine's date is set by people and by time servers; what is measured by it, such as how long a client has been
silent, or how long a gate is still open, changes with it. So the date is read once, and from then on the time goes on
with a clock that nobody sets. It counts the time that the machine sleeps, where the system has such a clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final


def _unset_ns() -> int:
    """A clock that nobody sets, in nanoseconds."""
    return time.clock_gettime_ns(_CLOCK) if _CLOCK is not None else time.monotonic_ns()


# On Linux the plain monotonic clock stands still while the machine sleeps; elsewhere this one counts it.
_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def _date_ns() -> int:
    """The machine's date, in nanoseconds."""
    return time.time_ns()


# Two clocks are read one after the other, and one of them may be slewed: less than this is no jump.
_JUMP_MS: Final = 1000


class Clock:
    """A date that was read once, and a clock that nobody sets.

    Args:
        date: The machine's date, in nanoseconds.
        unset: A clock that nobody sets, in nanoseconds.
    """

    def __init__(self, date: Callable[[], int] = _date_ns, unset: Callable[[], int] = _unset_ns) -> None:
        self._date = date
        self._unset = unset
        self._offset = date() - unset()

    def now(self) -> int:
        """The time."""
        return (self._unset() + self._offset) // 1_000_000

    def ahead(self) -> int:
        """By how many milliseconds this clock is ahead of the machine's date, where that was set since the start."""
        ahead = self.now() - self._date() // 1_000_000
        return ahead if abs(ahead) >= _JUMP_MS else 0


clock: Final = Clock()
"""The one clock of this process."""

now_ms: Final = clock.now
