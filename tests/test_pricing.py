"""Prices come from an offline table, and an unknown one is never 0."""

import sys

import pytest

from dagwidget.publisher.pricing import Usage, price

genai_prices = pytest.importorskip("genai_prices")


def test_a_known_model_has_a_price():
    assert price("gpt-4o", Usage(tokens_in=1_000_000, tokens_out=0)) == pytest.approx(2.5)
    assert price("gpt-4o", Usage(tokens_in=0, tokens_out=1_000_000)) == pytest.approx(10)


def test_what_a_cache_gave_is_cheaper():
    whole, cached = Usage(tokens_in=100_000), Usage(tokens_in=100_000, cache_read=90_000)
    assert price("gpt-4o", cached) < price("gpt-4o", whole)


def test_an_unknown_model_has_no_price():
    assert price("a model of my own", Usage(tokens_in=1)) is None


def test_without_the_table_nothing_has_a_price(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert price("gpt-4o", Usage(tokens_in=1)) is None
