"""What goes over the wire: it round-trips, it is forgiving towards the future, and its faults have a name."""

import json
from pathlib import Path
from typing import get_args

import jsonschema
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dagwidget import protocol as p
from dagwidget.errors import ProtocolError
from dagwidget.protocol.schema import components

from .strategies import (
    attacheds,
    attaches,
    client_messages,
    cost_deltas,
    publisher_messages,
    replies,
    server_messages,
)

MODERATE = settings(max_examples=100)
DECODERS = [p.decode_server, p.decode_client, p.decode_publisher, p.decode_reply]
DIRECTIONS = [
    pytest.param(p.decode_server, server_messages, p.ServerMessage, id="server"),
    pytest.param(p.decode_client, client_messages, p.ClientMessage, id="client"),
    pytest.param(p.decode_publisher, publisher_messages, p.PublisherMessage, id="publisher"),
    pytest.param(p.decode_reply, replies, p.PublishReply, id="reply"),
]

SCHEMA = p.schema()


def validator(definition: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{definition}"})


def node_state(**fields) -> str:
    return json.dumps({"type": "node_state", "node_id": "a", "status": "running", **fields})


# --- Round trips


@pytest.mark.parametrize(("decode", "messages", "_union"), DIRECTIONS)
def test_every_message_round_trips_alone_and_in_a_batch(decode, messages, _union):
    @MODERATE
    @given(st.lists(messages, min_size=1, max_size=3))
    def check(batch):
        assert decode(p.encode(batch)) == batch
        assert decode(p.encode(batch).decode()) == batch
        assert decode(p.encode(batch[0])) == batch[:1]

    check()


@pytest.mark.slow
@pytest.mark.parametrize(("_decode", "messages", "union"), DIRECTIONS)
def test_the_strategies_leave_no_message_out(_decode, messages, union):
    missing = set(get_args(union))

    @settings(max_examples=500, database=None, derandomize=True)
    @given(messages)
    def note(message):
        missing.discard(type(message))

    note()
    # A reply repeats the events of the server's direction.
    assert missing <= ({p.ExecutionState} if union is p.PublishReply else set())


@pytest.mark.parametrize("decode", DECODERS)
def test_a_batch_may_be_empty(decode):
    assert decode("[]") == []


def test_what_has_its_default_is_not_written():
    assert p.encode(p.NodeState(node_id="a", status="running")) == (
        b'{"type":"node_state","node_id":"a","status":"running"}'
    )
    assert p.encode(p.EdgeActive(from_="a", to="b")) == b'{"type":"edge_active","from":"a","to":"b"}'


# --- Null, and what is not known


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("output", node_state(output=None)),
        ("metrics", node_state(metrics=None)),
        ("attempt", node_state(attempt=None)),
        ("instance", node_state(instance=None)),
        ("seq", node_state(seq=None)),
        ("ts", node_state(ts=None)),
    ],
)
def test_null_means_absent(name, text):
    assert json.loads(text)[name] is None
    assert p.decode_server(text) == [p.NodeState(node_id="a", status="running")]


def test_null_means_absent_within_messages_too():
    assert p.decode_client('{"type":"hello","protocol":1,"token":null,"last":null}') == [p.Hello(protocol=1)]
    mutation = '{"add_nodes":[{"id":"a","label":null}],"remove_nodes":null}'
    [mutated] = p.decode_server(f'{{"type":"dag_mutated","mutation":{mutation}}}')
    assert mutated == p.DagMutated(mutation=p.Mutation(add_nodes=[p.NodeSpec(id="a")]))


@MODERATE
@given(st.data())
def test_any_optional_field_may_be_null(data):
    message = data.draw(server_messages)
    written = msgspec.to_builtins(message)
    optional = [
        field.encode_name
        for field in msgspec.structs.fields(message)
        if field.default is None and field.encode_name not in written
    ]
    with_nulls = {**written, **dict.fromkeys(optional)}
    assert p.decode_server(json.dumps(with_nulls)) == [message]


@MODERATE
@given(server_messages, st.dictionaries(st.from_regex(r"\Afuture_[a-z]{1,3}\Z"), st.none() | st.text(max_size=3)))
def test_fields_from_the_future_are_ignored(message, more):
    assert p.decode_server(json.dumps({**msgspec.to_builtins(message), **more})) == [message]


@pytest.mark.parametrize("decode", DECODERS)
def test_a_type_from_the_future_is_unknown_and_keeps_its_number(decode):
    text = '{"type":"node_teleported","seq":7,"ts":8,"id":"c1","where":{"x":[1]}}'
    assert decode(text) == [p.Unknown(type="node_teleported", seq=7, ts=8, id="c1")]
    assert decode('{"type":"node_teleported"}') == [p.Unknown(type="node_teleported")]


def test_a_type_from_the_future_does_not_spoil_its_batch():
    frame = f'[{node_state(seq=1)}, {{"type":"node_teleported","seq":2}}, {node_state(seq=3)}]'
    assert [message.seq for message in p.decode_server(frame)] == [1, 2, 3]
    assert isinstance(p.decode_server(frame)[1], p.Unknown)


