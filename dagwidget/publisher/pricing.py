"""What tokens cost, from the offline price table of `genai-prices` (the extra `dagwidget[cost]`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct


class Usage(Struct, frozen=True, kw_only=True):
    """The tokens of one call. Those read from and written to a provider's cache are part of `tokens_in`."""

    tokens_in: int = 0
    tokens_out: int = 0
    cache_read: int = 0
    cache_write: int = 0


Price: TypeAlias = "Callable[[str, Usage], float | None]"
"""`price(model, usage)` in US dollars; None where it is not known."""


def price(model: str, usage: Usage) -> float | None:
    """What a call costs in US dollars; None where the model, or the whole table, is not there."""
    try:
        import genai_prices
    except ImportError:
        return None
    tokens = genai_prices.Usage(
        input_tokens=usage.tokens_in,
        output_tokens=usage.tokens_out,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
    )
    try:
        return float(genai_prices.calc_price(tokens, model).total_price)
    except (LookupError, ValueError):
        return None
