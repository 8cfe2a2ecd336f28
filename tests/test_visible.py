"""What nobody would see is shown: in Python's texts, by the vectors that the page is tested with too."""

import json
from pathlib import Path

import pytest

from dagwidget import protocol as p
from dagwidget.client.pending_command import SentCommand, settle
from dagwidget.errors import DagwidgetError, ServerRefused
from dagwidget.visible import visible

VECTORS = json.loads((Path(__file__).parent / "visible.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("text", "shown"), VECTORS)
def test_what_nobody_would_see_is_shown(text, shown):
    assert visible(text) == shown
    assert visible(shown) == shown


def test_what_is_shown_of_an_error_hides_nothing():
    assert str(ServerRefused("no \u202eexe.txt", code=4403)) == "no [U+202E]exe.txt"
    assert repr(DagwidgetError("no \u202eexe.txt")) == r"DagwidgetError('no \u202eexe.txt')"


def test_what_is_shown_of_a_refused_command_hides_nothing():
    sent = SentCommand(p.PauseExecution(id="1"), lambda _id: False)
    settle(sent, p.CommandAck(id="1", ok=False, message="no \u202eexe.txt"))
    assert "no [U+202E]exe.txt" in repr(sent)