def test_a_message_of_the_other_direction_is_unknown():
    assert p.decode_client(node_state()) == [p.Unknown(type="node_state")]
    assert p.decode_server('{"type":"hello","protocol":1}') == [p.Unknown(type="hello")]


# --- What is malformed


@pytest.mark.parametrize(
    ("decode", "text", "type_", "field"),
    [
        (p.decode_server, node_state(status="dancing"), "node_state", "$.status"),
        (p.decode_server, '{"type":"node_state","status":"running"}', "node_state", "node_id"),
        (p.decode_server, node_state(node_id=""), "node_state", "$.node_id"),
        (p.decode_server, node_state(node_id="x" * 513), "node_state", "$.node_id"),
        (p.decode_server, node_state(progress=1.5), "node_state", "$.progress"),
        (p.decode_server, node_state(attempt=-1), "node_state", "$.attempt"),
        (p.decode_server, node_state(metrics={"cost": True}), "node_state", "$.metrics"),
        (p.decode_server, node_state(seq=-1), "node_state", "$.seq"),
        (p.decode_server, '{"type":"edge_active","from":"a"}', "edge_active", "to"),
        (p.decode_server, '{"type":"execution_complete"}', "execution_complete", "results"),
        (p.decode_server, '{"type":"cost_update","spent":"1"}', "cost_update", "$.spent"),
        (
            p.decode_server,
            '{"type":"human_gate_waiting","node_id":"a","presentation":{"allowed":["shrug"]}}',
            "human_gate_waiting",
            "$.presentation.allowed[0]",
        ),
        (p.decode_server, '{"type":"dag_mutated","mutation":{"add_nodes":[{}]}}', "dag_mutated", "add_nodes[0]"),
        (p.decode_client, '{"type":"hello"}', "hello", "protocol"),
        (p.decode_client, '{"type":"hello","protocol":1,"last":{"epoch":"e","seq":-1}}', "hello", "$.last.seq"),
        (p.decode_client, '{"type":"pause_execution"}', "pause_execution", "id"),
        (p.decode_client, '{"type":"ack","seq":"1"}', "ack", "$.seq"),
        (p.decode_publisher, '{"type":"attach","protocol":1}', "attach", "publisher"),
        (p.decode_publisher, '{"type":"cost_delta","tokens_in":-1}', "cost_delta", "$.tokens_in"),
        (p.decode_reply, '{"type":"attached","dag_id":"d"}', "attached", "epoch"),
    ],
)
def test_a_malformed_message_is_refused_with_its_type_and_field(decode, text, type_, field):
    for frame in (text, text.encode(), f"[{text}]"):
        with pytest.raises(ProtocolError) as caught:
            decode(frame)
        assert str(caught.value).startswith(f"{type_}: ")
        assert field in str(caught.value).split(" In: ")[0]


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a JSON message"),
        ("{", "not a JSON message"),
        ("hello", "not a JSON message"),
        ("[1, 2", "not a JSON message"),
        ('"\\ud800"', "not a JSON message"),
        ("1", "Expected `object`, got `int`"),
        ("null", "Expected `object`, got `null`"),
        ("[[]]", "Expected `object`, got `array`"),
        ("{}", "missing required field `type`"),
        ('{"type":7}', "$.type"),
        ('{"type":"future","seq":1.5}', "future: Expected `int | null`, got `float` - at `$.seq`"),
        ('{"type":"future"}]', "malformed"),
    ],
)
def test_what_is_no_message_is_refused_with_the_reason(decode, text, says):
    with pytest.raises(ProtocolError) as caught:
        decode(text)
    assert says in str(caught.value)


@pytest.mark.parametrize("filler", ["x", "é", "😀", '"', "\\"])
@pytest.mark.parametrize("decode", DECODERS)
def test_an_error_quotes_at_most_200_characters(decode, filler):
    for text in (
        json.dumps({"type": 7, "padding": filler * 9999}, ensure_ascii=False),
        filler * 9999,
        node_state(status=filler * 9999) if decode in (p.decode_server, p.decode_publisher) else "nonsense" * 99,
    ):
        with pytest.raises(ProtocolError) as caught:
            decode(text)
        message, quoted = str(caught.value).split(" In: ", 1)
        assert len(quoted) <= 200
        assert len(message) < 300
        assert quoted.endswith("…")
        assert text.startswith(quoted[:-1])


@pytest.mark.parametrize("decode", DECODERS)
@settings(max_examples=200)
@given(st.binary(max_size=40) | st.text(max_size=40))
@example("\ud800")
@example('{"type":"\ud800"}')
@example("[" * 200_000)
@example('{"type":"node_state","node_id":"a","status":"running","output":' + "[" * 200_000)
@example('{"type":"node_state","node_id":"a","status":"running","ts":' + "9" * 5000 + "}")
@example('{"type":"future","seq":' + "9" * 5000 + "}")
@example('{"type":"node_state","node_id":"a","status":"running","output":1e999}')
@example(b'{"type":"\xff"}')
@example(b"\xef\xbb\xbf{}")
def test_arbitrary_input_raises_nothing_but_a_protocol_error(decode, frame):
    try:
        messages = decode(frame)
    except ProtocolError:
        return
    assert isinstance(messages, list)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow
