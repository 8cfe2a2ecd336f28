"""What users write type-checks, and what they get wrong does not: tests/typing/user_code.py, by two type checkers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

USER_CODE = Path(__file__).parent / "typing" / "user_code.py"
PYRIGHT = Path(__file__).parent.parent / "js" / "node_modules" / "pyright" / "index.js"


# Without it, the libraries are checked again each time.
CACHE = Path(__file__).parent.parent / ".mypy_cache" / "user_code"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def user_code(tmp_path):
    """The file elsewhere, as users have theirs: beside the package it would be checked as a part of it."""
    return Path(shutil.copy(USER_CODE, tmp_path))


def expected() -> set[int]:
    lines = enumerate(USER_CODE.read_text().splitlines(), start=1)
    return {number for number, line in lines if line.endswith("# error")}


def report(errors: dict[int, str]) -> str:
    wrong = {number: text for number, text in errors.items() if number not in expected()}
    return f"errors where none is expected: {wrong}; none where one is: {sorted(expected() - {*errors})}"


def test_mypy_finds_the_errors_and_no_others(user_code):
    options = ["--strict", "--no-error-summary", "--config-file=", f"--cache-dir={CACHE}"]
    command = [sys.executable, "-m", "mypy", *options, user_code]
    done = subprocess.run(command, cwd=user_code.parent, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    found = re.findall(r"^user_code\.py:(\d+): error: (.*)$", done.stdout, flags=re.MULTILINE)
    errors = {int(number): text for number, text in found}
    assert errors.keys() == expected(), report(errors)


@pytest.mark.skipif(not PYRIGHT.exists(), reason="pyright is not installed: make setup")
def test_pyright_finds_the_errors_and_no_others(user_code):
    command = ["node", PYRIGHT, "--outputjson", "--pythonpath", sys.executable, user_code]
    done = subprocess.run(command, cwd=user_code.parent, capture_output=True, text=True, check=False)
    diagnostics = json.loads(done.stdout)["generalDiagnostics"]
    errors = {each["range"]["start"]["line"] + 1: each["message"] for each in diagnostics}
    assert errors.keys() == expected(), report(errors)
