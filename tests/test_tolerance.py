"""What is understood of malformed messages: the same in both languages."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagwidget import protocol as p
from dagwidget.errors import ProtocolError
from dagwidget.state import DagState

from .tolerance import VECTORS, WHOLE, understood

VECTOR = json.loads(VECTORS.read_text(encoding="utf-8"))

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(-2, 2)
    | st.sampled_from(["", "a", "approve", "running"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("kind", [message["type"] for message in WHOLE])
def test_a_malformed_message_is_understood_as_the_vector_says(kind):
    cases = [case for case in VECTOR if case["message"]["type"] == kind]
    assert len(cases) > 5
    for case in cases:
        assert understood(case["message"]) == case


def test_the_vectors_hold_every_message_of_a_server():
    types = {kind.__struct_config__.tag for kind in p.messages.ServerMessage.__args__}
    assert {message["type"] for message in WHOLE} == types | {"weather"}
    assert {case["type"] for case in VECTOR} >= types


@pytest.mark.parametrize("message", WHOLE, ids=lambda message: message["type"])
def test_a_well_formed_message_loses_nothing(message):
    [taken], unfit = p.take_server(json.dumps(message))
    if message["type"] != "weather":
        assert ([taken], unfit) == (p.decode_server(json.dumps(message)), 0)


@settings(max_examples=300)
@given(st.sampled_from(WHOLE), st.data())
def test_whatever_a_plain_server_says_the_reducer_goes_on(message, data):
    fields = data.draw(st.dictionaries(st.sampled_from([*message][1:]), _values))
    [taken], _ = p.take_server(json.dumps(message | fields))
    if isinstance(taken, p.Event):
        DagState().apply(taken)


@pytest.mark.parametrize("frame", [b"", b"{", b"3", b"[1]", b'{"type": 3}', b"\xff", b"[" * 5000])
def test_what_is_no_message_at_all_is_an_error(frame):
    with pytest.raises(ProtocolError):
        p.take_server(frame)
