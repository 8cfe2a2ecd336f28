"""Previews are bounded and JSON-safe whatever they are made of."""

import dataclasses
import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagwidget.publisher.serialize import Bounds, exact, preview


class Hostile:
    def __repr__(self):
        raise RuntimeError("no")

    def __len__(self):
        raise RuntimeError("no")


@dataclasses.dataclass
class Point:
    x: int
    y: object


class Text(str):
    __slots__ = ()


class Array:
    shape = (3, 4)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(Hostile),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.sets(st.text()) | st.tuples(inner)
    ),
)


@given(anything)
def test_anything_becomes_json(value):
    shown = preview(value)
    assert json.loads(msgspec.json.encode(shown)) == shown


@given(anything)
def test_it_is_bounded(value):
    shown = preview([value] * 50, Bounds(depth=3, items=4, text=10, total=30))
    assert len(json.dumps(shown)) < 10_000


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Text("a subclass"), "a subclass"),
        (float("nan"), "nan"),
        (math.inf, "inf"),
        (2**60, str(2**60)),
        (b"1234", "<4 bytes>"),
        (Point(1, (2, 3)), {"x": 1, "y": [2, 3]}),
        (Array(), "<Array 3 × 4>"),
        (Hostile(), "<Hostile>"),
        ({1: {"a"}}, {"1": ["a"]}),
        ("\ud800", "?"),
        (Point, "<class"),
    ],
)
def test_what_is_not_json_is_described(value, shown):
    result = preview(value)
    assert result == shown or (isinstance(result, str) and result.startswith(shown))


def test_what_is_left_out_is_named():
    bounds = Bounds(items=2, text=3)
    assert preview(["a", "b", "c", "d"], bounds) == ["a", "b", "… 2 more"]
    assert preview({"a": 1, "b": 2, "c": 3}, bounds) == {"a": 1, "b": 2, "…": "1 more"}
    assert preview("abcdef", bounds) == "abc… 3 more characters"


def test_what_holds_itself_ends():
    loop: list = [1]
    loop.append(loop)
    assert preview(loop)[0] == 1


def test_an_exact_value_is_whole_or_refused():
    assert exact({"a": (1, Text("x"))}) == {"a": [1, "x"]}
    with pytest.raises(TypeError):
        exact({"a": object()})
    with pytest.raises(ValueError, match="Out of range"):
        exact(float("nan"))
