"""Whether an answer is what its gate asks for: JSON Schema."""

from __future__ import annotations

from typing import Any


def fault_of(schema: Any) -> str | None:
    """Why `schema` is no JSON Schema; None where it is one."""
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


def mismatch_with(schema: Any, value: Any) -> str | None:
    """What is wrong with `value`, and where; None where nothing is, or where `schema` is not a schema."""
    if not isinstance(schema, dict):
        return None
    # Only a server that is asked pays for it.
    from jsonschema.exceptions import SchemaError, best_match
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
        # An empty registry: a reference to the outside is not followed.
        error = best_match(kind(schema, registry=Registry()).iter_errors(value))
    except (SchemaError, Unresolvable, RecursionError):
        return None
    if error is None:
        return None
    where = "".join(f"[{part!r}]" for part in error.absolute_path)
    return f"{'value' + where + ': ' if where else ''}{error.message[:200]}"
