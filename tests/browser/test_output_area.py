"""The widget in JupyterLab's own output area, whose style sheet has rules for tables, lists, `pre` and buttons."""

import pytest
from playwright.sync_api import expect

from .lab import notebook
from .scripted import busy_run, scripted
from .test_accessibility import LEFT_OUT, ROOT, RULES

SLOW = 30_000
CELL = "import dagwidget\ndagwidget.DAGStreamWidget('output', url={url!r})"

AXE = """
async ([rules, leftOut]) => {
  const off = Object.fromEntries(leftOut.map((rule) => [rule, { enabled: false }]));
  const widget = document.querySelector(".jp-OutputArea-output [data-lm-suppress-shortcuts]");
  const { violations, passes } = await axe.run(widget, { runOnly: rules, rules: off });
  const found = violations.map(({ id, help, nodes }) => [id, help, nodes.slice(0, 3).map(({ html }) => html)]);
  return [found, passes.length];
}
"""
# Pairs of boxes that share more than an edge.
OVERLAPPING = """
(all) => {
  const boxes = all.map((one) => [one.textContent, one.getBoundingClientRect()]);
  const found = [];
  for (const [i, [text, a]] of boxes.entries()) {
    for (const [other, b] of boxes.slice(i + 1)) {
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 1) found.push([text, other]);
    }
  }
  return found;
}
"""
# Words of a text that are not on one line.
BROKEN = """
(block) => {
  const node = block.firstChild;
  const range = document.createRange();
  return [...node.data.matchAll(/[\\w.]+/g)].filter(({ 0: word, index }) => {
    range.setStart(node, index);
    range.setEnd(node, index + word.length);
    return range.getClientRects().length > 1;
  }).map(([word]) => word);
}
"""
LOOK = """
(one) => {
  const style = getComputedStyle(one);
  const border = [style.borderTopColor, style.borderTopWidth, style.borderTopLeftRadius];
  return [style.backgroundColor, ...border, style.color, style.fontFamily, style.fontSize, style.minHeight];
}
"""


@pytest.fixture(scope="module", params=["light", "dark"])
def widget(lab, browser, tmp_path_factory, request):
    """A widget in a cell, with the inspector open at a node that has put out a table."""
    with scripted(busy_run()) as url:
        path = notebook(tmp_path_factory.mktemp("output") / "output.ipynb", CELL.format(url=url))
        with lab.open(browser, path, theme=request.param) as book:
            book.page.set_viewport_size({"width": 1280, "height": 1600})
            book.run(0)
            widget = book.page.locator(".dagwidget")
            expect(widget.locator(".dw-gate").first).to_be_visible(timeout=SLOW)
            expect(widget).to_have_attribute("data-theme", request.param)
            inspect(widget, "load")
            yield widget


def inspect(widget, node):
    widget.get_by_role("combobox").fill(node)
    # It can be gone to as soon as it is laid out.
    expect(widget.locator(".dw-search .dw-found")).to_have_text("1")
    # To the match, from there to the graph, and into the inspector.
    for key in ("Enter", "Escape", "Enter"):
        widget.page.keyboard.press(key)
    expect(widget.locator(".dw-inspector h3")).to_have_text(node)


def test_axe_finds_nothing_with_the_inspector_open(widget):
    page = widget.page
    page.add_script_tag(path=str(ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"))
    found, passed = page.evaluate(AXE, [RULES, LEFT_OUT])
    assert found == []
    assert passed > 15
    widget.locator("details").evaluate_all("(all) => all.forEach((one) => (one.open = true))")
    assert page.evaluate(AXE, [RULES, LEFT_OUT])[0] == []
    widget.locator(".dw-menu").evaluate_all("(all) => all.forEach((one) => (one.open = false))")


def test_what_a_node_took_and_cost_is_seen_above_a_table(widget):
    expect(widget.locator(".dw-inspector .dw-grid")).to_be_visible()
    facts = widget.locator(".dw-facts")
    assert facts.locator("dt").all_text_contents() == ["duration", "cost", "tokens in", "tokens out", "model", "group"]
    shown = facts.bounding_box()
    assert shown["height"] >= 6 * 20
    assert facts.locator("dt, dd").evaluate_all(OVERLAPPING) == []
    body = widget.locator(".dw-inspector-body").bounding_box()
    assert shown["y"] >= body["y"]
    assert shown["y"] + shown["height"] <= body["y"] + body["height"]


def test_a_button_looks_like_any_other(widget):
    all_of_it = widget.get_by_role("button", name="Show all")
    assert all_of_it.evaluate(LOOK) == widget.get_by_role("button", name="Critical path").evaluate(LOOK)


def test_the_list_of_keys_can_be_read(widget):
    widget.locator(".dw-name").click()
    widget.page.keyboard.press("?")
    keys = widget.locator(".dw-keys")
    expect(keys).to_be_visible()
    assert keys.locator("kbd, dd").evaluate_all(OVERLAPPING) == []
    assert keys.evaluate("(one) => one.scrollWidth <= one.clientWidth")
    widget.page.keyboard.press("Escape")
    expect(keys).to_be_hidden()


def test_text_breaks_between_words(widget):
    inspect(widget, "train")
    log = widget.locator(".dw-log")
    expect(log).to_contain_text("epoch 59")
    assert log.evaluate(BROKEN) == []
    inspect(widget, "load")
