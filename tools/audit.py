"""Asks the npm registry for known vulnerabilities of what the lock files fix: `python tools/audit.py`.

What is shipped may have none, what only builds and tests none that is high or critical. Without a registry that
answers, nothing is known: that is said, and is no failure, so that `make lint` works offline.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
LEVELS: Final = ("info", "low", "moderate", "high", "critical")
# The folder, what of it is looked at, and from which level on a vulnerability is a failure.
AUDITS: Final = (
    ("js", "what is shipped", ["--omit=dev"], "info"),
    ("js", "what builds and tests", [], "high"),
    ("benchmarks/browser", "what is measured against", [], "high"),
)


def main() -> int:
    failed = False
    for folder, what, options, level in AUDITS:
        command = ["npm", "audit", "--json", "--package-lock-only", "--fetch-retries=0", *options]
        done = subprocess.run(command, cwd=ROOT / folder, capture_output=True, text=True, check=False)
        bad, said = verdict(done.stdout, level)
        failed = failed or bad
        print(f"npm audit of {folder}, {what}: {said}")
    return int(failed)


def verdict(report: str, level: str) -> tuple[bool, str]:
    """Whether a report of `npm audit --json` is a failure, and what to say of it."""
    try:
        found: Any = json.loads(report)
    except ValueError:
        found = {}
    if not isinstance(found, dict) or "vulnerabilities" not in found:
        why = found.get("message") or found.get("error", {}).get("summary") if isinstance(found, dict) else None
        return False, f"NOT CHECKED, as the registry does not answer ({why or 'it said nothing'})"
    names = {name: each["severity"] for name, each in found["vulnerabilities"].items()}
    bad = [name for name, severity in names.items() if LEVELS.index(severity) >= LEVELS.index(level)]
    if not names:
        return False, "no known vulnerabilities"
    listed = ", ".join(f"{name} ({severity})" for name, severity in sorted(names.items()))
    return bool(bad), f"{listed}; {'renew them with `make lock`' if bad else f'none is {level} or worse'}"


if __name__ == "__main__":
    sys.exit(main())
