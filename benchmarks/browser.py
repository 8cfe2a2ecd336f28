"""Pages of `browser/` in headless Chromium, with the peers that they measure against."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, Route, sync_playwright

from tests.browser.lab import CHROMIUM, CHROMIUM_ARGUMENTS

HERE: Final = Path(__file__).parent / "browser"
_ORIGIN: Final = "http://benchmark.test"
_BUILD: Final = HERE.parent.parent / "js" / "build.mjs"


def versions(*packages: str) -> dict[str, str]:
    """The peers' versions, by package; they are installed where they are not there yet."""
    modules = HERE / "node_modules"
    if not (modules / ".package-lock.json").exists():
        subprocess.run(["npm", "ci"], cwd=HERE, check=True)
    return {name: json.loads((modules / name / "package.json").read_text())["version"] for name in packages}


@contextlib.contextmanager
def page(name: str, *workers: str, files: dict[str, Path] | None = None) -> Iterator[Page]:
    """`browser/<name>` as the script of an empty page, with the scripts of its workers beside it."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        for each in (name, *workers):
            subprocess.run(["node", _BUILD, HERE / each, Path(folder) / each], check=True)
        served = {f"/{each}": Path(folder) / each for each in (name, *workers)} | (files or {})
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        context = browser.new_context(viewport={"width": 1000, "height": 700})
        for path, file in served.items():
            context.route(f"{_ORIGIN}{path}", _answer(file))
        script = f'<script type="module" src="/{name}"></script>'
        empty = f'<!doctype html><meta charset="utf-8"><body><div id="view"></div>{script}'
        context.route(f"{_ORIGIN}/", lambda route: route.fulfill(body=empty, content_type="text/html"))
        shown = context.new_page()
        shown.set_default_timeout(0)
        shown.goto(f"{_ORIGIN}/")
        try:
            yield shown
        finally:
            browser.close()


def _answer(file: Path) -> Callable[[Route], None]:
    return lambda route: route.fulfill(path=file)
