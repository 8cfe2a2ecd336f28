"""A JupyterLab of its own for a test, and one notebook in it, driven through a real browser."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Browser, Page

from tests.jupyter_places import kernel_spec, places, stop_stream_server

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]

_CELL = """
(i) => window.jupyterapp.shell.currentWidget.content.model.cells.get(i).toJSON()
"""
_RUN = """
async ([from, to, seconds]) => {
  const { content } = window.jupyterapp.shell.currentWidget;
  for (let i = from; i < to; i++) {
    content.activeCellIndex = i;
    content.deselectAll();
    const cell = content.widgets[i];
    if (cell.model.type !== "code") continue;
    const ended = window.jupyterapp.commands.execute("notebook:run-cell");
    const late = new Promise((_, reject) => {
      setTimeout(() => reject(new Error(`cell ${i} has not ended after ${seconds} s`)), seconds * 1000);
    });
    await Promise.race([ended, late]);
    const error = cell.model.toJSON().outputs.find((output) => output.output_type === "error");
    if (error) throw new Error(`cell ${i} failed:\\n${error.traceback.join("\\n")}`);
  }
}
"""
_CELL_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Lab:
    """A running JupyterLab, whose kernels find (or start) a stream server of their own in its runtime folder."""

    def __init__(self, base: str, root: Path, runtime: Path) -> None:
        self.base = base
        self.root = root
        self.runtime = runtime

    @contextlib.contextmanager
    def open(
        self, browser: Browser, source: Path, *, theme: str = "light", subshells: bool = True, **page: Any
    ) -> Iterator[Notebook]:
        """Open a copy of the notebook `source` in a page of its own; `subshells`: whether comms may use them."""
        name = f"{source.stem}-{time.monotonic_ns()}.ipynb"
        (self.root / name).write_bytes(source.read_bytes())
        _settings(self.root, theme, subshells)
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **page)
        try:
            yield Notebook(context.new_page(), self, self.root / name)
        finally:
            context.close()


class Notebook:
    """A notebook that is open in a page."""

    def __init__(self, page: Page, lab: Lab, path: Path) -> None:
        self.page = page
        self.lab = lab
        self.path = path
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(f"{lab.base}/lab/tree/{path.name}?reset")
        page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.connectionStatus"
            " === 'connected' && window.jupyterapp.shell.currentWidget.content.widgets.length > 0",
            timeout=60_000,
        )

    def run(self, start: int, stop: int | None = None) -> None:
        """Run the code cells from `start` up to `stop` (exclusive), and wait until each has ended well."""
        self.page.evaluate(_RUN, [start, start + 1 if stop is None else stop, _CELL_SECONDS])

    def start(self, start: int, stop: int | None = None) -> None:
        """Run the cells without waiting for them."""
        self.page.evaluate(
            f"(range) => {{ void ({_RUN})(range) }}", [start, start + 1 if stop is None else stop, _CELL_SECONDS]
        )

    def start_all(self) -> None:
        """Run every cell, as "Run All Cells" does, without waiting for them."""
        self.page.evaluate("() => { void window.jupyterapp.commands.execute('notebook:run-all-cells') }")

    def text(self, cell: int) -> str:
        """What a cell has put out, as text; its error, where it failed."""
        parts = []
        for output in self.page.evaluate(_CELL, cell)["outputs"]:
            if output["output_type"] == "stream":
                parts.append(_joined(output["text"]))
            elif output["output_type"] == "error":
                parts.append("\n".join(output["traceback"]))
            else:
                parts.append(_joined(output["data"].get("text/plain", "")))
        return "\n".join(parts)

    def wait_for_text(self, cell: int, expected: str, timeout: float = 30.0) -> str:
        """Wait until a cell has put out `expected`."""
        deadline = time.monotonic() + timeout
        while expected not in (text := self.text(cell)):
            assert time.monotonic() < deadline, f"cell {cell} did not say {expected!r}, but: {text!r}"
            assert "Traceback" not in text, text
            self.page.wait_for_timeout(50)
        return text


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def notebook(path: Path, *cells: str) -> Path:
    """Write a notebook of code cells."""
    document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    document.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(document, path)
    return path


@contextlib.contextmanager
def widgets_saved(lab: Lab) -> Iterator[None]:
    """Have JupyterLab save the state of widgets with a notebook, as the setting of that name does."""
    setting = lab.root / ".settings" / "@jupyter-widgets" / "jupyterlab-manager" / "plugin.jupyterlab-settings"
    setting.parent.mkdir(parents=True, exist_ok=True)
    setting.write_text(json.dumps({"saveState": True}))
    yield
    setting.unlink()


def _settings(root: Path, theme: str, subshells: bool) -> None:
    def write(name: str, settings: dict[str, Any]) -> None:
        path = root / ".settings" / "@jupyterlab" / "apputils-extension" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))

    write("notification", {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True})
    write("themes", {"theme": f"JupyterLab {theme.capitalize()}"})
    write("kernels-settings", {"commsOverSubshells": "perCommTarget" if subshells else "disabled"})


@contextlib.contextmanager
def running_lab(folder: Path) -> Iterator[Lab]:
    """Start JupyterLab with everything that it writes below `folder`; end it, its kernels and their stream server."""
    root, runtime = folder / "root", folder / "runtime"
    root.mkdir()
    runtime.mkdir()
    environment = {**os.environ, **places(folder), **kernel_spec(folder)}
    port = free_port()
    command = [
        *(sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *("--IdentityProvider.token=", f"--ServerApp.root_dir={root}", "--LabApp.expose_app_in_browser=True"),
        *(f"--LabApp.user_settings_dir={root}/.settings", f"--LabApp.workspaces_dir={root}/.workspaces"),
    ]
    log = folder / "lab.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    lab = Lab(f"http://127.0.0.1:{port}", root, runtime)
    try:
        _wait_until_up(lab.base, process, log)
        yield lab
    finally:
        process.terminate()
        process.wait(30)
        stop_stream_server(runtime)


def _wait_until_up(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{base}/api/status", timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-4000:]}")
