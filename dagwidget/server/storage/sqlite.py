"""`SqliteJournal`: the durable log, in one SQLite file.

One thread owns the connection that writes, and commits what has piled up as one transaction, a row for each run: each
statement gives Python's lock away, and in a busy process has to wait for it again. In WAL mode that survives the end of
the process at any moment, and where a decision is in it, the end of the machine's power too; a torn tail is cut off by
SQLite itself when it opens the file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec import msgpack

from ...protocol import NodeOutput
from .event_store import Record, RunMeta, StoredLog, StoredRun, Unreadable
from .output_cache import OutputKey, joined
from .page import Page
from .retention import Retention, Row, may_go, too_large, too_many, too_old

_log = logging.getLogger("dagwidget")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS runs (
  id INTEGER PRIMARY KEY, dag_id TEXT NOT NULL, run_id TEXT NOT NULL, started_at INTEGER NOT NULL, meta BLOB,
  UNIQUE (dag_id, run_id)
);
CREATE TABLE IF NOT EXISTS batches (
  run INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, records BLOB NOT NULL, PRIMARY KEY (run, first)
);
CREATE TABLE IF NOT EXISTS outputs (
  run INTEGER NOT NULL, node_id TEXT NOT NULL, instance TEXT NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (run, node_id, instance, part)
);
"""
_DELETE: Final = (
    "DELETE FROM batches WHERE run = ?",
    "DELETE FROM outputs WHERE run = ?",
    "DELETE FROM runs WHERE id = ?",
)
_VERSION: Final = 2
# Written into the file's header: "dagw".
_APPLICATION: Final = 0x64616777
_BATCH: Final = 5_000
# What may wait in memory while the disk is full or away, in events; what comes after is not kept.
_WAITING: Final = 200_000
_RETRY_SECONDS: Final = 2.0
# How much of the log may wait to be moved into the file itself, in pages of 4 KiB.
_CHECKPOINT_PAGES: Final = 4_000


class _Job(NamedTuple):
    dag_id: str
    run_id: str
    records: Sequence[Record]
    done: Callable[[str | None], None]
    meta: RunMeta | None


