"""A run that is over, watched once more from its log, in a real browser."""

import re

from playwright.sync_api import expect

import dagwidget
from dagwidget.server.storage.sqlite import SqliteJournal
from tests.serving import serving

from .lab import notebook

SLOW = 30_000
SHOW = """
import dagwidget
w = dagwidget.DAGStreamWidget("replayed", url={url!r}, token={token!r}, run={run!r})
w
"""


def play(server):
    """A run of three nodes, one after the other, the last of which fails; returns its id."""
    nodes = ["a", "b", "c"]
    with dagwidget.start_run("replayed", nodes, [("a", "b"), ("b", "c")], url=server.url, token=server.token) as run:
        for name in nodes:
            run.update(name, "running")
            run.update(name, "failed" if name == "c" else "completed")
    assert run.flush(20)
    return run.run_id


def moment(server, run_id, node_id, status):
    """The number of the event that brings a node into that status, as Python knows it."""
    for seq in range(1, 100):
        state = dagwidget.run_state("replayed", run_id, seq=seq, url=server.url, token=server.token)
        if node_id in state.nodes and state.nodes[node_id].status == status:
            return seq
    raise AssertionError(f"{node_id} never was {status}")


def test_a_past_run_is_replayed_scrubbed_and_live_again(lab, browser, tmp_path):
    journal = SqliteJournal(tmp_path / "log.sqlite3")
    with serving(journal=journal) as server:
        past = play(server)
        play(server)
        middle = moment(server, past, "c", "running")
        path = notebook(tmp_path / "replay.ipynb", SHOW.format(url=server.url, token=server.token, run=past))
        with lab.open(browser, path) as book:
            book.run(0)
            widget = book.page.locator(".dagwidget")
            counts = widget.locator(".dw-counts li:visible")
            expect(counts).to_have_text(["1 failed", "2 completed"], timeout=SLOW)
            widget.get_by_role("button", name="Replay").click()
            slider = widget.get_by_role("slider", name="Moment of the run")
            expect(slider).to_be_visible(timeout=SLOW)
            words = widget.locator(".dw-replay-words")
            # However short it was, it plays to its end.
            expect(words).to_have_text(re.compile(r"event (\d+) of \1$"), timeout=SLOW)
            expect(widget.get_by_role("button", name="Play (k)")).to_be_visible()

            slider.press("Home")
            expect(counts).to_have_count(0)
            for _ in range(middle):
                slider.press("ArrowRight")
            expect(slider).to_have_attribute("aria-valuetext", re.compile(f"event {middle} of"))
            expect(counts).to_have_text(["1 running", "2 completed"])
            expect(widget.locator(".dw-word")).to_have_text("Running")
            expect(widget.locator(".dw-mark[data-kind=failure]")).to_have_count(1)
            slider.press("Shift+ArrowRight")
            expect(counts).to_have_text(["1 failed", "2 completed"])

            slider.press("Home")
            widget.get_by_role("button", name="Live", exact=True).click()
            expect(words).to_be_hidden()
            expect(counts).to_have_text(["1 failed", "2 completed"])
            expect(widget.locator(".dw-word")).not_to_have_text("Running")
            assert book.problems == []
    journal.close()
