"""`Server`: `dagwidget serve` as a process that can be stopped, killed, frozen and started again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

# Far longer than anything takes: only a fault gets here.
PATIENCE = 90.0


class Unreadable(Exception):
    """The server's answer to a GET is none."""


class NotStored(Exception):
    """The server says that it has not stored some events; `last` is the newest of them."""

    def __init__(self, said: str, last: int) -> None:
        super().__init__(said)
        self.last = last


class NotStarted(Exception):
    """The server did not start; the text is what it said."""


class Server:
    """A server without a token on a free port, another one each time, with its log in a file.

    Attributes:
        port: Where it listens.
        log: Its log.
    """

    def __init__(self, log: Path, said: Path, environment: dict[str, str]) -> None:
        """Args:
        log: The file of its runs.
        said: The file that gets what it says on stderr.
        environment: More variables for it.
        """
        self.log = log
        self.port = 0
        self._said = said
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def said(self) -> str:
        """What it has said on stderr, since the first start."""
        return self._said.read_text(errors="replace") if self._said.exists() else ""

    async def start(self) -> None:
        """Raises `NotStarted`."""
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        command = [sys.executable, "-m", "dagwidget.cli", "serve", "--no-auth", "--port", "0", "--log", str(self.log)]
        with self._said.open("a") as said:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=said, text=True, env=self._environment
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("serving at "):
            self._end()
            raise NotStarted(self.said.strip().splitlines()[-1] if self.said.strip() else "it said nothing")
        self.port = int(line.strip().rsplit(":", 1)[1])

    async def stop(self) -> None:
        """End it in good order."""
        assert self._process is not None
        self._process.terminate()
        await asyncio.to_thread(self._end)

    async def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        assert self._process is not None
        self._process.kill()
        await asyncio.to_thread(self._end)

    def freeze(self) -> None:
        """Give it no time on any core."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self) -> None:
        assert self._process is not None
        self._process.wait(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    async def close(self) -> None:
        if self.pid is not None:
            await self.kill()

    # --- What it holds

    async def get(self, path: str) -> Any:
        """The answer to a GET; None where there is nothing. Raises `Unreadable`."""
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/{path}", timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            said = error.read().decode().strip()[:300]
            gap = re.search(r"events \d+ to (\d+)", said)
            if error.code == 410 and gap is not None:
                raise NotStored(said, int(gap[1])) from error
            raise Unreadable(f"{path} is answered {error.code}: {said}") from error
        except (OSError, ValueError) as error:
            raise Unreadable(f"{path}: {error}") from error

    async def events(self, dag_id: str, run_id: str) -> tuple[list[dict[str, Any]], list[str]]:
        """All that is stored of a run, and what the server says is not."""
        events: list[dict[str, Any]] = []
        gaps: list[str] = []
        after = 0
        while True:
            try:
                page = await self.get(f"dags/{dag_id}/runs/{run_id}/events?after={after}&limit=1000")
            except NotStored as gap:
                if gap.last <= after:
                    raise Unreadable(f"after event {after}: {gap}") from gap
                gaps.append(str(gap))
                after = gap.last
                continue
            if page is None:
                return events, gaps
            events += page["events"]
            after = page["after"] + len(page["events"])
            if after >= page["head"] or not page["events"]:
                return events, gaps
