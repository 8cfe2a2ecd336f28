import pytest

from dagwidget.protocol.json_schema import validation_error

PERSON = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}


def test_a_value_that_fits_has_nothing_wrong():
    assert validation_error(PERSON, {"age": 7}) is None


@pytest.mark.parametrize(
    ("value", "says"),
    [({"age": -1}, "value['age']: -1 is less than the minimum of 0"), ({}, "'age' is a required property")],
)
def test_what_is_wrong_is_said_with_its_place(value, says):
    assert validation_error(PERSON, value) == says


@pytest.mark.parametrize("schema", [None, "x", {"type": 7}, {"$ref": "https://example.org/schema.json"}])
def test_what_is_no_usable_schema_refuses_nothing(schema):
    assert validation_error(schema, 1) is None


def test_a_discriminated_choice_is_checked_too():
    schema = {"oneOf": [{"properties": {"kind": {"const": "a"}}, "required": ["kind"]}, {"type": "string"}]}
    assert validation_error(schema, {"kind": "a"}) is None
    assert validation_error(schema, 3) is not None or validation_error(schema, {"kind": "b"}) is not None
