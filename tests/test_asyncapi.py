"""docs/asyncapi.json is current, and follows the rules of AsyncAPI 3.0."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from dagwidget import protocol as p
from dagwidget.cli.main import main
from dagwidget.protocol.asyncapi import asyncapi

from .test_docs import EXAMPLES, tag_of

STORED = (Path(__file__).parent.parent / "docs" / "asyncapi.json").read_text(encoding="utf-8")
DOCUMENT: dict[str, Any] = json.loads(STORED)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def resolve(reference: str) -> Any:
    assert reference.startswith("#/")
    found: Any = DOCUMENT
    for part in reference[2:].split("/"):
        found = found[part]
    return found


def said(action: str, channel: str) -> set[str]:
    """The types of what the server sends or receives there: as such, or in answer to the opposite."""
    names: set[str] = set()
    for operation in DOCUMENT["operations"].values():
        if operation["channel"] == {"$ref": f"#/channels/{channel}"}:
            part = operation if operation["action"] == action else operation.get("reply", {"messages": []})
            names |= {resolve(resolve(message["$ref"])["$ref"])["name"] for message in part["messages"]}
    return names


def test_the_stored_document_is_current(capsys):
    assert main(["schema", "--asyncapi"]) == 0
    assert capsys.readouterr().out == STORED, "run `make protocol`"
    assert json.loads(json.dumps(asyncapi())) == DOCUMENT


def test_every_reference_of_the_document_leads_somewhere():
    for reference in references(DOCUMENT):
        resolve(reference)


def test_an_operation_names_messages_of_its_own_channel():
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in ("send", "receive")
        for part in (operation, operation.get("reply", operation)):
            own = f"{part['channel']['$ref']}/messages/"
            assert part["messages"]
            assert all(message["$ref"].startswith(own) for message in part["messages"])


def test_the_parameters_of_an_address_are_described():
    for channel in DOCUMENT["channels"].values():
        assert set(re.findall(r"\{(\w+)\}", channel["address"])) == channel.get("parameters", {}).keys()


def test_every_component_is_used():
    used = set(references(DOCUMENT))
    for kind, components in DOCUMENT["components"].items():
        assert {f"#/components/{kind}/{name}" for name in components} <= used


@pytest.mark.parametrize(
    ("action", "channel", "union"),
    [
        ("send", "stream", p.ServerMessage),
        ("receive", "stream", p.ClientMessage),
        ("send", "publish", p.PublishReply),
        ("receive", "publish", p.PublisherMessage),
    ],
)
def test_every_message_is_in_an_operation_of_its_channel(action, channel, union):
    assert said(action, channel) == {tag_of(message) for message in get_args(union)}


def test_every_message_is_described():
    for message in DOCUMENT["components"]["messages"].values():
        assert re.fullmatch(r"[A-Z].*\.", message["summary"])


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{example.tag}-{example.directions[0]}" for example in EXAMPLES])
def test_an_example_is_valid_by_the_documents_schema(example):
    [payload] = [
        message["payload"] for message in DOCUMENT["components"]["messages"].values() if message["name"] == example.tag
    ]
    # The schema dialect of AsyncAPI 3.0.
    jsonschema.Draft7Validator({**DOCUMENT, **payload}).validate(json.loads(example.text))
