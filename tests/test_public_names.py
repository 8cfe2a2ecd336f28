"""The public names are those in tests/public_names.txt: nothing becomes public, or goes away, by accident."""

from __future__ import annotations

import importlib
import os
import pkgutil
from pathlib import Path

import dagwidget

STORED = Path(__file__).with_name("public_names.txt")
HOW = "If that is meant, run `PUBLIC_NAMES=store pytest tests/test_public_names.py`, and write it into CHANGELOG.md"


def public_names() -> list[str]:
    """`package.name` for the `__all__` of each package."""
    found = [f"dagwidget.{name}" for name in dagwidget.__all__]
    for module in pkgutil.walk_packages(dagwidget.__path__, "dagwidget."):
        package = importlib.import_module(module.name) if module.ispkg else None
        found += [f"{module.name}.{name}" for name in getattr(package, "__all__", [])]
    return sorted(found)


def test_the_public_names_are_the_stored_ones():
    names = public_names()
    if os.environ.get("PUBLIC_NAMES") == "store":
        STORED.write_text("\n".join(names) + "\n")
    stored = STORED.read_text().split()
    added, removed = sorted({*names} - {*stored}), sorted({*stored} - {*names})
    assert not added, f"new public names: {', '.join(added)}. {HOW}"
    assert not removed, f"no longer public: {', '.join(removed)}. {HOW}"


def test_each_name_of_a_package_is_listed_once():
    assert len(public_names()) == len({*public_names()})