@pytest.mark.parametrize(("decode", "messages", "_union"), DIRECTIONS)
def test_messages_with_a_field_overwritten_raise_nothing_but_a_protocol_error(decode, messages, _union):
    @MODERATE
    @given(st.data())
    def check(data):
        written = msgspec.to_builtins(data.draw(messages))
        name = data.draw(st.sampled_from(sorted(written)))
        frame = json.dumps({**written, name: data.draw(_json)})
        try:
            [decoded] = decode(frame)
        except ProtocolError:
            return
        # What was let in can be sent on.
        assert decode(p.encode(decoded)) == [decoded]

    check()


# --- The schema


def test_the_schema_in_js_is_the_one_of_these_classes():
    path = Path(__file__).parent.parent / "js" / "protocol.schema.json"
    current = msgspec.json.format(msgspec.json.encode(p.schema()), indent=1).decode() + "\n"
    assert path.read_text(encoding="utf-8") == current, "run `make protocol`"


@pytest.mark.parametrize(
    "docstring",
    ["What it is.\n\n    More:\n        a list.\n    ", "What it is.\n\nMore:\n    a list.\n"],
    ids=["as in the source", "dedented"],
)
@pytest.mark.parametrize("alternatives", [["null", "object"], ["object", "null"]], ids=", ".join)
def test_the_schema_is_the_same_with_every_msgspec_and_python(docstring, alternatives, monkeypatch):
    given = {"description": docstring, "properties": {"last": {"anyOf": [{"type": name} for name in alternatives]}}}
    monkeypatch.setattr(msgspec.json, "schema_components", lambda *_, **__: ((), {"Hello": given}))
    assert components([p.Hello], "{name}") == {
        "Hello": {
            "description": "What it is.\n\nMore:\n    a list.",
            "properties": {"last": {"anyOf": [{"type": "object"}, {"type": "null"}]}},
        }
    }


def test_the_schema_is_a_schema_with_every_message_in_it():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    everything = {*get_args(p.ServerMessage), *get_args(p.ClientMessage), *get_args(p.PublisherMessage)}
    assert {cls.__name__ for cls in everything} <= SCHEMA["$defs"].keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("messages", "definition"), [(server_messages, "ServerMessage"), (client_messages, "ClientMessage")]
)
def test_what_is_written_is_valid_by_the_schema(messages, definition):
    check_union = validator(definition)

    @MODERATE
    @given(messages)
    def check(message):
        written = json.loads(p.encode(message))
        check_union.validate(written)
        validator(type(message).__name__).validate(written)

    check()


@MODERATE
@given(attaches | attacheds | cost_deltas)
def test_what_publishers_and_rooms_write_is_valid_by_the_schema(message):
    validator(type(message).__name__).validate(json.loads(p.encode(message)))


@pytest.mark.parametrize(
    "text", ["{}", '{"type":"node_state"}', node_state(status="dancing"), node_state(node_id=""), '{"type":"future"}']
)
def test_what_is_malformed_is_invalid_by_the_schema(text):
    assert not validator("ServerMessage").is_valid(json.loads(text))


def test_types_are_unique_in_every_direction():
    for union in (p.ServerMessage, p.ClientMessage, p.PublisherMessage, p.PublishReply):
        tags = [cls.__struct_config__.tag for cls in get_args(union)]
        assert len(set(tags)) == len(tags)


# --- Names and codes


@pytest.mark.parametrize("dag_id", ["a", "x" * 200, "my dag/nightly?#%", "é😀", "naïve"])
def test_a_dag_may_have_any_printable_name(dag_id):
    p.check_dag_id(dag_id)


@pytest.mark.parametrize("dag_id", ["", "x" * 201, "a\nb", "a\x00", "\ud800", "a\u2028", "\u200b"])
def test_a_dag_may_have_no_unprintable_name(dag_id):
    with pytest.raises(ValueError, match="1 to 200 printable characters") as caught:
        p.check_dag_id(dag_id)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("dag_id", [None, 7, b"dag"])
def test_a_dag_must_be_named_by_a_string(dag_id):
    with pytest.raises(TypeError, match="dag_id must be a string"):
        p.check_dag_id(dag_id)


def test_close_codes_and_their_names_are_unique():
    assert len({row.code for row in p.CLOSE_CODES}) == len(p.CLOSE_CODES)
    assert len({row.name for row in p.CLOSE_CODES}) == len(p.CLOSE_CODES)


def test_close_codes_are_ours_or_the_two_that_say_done():
    assert [row.code for row in p.CLOSE_CODES if not 4000 <= row.code < 5000] == [1000, 1001]
    assert SCHEMA["x-closeCodes"] == msgspec.to_builtins(p.CLOSE_CODES) != ()


def test_what_the_design_calls_final_is_not_retried():
    retried = {row.code: row.retry for row in p.CLOSE_CODES}
    assert not any(retried[code] for code in (1000, 1001, 4006, 4400, 4401, 4403, 4409, 4413))
    assert all(retried[code] for code in (4000, 4001, 4003, 4005, 4008, 4404, 4429))
