"""The exceptions: their tree, their attributes at each place that raises them, and pickling."""

import copy
import inspect
import pickle
import re
import sys
from pathlib import Path

import pytest

import dagwidget
from dagwidget import discovery, errors
from dagwidget.errors import (
    ClientClosed,
    DagwidgetError,
    GateTimeout,
    InvalidDecision,
    NoFrontEnd,
    NotConnected,
    RunCancelled,
    RunEnded,
    RunFailed,
    ServerNotFound,
    ServerRefused,
    ServerUnreachable,
    TokenUnavailable,
    UnknownGate,
    UnknownOutput,
    UnknownRun,
)

from .serving import serving

# Nothing listens there.
NOWHERE = "ws://127.0.0.1:9"
PATIENCE = 20.0

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, BaseException)]


@pytest.fixture(scope="module")
def server():
    with serving() as server:
        yield server


@pytest.fixture
def start(server, request):
    """Starts runs of a DAG of the test's own."""
    runs = []

    def start(run_id: str | None = None) -> dagwidget.Run:
        runs.append(
            dagwidget.start_run(request.node.name, ["review"], run_id=run_id, url=server.url, token=server.token)
        )
        return runs[-1]

    yield start
    for run in runs:
        run.complete()
        assert run.flush(PATIENCE) or run.refused


@pytest.fixture
def waiting(start):
    """A run that waits at a gate, and has an error at another node."""
    run = start()
    run.gate("review", gate_id="review:1", allowed=["approve", "reject"])
    run.error("disk full", node_id="train")
    assert run.flush(PATIENCE)
    return run


@pytest.fixture
async def widget(waiting, server):
    """A widget that follows the run that waits."""
    widget = dagwidget.DAGStreamWidget(waiting.dag_id, url=server.url, token=server.token)
    await widget.wait_for("review", timeout=PATIENCE)
    yield widget
    widget.close()


# --- The tree


def test_the_tree_in_the_docstring_is_the_one_of_the_classes():
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in errors.__doc__.splitlines():
        found = re.match(r" {4}([│├└─ ]*)([A-Z]\w+)\b", line)
        if found is None:
            continue
        depth = len(found[1]) // 4
        above[depth:] = [found[2]]
        drawn[found[2]] = above[depth - 1] if depth else ""
    roots = (DagwidgetError, RunCancelled)
    assert drawn == {each.__name__: "" if each in roots else each.__bases__[0].__name__ for each in CLASSES}


def test_each_is_exported_and_documented():
    for each in CLASSES:
        assert getattr(dagwidget, each.__name__) is each
        assert each.__doc__


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_is_pickled_and_copied_with_its_attributes(kind):
    keywords = inspect.getfullargspec(kind.__init__).kwonlyargs if inspect.isfunction(kind.__init__) else []
    error = kind("what happened", **{name: f"the {name}" for name in keywords})
    error.add_note("a note")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == "what happened"
        assert vars(again) == {**{name: f"the {name}" for name in keywords}, "__notes__": ["a note"]}


# --- Decisions and gates


async def test_a_gate_that_is_not_open(widget, waiting):
    waiting.complete()
    await widget.complete(timeout=PATIENCE)
    with pytest.raises(UnknownGate) as caught:
        widget.decide("train", "approve", gate_id="train:1")
    error = caught.value
    assert (error.node_id, error.gate_id, error.open_gates) == ("train", "train:1", {})
    assert isinstance(error, LookupError)


async def test_a_decision_that_the_gate_does_not_accept(widget):
    with pytest.raises(InvalidDecision) as caught:
        widget.decide("review", "modify", value=1)
    error = caught.value
    assert (error.node_id, error.decision, error.allowed) == ("review", "modify", ("approve", "reject"))
    assert isinstance(error, ValueError)


async def test_a_decision_that_no_gate_accepts(widget, server):
    with pytest.raises(InvalidDecision) as by_widget:
        widget.decide("review", "maybe")
    async with dagwidget.connect("dag", url=server.url, token=server.token) as client:
        with pytest.raises(InvalidDecision) as by_client:
            client.decide("review", "maybe")
    for error in (by_widget.value, by_client.value):
        assert (error.node_id, error.decision, error.allowed) == ("review", "maybe", ("approve", "reject", "modify"))


def test_a_gate_whose_deadline_has_passed(start):
    gate = start().gate("review", timeout=0.01)
    with pytest.raises(GateTimeout) as caught:
        gate.result(PATIENCE)
    assert (caught.value.node_id, caught.value.gate_id) == ("review", gate.gate_id)
    assert isinstance(caught.value, TimeoutError)


def test_a_gate_of_a_run_that_has_ended(start):
    run = start()
    run.complete()
    with pytest.raises(RunEnded) as caught:
        run.gate("review").result(PATIENCE)
    assert (caught.value.dag_id, caught.value.run_id) == (run.dag_id, run.run_id)


