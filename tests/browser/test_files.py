"""The same run over time, and as a file, in a real browser."""

import xml.etree.ElementTree as ET

from playwright.sync_api import expect

import dagwidget
from tests.serving import serving

from .lab import notebook

SLOW = 30_000
SHOW = """
import dagwidget
w = dagwidget.DAGStreamWidget("files", url={url!r}, token={token!r})
w
"""
DRAW = """
svg, png = await w.to_svg(), await w.to_png()
import json
print("drawn:", svg.count("<g><title>"), png[:4], json.loads(w.to_json())["nodes"]["b"]["status"])
"""


def test_a_run_is_seen_over_time_and_saved_as_a_picture(lab, browser, tmp_path):
    with serving() as server:
        cells = SHOW.format(url=server.url, token=server.token), DRAW
        path = notebook(tmp_path / "files.ipynb", *cells)
        with (
            dagwidget.start_run(
                "files", nodes=["a", "b", "c"], edges=[("a", "b"), ("b", "c")], url=server.url, token=server.token
            ) as run,
            lab.open(browser, path) as book,
        ):
            with run.node("a"):
                pass
            run.update("b", "running", progress=0.5)
            book.run(0)
            widget = book.page.locator(".dagwidget")
            expect(widget.get_by_text("live", exact=True)).to_be_visible(timeout=SLOW)

            widget.locator(".dw-surface").focus()
            book.page.keyboard.press("t")
            rows = widget.get_by_role("application", name="Timeline")
            expect(rows).to_be_focused()
            expect(widget.locator(".dw-timeline p")).to_contain_text("1 running: b", timeout=SLOW)
            # Below the axis stand the rows: a, which has started first, and then b.
            rows.click(position={"x": 60, "y": 28 + 24 + 12})
            expect(widget.get_by_role("heading", name="b", exact=True)).to_be_visible()
            book.page.keyboard.press("Home")
            expect(widget.get_by_role("heading", name="a", exact=True)).to_be_visible()

            # The graph is drawn also where the timeline is in its place.
            book.run(1)
            assert "drawn: 3 b'\\x89PNG' running" in book.wait_for_text(1, "drawn")
            widget.get_by_text("Export", exact=True).click()
            with book.page.expect_download() as download:
                widget.get_by_role("button", name="SVG picture").click()
            assert download.value.suggested_filename == "files.svg"
            root = ET.fromstring(download.value.path().read_text())
            assert {"a", "b", "c"} <= {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
            run.complete()
            assert book.problems == []
