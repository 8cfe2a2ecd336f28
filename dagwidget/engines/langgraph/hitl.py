"""The requests that LangGraph code makes with `interrupt()`, and what `interrupt()` returns for each.

The value of an `interrupt()` is recognised in this order:

- A request of LangChain's `HumanInTheLoopMiddleware`: all tool calls of a turn (`HITLRequest`), or a single one
  (`tool_approval`). Its *edit* is dagwidget's *modify*.
- Agent Inbox's `HumanInterrupt`, alone or in a list of one.
- Any value with a `response_schema`: returns a value that follows the schema.
- A mapping with a `title`: its fields are those of `Run.gate`. Returns a mapping with `decision`, and with `feedback`
  and `value` if the decision has them.
- Any other value: returns the decision's value; without one, True for approve and False for reject.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from ... import protocol as p
from ...publisher.serialize import RESULTS, exact, preview
from ...state import Decision

_SHOWN: Final = frozenset(p.Presentation.__struct_fields__)
# Larger values are shown as a preview, in bytes.
_WHOLE: Final = 100_000
_VERDICTS: Final[dict[str, p.Verdict]] = {
    "approve": "approve",
    "accept": "approve",
    "edit": "modify",
    "respond": "modify",
    "reject": "reject",
    "ignore": "reject",
}


class Question(NamedTuple):
    """What a gate shows, and a function that makes the value which `interrupt()` returns from the decision."""

    presentation: p.Presentation
    answer: Callable[[Decision], Any]


def question(value: Any, schema: Any = None) -> Question:
    """The question of an interrupt.

    Args:
        value: The interrupt's value.
        schema: The interrupt's `response_schema`, if it has one.
    """
    if isinstance(value, Mapping):
        if isinstance(value.get("action_requests"), Sequence):
            return _tool_calls(value)
        if value.get("type") == "tool_approval":
            return _tool_call(value, schema)
        if _is_inbox(value):
            return _inbox(value, in_list=False)
    elif isinstance(value, (list, tuple)) and len(value) == 1 and _is_inbox(value[0]):
        return _inbox(value[0], in_list=True)
    if schema is not None:
        return _by_schema(value, schema)
    if isinstance(value, Mapping) and "title" in value:
        return _own(value)
    return _anything(value)


# --- LangChain: tool calls


def _tool_calls(request: Mapping[str, Any]) -> Question:
    actions = [action for action in request["action_requests"] if isinstance(action, Mapping)]
    policies = {
        policy.get("action_name"): policy.get("allowed_decisions") or ()
        for policy in request.get("review_configs") or ()
        if isinstance(policy, Mapping)
    }
    each = [_allowed(policies.get(action.get("name"), ())) for action in actions]
    # One decision is for all tool calls, so each of them must allow it.
    allowed = [verdict for verdict in ("approve", "reject", "modify") if all(verdict in one for one in each)]
    calls = [{"name": action.get("name"), "args": action.get("args")} for action in actions]
    names = " and ".join(f"`{call['name']}`" for call in calls)
    presentation = _presentation(
        title=f"Run {names}?".replace("`", ""),
        body="\n\n".join(str(action["description"]) for action in actions if action.get("description")),
        data=calls[0] if len(calls) == 1 else calls,
        allowed=allowed,
    )

    def answer(decision: Decision) -> Any:
        value = decision.value
        if decision.decision == "modify":
            if isinstance(value, Mapping) and "decisions" in value:
                return value
            edits = value if isinstance(value, list) else [value]
            if len(edits) != len(calls):
                raise ValueError(f"the value must have {len(calls)} tool calls, got {len(edits)}")
            return {"decisions": [_edited(edit, call) for edit, call in zip(edits, calls, strict=True)]}
        return {"decisions": [_plain(decision) for _ in calls]}

    return Question(presentation, answer)


def _tool_call(request: Mapping[str, Any], schema: Any) -> Question:
    call = {"name": request.get("name"), "args": request.get("args")}
    allowed = _allowed(_decision_types(schema))
    presentation = _presentation(
        title=f"Run {call['name']}?",
        body=request.get("description"),
        data=call,
        allowed=[verdict for verdict in ("approve", "reject", "modify") if verdict in allowed],
    )

    def answer(decision: Decision) -> Any:
        return _edited(decision.value, call) if decision.decision == "modify" else _plain(decision)

    return Question(presentation, answer)


def _decision_types(schema: Any) -> Sequence[str]:
    """The decisions that a `response_schema` of LangChain allows: one of several, or a single one."""
    if not isinstance(schema, Mapping):
        return ()
    mapping = (schema.get("discriminator") or {}).get("mapping")
    if mapping:
        return list(mapping)
    only = ((schema.get("properties") or {}).get("type") or {}).get("const")
    return [only] if isinstance(only, str) else ()


def _plain(decision: Decision) -> dict[str, Any]:
    if decision.decision == "approve":
        return {"type": "approve"}
    return {"type": "reject", **({"message": decision.feedback} if decision.feedback else {})}


def _edited(edit: Any, call: Mapping[str, Any]) -> Any:
    """An edited tool call: from the whole call, from its arguments, or from a decision in LangChain's form."""
    if isinstance(edit, str):
        return {"type": "respond", "message": edit}
    if isinstance(edit, Mapping):
        if "type" in edit:
            return dict(edit)
        if set(edit) <= {"name", "args"} and "args" in edit:
            return {"type": "edit", "edited_action": {"name": edit.get("name", call["name"]), "args": edit["args"]}}
        return {"type": "edit", "edited_action": {"name": call["name"], "args": dict(edit)}}
    raise ValueError(f"an edited tool call must have a name and args, got {edit!r:.200}")


