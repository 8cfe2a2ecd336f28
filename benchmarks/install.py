"""How many packages an installation brings: for a server or a worker, and with the widget. Asks the package index."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import requires

from .results import Row

# What a server and a worker import. pyproject.toml says how to install no more than these.
SERVER = ("jsonschema", "msgspec", "websockets")


def requirements(names: tuple[str, ...] | None = None) -> list[str]:
    """What the package requires, with the versions; only the `names` where they are given."""
    required = [each for each in requires("dagwidget") or [] if "extra ==" not in each]
    return [each for each in required if names is None or _name(each) in names]


def measure() -> list[Row]:
    return [
        Row("install/server_packages", _packages(SERVER), "packages", "pip install dagwidget", _packages(None)),
    ]


def _packages(names: tuple[str, ...] | None) -> int:
    """The packages that pip would install into an empty environment, dagwidget included."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    done = subprocess.run([*command, *requirements(names)], capture_output=True, text=True, check=True)
    return len(json.loads(done.stdout)["install"]) + 1


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found[0].lower()
