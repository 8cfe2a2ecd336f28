"""The price of tokens, from the offline price table of `genai-prices` (the extra `dagwidget[cost]`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct


class Usage(Struct, frozen=True, kw_only=True):
    """The tokens of one call to a model.

    Attributes:
        tokens_in: The input tokens, including those of a cache.
        tokens_out: The output tokens.
        cache_read: How many of `tokens_in` were read from the provider's cache.
        cache_write: How many of `tokens_in` were written to the provider's cache.
    """

    tokens_in: int = 0
    tokens_out: int = 0
    cache_read: int = 0
    cache_write: int = 0


Price: TypeAlias = "Callable[[str, Usage], float | None]"
"""`price(model, usage)` returns the price in US dollars, or None if it is unknown."""


def price(model: str, usage: Usage) -> float | None:
    """Look up the price of a call.

    Args:
        model: The model's name.
        usage: The tokens of the call.

    Returns:
        The price in US dollars. None if the model is unknown, or `genai-prices` is not installed.
    """
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
