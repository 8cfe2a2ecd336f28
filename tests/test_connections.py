"""The Python client's connection, by the scripts that the browser's runs too."""

import json
from pathlib import Path

import pytest

from dagwidget.client.outputs import TRANSITIONS

from .connection_scripts import SCRIPTS
from .connections import VECTORS, Run, random_scripts, run

VECTOR = json.loads(VECTORS.read_text(encoding="utf-8"))
PHASES = json.loads((Path(__file__).parent / "vectors" / "phases.json").read_text())


@pytest.mark.parametrize("script", VECTOR, ids=lambda script: script["name"])
def test_the_client_does_what_the_script_says(script):
    client = Run()
    for number, step in enumerate(script["steps"]):
        assert client.step(step) == step["then"], f"step {number}: {step}"


def test_the_vectors_are_the_scripts_that_are_written_in_python():
    scripts = {
        each["name"]: [{name: value for name, value in step.items() if name != "then"} for step in each["steps"]]
        for each in VECTOR
    }
    assert scripts == SCRIPTS | dict(random_scripts(60))


def test_every_phase_is_left_only_as_both_clients_do():
    # Only a page can be left by all who look at it.
    mine = {phase: [*after] for phase, after in TRANSITIONS.items()}
    assert mine == PHASES | {"waiting": [phase for phase in PHASES["waiting"] if phase != "idle"]}


def test_the_scripts_go_every_way():
    gone = set()
    for script in VECTOR:
        phase = "idle"
        for step in script["steps"]:
            after = step["then"].get("phase", phase)
            gone.add((phase, after))
            phase = after
    assert {phase for pair in gone for phase in pair} == {*PHASES}


def test_random_scripts_are_run_without_a_fault():
    for _, script in random_scripts(400, seed=7):
        run(script)
