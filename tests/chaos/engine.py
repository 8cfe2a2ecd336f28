"""`Engine`: the driver's end of `publisher`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from .server import PATIENCE


class Engine:
    """A real publisher in a process of its own.

    Attributes:
        said: How many numbered events it has published.
        asked: The gates that it has opened.
    """

    def __init__(self, dag_id: str, run_id: str, complaints: Path, environment: dict[str, str]) -> None:
        """Args:
        dag_id: The DAG.
        run_id: The run.
        complaints: The file that gets what it says on stderr.
        environment: More variables for it.
        """
        self.said = 0
        self.asked: list[str] = []
        self._names = (dag_id, run_id)
        self._complaints = complaints
        self._environment = {**os.environ, **environment}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def complaints(self) -> str:
        return self._complaints.read_text(errors="replace") if self._complaints.exists() else ""

    async def start(self, url: str) -> None:
        """Begin the run at a server."""
        with self._complaints.open("w") as complaints:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.publisher", url, *self._names),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=complaints,
                env=self._environment,
            )

    async def say(self, count: int) -> None:
        """Publish `count` more events."""
        self.said = (await self._do(do="say", count=count))["said"]

    async def ask(self, gate: str, seconds: float | None = None) -> None:
        """Open a gate; `seconds`: until it approves itself."""
        await self._do(do="ask", gate=gate, seconds=seconds)
        self.asked.append(gate)

    async def end(self, gates: list[str]) -> dict[str, Any]:
        """End the run once it has heard of the decisions at these gates.

        Returns:
            The decisions that came (`made`), whether everything was delivered (`flushed`), and why not (`refused`).
        """
        end = await self._do(do="end", gates=gates)
        assert self._process is not None
        await self._process.wait()
        return end

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _do(self, **order: Any) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(2 * PATIENCE):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the publisher ended at {order}: {self.complaints.strip()[-500:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer
