"""JupyterLab as a child process of the demo."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from jupyter_core.paths import jupyter_config_dir

from ..errors import DagwidgetError
from .signals import deferred

_LOG: Final = ".jupyterlab.log"
_LOG_TAIL: Final = 2_000
_STOP_SECONDS: Final = 10.0


class Lab:
    """A running JupyterLab.

    Attributes:
        folder: The folder with its notebooks.
        url: Its base URL.
        token: The token to present to it.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, url: str, token: str) -> None:
        self.folder = folder
        self.url = url
        self.token = token
        self._process = process

    def call(self, method: str, path: str, body: object = None, *, timeout: float = 10.0) -> Any:
        """Call Jupyter Server's REST API.

        Raises:
            OSError: The server does not answer, or answers with an error.
        """
        request = urllib.request.Request(  # noqa: S310
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        # JupyterLab listens on loopback, where no proxy is of use.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=timeout) as response:
            return json.load(response)

    def wait_until_ready(self, timeout: float) -> None:
        """Wait until JupyterLab answers.

        Raises:
            DagwidgetError: It ended, or does not answer within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            code = self._process.poll()
            if code is not None:
                raise DagwidgetError(
                    f"JupyterLab ended with exit code {code} before it was ready: run `jupyter lab` to see whether it "
                    f"starts without the demo{self.log_tail()}"
                )
            with contextlib.suppress(OSError):
                self.call("GET", "/api/status")
                return
            time.sleep(0.1)
        raise DagwidgetError(
            f"JupyterLab did not start within {timeout:g} s: allow more time with --timeout{self.log_tail()}"
        )

    def wait_until_stopped(self) -> None:
        """Wait until JupyterLab ends."""
        self._process.wait()

    def log_tail(self) -> str:
        """The end of JupyterLab's log, to be appended to an error."""
        log = (self.folder / _LOG).read_text(encoding="utf-8", errors="replace").strip()
        return f"\n\nThe end of JupyterLab's log:\n{log[-_LOG_TAIL:]}" if log else ""


@contextlib.contextmanager
def running_lab(folder: Path, *, port: int = 0) -> Iterator[Lab]:
    """Start JupyterLab with the notebooks in a folder, and end it with its kernels.

    Args:
        folder: The folder.
        port: The port on 127.0.0.1; a free port if it is 0.

    Raises:
        DagwidgetError: JupyterLab is not installed, or the port is in use.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise DagwidgetError('the demo requires JupyterLab, which is not installed: pip install "dagwidget[demo]"')
    port = _available_port(port)
    token = secrets.token_hex(16)
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"),
        *(f"--LabApp.user_settings_dir={_settings(folder)}", f"--LabApp.workspaces_dir={folder / '.workspaces'}"),
    ]
    process: subprocess.Popen[bytes] | None = None
    try:
        # An interrupted start could leave a process behind that nobody ends.
        with (folder / _LOG).open("wb") as log, deferred():
            # Without a terminal, JupyterLab does not ask for confirmation at Ctrl+C.
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603
        yield Lab(process, folder, f"http://127.0.0.1:{port}", token)
    finally:
        if process is not None:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _available_port(port: int) -> int:
    with socket.socket() as probe:
        if os.name == "posix":
            # As JupyterLab does: a connection that ended a moment ago does not occupy the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DagwidgetError(
                f"can't use port {port}: {error.strerror or error}. Choose another with --port, or leave it out for a "
                "free one"
            ) from error
        available: int = probe.getsockname()[1]
        return available


def _settings(folder: Path) -> Path:
    """A copy of the user's JupyterLab settings, without the question about news."""
    own = Path(os.environ.get("JUPYTERLAB_SETTINGS_DIR") or Path(jupyter_config_dir(), "lab", "user-settings"))
    settings = folder / ".settings"
    if own.is_dir():
        shutil.copytree(own, settings)
    news = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    if not news.exists():
        news.parent.mkdir(parents=True, exist_ok=True)
        news.write_text('{"fetchNews": "false"}', encoding="utf-8")
    return settings
