"""Where Jupyter, IPython and their kernels read and write in a test, and which Python a kernel runs in."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

KERNEL_PYTHON = os.environ.get("KERNEL_PYTHON", sys.executable)
"""The Python of the kernels: the tests' own, with the newest ipykernel, unless `make test-kernels` names another."""


def places(folder: Path) -> dict[str, str]:
    """The variables that keep everything that Jupyter writes below `folder`."""
    where = {
        "HOME": "home",
        "IPYTHONDIR": "ipython",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
    }
    return {name: str(folder / place) for name, place in where.items()}


def kernel_spec(folder: Path) -> dict[str, str]:
    """The variable that makes the kernel `python3` run KERNEL_PYTHON, whichever environment Jupyter itself is in."""
    spec = folder / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True, exist_ok=True)
    # ipykernel 7.4 warns of every kernel over TCP.
    command = [KERNEL_PYTHON, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
    spec.write_text(json.dumps({"argv": command, "display_name": "Python 3", "language": "python"}))
    return {"JUPYTER_PATH": str(folder)}


def stop_stream_server(runtime: Path) -> None:
    """End the stream server that was started on demand, if there is one."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(json.loads((runtime / "dagwidget-server.json").read_text())["pid"], signal.SIGTERM)
