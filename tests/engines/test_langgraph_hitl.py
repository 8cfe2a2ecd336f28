"""Every form in which LangGraph code asks, and what each gets back."""

import pytest

from dagwidget.engines.langgraph.hitl import question
from dagwidget.state import Decision


def decided(decision, value=None, feedback=None):
    return Decision(
        gate_id="g", node_id="n", decision=decision, by="ana", at=0, source="widget", value=value, feedback=feedback
    )


CALLS = {
    "action_requests": [
        {"name": "send", "args": {"to": "ana"}, "description": "Send an e-mail"},
        {"name": "pay", "args": {"amount": 5}},
    ],
    "review_configs": [
        {"action_name": "send", "allowed_decisions": ["approve", "edit", "reject"]},
        {"action_name": "pay", "allowed_decisions": ["approve", "reject"]},
    ],
}
ONE_CALL = {"action_requests": CALLS["action_requests"][:1], "review_configs": CALLS["review_configs"][:1]}
TOOL_APPROVAL = {
    "type": "tool_approval",
    "tool_call_id": "1",
    "name": "send",
    "args": {"to": "ana"},
    "description": "Send?",
}
INBOX = {
    "action_request": {"action": "send", "args": {"to": "ana"}},
    "config": {"allow_accept": True, "allow_edit": True, "allow_respond": True, "allow_ignore": True},
    "description": "An **e-mail**",
}


def test_batched_tool_calls_are_shown_together_and_take_what_each_of_them_takes():
    shown, _ = question(CALLS)
    assert shown.title == "Run send and pay?"
    assert shown.body == "Send an e-mail"
    assert shown.data == [{"name": "send", "args": {"to": "ana"}}, {"name": "pay", "args": {"amount": 5}}]
    assert shown.allowed == ["approve", "reject"]


@pytest.mark.parametrize(
    ("decision", "answer"),
    [
        (decided("approve"), {"decisions": [{"type": "approve"}]}),
        (decided("reject"), {"decisions": [{"type": "reject"}]}),
        (decided("reject", feedback="not now"), {"decisions": [{"type": "reject", "message": "not now"}]}),
        (
            decided("modify", {"name": "send", "args": {"to": "bob"}}),
            {"decisions": [{"type": "edit", "edited_action": {"name": "send", "args": {"to": "bob"}}}]},
        ),
        (
            decided("modify", [{"to": "bob"}]),
            {"decisions": [{"type": "edit", "edited_action": {"name": "send", "args": {"to": "bob"}}}]},
        ),
        (decided("modify", "she is away"), {"decisions": [{"type": "respond", "message": "she is away"}]}),
        (decided("modify", {"decisions": [{"type": "approve"}]}), {"decisions": [{"type": "approve"}]}),
    ],
)
def test_batched_tool_calls_get_a_decision_for_each(decision, answer):
    assert question(ONE_CALL).answer(decision) == answer


def test_an_edit_of_other_than_all_tool_calls_is_refused():
    with pytest.raises(ValueError, match="the value must have 2 tool calls, got 1"):
        question(CALLS).answer(decided("modify", [{"to": "bob"}]))


@pytest.mark.parametrize(
    ("decision", "answer"),
    [
        (decided("approve"), {"type": "approve"}),
        (decided("reject", feedback="no"), {"type": "reject", "message": "no"}),
        (decided("modify", {"to": "bob"}), {"type": "edit", "edited_action": {"name": "send", "args": {"to": "bob"}}}),
        (decided("modify", {"type": "respond", "message": "hi"}), {"type": "respond", "message": "hi"}),
    ],
)
def test_a_tool_call_of_its_own_gets_one_decision(decision, answer):
    asked = question(TOOL_APPROVAL, {"oneOf": []})
    assert (asked.presentation.title, asked.presentation.body) == ("Run send?", "Send?")
    assert asked.answer(decision) == answer


@pytest.mark.parametrize(
    ("decision", "answer"),
    [
        (decided("approve"), {"type": "accept", "args": None}),
        (decided("reject"), {"type": "ignore", "args": None}),
        (decided("modify", {"to": "bob"}), {"type": "edit", "args": {"action": "send", "args": {"to": "bob"}}}),
        (decided("modify", "ask bob"), {"type": "response", "args": "ask bob"}),
    ],
)
def test_agent_inbox_gets_its_own_words_alone_or_in_a_list(decision, answer):
    assert question(INBOX).answer(decision) == answer
    assert question([INBOX]).answer(decision) == [answer]


def test_agent_inbox_offers_what_its_config_allows():
    shown, _ = question({**INBOX, "config": {"allow_accept": True, "allow_ignore": True}})
    assert (shown.title, shown.data, shown.allowed) == ("send", {"to": "ana"}, ["approve", "reject"])


def test_a_response_schema_asks_for_a_value_of_its_own():
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    asked = question("How old are you?", schema)
    assert (asked.presentation.title, asked.presentation.schema) == ("How old are you?", schema)
    assert asked.presentation.allowed == ["modify"]
    assert asked.answer(decided("modify", {"age": 7})) == {"age": 7}


def test_a_yes_or_no_is_approved_or_rejected():
    asked = question({"question": "Go on?"}, {"type": "boolean"})
    assert (asked.presentation.title, asked.presentation.allowed) == ("Go on?", ["approve", "reject"])
    assert (asked.answer(decided("approve")), asked.answer(decided("reject"))) == (True, False)


def test_a_mapping_with_a_title_is_a_gate_of_ours():
    asked = question({"title": "Ship it?", "allowed": ["approve", "reject"], "version": 7})
    assert (asked.presentation.title, asked.presentation.allowed) == ("Ship it?", ["approve", "reject"])
    assert asked.presentation.data == {"version": 7}
    assert asked.answer(decided("approve", feedback="yes")) == {"decision": "approve", "feedback": "yes"}


def test_a_field_that_does_not_fit_is_shown_as_data():
    shown, _ = question({"title": "Ship it?", "allowed": "anything"})
    assert (shown.title, shown.data) == ("Ship it?", {"title": "Ship it?", "allowed": "anything"})


def test_anything_else_gets_a_value_or_yes_or_no():
    asked = question({"draft": "text"})
    assert asked.presentation.data == {"draft": "text"}
    assert asked.answer(decided("approve")) is True
    assert asked.answer(decided("reject")) is False
    assert asked.answer(decided("modify", "better")) == "better"


def test_what_is_not_json_is_shown_as_a_preview():
    shown, _ = question({"thing": object()})
    assert shown.data["thing"].startswith("<object")
