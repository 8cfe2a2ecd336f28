"""`MemoryJournal`: a journal that lasts as long as its process, for tests and as the shortest example of one."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from .event_store import Append, Checkpoint, Record, Result, RunMeta, Snapshot, Stored, StoredRun
from .faults import Missing
from .output_cache import OutputKey, Outputs
from .rules import conflict, dense

# Of whole outputs, in characters, for each run.
_OUTPUTS: Final = 64 * 1024 * 1024


class _Run:
    def __init__(self, begins: int) -> None:
        self.begins = self.head = begins
        self.records: list[Record] = []
        self.checkpoints: list[Checkpoint] = []
        self.meta: RunMeta | None = None
        self.outputs = Outputs(_OUTPUTS)
        self.bytes = 0


class MemoryJournal:
    """A journal in memory."""

    def __init__(self) -> None:
        self.protected: Callable[[str, str], bool] = lambda _dag_id, _run_id: False
        self.removed: Callable[[str, str], None] = lambda _dag_id, _run_id: None
        self.replaced: Callable[[str], None] = lambda _reason: None
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, str], _Run] = {}

    def append(self, append: Append, done: Callable[[Result], None]) -> None:
        """See `Journal.append`."""
        with self._lock:
            result = self._append(append)
        done(result)

    def _append(self, append: Append) -> Result:
        run = self._runs.get((append.dag_id, append.run_id))
        refused = conflict(append, None if run is None else run.head, None if run is None else run.meta)
        if refused is not None:
            return refused
        if run is None:
            begins = append.after if append.meta is None else append.meta.begins
            run = self._runs[append.dag_id, append.run_id] = _Run(begins)
        run.meta = append.meta or run.meta
        for record in append.records:
            run.records.append(record.bare())
            run.bytes += len(record.data)
            if record.output is not None:
                run.outputs.add(record.output)
        if append.checkpoint is not None:
            run.checkpoints.append(append.checkpoint)
        run.head = append.records[-1].seq if append.records else append.after
        return Stored(run.head)

    def runs(self, dag_id: str | None = None) -> list[StoredRun]:
        """See `Journal.runs`."""
        with self._lock:
            rows = [_row(*key, run) for key, run in self._runs.items() if dag_id in (None, key[0])]
        return sorted(rows, key=lambda row: row.started_at, reverse=True)

    def snapshot(self, dag_id: str, run_id: str, upto: int | None = None) -> Snapshot | None:
        """See `Journal.snapshot`."""
        with self._lock:
            run = self._runs.get((dag_id, run_id))
            if run is None:
                return None
            checkpoints = [each for each in run.checkpoints if upto is None or each.seq <= upto]
            newest = checkpoints[-1] if checkpoints else None
            # A reader may apply events to it.
            mine = None if newest is None else replace(newest, state=newest.state.copy())
            return Snapshot(_row(dag_id, run_id, run), mine)

    def follow(self, dag_id: str, run_id: str, after: int, most: int) -> list[Record]:
        """See `Journal.follow`."""
        with self._lock:
            run = self._runs.get((dag_id, run_id))
            if run is None:
                raise Missing(after, after + 1, "of the log are gone: the run was deleted")
            start = bisect_right(run.records, after, key=lambda record: record.seq)
            return dense(run.records[start : start + most], after, run.head)

    def output(self, dag_id: str, run_id: str, key: OutputKey) -> str | None:
        """See `Journal.output`."""
        with self._lock:
            run = self._runs.get((dag_id, run_id))
            return None if run is None else run.outputs.get(key)

    def delete(self, dag_id: str, run_id: str) -> None:
        """Delete a run, as retention does."""
        with self._lock:
            del self._runs[dag_id, run_id]
        self.removed(dag_id, run_id)

    def close(self) -> None:
        """See `Journal.close`."""


def _row(dag_id: str, run_id: str, run: _Run) -> StoredRun:
    return StoredRun(
        dag_id=dag_id,
        run_id=run_id,
        started_at=0 if run.meta is None else run.meta.summary.started_at,
        begins=run.begins,
        head=run.head,
        bytes=run.bytes,
        meta=run.meta,
    )
