"""Whatever comes over the wire: the named error or a message, and no more memory than a few times its size."""

import contextlib
import json
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dagwidget import protocol as p
from dagwidget.errors import ProtocolError
from dagwidget.server.sessions.plain import PlainSession
from dagwidget.server.sessions.publisher import PublisherSession
from dagwidget.server.sessions.viewer import ViewerSession

from . import strategies
from .one_dag import Server

DECODERS = [p.decode_client, p.decode_publisher, p.decode_server, p.decode_reply]
DIALECTS = [ViewerSession, PlainSession, PublisherSession]
NOW = 1_000_000

texts = st.one_of(strategies.client_messages, strategies.server_messages, strategies.publisher_messages).map(
    lambda message: p.encode(message).decode()
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def mangled(draw) -> str:
    """A message that was right once: cut, repeated, or with something else in a field's place."""
    text = draw(texts)
    how = draw(st.sampled_from(["cut", "insert", "replace a field", "add a field", "many"]))
    if how == "cut":
        return text[: draw(st.integers(0, len(text)))]
    if how == "insert":
        at = draw(st.integers(0, len(text)))
        return text[:at] + draw(st.text(max_size=4)) + text[at:]
    if how == "many":
        return f"[{','.join([text] * draw(st.integers(0, 3)))}]"
    fields = json.loads(text)
    name = draw(st.sampled_from(sorted(fields)) if how == "replace a field" else st.text(max_size=6))
    return json.dumps({**fields, name: draw(json_values)})


HOSTILE = [
    "[" * 100_000,
    '{"type":"hello","protocol":' + "[" * 100_000,
    '{"type":"node_state","node_id":"a","status":"running","seq":1,"output":' + '{"a":' * 5000 + "1" + "}" * 5001,
    '{"type":"ack","seq":' + "9" * 5000 + "}",
    '{"type":"ack","seq":1e400}',
    '{"type":"ack","seq":-1}',
    '{"type":"ack","seq":NaN}',
    '{"type":"node_state","node_id":"a","status":"running","seq":1,"progress":Infinity}',
    '{"type":"ack","seq":1,"seq":"2"}',
    '{"type":"hello","protocol":1,"token":"\\ud800"}',
    '{"type":"hello","protocol":1,"token":"\ud800"}',
    '{"type":"' + "x" * 1_000_000 + '"}',
    '{"type":null}',
    '{"type":{"type":"ack"}}',
    "\ufeff{}",
    "\0",
    "",
]


def checked(decode, frame) -> None:
    said = ""
    try:
        decode(frame)
    except ProtocolError as error:
        said = str(error)
    assert len(said) < 1000


@pytest.mark.parametrize("decode", DECODERS)
@settings(max_examples=500)
@given(frame=st.binary(max_size=200) | st.text(max_size=200) | mangled())
def test_decoding_gives_messages_or_the_named_error(decode, frame):
    checked(decode, frame)


@pytest.mark.parametrize("decode", DECODERS)
@settings(max_examples=20)
@given(text=texts)
def test_a_message_may_be_cut_at_every_byte(decode, text):
    whole = text.encode("utf-8", "surrogatepass")
    for end in range(len(whole)):
        checked(decode, whole[:end])


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("frame", HOSTILE, ids=lambda frame: repr(frame[:30]))
def test_hostile_messages_cost_no_more_than_a_few_times_their_size(decode, frame):
    def parse():
        with contextlib.suppress(ValueError, RecursionError):
            json.loads(frame)

    # What the values take is the interpreter's business, and so is how deep they may be nested: 5,000 objects in each
    # other are refused up to Python 3.12, while 3.13 makes 5,000 dicts of them, which take 30 times the text's size.
    assert peak_bytes(lambda: checked(decode, frame)) < 5 * len(frame) + 2 * peak_bytes(parse) + 100_000


def peak_bytes(call) -> int:
    """The most memory that is in use during a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=300)
@given(frames=st.lists(st.binary(max_size=50) | st.text(max_size=50) | mangled() | texts, max_size=4))
@example(frames=HOSTILE)
def test_a_session_survives_everything_and_says_why_it_ends(dialect, frames):
    server = Server(now=NOW)
    session = server.connect(dialect)
    for frame in frames:
        server.dag.receive(session, frame, NOW)
        server.wait(0)
        server.hear(session, lambda _frame: ())
    assert session.ended is None or session.ended.code in {row.code for row in p.CLOSE_CODES}
