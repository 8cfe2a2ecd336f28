"""`Strangers`: the addresses that wrong tokens came from. Who goes on guessing is slowed, and with it who shares it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Final

from ...protocol.limits import Limits
from .rate_limit import Throttle

_MOST: Final = 10_000
# How many of one address may wait for their turn, and how long for at most.
_WAITING: Final = 5
_SECONDS: Final = 2.0


class Strangers:
    """How often each address has failed to say who it is. Behind a proxy, all have the proxy's address."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._failures: dict[str, Throttle] = {}
        self._waiting: Counter[str] = Counter()

    def failed(self, address: str) -> None:
        """A wrong token came from there."""
        now = time.monotonic()
        if address not in self._failures:
            self._forget(now)
            limits = self._limits
            self._failures[address] = Throttle(limits.failures_burst, limits.failures_per_second)
        self._failures[address].take(now)

    def wait(self, address: str) -> float:
        """The seconds until an address may try again; 0 where it may now."""
        throttle = self._failures.get(address)
        return 0.0 if throttle is None else throttle.wait(time.monotonic())

    async def turn(self, address: str) -> bool:
        """Let an address go on, after a while where many wrong tokens came from there; False where too many wait."""
        wait = self.wait(address)
        if wait == 0:
            return True
        if self._waiting[address] >= _WAITING:
            return False
        self._waiting[address] += 1
        try:
            await asyncio.sleep(min(wait, _SECONDS))
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]
        return True

    def _forget(self, now: float) -> None:
        """Make room for one more: first those whose time is over, then those that have been here for longest."""
        if len(self._failures) >= _MOST:
            self._failures = {at: one for at, one in self._failures.items() if not one.is_full(now)}
        while len(self._failures) >= _MOST:
            del self._failures[next(iter(self._failures))]
