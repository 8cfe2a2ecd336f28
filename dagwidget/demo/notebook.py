"""`dagwidget demo`: JupyterLab with an example notebook that has been run, and its widget live."""

from __future__ import annotations

import contextlib
import queue
import shutil
import tempfile
import time
import webbrowser
from pathlib import Path
from typing import Any, Final

import nbformat
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import find_connection_file
from nbformat.sign import NotebookNotary
from nbformat.v4 import output_from_msg

from ..errors import DagwidgetError
from .lab import Lab, running_lab
from .signals import interruptible

# The demo does not run a cell with this tag: it waits for a person.
_LEFT_TO_THE_USER: Final = "run-it-yourself"


def demo(*, port: int = 0, browser: bool = True, nodes: int | None = None, timeout: float = 60.0) -> None:
    """Start JupyterLab with a copy of the example notebooks, run the quickstart up to its gate, and open it.

    The notebook runs in its own kernel and is saved before the browser opens, so the first screen shows the graph.
    Returns when JupyterLab ends, or at Ctrl+C or SIGTERM. The copies are deleted in every case.

    Args:
        port: The port of JupyterLab on 127.0.0.1; a free port if it is 0.
        browser: Whether to open a browser.
        nodes: Show a simulated run with this many nodes instead of the quickstart.
        timeout: How many seconds JupyterLab, the kernel and each cell may take.

    Raises:
        DagwidgetError: JupyterLab is not installed, the port is in use, or JupyterLab or the kernel did not start.
        KeyboardInterrupt: The start was interrupted.
    """
    name = "quickstart" if nodes is None else "simulation"
    with interruptible(), tempfile.TemporaryDirectory(prefix="dagwidget-demo-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        shutil.copytree(_notebooks(), folder, dirs_exist_ok=True)
        if nodes is not None:
            nbformat.write(_simulation(nodes), folder / f"{name}.ipynb")
        with running_lab(folder, port=port) as lab:
            print("Starting JupyterLab …", flush=True)
            lab.wait_until_ready(timeout)
            run_notebook(lab, folder / f"{name}.ipynb", start_timeout=timeout, cell_timeout=timeout)
            url = f"{lab.url}/lab/tree/{name}.ipynb?token={lab.token}"
            print(f"The {name} notebook is open in JupyterLab:\n\n    {url}\n", flush=True)
            print(f"Press Ctrl+C to stop JupyterLab and to delete the notebook's folder, {folder}", flush=True)
            if browser:
                webbrowser.open(url)
            with contextlib.suppress(KeyboardInterrupt):
                lab.wait_until_stopped()


def _simulation(nodes: int) -> Any:
    """A notebook that shows a simulated run."""
    text = (
        f"# A run with {nodes:,} nodes\n\nThis run is simulated and takes about a minute. You can pause or cancel it."
    )
    imports = "from dagwidget import DAGStreamWidget\nfrom dagwidget.demo.simulate import simulate"
    watch = f'{imports}\n\nDAGStreamWidget("simulation")'
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(text),
            nbformat.v4.new_code_cell(watch),
            nbformat.v4.new_code_cell(f'run = simulate("simulation", nodes={nodes})'),
        ]
    )
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


def _notebooks() -> Path:
    here = Path(__file__).parent
    for folder in (here / "notebooks", here.parent.parent / "notebooks"):
        if folder.is_dir():
            return folder
    raise DagwidgetError(f"the example notebooks are missing: install dagwidget again (looked in {here})")


def run_notebook(lab: Lab, path: Path, *, start_timeout: float, cell_timeout: float) -> None:
    """Run a notebook's cells in the kernel that JupyterLab opens it with, and save their outputs.

    The first code cell, which shows the widget, moves to the top, and its code is hidden: JupyterLab opens a notebook
    at its top, and a gate takes the space of the graph.

    Args:
        lab: The JupyterLab.
        path: The notebook, in the JupyterLab's folder.
        start_timeout: How many seconds the kernel may take to start.
        cell_timeout: How many seconds each cell may take.

    Raises:
        DagwidgetError: The kernel did not start, or a cell did not end.
    """
    notebook = nbformat.read(path, as_version=4)
    client = _start_kernel(lab, path, start_timeout)
    try:
        for cell in notebook.cells:
            if cell.cell_type != "code" or _LEFT_TO_THE_USER in cell.metadata.get("tags", ()):
                continue
            outputs: list[Any] = []
            try:
                reply = client.execute_interactive(
                    cell.source,
                    timeout=cell_timeout,
                    allow_stdin=False,
                    output_hook=lambda m, o=outputs: _collect(o, m),
                )
            except (TimeoutError, queue.Empty):
                raise DagwidgetError(
                    f"a cell of {path.name} did not end within {cell_timeout:g} s: allow more time with --timeout"
                ) from None
            cell.outputs, cell.execution_count = outputs, reply["content"]["execution_count"]
            if reply["content"]["status"] != "ok":
                break
    finally:
        client.stop_channels()
    shown = next(cell for cell in notebook.cells if cell.cell_type == "code")
    shown.metadata["jupyter"] = {"source_hidden": True}
    notebook.cells = [shown, *(cell for cell in notebook.cells if cell is not shown)]
    nbformat.write(notebook, path)
    # JupyterLab shows no widget in a notebook that it does not trust, and it has not run this one itself.
    NotebookNotary().sign(notebook)


def _start_kernel(lab: Lab, path: Path, timeout: float) -> BlockingKernelClient:
    deadline = time.monotonic() + timeout
    too_slow = f"the notebook's kernel did not start within {timeout:g} s: allow more time with --timeout"
    request = {"path": path.name, "name": path.name, "type": "notebook", "kernel": {"name": "python3"}}
    try:
        session = lab.call("POST", "/api/sessions", request, timeout=timeout)
    except OSError as error:
        if isinstance(getattr(error, "reason", error), TimeoutError):
            raise DagwidgetError(too_slow + lab.log_tail()) from error
        raise DagwidgetError(f"JupyterLab could not start a Python kernel: {error}{lab.log_tail()}") from error
    client = BlockingKernelClient(connection_file=find_connection_file(session["kernel"]["id"]))
    client.load_connection_file()
    client.start_channels()
    while (left := deadline - time.monotonic()) > 0:
        # A kernel on a busy machine may seem dead for a moment.
        with contextlib.suppress(RuntimeError):
            client.wait_for_ready(timeout=left)
            return client
    client.stop_channels()
    raise DagwidgetError(too_slow + lab.log_tail())


def _collect(outputs: list[Any], message: dict[str, Any]) -> None:
    if message["header"]["msg_type"] in ("execute_result", "display_data", "stream", "error"):
        outputs.append(output_from_msg(message))
