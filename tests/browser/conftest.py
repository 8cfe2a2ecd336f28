import subprocess
from base64 import b64encode
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from .lab import CHROMIUM, CHROMIUM_ARGUMENTS, running_lab

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


def font(family: str, subset: str, weight: int) -> str:
    """A style sheet's rule that brings a font along, so that words are as wide on every machine."""
    name = family.lower().replace(" ", "-")
    data = b64encode((FONTS / name / "files" / f"{name}-{subset}-{weight}-normal.woff2").read_bytes()).decode()
    called = family if subset == "latin" else f"{family} {subset}"
    return f'@font-face {{ font-family: "{called}"; font-weight: {weight}; src: url(data:font/woff2;base64,{data}) }}\n'
