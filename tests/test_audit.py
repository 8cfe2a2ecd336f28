"""What `make lint` says of known vulnerabilities, and that a registry which does not answer is no clean bill."""

import importlib.util
import json
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("audit", Path(__file__).parent.parent / "tools" / "audit.py")
audit = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(audit)


def report(**severities: str) -> str:
    return json.dumps({"vulnerabilities": {name: {"severity": severity} for name, severity in severities.items()}})


@pytest.mark.parametrize(
    ("found", "level", "failed", "said"),
    [
        (report(), "info", False, "no known vulnerabilities"),
        (report(a="low"), "info", True, "a (low); renew"),
        (report(a="moderate", b="info"), "high", False, "a (moderate), b (info); none is high"),
        (report(a="critical"), "high", True, "a (critical); renew"),
        ("", "info", False, "NOT CHECKED"),
        ("[]", "info", False, "NOT CHECKED"),
        (json.dumps({"message": "405 Method Not Allowed"}), "info", False, "(405 Method Not Allowed)"),
        (json.dumps({"error": {"summary": "no network"}}), "info", False, "(no network)"),
    ],
)
def test_a_vulnerability_fails_and_an_unanswered_question_is_said(found, level, failed, said):
    verdict = audit.verdict(found, level)
    assert verdict[0] is failed
    assert said in verdict[1]
