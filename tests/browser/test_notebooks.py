"""The example notebooks, run by a person: in JupyterLab, up to the gate, and on."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .lab import notebook, widgets_saved

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SLOW = 30_000


def test_the_langgraph_notebook_goes_on_when_its_gate_is_approved_by_a_click(lab, browser):
    with lab.open(browser, NOTEBOOKS / "langgraph_agent.ipynb") as book:
        book.run(0, 6)
        book.start(8, 10)
        widget = book.page.locator(".dagwidget").first
        expect(widget.get_by_role("heading", name="Publish this answer?")).to_be_visible(timeout=SLOW)
        widget.get_by_role("button", name="Approve", exact=True).click()
        assert "A second, longer draft." in book.wait_for_text(8, "draft")
        assert "A second, longer draft." in book.wait_for_text(9, "spent=")
        expect(widget.get_by_text("A second, longer draft.").first).to_be_visible()
        assert book.problems == []


def test_the_langgraph_notebook_goes_on_when_its_gate_is_approved_in_a_cell(lab, browser):
    with lab.open(browser, NOTEBOOKS / "langgraph_agent.ipynb") as book:
        book.run(0, 10)
        assert "A second, longer draft." in book.wait_for_text(8, "draft")
        said = book.wait_for_text(9, "spent=")
        assert "A second, longer draft." in said
        widget = book.page.locator(".dagwidget").first
        expect(widget.get_by_text("A second, longer draft.").first).to_be_visible(timeout=SLOW)
        assert book.problems == []


def test_the_quickstart_runs_to_its_end_and_leaves_no_token_behind(lab, browser):
    with lab.open(browser, NOTEBOOKS / "quickstart.ipynb") as book:
        urls = []
        book.page.on("websocket", lambda socket: urls.append(socket.url))
        book.page.on("request", lambda request: urls.append(request.url))
        book.run(0, 8)
        assert "'deployed': True" in book.wait_for_text(7, "quickstart")
        expect(book.page.locator(".dagwidget").get_by_text("completed").first).to_be_visible(timeout=SLOW)
        assert book.problems == []
        book.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    folder, runtime = lab.root.parent, lab.runtime / "dagwidget-server.json"
    token = json.loads(runtime.read_text())["token"]
    assert any("/stream" in url for url in urls)
    assert [url for url in urls if token in url] == []
    files = [path for path in folder.rglob("*") if path.is_file() and path != runtime]
    assert any("deployed" in path.read_text() for path in lab.root.glob("quickstart-*.ipynb"))
    assert [path for path in files if token.encode() in path.read_bytes()] == []


def test_a_saved_notebook_shows_how_its_run_ended(lab, browser, tmp_path):
    cells = (
        "import dagwidget\nw = dagwidget.DAGStreamWidget('saved')\nw",
        "run = dagwidget.start_run('saved', nodes=['train'])\n"
        "with run.node('train') as node:\n    node.output(rows=3)\n"
        "run.complete({'model': 'v7'})\nawait w.complete(timeout=30)",
    )
    with widgets_saved(lab), lab.open(browser, notebook(tmp_path / "saved.ipynb", *cells)) as book:
        book.run(0, 2)
        expect(book.page.locator(".dagwidget").get_by_text("Completed", exact=True)).to_be_visible(timeout=SLOW)
        book.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        copy = tmp_path / "copy.ipynb"
        (saved,) = lab.root.glob("saved-*.ipynb")
        copy.write_bytes(saved.read_bytes())
    # Another kernel, which knows of no widget.
    with lab.open(browser, copy) as book:
        widget = book.page.locator(".dagwidget")
        expect(widget.locator(".dw-connection")).to_have_text("saved snapshot · not connected", timeout=SLOW)
        expect(widget.get_by_text("Completed", exact=True)).to_be_visible()
        widget.get_by_role("button", name="Timeline").click()
        expect(widget.locator(".dw-timeline")).to_be_visible()
        assert book.problems == []


@pytest.mark.parametrize("name", ["quickstart", "langgraph_agent"])
def test_the_notebooks_are_saved_without_outputs(name):
    text = (NOTEBOOKS / f"{name}.ipynb").read_text()
    assert '"outputs": []' in text
    assert '"output_type"' not in text
