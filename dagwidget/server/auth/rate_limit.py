"""`Throttle`: how often something may happen. A token bucket; the time is handed in, in seconds of any clock."""

from __future__ import annotations


class Throttle:
    """Lets `burst` through at once, and `per_second` in the long run."""

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst = burst
        self._rate = per_second
        self._left = float(burst)
        self._at = 0.0

    def wait(self, now: float) -> float:
        """The seconds until one more is let through; 0 where it is at once."""
        self._refill(now)
        return 0.0 if self._left >= 1 else (1 - self._left) / self._rate

    def take(self, now: float) -> bool:
        """Let one through, if it may; says whether."""
        if self.wait(now) > 0:
            return False
        self._left -= 1
        return True

    def is_full(self, now: float) -> bool:
        """Whether nothing has happened for so long that it can be forgotten."""
        self._refill(now)
        return self._left >= self._burst

    def _refill(self, now: float) -> None:
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
