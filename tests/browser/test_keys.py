"""A click anywhere in the widget gives it the keyboard: what is pressed then reaches no cell of the notebook."""

import pytest
from playwright.sync_api import expect

from .lab import notebook
from .scripted import busy_run, scripted

SLOW = 30_000

CELLS = ("import dagwidget\ndagwidget.DAGStreamWidget('keys', url={url!r})", "one = 1", "two = 2")

# What JupyterLab does to cells and kernels, or to the notebook as a whole, while a cell has the keyboard.
NOTEBOOK_KEYS = [
    *(
        "b",
        "x",
        "v",
        "y",
        "i",
        "i",
        "Shift+M",
        "Shift+K",
        "Shift+ArrowDown",
        "Control+Enter",
        "Alt+Enter",
        "Shift+Enter",
    ),
    *("Control+a", "Control+z", "Control+Shift+M", "Control+Shift+ArrowDown", "Control+Backspace", "d", "d", "0", "0"),
]
# How keys are called in the list of the widget, and how Playwright calls them.
SPELT = {
    ", .": [",", "."],
    "+ −": ["+", "-"],
    "Arrows": ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"],
    "Shift+arrows": ["Shift+ArrowLeft", "Shift+ArrowRight", "Shift+ArrowUp", "Shift+ArrowDown"],
}

WATCH = """
() => {
  const { commands, shell } = window.jupyterapp;
  const { content, sessionContext } = shell.currentWidget;
  // Commands that ran, states of the kernel other than busy and idle, and for each key what had the focus.
  const seen = { commands: [], kernel: [], keys: [] };
  commands.commandExecuted.connect((_, { id }) => seen.commands.push(id));
  sessionContext.statusChanged.connect((_, status) => /busy|idle/.test(status) || seen.kernel.push(status));
  const name = (one) => one && `${one.localName}.${one.getAttribute("class")}`;
  const focus = () => {
    const { activeElement } = document;
    const inner = activeElement?.shadowRoot?.activeElement;
    return inner ? `widget ${name(inner)}` : `page ${name(activeElement)}`;
  };
  const note = ({ key, isTrusted }) => isTrusted && seen.keys.push([key, focus()]);
  window.addEventListener("keydown", note, { capture: true });
  window.seen = () => {
    const { model, widgets, mode } = content;
    const state = {
      cells: model.sharedModel.toJSON().cells.map(({ id, cell_type, source }) => [id, cell_type, source]),
      counts: widgets.map((cell) => cell.model.executionCount ?? null),
      selected: widgets.map((cell) => content.isSelected(cell)),
      mode,
      kernel: sessionContext.session.kernel.id,
      dialogs: document.querySelectorAll(".jp-Dialog").length,
    };
    return [JSON.stringify(state), ...Object.values(seen).map((list) => list.splice(0))];
  };
}
"""

# A part that can be clicked and is not among `known`: its name, and a point where it lies on top.
NEXT_PART = """
(known) => {
  const tree = document.querySelector(".jp-OutputArea-output [data-lm-suppress-shortcuts]").shadowRoot;
  for (const part of tree.querySelectorAll("[class*=dw-]")) {
    const name = `${part.getAttribute("class")} ${part.localName}`;
    if (known.includes(name)) continue;
    const { left, top, width, height } = part.getBoundingClientRect();
    for (const across of [0.5, 0.04, 0.96]) {
      for (const down of [0.5, 0.04, 0.96]) {
        const at = [left + width * across, top + height * down];
        if (tree.elementFromPoint(...at)?.closest("[class*=dw-]") === part) return [name, at];
      }
    }
  }
  return null;
}
"""


@pytest.fixture(scope="module")
def book(lab, browser, tmp_path_factory):
    with scripted(busy_run()) as url:
        first, *others = CELLS
        path = notebook(tmp_path_factory.mktemp("keys") / "keys.ipynb", first.format(url=url), *others)
        with lab.open(browser, path) as book:
            # All of it is in sight.
            book.page.set_viewport_size({"width": 1400, "height": 1700})
            book.run(0, 3)
            expect(book.page.locator(".dw-gate").first).to_be_visible(timeout=SLOW)
            book.page.evaluate(WATCH)
            yield book


def listed_keys(page):
    """The keys of the list that `?` opens, those that lead into a text field or over the graph last."""
    texts = page.locator(".dw-keys kbd").all_text_contents()
    assert len(texts) > 20
    keys = [key for text in texts for key in SPELT.get(text, text.split(", "))]
    return [key for key in keys if key not in ("/", "?")] + ["/", "?"]


