"""Who looks elsewhere hears of a gate, in the way that they chose."""

import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "tests" / "pages"
ORIGIN = "http://localhost"

# What a headless browser has no desktop for.
NOTIFIED = """
window.notified = [];
window.Notification = class {
  static requestPermission = async () => "granted";
  constructor(title, { body }) { notified.push([title, body, this]); }
  close() {}
};
"""
LATER = 3_500


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    bundle = tmp_path_factory.mktemp("page") / "view.js"
    subprocess.run(["node", str(ROOT / "js" / "build.mjs"), str(PAGES / "view.ts"), str(bundle)], check=True)
    return {"/": PAGES / "view.html", "/view.js": bundle}


@pytest.fixture
def page(browser, files):
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.route(
        f"{ORIGIN}/**", lambda route: route.fulfill(path=files[route.request.url.split("?")[0].removeprefix(ORIGIN)])
    )
    page.add_init_script(NOTIFIED)
    yield page
    page.close()


def open_gate(page, name):
    page.evaluate(
        """(name) => {
          window.page.state.gates.set(name, { gate_id: name, node_id: "plan", presentation: { title: name } });
          window.page.change({});
        }""",
        name,
    )


def scroll_away(page):
    page.evaluate("() => { document.body.style.paddingBottom = '3000px'; scrollTo(0, 2800); }")


def test_the_title_counts_gates_of_a_cell_that_is_out_of_sight(page):
    page.goto(f"{ORIGIN}/?state=gates")
    page.locator(".dw-gate").first.wait_for()
    own = page.title()
    scroll_away(page)
    expect(page).to_have_title(f"(2) {own}")
    page.evaluate("() => scrollTo(0, 0)")
    expect(page).to_have_title(own)


def test_a_call_leads_back_to_the_cell(page):
    page.goto(f"{ORIGIN}/?state=running")
    page.get_by_text("Notify me").click()
    page.get_by_label("Desktop notification").check()
    page.get_by_label("Sound").check()
    page.wait_for_timeout(LATER)
    scroll_away(page)
    expect(page.locator(".dw-title")).not_to_be_in_viewport()
    open_gate(page, "Ship it?")
    page.wait_for_function("() => notified.length > 0")
    assert page.evaluate("() => notified.map(([title, body]) => [title, body])") == [
        ["Ship it?", "research-agent: plan"]
    ]
    page.evaluate("() => notified[0][2].onclick()")
    expect(page.locator(".dw-title")).to_be_in_viewport()
    page.reload()
    page.get_by_text("Notify me").click()
    expect(page.get_by_label("Desktop notification")).to_be_checked()


def test_the_list_of_gates_leads_to_each_with_the_keyboard(page):
    page.goto(f"{ORIGIN}/?state=gates&width=340")
    row = page.get_by_role("list", name="Open gates").get_by_role("button", name="Run delete_rows")
    row.focus()
    page.keyboard.press("Enter")
    card = page.locator(".dw-gate", has_text="Run delete_rows")
    expect(card).to_be_focused()
    expect(card.get_by_role("radio", name="staging")).to_be_in_viewport()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(card.get_by_role("radio", name="staging")).to_be_focused()
