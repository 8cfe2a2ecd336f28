"""Every test that docs/guarantees.md and docs/security.md name is there."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    line.strip("|\n ").rsplit("|", 1)
    for line in (ROOT / "docs" / "guarantees.md").read_text().splitlines()
    if line.startswith("|") and "`" in line.rsplit("|", 2)[1]
]


def titles() -> set[str]:
    python = (path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    typescript = (path.read_text() for path in (ROOT / "js" / "tests").rglob("*.test.ts*"))
    found = {name for text in python for name in re.findall(r"(?:def (test_\w+)|^(test_\w+) =)", text, re.MULTILINE)}
    named = {part for names in found for part in names if part}
    # Both languages run these.
    scripts = {script["name"] for script in json.loads((ROOT / "tests" / "vectors" / "connections.json").read_text())}
    return named | scripts | {title for text in typescript for title in re.findall(r'test\("(.+?)", ', text)}


def test_there_are_rows():
    assert len(ROWS) > 35


@pytest.mark.parametrize(("row", "tests"), ROWS, ids=[row.split("|")[0].strip() for row, _ in ROWS])
def test_what_a_guarantee_names_is_there(row, tests):
    named = re.findall(r"`([^`]+)`", tests)
    assert named
    assert set(named) <= titles()


def test_the_tests_of_the_security_model_are_there():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "security.md").read_text()))
    assert len(named) > 20
    assert named <= titles()