class Visits:
    """Clicks on parts, with the keys that are pressed after each."""

    def __init__(self, page):
        self.page = page
        self.listed = listed_keys(page)
        self.parts = set()
        # What had the focus when the keys of the list were pressed: they do the same wherever that was clicked.
        self.focused = set()

    def visit(self):
        """Click each part that is in sight and was not clicked before."""
        while part := self.page.evaluate(NEXT_PART, list(self.parts)):
            name, (x, y) = part
            self.parts.add(name)
            self.page.mouse.click(x, y)
            before, *_ = self.page.evaluate("() => window.seen()")
            focus = self.press(name, before, NOTEBOOK_KEYS)
            if focus in self.focused:
                continue
            self.focused.add(focus)
            self.page.mouse.click(x, y)
            self.press(name, before, self.listed)
            self.page.evaluate("() => document.fullscreenElement && document.exitFullscreen()")

    def press(self, name, before, keys):
        """Press `keys`, and check that they changed nothing of the notebook; returns what had the focus."""
        for key in keys:
            self.page.keyboard.press(key)
        after, commands, kernel, pressed = self.page.evaluate("() => window.seen()")
        where = f"after a click on {name!r}: {pressed}"
        assert [focus for _, focus in pressed if not focus.startswith("widget")] == [], where
        assert (commands, kernel) == ([], []), where
        assert after == before, where
        return pressed[0][1]


def press(name, opens):
    """Open something by its button, unless the keys that were pressed before have opened it."""

    def act(widget):
        if not widget.locator(opens).first.is_visible():
            widget.get_by_role("button", name=name, exact=True).first.evaluate("(one) => one.click()")

    return act


def inspect(widget):
    widget.locator(".dw-surface").focus()
    for key in ("f", "Enter"):
        widget.page.keyboard.press(key)
    expect(widget.locator(".dw-inspector")).to_be_visible()


def enlarge(widget):
    press("Graph", ".dw-surface")(widget)
    if widget.get_by_text("Expand all").is_visible():
        press("Expand all", ".dw-map")(widget)
    # The map is there while the graph is larger than its view; keys before may have left the camera anywhere.
    for _ in range(40):
        if widget.locator(".dw-map").is_visible():
            break
        widget.get_by_role("button", name="Zoom in").first.evaluate("(one) => one.click()")
        widget.page.wait_for_timeout(50)


def unfold(widget):
    widget.locator("details").evaluate_all("(all) => all.forEach((one) => (one.open = true))")


# What brings up parts that are not there from the start, and some of these.
SCENES = {
    "first": (lambda _: None, "name word counts cost gates gate tab field surface decisions errors"),
    "inspector": (inspect, "inspector facts"),
    "unfolded": (unfold, "menu spending"),
    "large graph": (enlarge, "map"),
    "keys": (press("Keys (?)", ".dw-keys"), "keys"),
    "timeline": (press("Timeline", ".dw-rows"), "rows words"),
    "list": (press("List the 27 nodes", ".dw-outline li"), "outline"),
    "replay": (press("Replay", ".dw-replay"), "replay"),
    "form": (press("Modify…", ".dw-form"), "form"),
    "confirmation": (press("Cancel", ".dw-danger"), "danger"),
}


@pytest.fixture(scope="module")
def visits(book):
    return Visits(book.page)


@pytest.mark.parametrize("scene", SCENES)
def test_no_key_reaches_the_notebook_after_a_click_on_any_part(book, visits, scene):
    bring_up, parts = SCENES[scene]
    widget = book.page.locator(".dagwidget")
    bring_up(widget)
    for part in parts.split():
        expect(widget.locator(f".dw-{part}:visible").first).to_be_visible()
    visits.visit()
    print(len(visits.parts), len(visits.focused))


@pytest.mark.parametrize("part", [".dw-name", ".dw-surface", ".dw-tab >> nth=0", ".dw-nav .dw-field"])
def test_what_belongs_to_the_application_is_still_under_its_keys(book, part):
    page = book.page
    press("Graph", ".dw-surface")(page.locator(".dagwidget"))
    # Away from the middle, where the list of keys may lie on top.
    page.locator(f".dagwidget {part}").click(position={"x": 4, "y": 8})
    page.evaluate("() => window.seen()")
    page.keyboard.press("Control+s")
    page.keyboard.press("Control+Shift+c")
    expect(page.locator(".lm-CommandPalette-input")).to_be_visible()
    page.keyboard.press("Escape")
    _, commands, *_ = page.evaluate("() => window.seen()")
    assert [one for one in commands if one.startswith(("docmanager", "apputils", "notebook"))] == [
        "docmanager:save",
        "apputils:activate-command-palette",
    ]


def test_the_keys_of_the_graph_work_after_a_click_beside_it(book):
    page = book.page
    said = page.locator(".dagwidget [aria-live=polite].dw-offscreen")
    for part in (".dw-name", ".dw-cost-main b", ".dw-tabs"):
        page.locator(f".dagwidget {part}").click()
        page.keyboard.press("Escape")
        page.keyboard.press("f")
        expect(said).to_contain_text("failed, 1 of 1")
        page.locator(f".dagwidget {part}").click()
        page.keyboard.press("r")
        expect(said).to_contain_text("running, ")
