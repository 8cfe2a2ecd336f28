"""`Play`: performs a schedule, mends everything, and gathers what is needed to judge it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from dagwidget import protocol as p
from dagwidget.state import FINAL

from .clock import Clock
from .disk import Damage, Disk
from .engine import Engine
from .plan import Schedule, described
from .server import PATIENCE, NotStarted, Server
from .verdict import Made, Outcome, Seen
from .viewers import Answer, PageViewer, PythonViewer, Viewer
from .wire import Direction, Refusal, Wire

_DAG = "chaos"
_RUN = "run"
_LOOK_SECONDS = 0.1


class Broken(Exception):
    """Something did not happen, however long it was waited for, or not as it should."""


class Play:
    """One schedule. Its steps are the methods below, by name."""

    def __init__(self, schedule: Schedule, folder: Path, browser: Browser, page: str) -> None:
        """Args:
        schedule: What to perform.
        folder: An empty folder.
        browser: Where the page opens.
        page: The page's address.
        """
        self._schedule = schedule
        self._random = schedule.random
        self._folder = folder
        self._browser, self._page = browser, page
        self._wires = {who: Wire() for who in ("publisher", "client", "page")}
        self._disk = Disk(folder / "disk", small=schedule.kind in ("full", "read-only"))
        jumping = {"clock-server": "server", "clock-engine": "publisher"}.get(schedule.kind)
        self._clocks = {} if jumping is None else {jumping: Clock(folder / "clock")}
        self._server = Server(self._disk.log, folder / "server.txt", self._environment("server"))
        self._engine = Engine(_DAG, _RUN, folder / "publisher.txt", self._environment("publisher"))
        self._viewers: dict[str, Viewer] = {}
        self._deciding: list[asyncio.Task[Made]] = []
        self._stack = AsyncExitStack()
        self._is_protected = self._is_frozen = False

    def _environment(self, who: str) -> dict[str, str]:
        return self._clocks[who].environment if who in self._clocks else {}

    async def perform(self) -> Outcome:
        """Perform the schedule.

        Raises:
            Broken: Something did not happen, or not as it should.
            NotStarted: The server did not start.
            Unreadable: The server could not say what it holds.
        """
        async with self._stack:
            self._stack.callback(self._disk.close)
            for wire in self._wires.values():
                await wire.open()
                self._stack.push_async_callback(wire.close)
            self._stack.push_async_callback(self._server.close)
            await self.start()
            for step in self._schedule.steps():
                name, *arguments = step
                await getattr(self, str(name))(*arguments)
            return await self._settle()

    # --- Steps

    async def begin(self) -> None:
        """The engine begins its run."""
        self._stack.push_async_callback(self._engine.close)
        await self._engine.start(self._wires["publisher"].url)

    async def watch(self, pinned: bool) -> None:
        """Both viewers come in; `pinned`: they ask for the run."""
        run = _RUN if pinned else None
        client = PythonViewer(self._wires["client"].url, _DAG, run)
        self._stack.push_async_callback(client.close)
        await client.open()
        page = await PageViewer.open(self._browser, self._page, self._wires["page"].url, _DAG, run)
        self._stack.push_async_callback(page.close)
        self._viewers = {"client": client, "page": page}

    async def say(self, count: int) -> None:
        await self._engine.say(count)

    async def open(self, gate: str, seconds: float | None) -> None:
        await self._engine.ask(gate, seconds)

    async def decide(self, gate: str, who: str, verdict: p.Verdict) -> None:
        """A viewer decides as soon as it sees the gate; meanwhile everything goes on."""
        self._deciding.append(asyncio.create_task(self._decide(gate, who, verdict)))

    async def decided(self) -> None:
        """Wait for the answers to what was decided."""
        await self._answers()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def cut(self, who: str) -> None:
        self._wires[who].cut()

    async def refuse(self, who: str, how: Refusal, times: int | None) -> None:
        """Refuse the next connections; None: all until the wire is mended."""
        self._wires[who].refuses, self._wires[who].refusals = how, times

    async def mend(self, who: str, cut: bool) -> None:
        self._wires[who].mend(cut=cut)

    async def delay(self, who: str, seconds: float) -> None:
        self._wires[who].delay = seconds

    async def chunk(self, who: str, size: int) -> None:
        self._wires[who].chunk = size

    async def swallow(self, who: str, *directions: Direction) -> None:
        self._wires[who].swallows = set(directions)

    async def double(self, who: str, direction: Direction) -> None:
        self._wires[who].doubles.add(direction)

    async def half(self, who: str, direction: Direction) -> None:
        self._wires[who].half_close(direction)

    async def close(self, who: str, code: int) -> None:
        self._wires[who].say_close(code)

    async def start(self) -> None:
        if self._server.pid is None:
            await self._server.start()
            for wire in self._wires.values():
                wire.target = self._server.port

    async def start_in_vain(self) -> None:
        """The server can't open its log, and says so."""
        try:
            await self._server.start()
        except NotStarted as error:
            if str(self._disk.log) not in str(error):
                raise Broken(f"the server does not say which file it can't write: {error}") from error
            return
        raise Broken("the server started with a log that it can't write")

    async def stop(self) -> None:
        if self._server.pid is not None:
            await self._server.stop()

    async def kill(self) -> None:
        if self._server.pid is not None:
            await self._server.kill()

    async def freeze(self) -> None:
        self._is_frozen = self._server.pid is not None
        if self._is_frozen:
            self._server.freeze()

    async def thaw(self) -> None:
        if self._is_frozen:
            self._server.thaw()
        self._is_frozen = False

    async def fill(self) -> None:
        if self._server.pid is not None:
            await asyncio.to_thread(self._disk.fill, self._server.pid)

    async def free(self) -> None:
        self._disk.free(self._server.pid)

    async def protect(self) -> None:
        if not self._disk.can_be_protected:
            raise Broken("root may write anything here: run this as somebody else, or where a tmpfs may be mounted")
        self._disk.protect()
        self._is_protected = True

    async def unprotect(self) -> None:
        if self._is_protected:
            self._disk.unprotect()
        self._is_protected = False

    async def vanish(self) -> None:
        self._disk.vanish(self._random)

    async def damage(self, kind: Damage) -> None:
        self._disk.damage(kind, self._random)

    async def jump(self, whose: str, seconds: float) -> None:
        if whose == "page":
            page = self._viewers["page"]
            assert isinstance(page, PageViewer)
            await page.jump(seconds)
        else:
            self._clocks[whose].jump(seconds)

    # --- Decisions

    async def _decide(self, gate: str, who: str, verdict: p.Verdict) -> Made:
        viewer = self._viewers[who]
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    standing = await viewer.standing()
                    if gate in standing.gates:
                        break
                    if standing.phase == "stopped":
                        said = Answer(ok=False, code="stopped", durable=True, message=standing.reason)
                        return Made(gate, who, verdict, said)
                    made = (await viewer.state())["decisions"]
                    if any(each["gate_id"] == gate for each in made):
                        # The other one was faster.
                        return Made(gate, who, verdict, None)
                    await asyncio.sleep(_LOOK_SECONDS)
                return Made(gate, who, verdict, await viewer.decide(gate, verdict))
        except TimeoutError:
            standing = await viewer.standing()
            raise Broken(f"{who} could not decide {gate}: {standing}") from None

    async def _answers(self) -> list[Made]:
        return list(await asyncio.gather(*self._deciding))

    # --- The end

    async def _settle(self) -> Outcome:
        """Mend everything, let the run end, and see what everybody has; then once more after a kill."""
        for wire in self._wires.values():
            wire.mend(cut=False)
        await self.thaw()
        await self.unprotect()
        await self.free()
        await self.start()
        made = await self._answers()
        # Where the disk lost a decision, nobody makes it again: the engine is not to wait for it.
        decided = {each["gate_id"] for each in (await self._state()).get("decisions", [])}
        end = await self._engine.end([gate for gate in self._engine.asked if gate in decided])
        await self._stored()
        seen = [await self._seen(viewer) for viewer in self._viewers.values()]
        before = await self._state()
        for viewer in self._viewers.values():
            await viewer.close()
        await self.kill()
        await self.start()
        events, gaps = await self._server.events(_DAG, _RUN)
        said = self._server.said + self._engine.complaints
        return Outcome(
            schedule=self._schedule,
            said=self._engine.said,
            gates=self._engine.asked,
            made=made,
            end=end,
            seen=seen,
            before=before,
            after=await self._state(),
            events=events,
            complaints=[*gaps, *(line for line in said.splitlines() if line)],
        )

    async def _state(self) -> dict[str, Any]:
        found = await self._server.get(f"dags/{_DAG}/runs/{_RUN}")
        return {} if found is None else found["state"]

    async def _stored(self) -> None:
        """Wait until the server says that nothing is kept in memory only."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    codes = [fault.get("code") for fault in (await self._state()).get("errors", [])]
                    if codes.count("log_unavailable") <= codes.count("log_available"):
                        return
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise Broken("the server never said that its log is available again") from None

    async def _seen(self, viewer: Viewer) -> Seen:
        """What a viewer has in the end; it is given time to get there."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    standing = await viewer.standing()
                    state = await self._state()
                    there = standing.status in FINAL and standing.seq == state.get("seq")
                    if standing.phase == "stopped" or (standing.phase == "live" and there):
                        break
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            pass
        return Seen(viewer.name, standing, await viewer.state())


def told(schedule: Schedule) -> str:
    """A schedule, step by step."""
    return "; ".join(described(step) for step in schedule.steps())
