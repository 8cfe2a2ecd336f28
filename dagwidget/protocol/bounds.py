"""The bounds of whole numbers on the wire."""

from __future__ import annotations

from typing import Final

LARGEST: Final = 2**53 - 1
"""Of whole numbers, either way: JavaScript knows no larger one exactly, and SQLite stores none of 2**63."""


def within_bounds(number: int) -> int:
    """A whole number that was computed, as the protocol can have it: where it is too large, the largest."""
    return max(-LARGEST, min(LARGEST, number))
