import functools
import html
import subprocess
from base64 import b64encode
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from .lab import CHROMIUM, CHROMIUM_ARGUMENTS, notebook, running_lab

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "tests" / "pages"
FONTS = ROOT / "js" / "node_modules" / "@fontsource"
FACES = [
    ("Roboto", "latin", 400),
    ("Roboto", "latin", 600),
    ("Roboto", "math", 400),
    ("Roboto", "symbols", 400),
    ("Roboto Mono", "latin", 400),
]

# Only a fault takes so long, on any machine.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    with running_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def view_page(tmp_path_factory):
    """The address of view.html as one file: a page from a file may load no module and no font."""
    folder = tmp_path_factory.mktemp("page")
    bundle = folder / "view.js"
    subprocess.run(["node", ROOT / "js" / "build.mjs", PAGES / "view.ts", bundle], check=True)
    script = bundle.read_text().replace("</script", "<\\/script")
    fonts = "".join(font(*face) for face in FACES)
    page = folder / "view.html"
    text = (PAGES / "view.html").read_text()
    page.write_text(text.replace('src="view.js">', ">" + script).replace("<style>", f"<style>{fonts}", 1))
    return page.as_uri()


# What is around a widget in JupyterLab: its style rules, and the elements from the body to the widget, by their
# attributes. Its fonts are not among them: a page from a file can't load them.
SURROUNDINGS = """
() => {
  const all = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]);
  const rules = all.filter((rule) => !(rule instanceof CSSFontFaceRule)).map((rule) => rule.cssText);
  const around = [];
  const widget = document.querySelector("[data-lm-suppress-shortcuts]");
  for (let el = widget.parentElement; el !== document.documentElement; el = el.parentElement) {
    const attributes = [...el.attributes].filter(({ name }) => name !== "style");
    around.unshift([el.localName, Object.fromEntries(attributes.map(({ name, value }) => [name, value]))]);
  }
  return [rules.join("\\n"), around];
}
"""
# Their places and sizes are JupyterLab's own affair, and would cut the view off in a page without it.
UNPLACED = (
    "display: block; position: static; contain: none; content-visibility: visible; overflow: visible; "
    "padding: 0; margin: 0"
)


@pytest.fixture(scope="session")
def output_page(lab, browser, view_page, tmp_path_factory):
    """Gives the address of view.html with the view in an output area of JupyterLab, in one of its themes."""
    folder = tmp_path_factory.mktemp("output")
    cell = "import dagwidget\ndagwidget.DAGStreamWidget('nothing', url='ws://127.0.0.1:9', token='none')"
    source = notebook(folder / "source.ipynb", cell)
    plain = unquote(urlsplit(view_page).path)

    @functools.cache
    def page(theme: str) -> str:
        with lab.open(browser, source, theme=theme) as book:
            book.run(0)
            book.page.locator(".dagwidget").wait_for()
            rules, [(_, body), *around] = book.page.evaluate(SURROUNDINGS)
        opened = "".join(f"<{name} {spelt(attributes)} style='{UNPLACED}'>" for name, attributes in around)
        closed = "".join(f"</{name}>" for name, _ in reversed(around))
        text = Path(plain).read_text()
        text = text.replace("<style>", f"<style>{rules}</style><style>", 1).replace(
            "<body>", f"<body {spelt(body)}>", 1
        )
        text = text.replace('<div id="view"></div>', f'{opened}<div id="view"></div>{closed}', 1)
        path = folder / f"{theme}.html"
        path.write_text(text)
        return path.as_uri()

    return page


def spelt(attributes: dict[str, str]) -> str:
    return " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())


def font(family: str, subset: str, weight: int) -> str:
    """A style sheet's rule that brings a font along, so that words are as wide on every machine."""
    name = family.lower().replace(" ", "-")
    data = b64encode((FONTS / name / "files" / f"{name}-{subset}-{weight}-normal.woff2").read_bytes()).decode()
    called = family if subset == "latin" else f"{family} {subset}"
    return f'@font-face {{ font-family: "{called}"; font-weight: {weight}; src: url(data:font/woff2;base64,{data}) }}\n'
