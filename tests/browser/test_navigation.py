"""Finding one's way in a graph of thousands of nodes, by keyboard, on a bare page."""

import contextlib
import itertools

import pytest
from playwright.sync_api import expect

from .lab import CHROMIUM, CHROMIUM_ARGUMENTS


@contextlib.contextmanager
def shown(browser, view_page, state):
    context = browser.new_context(viewport={"width": 1000, "height": 640}, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{view_page}?state={state}")
    expect(page.locator(".dw-surface")).to_be_visible()
    page.locator(".dw-surface").focus()
    # Until it is laid out there is nothing to go to; an arrow then finds the first node.
    page.wait_for_timeout(500)
    yield page
    context.close()


@pytest.fixture
def large(browser, view_page):
    with shown(browser, view_page, "n2000") as page:
        yield page


@pytest.fixture
def fan(browser, view_page):
    with shown(browser, view_page, "fan") as page:
        yield page


def test_a_node_is_searched_for_found_and_inspected_without_a_mouse(large):
    large.keyboard.press("/")
    field = large.get_by_role("combobox")
    expect(field).to_be_focused()
    large.keyboard.type("task 19")
    expect(large.locator(".dw-search .dw-found")).to_have_text("139")
    large.keyboard.press("Control+a")
    large.keyboard.type("state:failed")
    large.keyboard.press("Enter")
    found = large.locator(".dw-search .dw-found")
    failed = int(large.locator(".dw-jump:visible b").first.inner_text())
    expect(found).to_have_text(f"1 of {failed}")
    large.keyboard.press("Shift+Enter")
    expect(found).to_have_text(f"{failed} of {failed}")
    expect(large.locator(".dw-map")).to_be_visible()
    large.keyboard.press("Escape")
    expect(large.locator(".dw-surface")).to_be_focused()
    expect(found).to_be_hidden()
    large.keyboard.press("Enter")
    expect(large.locator(".dw-inspector")).to_contain_text("failed")


def test_keys_go_from_failure_to_failure_and_to_what_waits_and_runs(large):
    said = large.locator("[aria-live=polite].dw-offscreen")
    for key, state in [("f", "failed"), ("g", "waiting"), ("r", "running")]:
        large.keyboard.press(key)
        expect(said).to_contain_text(f"{state}, 1 of ")
    large.keyboard.press("r")
    expect(said).to_contain_text("running, 2 of ")


def test_each_way_of_looking_is_turned_on_and_off_by_its_key(large):
    large.keyboard.press("r")
    ways = [("p", "Path"), ("c", "Critical path"), ("o", "Only active"), ("w", "Follow")]
    for key, name in ways:
        button = large.get_by_role("button", name=name, exact=True)
        large.keyboard.press(key)
        expect(button).to_have_attribute("aria-pressed", "true")
        large.keyboard.press(key)
        expect(button).to_have_attribute("aria-pressed", "false")
    large.keyboard.press("?")
    expect(large.get_by_role("dialog", name="Keys")).to_be_visible()
    large.keyboard.press("Escape")
    expect(large.get_by_role("dialog", name="Keys")).to_be_hidden()
    expect(large.locator(".dw-surface")).to_be_focused()


def test_following_ends_as_soon_as_the_viewer_moves_the_picture(large):
    large.keyboard.press("w")
    follow = large.get_by_role("button", name="Follow", exact=True)
    expect(follow).to_have_attribute("aria-pressed", "true")
    large.keyboard.press("Shift+ArrowLeft")
    expect(follow).to_have_attribute("aria-pressed", "false")


def test_a_fan_of_thousands_is_one_node_that_says_what_failed_and_opens_by_a_key(fan):
    inspector, said = fan.locator(".dw-inspector"), fan.locator("[aria-live=polite].dw-offscreen")
    fan.keyboard.press("f")
    expect(said).to_contain_text("map ×\u00a05,000, failed, 1 of 1")
    fan.keyboard.press("Enter")
    expect(inspector).to_contain_text("Nodes 3,101/5,000, 4 failed")
    expect(inspector.locator("li").first).to_contain_text("map 701")
    inspector.get_by_role("button", name="map 701").click()
    expect(inspector).to_contain_text("ValueError: row 17 has 9 columns")
    fan.locator(".dw-surface").focus()
    fan.keyboard.press("e")
    expect(said).to_contain_text("expanded")
    # The map is there from twenty nodes on.
    expect(fan.locator(".dw-map")).to_be_visible()
    fan.keyboard.press("f")
    expect(said).to_contain_text(", failed, 1 of 4")
    inspector.get_by_role("button", name="Collapse 5,000 similar nodes").click()
    expect(fan.locator(".dw-map")).to_be_hidden()
    fan.locator(".dw-surface").focus()
    fan.keyboard.press("f")
    expect(said).to_contain_text("failed, 1 of 1")


def test_a_group_is_collapsed_by_a_click_on_its_name(fan):
    surface, tooltip = fan.locator(".dw-surface"), fan.locator(".dw-graph:not(.dw-timeline) > .dw-tooltip")
    box = surface.bounding_box()
    x = box["x"] + 0.27 * box["width"]
    # The pointer tells: over a name it is a hand, and there is no node to be told of.
    for y in range(int(box["y"]), int(box["y"] + box["height"]), 4):
        fan.mouse.move(x, y)
        if "dw-over" in surface.get_attribute("class") and tooltip.is_hidden():
            fan.mouse.click(x, y)
            break
    expect(fan.locator("[aria-live=polite].dw-offscreen")).to_contain_text("prepare, collapsed")
    # A picture can be saved as soon as it is laid out.
    fan.evaluate("() => window.page.draw('svg').then(() => undefined)")
    fan.keyboard.press("r")
    fan.keyboard.press("Enter")
    expect(fan.locator(".dw-inspector")).to_contain_text("Nodes 2/3")


def test_everything_is_expanded_and_collapsed_by_a_button(fan):
    bar = fan.get_by_role("search", name="Find in the graph")
    bar.get_by_role("button", name="Expand all").click()
    expect(fan.locator(".dw-map")).to_be_visible()
    bar.get_by_role("button", name="Collapse all").click()
    expect(fan.locator(".dw-map")).to_be_hidden()
    fan.locator(".dw-surface").focus()
    fan.keyboard.press("0")
    fan.keyboard.press("r")
    expect(fan.locator("[aria-live=polite].dw-offscreen")).to_contain_text("prepare, running, 1 of ")
    fan.keyboard.press("Enter")
    inspector = fan.locator(".dw-inspector")
    expect(inspector).to_contain_text("Nodes 2/3")
    inspector.get_by_role("button", name="Expand").click()
    expect(inspector).to_be_hidden()


def test_the_whole_screen_is_one_key_away_and_the_cell_as_it_was_another(large):
    graph = large.locator(".dw-graph").first
    before = graph.bounding_box()["height"]
    large.keyboard.press("z")
    large.wait_for_function("() => document.fullscreenElement")
    root = large.locator(".dagwidget")
    assert root.evaluate("(root) => root.matches(':fullscreen')")
    for _ in range(100):
        if (after := graph.bounding_box()["height"]) > before + 50:
            break
        large.wait_for_timeout(50)
    assert after > before + 50
    assert root.evaluate("(root) => root.scrollHeight <= innerHeight")
    large.get_by_role("button", name="Full screen").click()
    large.wait_for_function("() => !document.fullscreenElement")
    assert graph.bounding_box()["height"] == before


def test_the_keyboard_stays_in_the_view_when_the_keys_are_listed_from_the_timeline(large):
    large.keyboard.press("t")
    expect(large.locator(".dw-timeline .dw-rows")).to_be_focused()
    large.keyboard.press("?")
    expect(large.get_by_role("dialog", name="Keys")).to_be_visible()
    large.keyboard.press("Escape")
    expect(large.locator(".dw-surface")).to_be_focused()


def test_tab_leads_into_the_view_and_out_of_it(large):
    large.evaluate("""() => {
        for (const where of ["afterbegin", "beforeend"]) {
            document.body.insertAdjacentHTML(where, "<button>page</button>");
        }
    }""")
    before, after = large.get_by_role("button", name="page").all()
    inside = large.locator(".dagwidget :focus")
    before.focus()
    large.keyboard.press("Tab")
    expect(inside).to_have_count(1)
    large.keyboard.press("Shift+Tab")
    expect(before).to_be_focused()
    after.focus()
    large.keyboard.press("Shift+Tab")
    expect(inside).to_have_count(1)


@pytest.mark.parametrize("act", ["one.remove()", "one.hidden = true", "one.parentElement.hidden = true"])
def test_the_keyboard_stays_in_the_view_when_what_had_it_goes(large, act):
    button = large.get_by_role("button", name="Timeline", exact=True)
    button.focus()
    expect(button).to_be_focused()
    button.evaluate(f"(one) => {{ {act} }}")
    expect(large.locator(".dagwidget")).to_be_focused()


def test_the_keyboard_goes_where_it_is_taken(large):
    large.evaluate("() => document.body.insertAdjacentHTML('afterbegin', '<p>page</p><input>')")
    field = large.locator("body > input")
    large.locator(".dw-name").click()
    expect(large.locator(".dagwidget")).to_be_focused()
    field.click()
    expect(field).to_be_focused()
    large.locator(".dw-name").click()
    large.get_by_text("page", exact=True).click()
    large.wait_for_timeout(100)
    assert large.evaluate("() => document.activeElement === document.body")


def into_shadow_tree(page):
    """Where a host has its outputs in shadow trees, as marimo does."""
    page.evaluate("""() => {
        const host = document.body.appendChild(document.createElement("div"));
        host.attachShadow({ mode: "open" }).append(document.querySelector("#view > *"));
    }""")


def test_the_whole_screen_is_given_back_from_a_shadow_tree_too(large):
    into_shadow_tree(large)
    button = large.get_by_role("button", name="Full screen")
    button.click()
    large.wait_for_function("() => document.fullscreenElement")
    button.click()
    large.wait_for_function("() => !document.fullscreenElement")


def test_the_keyboard_is_given_back_within_a_shadow_tree(large):
    into_shadow_tree(large)
    surface = large.locator(".dw-surface")
    surface.focus()
    large.keyboard.press("?")
    expect(large.get_by_role("dialog", name="Keys")).to_be_visible()
    large.keyboard.press("Escape")
    expect(surface).to_be_focused()


def test_another_screen_gets_as_many_pixels_as_it_has(browser, view_page):
    screens = "--screen-info={1200x900}{1200x900 devicePixelRatio=2}"
    other = browser.browser_type.launch(executable_path=CHROMIUM, args=[*CHROMIUM_ARGUMENTS, screens])
    context = other.new_context(no_viewport=True)
    page = context.new_page()
    page.goto(f"{view_page}?state=running")
    canvas = page.locator(".dw-surface canvas").first
    before = canvas.bounding_box()["width"]
    expect(canvas).to_have_js_property("width", before)
    session = context.new_cdp_session(page)
    window = session.send("Browser.getWindowForTarget")["windowId"]
    session.send("Browser.setWindowBounds", {"windowId": window, "bounds": {"left": 1300}})
    expect(canvas).to_have_js_property("width", 2 * before)
    assert canvas.bounding_box()["width"] == before
    other.close()


def test_a_fan_opens_by_a_double_click_though_the_first_click_moves_it(fan):
    box, tooltip = fan.locator(".dw-surface").bounding_box(), fan.locator(".dw-graph:not(.dw-timeline) > .dw-tooltip")
    spots = (
        (x, y)
        for y in range(int(box["y"]) + 8, int(box["y"] + box["height"]), 12)
        for x in range(int(box["x"]) + 8, int(box["x"] + box["width"]), 30)
    )
    for x, y in spots:
        fan.mouse.move(x, y)
        if tooltip.is_visible() and "map ×" in tooltip.inner_text():
            break
    fan.mouse.click(x, y)
    expect(fan.locator(".dw-inspector")).to_be_visible()
    fan.mouse.click(x, y)
    expect(fan.locator(".dw-map")).to_be_visible()


def test_the_cursor_stays_where_a_fan_was_opened(fan):
    said = fan.locator("[aria-live=polite].dw-offscreen")
    fan.keyboard.press("f")
    fan.keyboard.press("e")
    expect(fan.locator(".dw-map")).to_be_visible()
    fan.wait_for_timeout(1500)
    fan.keyboard.press("ArrowLeft")
    expect(said).to_contain_text("load part ×")


def test_the_path_of_a_node_that_is_shown_with_others_is_theirs(fan):
    fan.keyboard.press("f")
    fan.keyboard.press("Enter")
    fan.locator(".dw-inspector").get_by_role("button", name="map 701").click()
    fan.locator(".dw-surface").focus()
    fan.keyboard.press("p")
    expect(fan.get_by_role("button", name="Path", exact=True)).to_have_attribute("aria-pressed", "true")


def test_the_keyboard_is_at_the_menu_after_a_file_was_asked_for(fan):
    fan.get_by_text("Export", exact=True).focus()
    fan.keyboard.press("Enter")
    fan.get_by_role("button", name="JSON state").focus()
    with fan.expect_download():
        fan.keyboard.press("Enter")
    expect(fan.get_by_text("Export", exact=True)).to_be_focused()


def test_in_a_page_from_right_to_left_the_picture_and_its_words_stay_in_order(fan):
    fan.evaluate("() => document.documentElement.dir = 'rtl'")
    fan.evaluate("() => window.page.change({ structure: true })")
    surface, tooltip = fan.locator(".dw-surface"), fan.locator(".dw-graph:not(.dw-timeline) > .dw-tooltip")
    fan.wait_for_timeout(500)
    box = surface.bounding_box()
    for x in range(int(box["x"]) + 8, int(box["x"] + box["width"]), 20):
        fan.mouse.move(x, box["y"] + box["height"] / 2)
        if tooltip.is_visible():
            break
    shown = tooltip.bounding_box()
    assert box["x"] <= shown["x"] <= box["x"] + box["width"] - shown["width"]
    assert surface.evaluate("(one) => getComputedStyle(one).direction") == "ltr"


def test_what_is_looked_for_from_the_timeline_is_shown_in_the_graph(large):
    surface, timeline = large.locator(".dw-surface"), large.get_by_role("button", name="Timeline", exact=True)
    field = large.get_by_role("combobox")
    for look in (
        lambda: large.locator(".dw-jump:visible").first.click(),
        lambda: large.keyboard.press("?"),
        lambda: large.get_by_role("button", name="Critical path", exact=True).click(),
        lambda: large.keyboard.press("/"),
        lambda: field.fill("task 19"),
    ):
        timeline.click()
        expect(surface).to_be_hidden()
        look()
        expect(surface).to_be_visible()
    field.press("Escape")
    expect(surface).to_be_focused()


def test_a_picture_of_a_large_graph_is_made_though_it_keeps_growing(browser, view_page):
    with shown(browser, view_page, "n10000") as page:
        made = page.evaluate(
            """async () => {
              let added = 0;
              const timer = setInterval(() => window.page.addNode(`new-${added++}`, "task-1"), 15);
              await new Promise((resolve) => setTimeout(resolve, 300));
              const late = new Promise((resolve) => setTimeout(resolve, 15_000));
              const blob = await Promise.race([window.page.draw("svg"), late]);
              clearInterval(timer);
              return blob?.size ?? 0;
            }"""
        )
        assert made > 0


def test_what_can_t_be_pressed_is_told_from_what_can_in_forced_colours(browser, view_page):
    context = browser.new_context(forced_colors="active")
    page = context.new_page()
    page.goto(f"{view_page}?state=gates")
    able, unable = page.get_by_role("button", name="Approve").all()
    expect(unable).to_have_attribute("aria-disabled", "true")
    color = "(el) => getComputedStyle(el).color"
    assert able.evaluate(color) != unable.evaluate(color)
    context.close()


def test_forced_colours_are_what_the_picture_is_drawn_on(browser, view_page):
    context = browser.new_context(forced_colors="active", color_scheme="dark")
    page = context.new_page()
    page.goto(f"{view_page}?state=running")
    expect(page.locator(".dagwidget")).to_have_attribute("data-theme", "dark")
    context.close()


def test_nothing_is_cut_off_where_letters_are_large_and_the_page_is_narrow(browser, view_page):
    page = browser.new_page(viewport={"width": 380, "height": 900})
    page.goto(f"{view_page}?state=gates&width=360")
    page.locator(".dagwidget").evaluate("(root) => root.style.setProperty('font-size', '26px', 'important')")
    page.get_by_role("button", name="Replay").click()
    live = page.get_by_role("button", name="Live · 2 open gates")
    expect(live).to_be_visible()
    edge = 16 + 360
    for one in (page.get_by_text("Export", exact=True), live, page.locator(".dw-replay-words")):
        box = one.bounding_box()
        assert box["x"] + box["width"] <= edge
    assert page.locator(".dw-replay-words").bounding_box()["width"] > 150
    page.close()


def test_a_gate_is_found_and_decided_by_keys(browser, view_page):
    with shown(browser, view_page, "gates") as page:
        page.keyboard.press("d")
        first = page.locator(".dw-gate").first
        expect(first).to_be_focused()
        page.keyboard.press("r")
        expect(first.get_by_role("button", name="Reject")).to_be_focused()
        page.keyboard.press("Enter")
        expect(first).to_have_attribute("data-standing", "sent")


def test_the_tooltip_tells_of_the_node_as_it_is_and_goes_with_it(browser, view_page):
    with shown(browser, view_page, "running") as page:
        box, tooltip = page.locator(".dw-surface").bounding_box(), page.locator(".dw-graph > .dw-tooltip").first
        # From here on the camera stays where it is.
        page.keyboard.press("Shift+ArrowUp")
        for x, y in itertools.product(range(5, int(box["width"]), 20), range(5, int(box["height"]), 10)):
            page.mouse.move(box["x"] + x, box["y"] + y)
            if tooltip.is_visible() and "plan" in tooltip.inner_text():
                break
        expect(tooltip).to_contain_text("completed")
        page.evaluate("""() => {
            const { page } = window;
            page.state.nodes.set("plan", { id: "plan", status: "failed" });
            page.change({ nodes: new Set(["plan"]) });
        }""")
        expect(tooltip).to_contain_text("failed")
        page.evaluate("""() => {
            const { page } = window;
            page.state.nodes.delete("plan");
            page.change({ structure: true, edges: true, nodes: new Set(["plan"]) });
        }""")
        expect(tooltip.and_(page.locator(":visible", has_text="plan"))).to_have_count(0)
