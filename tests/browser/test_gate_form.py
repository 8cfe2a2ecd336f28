"""A gate whose answer is a form, answered with the keyboard alone."""

from playwright.sync_api import expect

import dagwidget
from tests.serving import serving

from .lab import notebook

SLOW = 30_000
SCHEMA = {
    "type": "object",
    "required": ["name", "replicas", "target"],
    "properties": {
        "name": {"type": "string", "title": "Name", "minLength": 2},
        "replicas": {"type": "integer", "title": "Replicas", "minimum": 1},
        "canary": {"type": "boolean", "title": "Canary", "default": False},
        "target": {
            "title": "Target",
            "oneOf": [
                {
                    "title": "Cloud",
                    "type": "object",
                    "required": ["kind", "region"],
                    "properties": {"kind": {"const": "cloud"}, "region": {"type": "string", "title": "Region"}},
                },
                {
                    "title": "Local",
                    "type": "object",
                    "required": ["kind", "ports"],
                    "properties": {
                        "kind": {"const": "local"},
                        "ports": {"type": "array", "title": "Ports", "items": {"type": "integer"}, "minItems": 1},
                    },
                },
            ],
        },
    },
}
DATA = {"name": "api", "replicas": 2, "target": {"kind": "cloud", "region": "eu"}, "note": "kept"}
CELL = "import dagwidget\ndagwidget.DAGStreamWidget({dag_id!r}, url={url!r}, token={token!r})"


FOCUSED = """
() => {
  const { activeElement } = document;
  const { labels, ariaLabel, textContent } = activeElement.shadowRoot?.activeElement ?? activeElement;
  return labels?.[0]?.textContent ?? ariaLabel ?? textContent;
}
"""


def tab_to(page, name: str) -> None:
    """Press Tab until what is focused has that name."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED).removesuffix(" optional") == name:
            return
    raise AssertionError(f"{name!r} is not reached with Tab")


def test_a_nested_form_is_answered_with_the_keyboard_alone(lab, browser, tmp_path):
    with serving() as server:
        path = notebook(tmp_path / "form.ipynb", CELL.format(dag_id="form", url=server.url, token=server.token))
        with (
            dagwidget.start_run("form", ["build", "deploy"], url=server.url, token=server.token) as run,
            lab.open(browser, path) as book,
        ):
            page = book.page
            waiting = run.gate("deploy", title="Deploy it?", data=DATA, schema=SCHEMA)
            book.run(0)
            widget = page.locator(".dagwidget")
            expect(widget.get_by_role("heading", name="Deploy it?")).to_be_visible(timeout=SLOW)
            assert "Decision needed: Deploy it?" in widget.locator("[aria-live=polite]").all_inner_texts()

            widget.locator("button").first.focus()
            tab_to(page, "List the 2 nodes")
            page.keyboard.press("Enter")
            assert widget.get_by_role("treeitem").all_inner_texts() == ["build, pending", "deploy, waiting"]
            page.keyboard.press("Escape")

            widget.locator("button").first.focus()
            tab_to(page, "Modify…")
            page.keyboard.press("Enter")
            expect(widget.get_by_label("Name", exact=True)).to_be_focused()
            tab_to(page, "Replicas")
            page.keyboard.press("Control+A")
            page.keyboard.type("0")
            tab_to(page, "Canary")
            page.keyboard.type("yes")
            tab_to(page, "Target")
            page.keyboard.type("Local")
            tab_to(page, "Add to Ports")
            page.keyboard.press("Enter")
            page.keyboard.type("8080")
            page.keyboard.press("Control+Enter")
            expect(widget.get_by_text("At least 1.")).to_be_visible()
            expect(widget.get_by_label("Replicas")).to_be_focused()
            page.keyboard.press("Control+A")
            page.keyboard.type("3")
            expect(widget.get_by_text("replicas: 2 → 3")).to_be_visible()
            page.keyboard.press("Control+Enter")
            decision = waiting.result(30)
            assert decision.decision == "modify"
            assert decision.value == {
                "note": "kept",
                "name": "api",
                "replicas": 3,
                "canary": True,
                "target": {"kind": "local", "ports": [8080]},
            }
            assert book.problems == []
