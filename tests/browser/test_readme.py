"""The README's Python blocks, run from top to bottom in a notebook: one block a cell, one kernel, a real browser."""

from playwright.sync_api import expect

from ..readme import blocks
from .lab import notebook

# What a reader would see by the end, checked in the same namespace.
OUTCOME = """
import json

assert decision.decision == "approve" and decision.source == "python" and decision.feedback == "looks good"
assert w.status == "completed" and w.results == {"model": "v7", "review": "approve"}, (w.status, w.results)
assert [node.status for node in w.nodes.values()] == ["completed"] * 3
assert w.nodes["train"].output == {"rows": 1_000_000} and w.cost.spent == 0.04
assert svg.lstrip().startswith("<svg") and png.startswith(b"\\x89PNG")
assert json.loads(w.to_json())["status"] == "completed"
assert dagwidget.output("my-dag", "extract", run_id=past.run_id) == {"rows": 1_000_000}
assert past.run_id == run.run_id
assert event.by and release.flush(timeout=60) and nightly.flush(timeout=60)
"outcome as described"
"""


def test_the_readme_runs_from_top_to_bottom(lab, browser, tmp_path):
    cells = blocks("python")
    with lab.open(browser, notebook(tmp_path / "readme.ipynb", *cells, OUTCOME)) as book:
        for number in range(len(cells)):
            book.run(number)
            if number == 0:
                # The first cell alone shows a live graph.
                widget = book.page.locator(".dagwidget").first
                expect(widget.locator(".dw-counts")).to_contain_text("3 pending", timeout=30_000)
        book.run(len(cells))
        assert "outcome as described" in book.wait_for_text(len(cells), "described")
        expect(widget.locator(".dw-counts")).to_contain_text("3 completed", timeout=30_000)
        assert book.problems == []
