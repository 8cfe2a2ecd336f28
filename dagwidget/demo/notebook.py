"""`dagwidget demo`: JupyterLab, open on the quickstart, with a run in its cell."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import find_connection_file
from jupyter_core.paths import jupyter_config_dir
from nbformat.sign import NotebookNotary
from nbformat.v4 import output_from_msg

from ..errors import DagwidgetError

# A cell with this tag waits for a person: the demo leaves it to them.
_LEFT_TO_THE_USER = "run-it-yourself"
_START_SECONDS = 60.0
_CELL_SECONDS = 60.0


def demo(*, port: int = 0, browser: bool = True, nodes: int | None = None) -> None:
    """Start JupyterLab on a copy of the example notebooks, run the quickstart up to its gate, and open it.

    The notebook is run in its own kernel and saved before the browser opens, so the widget is live at first sight.
    Returns when JupyterLab ends.

    Args:
        port: Where JupyterLab listens on 127.0.0.1; a free port when 0.
        browser: Whether to open a browser.
        nodes: Play a made-up run of so many nodes instead.

    Raises:
        DagwidgetError: JupyterLab is not installed, or did not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="dagwidget-demo-"))
    shutil.copytree(_notebooks(), folder, dirs_exist_ok=True)
    name = "quickstart" if nodes is None else "rehearsal"
    if nodes is not None:
        nbformat.write(_rehearsal(nodes), folder / f"{name}.ipynb")
    token = secrets.token_hex(16)
    with _lab(folder, port or _free_port(), token) as (process, base):
        server = _Server(base, token)
        server.wait(process)
        _run(server, folder / f"{name}.ipynb")
        url = f"{base}/lab/tree/{name}.ipynb?token={token}"
        print(f"The {name} is running in JupyterLab:\n\n    {url}\n\nCtrl+C ends it. Its files: {folder}", flush=True)
        if browser:
            webbrowser.open(url)
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()


def _rehearsal(nodes: int) -> Any:
    """A notebook that plays a made-up run."""
    text = f"# A run of {nodes:,} nodes\n\nMade up, and played in a minute. It can be paused and cancelled."
    imports = "from dagwidget import DAGStreamWidget\nfrom dagwidget.demo.simulate import rehearse"
    watch = f'{imports}\n\nDAGStreamWidget("rehearsal")'
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(text),
            nbformat.v4.new_code_cell(watch),
            nbformat.v4.new_code_cell(f'run = rehearse("rehearsal", nodes={nodes})'),
        ]
    )
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


def _notebooks() -> Path:
    here = Path(__file__).parent
    for folder in (here / "notebooks", here.parent.parent / "notebooks"):
        if folder.is_dir():
            return folder
    raise DagwidgetError(f"the example notebooks are missing: neither in {here} nor beside it")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _lab(folder: Path, port: int, token: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"),
        f"--LabApp.user_settings_dir={_settings(folder)}",
    ]
    with (folder / ".jupyterlab.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _settings(folder: Path) -> Path:
    """The user's settings of JupyterLab, and nobody is asked about news."""
    own = Path(os.environ.get("JUPYTERLAB_SETTINGS_DIR") or Path(jupyter_config_dir(), "lab", "user-settings"))
    settings = folder / ".settings"
    if own.is_dir():
        shutil.copytree(own, settings)
    news = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    if not news.exists():
        news.parent.mkdir(parents=True, exist_ok=True)
        news.write_text('{"fetchNews": "false"}')
    return settings


class _Server:
    """The few calls of Jupyter Server's REST API that the demo needs."""

    def __init__(self, base: str, token: str) -> None:
        self._base = base
        self._token = token

    def call(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(  # noqa: S310
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self._token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return json.load(response)

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise DagwidgetError('JupyterLab did not start: is it installed? `pip install "dagwidget[demo]"`')
            with contextlib.suppress(OSError):
                self.call("GET", "/api/status")
                return
            time.sleep(0.1)
        raise DagwidgetError(f"JupyterLab did not answer in {_START_SECONDS:.0f} s at {self._base}")


def _run(server: _Server, path: Path) -> None:
    """Run the notebook's cells in the kernel that JupyterLab will show it with, and save what they put out."""
    notebook = nbformat.read(path, as_version=4)
    session = server.call(
        "POST",
        "/api/sessions",
        {"path": path.name, "name": path.name, "type": "notebook", "kernel": {"name": "python3"}},
    )
    client = BlockingKernelClient(connection_file=find_connection_file(session["kernel"]["id"]))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=_START_SECONDS)
        for cell in notebook.cells:
            if cell.cell_type != "code" or _LEFT_TO_THE_USER in cell.metadata.get("tags", ()):
                continue
            outputs: list[Any] = []
            reply = client.execute_interactive(
                cell.source, timeout=_CELL_SECONDS, allow_stdin=False, output_hook=lambda m, o=outputs: _collect(o, m)
            )
            cell.outputs, cell.execution_count = outputs, reply["content"]["execution_count"]
            if reply["content"]["status"] != "ok":
                break
    finally:
        client.stop_channels()
    nbformat.write(notebook, path)
    # JupyterLab shows no widget of a notebook that it does not trust, and it was not JupyterLab that ran this one.
    NotebookNotary().sign(notebook)


def _collect(outputs: list[Any], message: dict[str, Any]) -> None:
    if message["header"]["msg_type"] in ("execute_result", "display_data", "stream", "error"):
        outputs.append(output_from_msg(message))
