"""What an import loads, and what it must not; and the names that are public."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import dagwidget

# What a notebook needs, and a server or a worker must do without.
NOTEBOOK = {"IPython", "anywidget", "comm", "ipykernel", "ipywidgets", "jupyter_core", "traitlets", "dagwidget.widget"}
# What is loaded only once it is used.
LATER = {"genai_prices", "jsonschema", "langchain_core", "langgraph", "nbformat", "sqlite3"}

PACKAGES = {
    "dagwidget": {"asyncio", "msgspec", "websockets", "dagwidget.engines", "dagwidget.server", "dagwidget.publisher"},
    "dagwidget.protocol": {"asyncio", "websockets", "dagwidget.state"},
    "dagwidget.state": {"asyncio", "websockets", "dagwidget.server", "dagwidget.publisher", "dagwidget.client"},
    "dagwidget.discovery": {"asyncio", "msgspec", "websockets", "http.client", "subprocess"},
    "dagwidget.publisher": {"asyncio", "websockets", "http.client", "dagwidget.server", "dagwidget.client"},
    "dagwidget.client": {"dagwidget.server", "dagwidget.publisher"},
    "dagwidget.server": {"dagwidget.client", "dagwidget.publisher"},
    "dagwidget.engines": {"websockets", "dagwidget.server", "dagwidget.client"},
}


def loaded_by(statement: str) -> set[str]:
    """The modules that a statement loads, in a fresh interpreter."""
    script = f"import sys\nbefore = set(sys.modules)\n{statement}\nprint(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_loads_no_notebook_and_nothing_that_it_does_not_need_yet(package):
    loaded = loaded_by(f"import {package}")
    assert package in loaded
    assert loaded & (NOTEBOOK | LATER | PACKAGES[package]) == set()


def test_a_publisher_loads_no_notebook_either_once_it_publishes():
    script = """
import dagwidget, time
run = dagwidget.start_run("dag", ["a"], url="ws://127.0.0.1:1")
run.update("a", "running")
while "websockets.asyncio.client" not in sys.modules:
    time.sleep(0.01)
"""
    loaded = loaded_by(script)
    assert "dagwidget.publisher.transport" in loaded
    assert loaded & (NOTEBOOK | {"dagwidget.server", "dagwidget.client", "dagwidget.widget"}) == set()


def test_the_widget_loads_no_server_and_no_engine():
    loaded = loaded_by("import dagwidget; dagwidget.DAGStreamWidget")
    assert "dagwidget.widget" in loaded
    assert loaded & (LATER | {"dagwidget.server", "dagwidget.engines"}) == set()


def test_the_engines_are_there_by_name():
    pytest.importorskip("langgraph")
    assert callable(dagwidget.engines.langgraph.run)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dagwidget.engines.nothing


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'dagwidget' has no attribute 'typo'"):
        _ = dagwidget.typo


def test_a_package_that_is_missing_is_named_with_what_needs_it():
    script = "import sys; sys.modules['anywidget'] = None; import dagwidget; dagwidget.DAGStreamWidget"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: DAGStreamWidget needs the package 'anywidget', which is not installed: "
        "pip install dagwidget"
    )


@pytest.mark.parametrize("name", dagwidget.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert name in dir(dagwidget)
    assert getattr(dagwidget, name).__doc__


def test_the_version_is_that_of_the_package():
    assert version("dagwidget") == dagwidget.__version__
