"""Both reducers run tests/vectors/*.jsonl: what a v1 connection receives, and the state that it adds up to."""

import json
from pathlib import Path
from typing import get_args

import pytest
import rfc8785

from dagwidget import protocol as p
from dagwidget.state import DagState, compact, reduce

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.jsonl"))


def read(path: Path) -> tuple[list, dict]:
    *lines, last = path.read_text(encoding="utf-8").strip("\n").split("\n")
    expected = json.loads(last)
    assert expected["type"] == "expect"
    return [message for line in lines for message in p.decode_server(line)], expected["state"]


def replay(messages: list) -> DagState:
    state = DagState()
    for message in messages:
        match message:
            case p.Sync(reset=True):
                state = DagState(epoch=message.epoch)
            case p.Sync():
                pass
            case p.Synced():
                state.seq = message.seq
            case _:
                state.apply(message)
    return state


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_reducer_ends_in_the_state_of_the_vector(path):
    messages, expected = read(path)
    assert rfc8785.dumps(replay(messages).to_dict()) == rfc8785.dumps(expected)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_compacted_vector_reduces_to_the_same_state(path):
    state = replay(read(path)[0])
    again = reduce(compact(state), DagState(epoch=state.epoch, seq=state.seq))
    assert rfc8785.dumps(again.to_dict()) == rfc8785.dumps(state.to_dict())


def test_the_vectors_hold_every_event_type():
    seen = {type(message) for path in VECTORS for message in read(path)[0]}
    assert seen >= {*get_args(p.AnyEvent), p.Unknown}
