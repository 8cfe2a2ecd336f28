"""What axe-core finds in the view, in each of its states and themes: nothing."""

import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "tests" / "pages"
ORIGIN = "http://page.test"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# The page around the view is none of ours.
LEFT_OUT = ["region", "page-has-heading-one", "landmark-one-main", "landmark-complementary-is-top-level"]

RUN = """
async ([rules, leftOut]) => {
  const off = Object.fromEntries(leftOut.map((rule) => [rule, { enabled: false }]));
  const { violations, passes } = await axe.run("#view", { runOnly: rules, rules: off });
  const found = violations.map(({ id, help, nodes }) => [id, help, nodes.slice(0, 3).map(({ html }) => html)]);
  return [found, passes.length];
}
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    bundle = tmp_path_factory.mktemp("page") / "view.js"
    subprocess.run(["node", str(ROOT / "js" / "build.mjs"), str(PAGES / "view.ts"), str(bundle)], check=True)
    return {"/": PAGES / "view.html", "/view.js": bundle}


@pytest.fixture(scope="module")
def page(browser, files):
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.route(
        f"{ORIGIN}/**", lambda route: route.fulfill(path=files[route.request.url.split("?")[0].removeprefix(ORIGIN)])
    )
    yield page
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "state",
    [
        *("empty", "running", "instances", "gate", "gates", "failed", "complete", "stale", "refused", "viewer", "over"),
        *("runs", "past", "gone", "gone at a gate", "lost", "cancelling"),
    ],
)
def test_axe_finds_nothing(page, state, theme):
    page.goto(f"{ORIGIN}/?state={state}&theme={theme}")
    page.locator(".dagwidget .dw-surface").wait_for()
    page.add_script_tag(path=str(ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"))
    found, passed = page.evaluate(RUN, [RULES, LEFT_OUT])
    assert found == []
    assert passed > 5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", ["running", "values", "gates", "failed", "complete", "over"])
def test_axe_finds_nothing_in_what_can_be_unfolded(page, state, theme):
    page.goto(f"{ORIGIN}/?state={state}&theme={theme}")
    page.locator(".dagwidget details").evaluate_all("(all) => all.forEach((one) => (one.open = true))")
    page.wait_for_timeout(100)
    page.add_script_tag(path=str(ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"))
    found, passed = page.evaluate(RUN, [RULES, LEFT_OUT])
    assert found == []
    assert passed > 5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_the_list_of_runs(page, theme):
    page.goto(f"{ORIGIN}/?state=runs&theme={theme}")
    page.locator(".dagwidget .dw-surface").focus()
    page.keyboard.press("n")
    expect(page.get_by_role("listbox", name="Runs of research-agent")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.add_script_tag(path=str(ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"))
    found, passed = page.evaluate(RUN, [RULES, LEFT_OUT])
    assert found == []
    assert passed > 5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", ["empty", "instances", "gate", "failed", "stale"])
def test_axe_finds_nothing_in_the_timeline(page, state, theme):
    page.goto(f"{ORIGIN}/?state={state}&theme={theme}")
    page.get_by_role("button", name="Timeline").click()
    page.locator(".dw-menu summary", has_text="Export").click()
    page.add_script_tag(path=str(ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"))
    found, passed = page.evaluate(RUN, [RULES, LEFT_OUT])
    assert found == []
    assert passed > 5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", ["running", "gates", "failed", "complete"])
def test_axe_finds_nothing_in_a_replay(page, state, theme):
    page.goto(f"{ORIGIN}/?state={state}&theme={theme}")
    page.get_by_role("button", name="Replay").click()
    slider = page.get_by_role("slider", name="Moment of the run")
    slider.press("Space")
    slider.press("End")
    page.add_script_tag(path=str(ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"))
    found, passed = page.evaluate(RUN, [RULES, LEFT_OUT])
    assert found == []
    assert passed > 5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("node", ["load", "plot", "train", "write"])
def test_axe_finds_nothing_in_what_a_node_put_out(page, node, theme):
    page.goto(f"{ORIGIN}/?state=values&theme={theme}&select={node}")
    page.locator(".dw-inspector .dw-value").wait_for()
    page.add_script_tag(path=str(ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"))
    found, passed = page.evaluate(RUN, [RULES, LEFT_OUT])
    assert found == []
    assert passed > 5


def test_a_value_is_walked_with_the_keyboard_alone(page):
    page.goto(f"{ORIGIN}/?state=values&select=train")
    value = page.locator(".dw-inspector .dw-value")
    value.get_by_role("button", name="Tree").focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(value.get_by_role("group", name="Tree")).to_be_focused()
    value.locator("summary", has_text="importances").focus()
    page.keyboard.press("Enter")
    expect(value.get_by_text("11,900 – 11,999")).to_have_count(0)
    value.locator("summary", has_text="10,000 – 11,999").focus()
    page.keyboard.press("Enter")
    value.locator("summary", has_text="11,900 – 11,999").focus()
    page.keyboard.press("Space")
    expect(value.get_by_text("0.000083", exact=True).last).to_be_visible()


def test_axe_would_find_something(page):
    page.goto(f"{ORIGIN}/?state=running")
    page.evaluate("() => document.querySelector('#view').insertAdjacentHTML('beforeend', '<button></button>')")
    page.add_script_tag(path=str(ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"))
    found, _ = page.evaluate(RUN, [RULES, LEFT_OUT])
    assert [rule for rule, _, _ in found] == ["button-name"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", ["gates", "failed", "values"])
def test_axe_finds_nothing_where_more_contrast_is_asked_for(page, state, theme):
    page.emulate_media(contrast="more")
    try:
        page.goto(f"{ORIGIN}/?state={state}&theme={theme}")
        page.add_script_tag(path=str(ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"))
        found, _ = page.evaluate(RUN, [[*RULES, "wcag2aaa"], LEFT_OUT])
    finally:
        page.emulate_media(contrast="null")
    assert found == []


def test_a_reader_of_the_list_hears_the_graph(page):
    page.goto(f"{ORIGIN}/?state=failed")
    opening = page.get_by_role("button", name="List the")
    opening.focus()
    page.keyboard.press("Enter")
    tree = page.get_by_role("tree", name="Nodes of the graph")
    tree.get_by_role("treeitem", name="write the draft, failed, RateLimitError").focus()
    page.keyboard.press("Enter")
    page.locator(".dw-inspector h3", has_text="write the draft").wait_for()
    page.keyboard.press("Escape")
    expect(opening).to_be_focused()