def test_a_gate_of_a_run_that_was_replaced(start):
    run = start()
    gate = run.gate("review")
    assert run.flush(PATIENCE)
    newer = start(run.run_id)
    assert newer.flush(PATIENCE)
    with pytest.raises(RunEnded, match="4006") as caught:
        gate.result(PATIENCE)
    assert caught.value.run_id == run.run_id


def test_a_gate_of_a_publisher_that_the_server_refuses(server, monkeypatch):
    # As on another machine: a token for this one is only sent to who has proven to know it.
    monkeypatch.setattr("dagwidget.challenge.is_needed", lambda _url: False)
    run = dagwidget.start_run("dag", url=server.url, token="wrong")
    with pytest.raises(ServerRefused, match="token is wrong") as caught:
        run.gate("review").result(PATIENCE)
    assert caught.value.code == 4401


# --- Runs


async def test_a_run_that_failed(widget, waiting):
    waiting.fail("the disk is full")
    with pytest.raises(RunFailed) as caught:
        await widget.complete(timeout=PATIENCE)
    error = caught.value
    assert (error.dag_id, error.run_id, error.status) == (waiting.dag_id, waiting.run_id, "failed")
    assert [(each.message, each.node_id) for each in error.errors] == [
        ("disk full", "train"),
        ("the disk is full", None),
    ]
    with pytest.raises(RunFailed) as caught:
        await widget.wait_for("review", timeout=PATIENCE)
    assert caught.value.status == "failed"


async def test_a_run_that_a_person_cancelled(start, server):
    run = start()
    assert run.flush(PATIENCE)
    async with dagwidget.connect(run.dag_id, url=server.url, token=server.token) as client:
        await client.synced(PATIENCE)
        assert (await client.cancel()).state == "accepted"
        with pytest.raises(RunCancelled) as caught:
            await run.gate("review")
    assert (caught.value.dag_id, caught.value.run_id) == (run.dag_id, run.run_id)


def test_a_run_that_the_server_does_not_have(start, server):
    run = start()
    assert run.flush(PATIENCE)
    with pytest.raises(UnknownRun) as caught:
        dagwidget.run_state(run.dag_id, "other", url=server.url, token=server.token)
    assert (caught.value.dag_id, caught.value.run_id) == (run.dag_id, "other")


def test_an_output_that_the_server_does_not_have(start, server):
    run = start()
    assert run.flush(PATIENCE)
    with pytest.raises(UnknownOutput) as caught:
        dagwidget.output(run.dag_id, "train", instance="7", url=server.url, token=server.token)
    error = caught.value
    assert (error.dag_id, error.node_id, error.instance, error.run_id) == (run.dag_id, "train", "7", None)


# --- Connections


def test_a_server_that_does_not_answer():
    with pytest.raises(ServerUnreachable) as caught:
        dagwidget.runs("dag", url=NOWHERE, token="any")
    assert caught.value.url == NOWHERE
    assert isinstance(caught.value, NotConnected)


def test_a_server_that_refuses_a_request(server):
    with pytest.raises(ServerRefused) as caught:
        dagwidget.runs("dag", url=server.url, token="wrong")
    assert caught.value.code == 401


async def test_a_server_that_refuses_a_connection(server, monkeypatch):
    # As on another machine: a token for this one is only sent to who has proven to know it.
    monkeypatch.setattr("dagwidget.challenge.is_needed", lambda _url: False)
    async with dagwidget.connect("dag", url=server.url, token="wrong") as client:
        with pytest.raises(ServerRefused) as caught:
            await client.synced(PATIENCE)
    assert caught.value.code == 4401


async def test_a_client_that_is_not_open(server):
    client = dagwidget.connect("dag", url=server.url, token=server.token)
    with pytest.raises(ClientClosed) as before:
        client.pause()
    async with client:
        pass
    with pytest.raises(ClientClosed) as after:
        await client.synced(PATIENCE)
    assert before.value.dag_id == after.value.dag_id == "dag"


def test_a_token_function_that_fails(server):
    def token() -> str:
        raise OSError("the vault is sealed")

    with pytest.raises(TokenUnavailable, match=r"token\(\) raised OSError: the vault is sealed") as caught:
        dagwidget.runs("dag", url=server.url, token=token)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(TokenUnavailable, match=r"token\(\) must return a string, got int"):
        dagwidget.runs("dag", url=server.url, token=lambda: 7)


def test_a_server_that_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("DAGWIDGET_URL", raising=False)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ServerNotFound) as caught:
        discovery.ensure_server()
    assert caught.value.command == ("/bin/false", "-m", "dagwidget.cli", "serve", "--embedded")
    assert caught.value.log_file == Path(tmp_path) / "dagwidget-server.log"


async def test_a_widget_that_nobody_displays():
    widget = dagwidget.DAGStreamWidget("dag", url=NOWHERE)
    with pytest.raises(NoFrontEnd) as drawing:
        await widget.to_svg(timeout=0)
    assert drawing.value.timeout == 0
    widget.close()
