"""`Door`: connections that have not authenticated, and wrong tokens, counted per address.

None of it concerns a client with a valid token. Connections without one are bounded by ending the oldest, not by
refusing the newest: a client that means it authenticates within a round trip, a silent one stays until the end.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from ... import protocol as p
from ...protocol.limits import Limits
from .rate_limit import Throttle

# How many addresses with wrong tokens are remembered.
_REMEMBERED: Final = 10_000

_CROWDED: Final = p.Bye(code=4429, reason="too many connections from this address have not authenticated", retry=True)

End: TypeAlias = Callable[[p.Bye], None]
"""Ends a connection, and says why."""


class Door:
    """Who stands before the door, by address. Behind a proxy, every client has the proxy's address."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: dict[str, dict[object, End]] = {}
        self._where: dict[object, str] = {}
        self._failures: dict[str, Throttle] = {}
        self._shut: p.Bye | None = None

    def __len__(self) -> int:
        return len(self._where)

    def enter(self, connection: object, address: str, end: End) -> None:
        """A connection was opened that has not authenticated yet.

        Args:
            connection: The connection.
            address: Where it comes from.
            end: Ends it, to make room for another, or as the door is shut.
        """
        if self._shut is not None:
            end(self._shut)
            return
        address = _network(address)
        here = self._waiting.get(address, {})
        if len(here) >= self._limits.unauthenticated:
            self._end_oldest(address, _CROWDED)
        elif len(self) >= self._limits.unauthenticated_in_all:
            self._end_oldest(max(self._waiting, key=lambda each: len(self._waiting[each])), _CROWDED)
        self._waiting.setdefault(address, {})[connection] = end
        self._where[connection] = address

    def leave(self, connection: object) -> None:
        """A connection has authenticated, or has ended."""
        address = self._where.pop(connection, None)
        if address is not None:
            del self._waiting[address][connection]
            if not self._waiting[address]:
                del self._waiting[address]

    def shut(self, why: p.Bye) -> None:
        """End every connection that has not authenticated, and each that still comes."""
        self._shut = why
        for address in [*self._where.values()]:
            self._end_oldest(address, why)

    def _end_oldest(self, address: str, why: p.Bye) -> None:
        connection, end = next(iter(self._waiting[address].items()))
        self.leave(connection)
        end(why)

    def failed(self, address: str) -> float:
        """Count a wrong token. Returns the seconds that its sender is told to wait; 0 after only a few."""
        address, now = _network(address), time.monotonic()
        if address not in self._failures:
            self._forget(now)
            limits = self._limits
            self._failures[address] = Throttle(limits.failures_burst, limits.failures_per_second)
        throttle = self._failures[address]
        wait = throttle.wait(now)
        throttle.take(now)
        return wait

    def _forget(self, now: float) -> None:
        """Make room for one more: first those whose time is over, then those that have been here for longest."""
        if len(self._failures) >= _REMEMBERED:
            self._failures = {at: one for at, one in self._failures.items() if not one.is_full(now)}
        while len(self._failures) >= _REMEMBERED:
            del self._failures[next(iter(self._failures))]


def _network(address: str) -> str:
    """What one machine can't leave: its IPv4 address, or its IPv6 network."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
