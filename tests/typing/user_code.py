"""User code for `mypy --strict` and `pyright`; it never runs. Lines with `# error` must be errors, and no others."""

from __future__ import annotations

from typing import Any, assert_never, assert_type

import dagwidget
from dagwidget import protocol
from dagwidget.client import Batch, Connection


def names() -> None:
    dagwidget.typo  # error
    dagwidget.engines.nothing  # error
    dagwidget.start_runs("my-dag")  # error
    assert_type(dagwidget.runs("my-dag"), list[protocol.RunInfo])
    assert_type(dagwidget.run_state("my-dag", "run", seq=7), dagwidget.DagState)
    assert_type(dagwidget.output("my-dag", "train"), Any)


def arguments() -> None:
    dagwidget.start_run(7)  # error
    dagwidget.start_run("my-dag", ["extract"], [("extract", "train")], budget=5.0, on_budget="pause")
    dagwidget.start_run("my-dag", on_budget="stop")  # error
    dagwidget.connect("my-dag", token=lambda: "secret", url="ws://127.0.0.1:8899")
    dagwidget.connect("my-dag", "run")  # error


def publish(run: dagwidget.Run) -> None:
    assert_type(run.node("train"), dagwidget.NodeExecution)
    with run.node("train") as node:
        assert_type(node, dagwidget.NodeExecution)
        node.output({"loss": 0.1})
    run.update("train", "completed", metrics={"loss": 0.1, "model": "v7"})
    run.update("train", "done")  # error

    @run.node("train")
    def train(epochs: int) -> float:
        return 0.1 * epochs

    assert_type(train(3), float)
    train("three")  # error


async def gate(run: dagwidget.Run) -> None:
    opened = run.gate("review", title="Ship it?", allowed=["approve", "reject"])
    assert_type(opened, dagwidget.OpenGate)
    assert_type(opened.result(60), dagwidget.Decision)
    decision = await opened
    assert_type(decision, dagwidget.Decision)
    match decision.decision:
        case "approve" | "reject" | "modify":
            pass
        case other:
            assert_never(other)


async def follow(client: dagwidget.StreamClient) -> None:
    async with client as same:
        assert_type(same, dagwidget.StreamClient)
    assert_type(client.state.nodes, dict[str, dagwidget.Node])
    assert_type(client.state.gates, dict[str, dagwidget.Gate])
    assert_type(client.connection, Connection)
    assert_type(await client.decide("review", "approve"), dagwidget.SentCommand)
    client.decide("review", "maybe")  # error
    client.on_batch(on_batch)
    async for event in client.events():
        match event:
            case protocol.NodeState():
                assert_type(event.progress, float | None)
            case protocol.Sync():
                assert_type(event.epoch, str)
            case protocol.Event():
                assert_type(event.seq, int | None)
            case _:
                assert_never(event)


def on_batch(batch: Batch) -> None:
    batch.seq = 7  # error


def on_event(event: protocol.AnyEvent | protocol.Unknown) -> None:
    assert_type(event.seq, int | None)


async def watch(w: dagwidget.DAGStreamWidget) -> None:
    assert_type(await w.wait_for("review", timeout=60), dagwidget.Gate)
    assert_type(await w.decide("review", "modify", value={"ok": True}), dagwidget.SentCommand)
    w.decide("review", "maybe")  # error
    w.on_event(on_event)
    assert_type(await w.to_png(), bytes)


def failures() -> None:
    try:
        pass
    except dagwidget.UnknownGate as error:
        assert_type(error.node_id, str)
        assert_type(error.gate_id, str | None)
    except dagwidget.ServerRefused as error:
        assert_type(error.code, int | None)
    except dagwidget.RunFailed as error:
        assert_type([each.message for each in error.errors], list[str])
    except dagwidget.NotConnected as error:
        error.code  # error


def decode(frame: bytes) -> None:
    for message in protocol.decode_reply(frame):
        match message:
            case protocol.Attached() | protocol.Ack() | protocol.Ping() | protocol.Bye():
                pass
            case protocol.HumanGateResolved() | protocol.ExecutionState():
                pass
            case protocol.Unknown():
                pass
            case _:
                assert_never(message)
    for command in protocol.decode_client(frame):
        match command:
            case protocol.Command() | protocol.Hello() | protocol.Pong():
                pass
            case _:
                assert_never(command)  # error