class SqliteJournal:
    """A journal in the file `path`, which only its user may read.

    Args:
        path: The file; made where it is missing. One that is not ours is left alone.
        retention: What is kept.
        lazy: The file is where ours always is: open it when it is first needed; where it can't be, keep what comes in
            memory until it can. One that is no database is damaged, is put aside, and that is said in the log.

    Raises:
        OSError: it can't be opened, or another server has it; not where `lazy`.
    """

    def __init__(self, path: Path, retention: Retention | None = None, *, lazy: bool = False) -> None:
        self.path = path
        self._retention = retention or Retention()
        self.protected: Callable[[str, str], bool] = lambda _dag_id, _run_id: False
        self.removed: Callable[[str, str], None] = lambda _dag_id, _run_id: None
        self._ours = lazy
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting: deque[_Job] = deque()
        self._waiting_events = 0
        self._fault: str | None = None
        self._lock = threading.Lock()
        self._tried = -_RETRY_SECONDS
        self._database: sqlite3.Connection | None = None
        if not lazy:
            self._database = self._open()
            self._forget_old(self._database)
        self._thread = threading.Thread(target=self._write_for_ever, name="dagwidget-journal", daemon=True)
        self._thread.start()

    def append(
        self,
        dag_id: str,
        run_id: str,
        records: Sequence[Record],
        done: Callable[[str | None], None],
        meta: RunMeta | None = None,
    ) -> None:
        """See `Journal.append`."""
        self._jobs.put(_Job(dag_id, run_id, records, done, meta))

    def load(self, dag_id: str, run_id: str | None = None) -> StoredLog | None:
        """See `Journal.load`. Events after a gap are left out, and that is said in the log."""
        found = self._read(
            "SELECT id, run_id, meta FROM runs WHERE dag_id = ? AND (?2 IS NULL OR run_id = ?2)"
            " ORDER BY started_at DESC, id DESC LIMIT 1",
            (dag_id, run_id),
        )
        if not found:
            return None
        number, run_id, meta = found[0]
        rows = self._read("SELECT records FROM batches WHERE run = ? ORDER BY first", (number,))
        records = [record for (batch,) in rows for record in msgpack.decode(batch, type=list[Record])]
        whole = list(_dense(records))
        if len(whole) < len(records):
            _log.warning(
                "%s: of the run %r of %r, the %d events after %d are cut off: one before them is missing",
                *(self.path, run_id, dag_id, len(records) - len(whole), whole[-1].seq),
            )
        return StoredLog(run_id, whole, _decode_meta(meta))

    def page(self, dag_id: str, run_id: str, after: int, most: int) -> Page | None:
        """See `Journal.page`. What follows a gap is left out."""
        found = self._read(
            "SELECT id, MIN(first), MAX(last) FROM runs JOIN batches ON run = id"
            " WHERE dag_id = ? AND run_id = ? GROUP BY id",
            (dag_id, run_id),
        )
        if not found:
            return None
        number, first, last = found[0]
        after = max(after, first - 1)
        rows = self._read(
            "SELECT records FROM batches WHERE run = ? AND last > ? AND first <= ? ORDER BY first",
            (number, after, after + most),
        )
        records = [record for (batch,) in rows for record in msgpack.decode(batch, type=list[Record])]
        events: list[bytes] = []
        for record in records:
            if record.seq == after + len(events) + 1 and len(events) < most:
                events.append(record.data)
        ends = len(events) < min(most, last - after)
        return Page(after, after + len(events) if ends else max(last, after), events)

    def runs(self, dag_id: str | None = None) -> list[StoredRun]:
        """See `Journal.runs`."""
        rows = self._rows_of(
            "SELECT dag_id, run_id, started_at, COALESCE(MAX(last) - MIN(first) + 1, 0),"
            " COALESCE(SUM(LENGTH(records)), 0)"
            " + (SELECT COALESCE(SUM(LENGTH(data)), 0) FROM outputs WHERE outputs.run = id), meta"
            " FROM runs LEFT JOIN batches ON batches.run = id"
            " WHERE ?1 IS NULL OR dag_id = ?1 GROUP BY id ORDER BY started_at DESC, id DESC",
            (dag_id,),
        )
        return [
            StoredRun(dag_id=dag, run_id=run, started_at=at, events=events, bytes=size, meta=_decode_meta(meta))
            for dag, run, at, events, size, meta in rows
        ]

    def output(self, dag_id: str, run_id: str, key: OutputKey) -> str | None:
        """See `Journal.output`."""
        rows = self._read(
            "SELECT data FROM outputs JOIN runs ON run = id"
            " WHERE dag_id = ? AND run_id = ? AND node_id = ? AND instance = ? ORDER BY part",
            (dag_id, run_id, key.node_id, key.instance or ""),
        )
        return joined([msgpack.decode(data, type=NodeOutput) for (data,) in rows])

    def close(self) -> None:
        """See `Journal.close`."""
        self._jobs.put(None)
        self._thread.join()
        with self._lock:
            if self._database is not None:
                self._database.close()

    def _read(self, statement: str, parameters: tuple[object, ...]) -> list[Any]:
        """Rows of the file; none where it can't be read."""
        with contextlib.suppress(Unreadable):
            return self._rows_of(statement, parameters)
        return []

    def _rows_of(self, statement: str, parameters: tuple[object, ...]) -> list[Any]:
        """Rows of the file.

        Raises:
            Unreadable: the file can't be opened or read; that is logged, too.
        """
        with self._lock:
            database = self._opened()
            if database is None:
                raise Unreadable(self._fault or f"{self.path} is not open")
            try:
                return database.execute(statement, parameters).fetchall()
            except sqlite3.Error as error:
                _log.error("%s can't be read: %s", self.path, error)
                raise Unreadable(f"{self.path} can't be read: {error}") from error

    # --- Opening

    def _opened(self) -> sqlite3.Connection | None:
        """The database, opened where it is not, and could not be a moment ago; None where it can't be, and why."""
        if self._database is None and self._may_try():
            self._tried = time.monotonic()
            try:
                self._database = self._open()
            except OSError as error:
                if str(error) != self._fault:
                    _log.warning("runs are kept in memory only: %s", error)
                self._fault = str(error)
            else:
                self._forget_old(self._database)
        return self._database

    def _may_try(self) -> bool:
        return time.monotonic() - self._tried > _RETRY_SECONDS

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Outputs may hold secrets.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            return self._connect()
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.path} can't be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            if not self._ours:
                raise OSError(f"{self.path} is no log of dagwidget, and is left alone: {error}") from error
            aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
            _log.warning("%s is damaged (%s): it is put aside as %s, and a new one is begun", self.path, error, aside)
            self.path.rename(aside)
            for suffix in ("-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    self.path.with_name(self.path.name + suffix).unlink()
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=1.0)
        try:
            owner = database.execute("PRAGMA application_id").fetchone()[0]
            tables = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
            if tables and owner != _APPLICATION and not self._ours:
                raise OSError(f"{self.path} is the database of another program, and is left alone")
            # Two servers with one file would number the same run twice.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA wal_autocheckpoint = 0")
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise OSError(f"{self.path} was written by a newer dagwidget (version {version} of the file)")
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.executescript(_SCHEMA)
            if version == 1:
                database.execute("ALTER TABLE runs ADD COLUMN meta BLOB")
            database.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            database.close()
            raise
        return database

    # --- Writing, in the thread

    def _write_for_ever(self) -> None:
        while True:
            jobs, ended = self._next_jobs()
            if jobs:
                self._write(jobs)
            if self._waiting and (ended or self._may_try()):
                self._write_waiting()
            if ended:
                break
            self._checkpoint()
        self._checkpoint(last=True)

    def _next_jobs(self) -> tuple[list[_Job], bool]:
        """What has piled up; waits for something, but not past the next attempt where a write has failed."""
        try:
            job = self._jobs.get(timeout=_RETRY_SECONDS if self._waiting else None)
        except queue.Empty:
            return [], False
        jobs: list[_Job] = []
        events = 0
        while job is not None:
            jobs.append(job)
            events += len(job.records)
            if events >= _BATCH:
                return jobs, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _write(self, jobs: list[_Job]) -> None:
        # While older ones wait, newer ones must not overtake them.
        error = self._fault if self._waiting else self._commit(jobs)
        if error is not None:
            self._fault = error
            self._wait(jobs)
        for job in jobs:
            job.done(error)

    def _wait(self, jobs: list[_Job]) -> None:
        for job in jobs:
            if self._waiting_events + len(job.records) <= _WAITING:
                # Whole outputs may be of any size: memory is no place for them.
                self._waiting.append(job._replace(records=_bare(job.records)))
                self._waiting_events += len(job.records)

    def _write_waiting(self) -> None:
        jobs = list(self._waiting)
        self._fault = self._commit(jobs)
        if self._fault is None:
            self._waiting.clear()
            self._waiting_events = 0
            for job in jobs:
                job.done(None)

    def _commit(self, jobs: list[_Job]) -> str | None:
        """Write jobs as one transaction; returns what is wrong."""
        with self._lock:
            decides = any(record.command for job in jobs for record in job.records)
            database = self._opened()
            if database is None:
                return self._fault
            try:
                database.execute(f"PRAGMA synchronous = {'FULL' if decides else 'NORMAL'}")
                database.execute("BEGIN IMMEDIATE")
                for (dag_id, run_id), (records, meta) in _by_run(jobs).items():
                    run = self._run(database, dag_id, run_id, meta)
                    if records:
                        row = (run, records[0].seq, records[-1].seq, msgpack.encode(_bare(records)))
                        database.execute("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?)", row)
                    for record in records:
                        if record.output is not None:
                            _keep_output(database, run, record.output)
                database.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                self._tried = time.monotonic()
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                return str(error)
        return None

    def _run(self, database: sqlite3.Connection, dag_id: str, run_id: str, meta: RunMeta | None) -> int:
        """The number of a run in the file, where `meta` is written; a new run may make older ones of its DAG go."""
        key = (dag_id, run_id)
        found = database.execute("SELECT id FROM runs WHERE dag_id = ? AND run_id = ?", key).fetchone()
        encoded = None if meta is None else msgpack.encode(meta)
        if found is not None:
            if encoded is not None:
                database.execute("UPDATE runs SET meta = ? WHERE id = ?", (encoded, found[0]))
            return int(found[0])
        started_at = time.time_ns() // 1_000_000 if meta is None else meta.summary.started_at
        new = database.execute(
            "INSERT INTO runs (dag_id, run_id, started_at, meta) VALUES (?, ?, ?, ?)", (*key, started_at, encoded)
        )
        assert new.lastrowid is not None
        self._delete(database, too_many(self._rows(database, dag_id), self._retention, self._may_go))
        return new.lastrowid

    def _checkpoint(self, *, last: bool = False) -> None:
        """Move the log into the file: not while committing, as this is what waits for the disk."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            wal = self.path.with_name(self.path.name + "-wal")
            big = wal.exists() and wal.stat().st_size > _CHECKPOINT_PAGES * 4096
            if self._database is not None and (last or big):
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # --- Retention

    def _forget_old(self, database: sqlite3.Connection) -> None:
        """Delete what is too old, then the oldest of what is too much."""
        with contextlib.suppress(sqlite3.Error):
            self._delete(
                database, too_old(self._rows(database), self._retention, self._may_go, time.time_ns() // 1_000_000)
            )
            sizes: Counter[int] = Counter()
            # One by one: then SQLite reads how long they are, and not all that they hold.
            for column, table in (("records", "batches"), ("data", "outputs")):
                statement = f"SELECT run, SUM(LENGTH({column})) FROM {table} GROUP BY run"  # noqa: S608
                sizes.update(dict(database.execute(statement).fetchall()))
            self._delete(database, too_large(self._rows(database), sizes, self._retention, self._may_go))

    def _rows(self, database: sqlite3.Connection, dag_id: str | None = None) -> list[Row]:
        rows = database.execute(
            "SELECT id, dag_id, run_id, started_at, meta FROM runs WHERE ?1 IS NULL OR dag_id = ?1"
            " ORDER BY started_at DESC, id DESC",
            (dag_id,),
        )
        return [Row(number, dag, run, at, _decode_meta(meta)) for number, dag, run, at, meta in rows.fetchall()]

    def _may_go(self, row: Row) -> bool:
        return may_go(row, self._retention, time.time_ns() // 1_000_000) and not self.protected(row.dag_id, row.run_id)

    def _delete(self, database: sqlite3.Connection, rows: Iterable[Row]) -> None:
        for row in rows:
            for statement in _DELETE:
                database.execute(statement, (row.number,))
            self.removed(row.dag_id, row.run_id)


def _bare(records: Sequence[Record]) -> list[Record]:
    """Records without what is kept beside the log."""
    return [record if record.output is None else record._replace(output=None) for record in records]


def _keep_output(database: sqlite3.Connection, run: int, part: NodeOutput) -> None:
    key = (run, part.node_id, part.instance or "")
    if part.part == 0:
        database.execute("DELETE FROM outputs WHERE run = ? AND node_id = ? AND instance = ?", key)
    database.execute("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?)", (*key, part.part, msgpack.encode(part)))


def _decode_meta(meta: bytes | None) -> RunMeta | None:
    return None if meta is None else msgpack.decode(meta, type=RunMeta)


def _by_run(jobs: Sequence[_Job]) -> dict[tuple[str, str], tuple[list[Record], RunMeta | None]]:
    """The records of each run, and the newest meta."""
    runs: dict[tuple[str, str], tuple[list[Record], RunMeta | None]] = {}
    for job in jobs:
        records, meta = runs.get((job.dag_id, job.run_id), ([], None))
        records.extend(job.records)
        runs[job.dag_id, job.run_id] = (records, job.meta or meta)
    return runs


def _dense(records: Sequence[Record]) -> Iterator[Record]:
    for expected, record in enumerate(records, start=records[0].seq if records else 1):
        if record.seq != expected:
            return
        yield record
