"""A server and a worker on the few packages that they need, in an environment of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from benchmarks.install import SERVER, requirements

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parent.parent
MOST = 10

# A worker joins the run that another process started, asks a person, and another client answers.
SCRIPT = """
import dagwidget

run = dagwidget.start_run("dag", ["fetch", "review"], [("fetch", "review")])
worker = dagwidget.attach(None, "dag", run_id=run.run_id)
with worker, worker.node("fetch") as node:
    node.output({"rows": 7})
gate = run.gate("review", schema={"type": "object", "required": ["ok"]})
assert run.flush(60)
with dagwidget.connect("dag") as person:
    import asyncio
    asyncio.run(person.synced(60))
    async def decide(value):
        return await person.decide("review", "modify", value=value)
    assert asyncio.run(decide({})).state == "refused"
    assert asyncio.run(decide({"ok": True})).state == "accepted"
assert gate.result(60).value == {"ok": True}
run.complete({"rows": 7})
assert run.flush(60)
state = dagwidget.run_state("dag", run.run_id)
print(state.status, state.results, sorted(node.status for node in state.nodes.values()))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A Python with dagwidget, built from here, and the packages that pyproject.toml names for a server."""
    folder = tmp_path_factory.mktemp("install")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    [wheel] = folder.glob("dagwidget-*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip[0] = str(python)
    subprocess.run([*pip, "install", "--no-deps", wheel], check=True)
    subprocess.run([*pip, "install", *requirements(SERVER)], check=True)
    return python


@pytest.fixture
def machine(tmp_path):
    """The environment variables of a machine where nothing runs."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("DAGWIDGET_", "PYTHON"))}
    return {**ours, "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"), "JUPYTER_DATA_DIR": str(tmp_path / "data")}


def test_a_server_and_a_worker_need_no_more_than_ten_packages(environment):
    listed = subprocess.run(
        [environment, "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True
    )
    names = {package["name"] for package in json.loads(listed.stdout)} - {"pip", "setuptools"}
    assert {"dagwidget", *SERVER} <= names
    assert len(names) <= MOST, sorted(names)


def test_a_run_is_served_published_and_steered_on_these_packages(environment, machine, tmp_path):
    command = [environment.with_name("dagwidget"), "serve", "--port", "0"]
    with subprocess.Popen(
        command,
        env={**machine, "DAGWIDGET_TOKEN": "a-token-of-the-test"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        try:
            said = server.stdout.readline()
            found = re.search(r"ws://127\.0\.0\.1:\d+", said)
            assert found, said
            done = subprocess.run(
                [environment, "-c", SCRIPT],
                env={**machine, "DAGWIDGET_URL": found[0], "DAGWIDGET_TOKEN": "a-token-of-the-test"},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout == "completed {'rows': 7} ['completed', 'completed']\n"
        finally:
            server.terminate()
    assert server.returncode == 0


def test_a_worker_without_a_server_starts_one(environment, machine, tmp_path):
    described = Path(machine["JUPYTER_RUNTIME_DIR"]) / "dagwidget-server.json"
    try:
        done = subprocess.run(
            [environment, "-c", SCRIPT], env=machine, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "completed {'rows': 7} ['completed', 'completed']\n"
    finally:
        if described.exists():
            os.kill(json.loads(described.read_text())["pid"], signal.SIGTERM)
