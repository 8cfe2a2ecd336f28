"""A stream server in a process of its own, as in use, on a free port, with its log in a file."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.browser.lab import free_port


class Process:
    """A Python module that serves on a port, and that can be ended and started again in its place."""

    def __init__(self, *command: str) -> None:
        """A process that has not begun; `--port` is added to its command."""
        self.port = free_port()
        self._command = [sys.executable, "-m", *command, "--port", str(self.port)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz"):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"did not start: {' '.join(self._command)}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Let it end in good order."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(20)

    @property
    def memory(self) -> int:
        """Resident bytes."""
        assert self._process is not None
        return int(psutil.Process(self._process.pid).memory_info().rss)

    @property
    def cpu_seconds(self) -> float:
        """What all its threads have used."""
        assert self._process is not None
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)


@contextlib.contextmanager
def running(process: Process) -> Iterator[Process]:
    """Start it, and stop it in the end."""
    process.start()
    try:
        yield process
    finally:
        process.stop()


def serve(log: Path) -> Process:
    """`dagwidget serve` without a token."""
    return Process("dagwidget.cli", "serve", "--no-auth", "--log", str(log))


@contextlib.contextmanager
def server() -> Iterator[Process]:
    """A running `dagwidget serve`, whose log goes with it."""
    with (
        tempfile.TemporaryDirectory(prefix="dagwidget-bench-") as folder,
        running(serve(Path(folder) / "log.sqlite3")) as process,
    ):
        yield process


@contextlib.contextmanager
def stream_server() -> Iterator[str]:
    """Start `dagwidget serve` without a token; yields its base URL."""
    with server() as process:
        yield process.url
