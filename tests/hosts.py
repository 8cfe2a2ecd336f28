"""Runs cells of a notebook where there is no browser: scripts, IPython, papermill, nbconvert and a bare kernel.

Each host takes the same cells and gives the same `Ran`. What a cell prints, shows and raises is found there; nothing
outlives the call, and what hangs fails the test after `timeout` seconds. Kernels, scripts and IPython run in
`KERNEL_PYTHON`, so that `make test-kernels` runs the same cells on each ipykernel.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from .jupyter_places import KERNEL_PYTHON, kernel_spec, places, stop_stream_server

SECONDS = 120.0
"""How long a host may take: it has to start and to import, on a machine that does other things too."""

_COLORS = re.compile(r"\x1b\[[0-9;]*m")
# Kernels are interrupted before they are shut down, and some note it.
_INTERRUPTED = re.compile(r"^.*KeyboardInterrupt caught in kernel\.\n", re.MULTILINE)


@dataclass
class Ran:
    """What the cells left behind."""

    exit_code: int
    """Of the process; 1 for a bare kernel in which a cell failed."""
    stdout: str
    """What was printed, by cells and by the process."""
    stderr: str
    """The same for stderr, with the tracebacks of cells; IPython prints those to stdout."""
    outputs: list[list[dict[str, Any]]] = field(default_factory=list)
    """The stored outputs of each cell, in nbformat's form; none from scripts and IPython, nor where nbconvert fails."""


Host = Callable[..., Ran]
"""Called with the cells; `folder` is for its files, `environment` adds variables, `timeout` bounds it."""


def script(*cells: str, folder: Path, environment: Mapping[str, str] | None = None, timeout: float = SECONDS) -> Ran:
    """`python cells.py`. Where the cells await, they are the body of a coroutine for `asyncio.run`."""
    path = folder / "cells.py"
    path.write_text(_as_script("\n".join(cells)))
    return _run([KERNEL_PYTHON, str(path)], folder, environment, timeout)


def ipython(*cells: str, folder: Path, environment: Mapping[str, str] | None = None, timeout: float = SECONDS) -> Ran:
    """`ipython cells.ipy`."""
    path = folder / "cells.ipy"
    path.write_text("\n".join(cells))
    return _run([KERNEL_PYTHON, "-m", "IPython", "--colors=NoColor", str(path)], folder, environment, timeout)


_SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in {cells!r}:
    if not shell.run_cell(cell).success:
        sys.exit(1)
"""


def shell(*cells: str, folder: Path, environment: Mapping[str, str] | None = None, timeout: float = SECONDS) -> Ran:
    """IPython's `InteractiveShell`, cell by cell, as programs embed it."""
    path = folder / "shell.py"
    path.write_text(_SHELL.format(cells=cells))
    return _run([KERNEL_PYTHON, str(path)], folder, environment, timeout)


def papermill(*cells: str, folder: Path, environment: Mapping[str, str] | None = None, timeout: float = SECONDS) -> Ran:
    """`papermill cells.ipynb done.ipynb`; it stores the outputs also where a cell fails."""
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-level=ERROR", "cells.ipynb", "done.ipynb"]
    return _run_notebook(command, cells, folder, environment, timeout)


def nbconvert(*cells: str, folder: Path, environment: Mapping[str, str] | None = None, timeout: float = SECONDS) -> Ran:
    """`jupyter nbconvert --execute`; it stores nothing where a cell fails."""
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--log-level=ERROR", "--to=notebook", "--execute"]
    return _run_notebook([*command, "--output=done.ipynb", "cells.ipynb"], cells, folder, environment, timeout)


def kernel(*cells: str, folder: Path, environment: Mapping[str, str] | None = None, timeout: float = SECONDS) -> Ran:
    """A bare ipykernel, driven by jupyter_client; it is then asked to shut down, so that what runs at exit does run."""
    with _started(folder, environment) as (manager, client):
        outputs: list[list[dict[str, Any]]] = []
        failed = False
        for cell in cells:
            stored: list[dict[str, Any]] = []
            outputs.append(stored)
            try:
                reply = client.execute_interactive(
                    cell, timeout=timeout, output_hook=lambda message, to=stored: _store(message, to)
                )
            except TimeoutError:
                raise AssertionError(f"a cell has not ended in {timeout} s: {cell!r}; so far: {outputs}") from None
            failed = reply["content"]["status"] != "ok"
            if failed:
                break
        client.shutdown()
        process = manager.provisioner.process
        try:
            exit_code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the kernel has not shut down in {timeout} s; outputs: {outputs}") from None
    printed = _printed(outputs)
    errors = (folder / "kernel.stderr").read_text()
    return Ran(
        exit_code or int(failed),
        printed["stdout"] + (folder / "kernel.stdout").read_text(),
        printed["stderr"] + _plain(errors),
        outputs,
    )


