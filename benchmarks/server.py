"""A stream server in a process of its own, as in use, on a free port."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

from tests.browser.lab import free_port


@contextlib.contextmanager
def stream_server() -> Iterator[str]:
    """Start `dagwidget serve` without a token; yields its base URL."""
    port = free_port()
    command = [sys.executable, "-m", "dagwidget.cli", "serve", "--port", str(port), "--no-auth"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the stream server did not start")
            time.sleep(0.05)
        yield f"ws://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
