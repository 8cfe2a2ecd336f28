"""`Waits`: what a program waits for in the run that a client or a widget follows: a gate, its end, a newer run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from .. import protocol as p
from ..errors import RunFailed
from ..protocol.messages import NEWEST_RUNS
from ..state import FINAL, Fault, Gate
from .followed import Followed, Outcome


class Started(Protocol):
    """A run that was started in this process."""

    @property
    def run_id(self) -> str | None:
        """Its id."""


class Waits:
    """Each wait goes on through cuts of the connection."""

    dag_id: Any

    @property
    def _followed(self) -> Followed:
        """The client whose run is shown."""
        raise NotImplementedError

    async def _wait(self, ready: Callable[[Followed], bool], timeout: float | None, what: str) -> Followed:
        """Wait until the followed client is ready. Returns that client; see `StreamClient.wait` for what it raises."""
        raise NotImplementedError

    async def _outcome_of(self, run_id: str, timeout: float | None, what: str) -> Outcome:
        """Wait until a run has ended that is not followed."""
        raise NotImplementedError

    async def wait_for(self, node_id: str | None = None, *, timeout: float | None = None) -> Gate:
        """Wait until a gate is open.

        Args:
            node_id: The node that will ask; any node by default.
            timeout: The longest wait in seconds. By default there is no limit once the server was reached.

        Returns:
            The gate.

        Raises:
            RunFailed: the run has ended, and no gate is open.
            NotConnected: the server refuses, or was never reached.
            TimeoutError: `timeout` seconds have passed.

        Example:
            >>> asked = run.gate("review", title="Ship it?")
            >>> gate = await w.wait_for("review", timeout=60)
            >>> gate.presentation.title
            'Ship it?'
            >>> sent = w.decide("review", "approve", gate_id=gate.gate_id)
        """
        if node_id is not None and not isinstance(node_id, str):
            raise TypeError(f"node_id must be a string, not {type(node_id).__name__}: {node_id!r}")
        where = "a gate" if node_id is None else f"a gate at {node_id!r}"
        await self._wait(lambda _client: self._is_over() or bool(self._gates_at(node_id)), timeout, where)
        gates = self._gates_at(node_id)
        if not gates:
            state = self._followed.state
            text = f"{where} did not open: the run of {self.dag_id!r} is {state.status}"
            raise self._failure(text, state.epoch, state.status, state.errors)
        return gates[0]

    async def complete(self, run: Started | str | None = None, *, timeout: float | None = None) -> Any:
        """Wait until a run has ended.

        Args:
            run: The run, or its id; by default the one that is followed when this is called.
            timeout: The longest wait in seconds. By default there is no limit once the server was reached.

        Returns:
            The run's results.

        Raises:
            RunFailed: the run failed or was cancelled; the text holds its last error.
            NotConnected: the server refuses, or was never reached.
            TimeoutError: `timeout` seconds have passed.

        Example:
            >>> run.complete({"model": "v7"})
            >>> await w.complete(timeout=60)
            {'model': 'v7'}
        """
        what = "the end of the run"
        target = run if run is None or isinstance(run, str) else _id_of(run)
        if target is not None:
            p.check_dag_id(target, "run")
        if target is None:
            client = await self._wait(lambda each: each.run_id is not None or self._is_over(), timeout, "the first run")
            target = client.run_id
        # A plain server names no runs.
        run_id = target or ""
        if self._followed.run_id == target:
            # It may go on to another run before this one's end has arrived.
            await self._wait(lambda each: each.outcome(run_id) is not None or each.run_id != target, timeout, what)
        outcome = self._followed.outcome(run_id) or await self._outcome_of(run_id, timeout, what)
        if outcome.status != "completed":
            last = outcome.errors[-1].message if outcome.errors else "it gave no reason"
            text = f"run {run_id!r} of {self.dag_id!r} is {outcome.status}: {last}"
            raise self._failure(text, run_id, outcome.status, outcome.errors)
        return outcome.results

    async def next_run(self, after: str | None = None, *, timeout: float | None = None) -> str:
        """Wait until a newer run has begun.

        Args:
            after: The run that it is newer than; by default the one that is shown.
            timeout: The longest wait in seconds. By default there is no limit once the server was reached.

        Returns:
            The id of the newest run.

        Raises:
            NotConnected: the server refuses, or was never reached.
            TimeoutError: `timeout` seconds have passed.

        Example:
            >>> newer = dagwidget.start_run("my-dag")
            >>> await w.next_run(run.run_id, timeout=60) == newer.run_id
            True
        """
        if after is not None:
            p.check_dag_id(after, "after")
        before = after if after is not None else self._followed.run_id
        began = time.monotonic()
        listed = await self._wait(lambda each: bool(each.runs), timeout, "the next run")
        left = None if timeout is None else max(0.0, timeout - (time.monotonic() - began))
        # A run that has just begun is in the list a moment later: until then, what is there is no newer one.
        earlier = (
            {run.run_id for run in listed.runs} if before is not None and len(listed.runs) < NEWEST_RUNS else set()
        )

        def newer(client: Followed) -> str | None:
            runs = client.runs
            age = {run.run_id: (run.started_at, run.run_id) for run in runs}
            if not runs or runs[0].run_id == before:
                return None
            is_older = age[before] >= age[runs[0].run_id] if before in age else runs[0].run_id in earlier
            return None if is_older else runs[0].run_id

        found = newer(await self._wait(lambda each: newer(each) is not None, left, "the next run"))
        assert found is not None
        return found

    def _is_over(self) -> bool:
        return self._followed.state.status in FINAL and not self._followed.is_behind

    def _gates_at(self, node_id: str | None) -> list[Gate]:
        client = self._followed
        if client.is_behind:
            return []
        with client.lock:
            return [gate for gate in client.state.gates.values() if node_id is None or gate.node_id == node_id]

    def _failure(self, text: str, run_id: str | None, status: str, errors: list[Fault]) -> RunFailed:
        return RunFailed(text, dag_id=self.dag_id, run_id=run_id, status=status, errors=tuple(errors))


def _id_of(run: Started) -> str | None:
    if not hasattr(run, "run_id"):
        raise TypeError(f"run must be a run or its id, not {type(run).__name__}: {run!r:.200}")
    return run.run_id