def _allowed(decisions: Sequence[str]) -> set[str]:
    return {_VERDICTS[decision] for decision in decisions if decision in _VERDICTS} or {"approve", "reject", "modify"}


# --- Agent Inbox


def _is_inbox(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("action_request"), Mapping) and "config" in value


def _inbox(request: Mapping[str, Any], *, in_list: bool) -> Question:
    action, config = request["action_request"], request["config"] or {}
    can: list[p.Verdict] = []
    if config.get("allow_accept"):
        can.append("approve")
    if config.get("allow_ignore"):
        can.append("reject")
    if config.get("allow_edit") or config.get("allow_respond"):
        can.append("modify")
    presentation = _presentation(
        title=str(action.get("action")), body=request.get("description"), data=action.get("args"), allowed=can
    )

    def answer(decision: Decision) -> Any:
        value: Any = decision.value
        reply: dict[str, Any]
        if decision.decision == "approve":
            reply = {"type": "accept", "args": None}
        elif decision.decision == "reject":
            reply = {"type": "ignore", "args": None}
        elif isinstance(value, str) or not config.get("allow_edit"):
            reply = {"type": "response", "args": value}
        else:
            reply = {"type": "edit", "args": {"action": action.get("action"), "args": value}}
        return [reply] if in_list else reply

    return Question(presentation, answer)


# --- Everything else


def _by_schema(value: Any, schema: Any) -> Question:
    title, data = (value, None) if isinstance(value, str) else (None, value)
    if isinstance(value, Mapping):
        title = next((value[name] for name in ("title", "question", "message") if name in value), None)
    yes_or_no = isinstance(schema, Mapping) and schema.get("type") == "boolean"
    presentation = _presentation(
        title=title, data=data, schema=schema, allowed=["approve", "reject"] if yes_or_no else ["modify"]
    )

    def answer(decision: Decision) -> Any:
        return decision.decision == "approve" if yes_or_no else decision.value

    return Question(presentation, answer)


def _own(value: Mapping[str, Any]) -> Question:
    shown = {name: item for name, item in value.items() if name in _SHOWN}
    more = {name: item for name, item in value.items() if name not in _SHOWN}
    if more and "data" not in shown:
        shown["data"] = more

    def answer(decision: Decision) -> Any:
        given = {"decision": decision.decision, "feedback": decision.feedback, "value": decision.value}
        return {name: item for name, item in given.items() if item is not None}

    return Question(_presentation(**shown), answer)


def _anything(value: Any) -> Question:
    title, data = (value, None) if isinstance(value, str) else (None, value)

    def answer(decision: Decision) -> Any:
        return decision.value if decision.value is not None else decision.decision == "approve"

    return Question(_presentation(title=title, data=data), answer)


def _presentation(**fields: Any) -> p.Presentation:
    """Make a presentation of values of any type. Values that do not fit its fields are shown as data."""
    exact = {name: _json(item) for name, item in fields.items() if item not in (None, "", [])}
    if "title" in exact:
        exact["title"] = str(exact["title"])
    try:
        return msgspec.convert(exact, p.Presentation)
    except msgspec.ValidationError:
        return p.Presentation(title=str(fields.get("title") or "A question"), data=exact)


def _json(value: Any) -> Any:
    """Convert a value to JSON values: whole if possible, because an answer starts from it."""
    try:
        whole = exact(value)
    except (TypeError, ValueError, RecursionError):
        return preview(value, RESULTS)
    return whole if len(p.encode_value(whole)) < _WHOLE else preview(value, RESULTS)
