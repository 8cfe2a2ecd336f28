"""How many events the journal writes a second, in batches as a busy room hands them over.

Until the last one would survive the end of the process; that of the machine's power is asked for by decisions only.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from dagwidget.server.storage.event_store import Append, Record, Result, Stored
from dagwidget.server.storage.sqlite import SqliteJournal

from .results import Row

EVENTS = 300_000
BATCH = 100
_EVENT = (
    b'{"type":"node_state","node_id":"train/fold-%02d","status":"running","progress":0.42,"seq":%d,"ts":1700000000000}'
)


def _write(path: Path) -> float:
    """Seconds."""
    records = [Record(i, _EVENT % (i % 100, i), "a-publisher", i) for i in range(1, EVENTS + 1)]
    faults: list[str] = []
    durable = threading.Event()

    def done(result: Result) -> None:
        if not isinstance(result, Stored):
            faults.append(str(result))
        if faults or result == Stored(EVENTS):
            durable.set()

    journal = SqliteJournal(path)
    began = time.perf_counter()
    for first in range(0, EVENTS, BATCH):
        journal.append(Append("sqlite", "run", first, records[first : first + BATCH]), done)
    durable.wait()
    seconds = time.perf_counter() - began
    journal.close()
    if faults:
        raise RuntimeError(faults[0])
    return seconds


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="dagwidget-bench-") as folder:
        seconds = min(_write(Path(folder) / f"{i}.sqlite3") for i in range(3))
    return [Row("sqlite/events_per_s", round(EVENTS / seconds), "events/s")]
