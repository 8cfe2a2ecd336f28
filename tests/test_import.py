"""What `import dagwidget` brings with it, and what it does not."""

import subprocess
import sys

import pytest

import dagwidget

NOT_NEEDED = [
    "dagwidget.engines",
    "dagwidget.room",
    "dagwidget.server",
    "dagwidget.session",
    "genai_prices",
    "jsonschema",
    "jupyter_core",
    "langchain_core",
    "langgraph",
    "nbformat",
    "websockets",
]


def test_nothing_is_imported_that_is_not_needed_yet():
    script = f"""
import sys, anywidget
before = set(sys.modules)
import dagwidget
print(sorted((set(sys.modules) - before) & set({NOT_NEEDED!r})))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_engines_are_there_by_name():
    pytest.importorskip("langgraph")
    assert callable(dagwidget.engines.langgraph.run)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dagwidget.engines.nothing


@pytest.mark.parametrize("name", dagwidget.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(dagwidget, name).__doc__


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert version("dagwidget") == dagwidget.__version__
