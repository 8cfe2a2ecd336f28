"""Checks that a decision's value matches its gate's JSON Schema."""

from __future__ import annotations

from typing import Any


def schema_error(schema: Any) -> str | None:
    """Why `schema` is not a valid JSON Schema; None if it is."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    if not isinstance(schema, (dict, bool)):
        return f"it is {schema!r:.200}"
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        return str(error.message)[:200]
    except RecursionError:
        return "it is nested too deeply"
    return None


def validation_error(schema: Any, value: Any) -> str | None:
    """Where and how `value` does not match `schema`; None if it does, or if `schema` is not a valid JSON Schema."""
    if not isinstance(schema, dict):
        return None
    # Imported here: only a server that validates a value pays for it.
    from jsonschema.exceptions import SchemaError, best_match
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
        # An empty registry, so that no remote reference is fetched.
        error = best_match(kind(schema, registry=Registry()).iter_errors(value))
    except (SchemaError, Unresolvable, RecursionError):
        return None
    if error is None:
        return None
    where = "".join(f"[{part!r}]" for part in error.absolute_path)
    return f"{'value' + where + ': ' if where else ''}{error.message[:200]}"