HOSTS: dict[str, Host] = {host.__name__: host for host in (script, ipython, shell, papermill, nbconvert, kernel)}
"""Every host, by name."""

NOTEBOOK_HOSTS = ("papermill", "nbconvert", "kernel")
"""Those that run in a kernel and store outputs."""


def _as_script(text: str) -> str:
    """The same text where it awaits nothing, else a coroutine of it, as a script has to have one."""
    try:
        compile(text, "cells.py", "exec")
        return text
    except SyntaxError:
        compile(text, "cells.py", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    main = ast.parse("import asyncio\nasync def main(): pass\nasyncio.run(main())")
    main.body[1].body = ast.parse(text).body  # type: ignore[attr-defined]
    return ast.unparse(main)


def _environment(folder: Path, more: Mapping[str, str] | None) -> dict[str, str]:
    (folder / "runtime").mkdir(exist_ok=True)
    return {**os.environ, "NO_COLOR": "1", **places(folder), **kernel_spec(folder), **(more or {})}


def _run(command: list[str], folder: Path, environment: Mapping[str, str] | None, timeout: float) -> Ran:
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(folder, environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        # Kernels are in sessions of their own, and end when they miss their parent.
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        said = f"{stdout[-2000:]}\n{stderr[-2000:]}"
        raise AssertionError(f"{command} has not ended in {timeout} s; it printed: {said}") from None
    finally:
        stop_stream_server(folder / "runtime")
    return Ran(process.returncode, _plain(stdout), _plain(stderr))


def _run_notebook(
    command: list[str], cells: tuple[str, ...], folder: Path, environment: Mapping[str, str] | None, timeout: float
) -> Ran:
    document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    document.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(document, folder / "cells.ipynb")
    ran = _run(command, folder, environment, timeout)
    done = folder / "done.ipynb"
    if done.exists():
        # papermill puts a cell of its own in front of one that failed.
        stored = [cell for cell in nbformat.read(done, as_version=4).cells if cell.source in cells]
        ran.outputs = [cell.outputs for cell in stored]
    printed = _printed(ran.outputs)
    ran.stdout = printed["stdout"] + ran.stdout
    ran.stderr = printed["stderr"] + ran.stderr
    return ran


@contextlib.contextmanager
def _started(folder: Path, environment: Mapping[str, str] | None):
    """A kernel and a client of it; the process is gone afterwards."""
    manager = KernelManager(connection_file=str(folder / "kernel.json"))
    manager.kernel_spec_manager.kernel_dirs = [str(folder / "kernels")]
    with (folder / "kernel.stdout").open("w") as stdout, (folder / "kernel.stderr").open("w") as stderr:
        environment = _environment(folder, environment)
        manager.start_kernel(cwd=str(folder), env=environment, stdout=stdout, stderr=stderr)
        client: BlockingKernelClient = manager.client()
        try:
            client.start_channels()
            client.wait_for_ready(timeout=SECONDS)
            yield manager, client
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            stop_stream_server(folder / "runtime")


def _store(message: dict[str, Any], outputs: list[dict[str, Any]]) -> None:
    """Add what nbformat stores of a message from a kernel."""
    if message["header"]["msg_type"] in ("stream", "display_data", "execute_result", "error"):
        outputs.append(nbformat.v4.output_from_msg(message))


def _printed(outputs: list[list[dict[str, Any]]]) -> dict[str, str]:
    """What cells have printed, by stream; a cell's error is printed as a script would."""
    printed = {"stdout": "", "stderr": ""}
    for output in (output for cell in outputs for output in cell):
        if output["output_type"] == "stream":
            printed[output["name"]] += output["text"]
        elif output["output_type"] == "error":
            printed["stderr"] += _plain("\n".join(output["traceback"])) + "\n"
    return printed


def _plain(text: str) -> str:
    return _INTERRUPTED.sub("", _COLORS.sub("", text))
