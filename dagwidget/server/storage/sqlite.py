"""`SqliteJournal`: the durable log, in one SQLite file.

One thread owns the connection that writes, and commits what has piled up as one transaction, a row for each append:
each statement gives Python's lock away, and in a busy process has to wait for it again. In WAL mode that survives the
end of the process at any moment, and where a decision is in it, the end of the machine's power too; a torn tail is cut
off by SQLite itself when it opens the file.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import msgpack

from ...protocol import NodeOutput
from .event_store import Append, Checkpoint, Record, Result, RunMeta, Snapshot, Stored, StoredRun
from .faults import Missing, Unavailable
from .file_lock import is_on_network
from .output_cache import OutputKey, joined
from .retention import Retention, Row, may_go, too_large, too_many, too_old
from .rules import conflict, dense
from .sqlite_file import LogFile
from .sqlite_schema import FAULTS, Damaged, crc, is_corrupt, is_sound, is_typed

_log = logging.getLogger("dagwidget")

_DELETE: Final = (
    "DELETE FROM batches WHERE run = ?",
    "DELETE FROM checkpoints WHERE run = ?",
    "DELETE FROM outputs WHERE run = ?",
    "DELETE FROM runs WHERE id = ?",
)
_ROW: Final = "SELECT id, dag_id, run_id, started_at, meta, begins, head, bytes, crc FROM runs"
_COMMIT_EVENTS: Final = 5_000
# Also how often it is looked whether the file is still there.
_RETRY_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 30.0
"""How long the end of a server waits for a thread that does not come back from the disk."""
# What SQLite raises because of what it was given, and not because of the file.
_OF_THE_APPEND: Final = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
# How much of the log may wait to be moved into the file itself.
_WAL_BYTES: Final = 16 * 1024 * 1024


class _Job(NamedTuple):
    append: Append
    done: Callable[[Result], None]


class _Run(NamedTuple):
    """A row of `runs`."""

    number: int
    dag_id: str
    run_id: str
    started_at: int
    meta: RunMeta | None
    begins: int
    head: int
    bytes: int
    is_sound: bool

    def stored(self) -> StoredRun:
        return StoredRun(
            dag_id=self.dag_id,
            run_id=self.run_id,
            started_at=self.started_at,
            begins=self.begins,
            head=self.head,
            bytes=self.bytes,
            meta=self.meta,
            is_sound=self.is_sound,
        )


class SqliteJournal:
    """A journal in the file `path`, which only its user may read.

    Args:
        path: The file; made where it is missing. One that is not ours is left alone. A damaged one is put aside, what
            can be read of it is kept, and that is said in the log.
        retention: What is kept.
        lazy: The file is where ours always is: open it when it is first needed, and where it can't be, as soon as it
            can.

    Raises:
        OSError: it can't be opened, or another server has it; not where `lazy`.
    """

    def __init__(self, path: Path, retention: Retention | None = None, *, lazy: bool = False) -> None:
        self.path = path
        self._retention = retention or Retention()
        self.protected: Callable[[str, str], bool] = lambda _dag_id, _run_id: False
        self.removed: Callable[[str, str], None] = lambda _dag_id, _run_id: None
        self.replaced: Callable[[str], None] = lambda _reason: None
        self._ours = lazy
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # Who has both, taken in this order, may open the file or close it.
        self._writing = threading.RLock()
        self._reading = self._writing if is_on_network(path) else threading.RLock()
        self._file: LogFile | None = None
        self._fault: str | None = None
        self._tried = -_RETRY_SECONDS
        # Why the file must be put aside, as a reader has found.
        self._damage: str | None = None
        # Why the next file is a new one, which rooms have to be stored in anew.
        self._reason: str | None = None
        # The rows of the runs that were written to.
        self._runs: dict[tuple[str, str], _Run] = {}
        # Those of which an append can't be stored, which was said.
        self._unfit: set[tuple[str, str]] = set()
        if not lazy:
            self._file = LogFile(path, ours=False)
            self._forget_old(self._file.writer)
        self._thread = threading.Thread(target=self._write_for_ever, name="dagwidget-journal", daemon=True)
        self._thread.start()

    def append(self, append: Append, done: Callable[[Result], None]) -> None:
        """See `Journal.append`."""
        self._jobs.put(_Job(append, done))

    def close(self) -> None:
        """See `Journal.close`."""
        self._jobs.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            # It may hold the locks: whoever waited for them would never end either.
            _log.error("%s could not be closed in %g s: what was not stored by then is lost", self.path, CLOSE_SECONDS)
            return
        with self._writing, self._reading:
            if self._file is not None:
                self._file.close()

    # --- Reading

    def runs(self, dag_id: str | None = None) -> list[StoredRun]:
        """See `Journal.runs`."""
        with self._reader() as database:
            if database is None:
                return []
            rows = database.execute(
                f"{_ROW} WHERE ?1 IS NULL OR dag_id = ?1 ORDER BY started_at DESC, id DESC", (dag_id,)
            )
            return [_run(row).stored() for row in rows]

    def snapshot(self, dag_id: str, run_id: str, upto: int | None = None) -> Snapshot | None:
        """See `Journal.snapshot`."""
        with self._reader() as database:
            run = None if database is None else _find(database, dag_id, run_id)
            if database is None or run is None:
                return None
            rows = database.execute(
                "SELECT seq, data, crc FROM checkpoints WHERE run = ?1 AND (?2 IS NULL OR seq <= ?2) ORDER BY seq DESC",
                (run.number, upto),
            )
            for seq, data, checksum in rows:
                with contextlib.suppress(msgspec.MsgspecError, UnicodeError):
                    if is_sound("checkpoints", (run.number, seq, data, checksum)):
                        return Snapshot(run.stored(), msgspec.json.decode(data, type=Checkpoint))
                _log.warning("%s: a checkpoint of the run %r of %r is damaged", self.path, run_id, dag_id)
            return Snapshot(run.stored(), None)

    def follow(self, dag_id: str, run_id: str, after: int, most: int) -> list[Record]:
        """See `Journal.follow`."""
        with self._reader() as database:
            run = None if database is None else _find(database, dag_id, run_id)
            if database is None or run is None:
                raise Missing(after, after + 1, "of the log are gone: the run was deleted")
            rows = database.execute(
                "SELECT first, last, records, crc FROM batches WHERE run = ?1 AND first >="
                " COALESCE((SELECT MAX(first) FROM batches WHERE run = ?1 AND first <= ?2), 0) ORDER BY first",
                (run.number, after + 1),
            )
            records: list[Record] = []
            for row in rows:
                records += (record for record in _records((run.number, *row)) if record.seq > after)
                # Past a hole, the first record there is tells where it ends.
                if records and records[-1].seq >= after + most:
                    break
            return dense(records[:most], after, run.head if run.is_sound else None)

    def output(self, dag_id: str, run_id: str, key: OutputKey) -> str | None:
        """See `Journal.output`."""
        with self._reader() as database:
            run = None if database is None else _find(database, dag_id, run_id)
            if database is None or run is None:
                return None
            name = (run.number, key.node_id, key.instance or "")
            rows = database.execute(
                "SELECT part, data, crc FROM outputs WHERE run = ? AND node_id = ? AND instance = ? ORDER BY part", name
            ).fetchall()
        parts: list[NodeOutput] = []
        for part, data, checksum in rows:
            if not is_sound("outputs", (*name, part, data, checksum)):
                return None
            with contextlib.suppress(msgspec.MsgspecError):
                parts.append(msgpack.decode(data, type=NodeOutput))
        return joined(parts)

    @contextlib.contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection | None]:
        """The connection to read from; None where there is no file, and so nothing is stored.

        Raises:
            Unavailable: the file can't be opened or read.
        """
        if self._file is None:
            try:
                with self._writing:
                    self._opened()
            except Unavailable:
                if self._reason is None and not self.path.is_symlink() and not self.path.exists():
                    yield None
                    return
                raise
        with self._reading:
            if self._file is None:
                raise Unavailable(self._fault or f"{self.path} is not open")
            try:
                yield self._file.reader
            except FAULTS as error:
                _log.error("%s can't be read: %s", self.path, error)
                if is_corrupt(error):
                    self._damage = str(error)
                raise Unavailable(f"{self.path} can't be read: {error}") from error

    # --- Opening

    def _opened(self) -> LogFile:
        """The file, opened where it is not; the caller may write.

        Raises:
            Unavailable: it can't be opened, or could not be a moment ago.
        """
        if self._file is None:
            if time.monotonic() - self._tried <= _RETRY_SECONDS:
                raise Unavailable(self._fault or f"{self.path} is not open")
            self._tried = time.monotonic()
            try:
                file = LogFile(self.path, ours=self._ours, is_damaged=self._damage)
            except OSError as error:
                if str(error) != self._fault:
                    _log.warning("runs are stored in memory only: %s", error)
                self._fault = str(error)
                raise Unavailable(self._fault) from error
            self._file, self._fault, self._damage = file, None, None
            self._forget_old(file.writer)
            reason, self._reason = self._reason, None
            if reason is not None:
                self.replaced(reason if file.aside is None else f"{reason}; it was put aside as {file.aside}")
        return self._file

    def _look(self) -> None:
        """See whether the file is still the one that was opened, and sound."""
        with self._writing:
            if self._file is None:
                return
            if self._damage is not None:
                self._begin_again(f"the log file {self.path} is damaged ({self._damage})")
                return
            self._file.keep_lock()
            if not self._file.is_here():
                what = "deleted or replaced" if self._file.is_whole else "cut off or overwritten"
                self._begin_again(f"the log file {self.path} was {what} while it was in use")

    def _begin_again(self, reason: str) -> None:
        """Let go of the file, and open what is at its path now."""
        _log.error("%s: what is in memory is stored anew", reason)
        with self._reading:
            if self._file is not None:
                self._file.close()
            self._file, self._reason, self._ours = None, reason, True
            self._runs.clear()
            self._tried = -_RETRY_SECONDS
            with contextlib.suppress(Unavailable):
                self._opened()

    # --- Writing, in the thread

    def _write_for_ever(self) -> None:
        ended = False
        while not ended:
            jobs, ended = self._next_jobs()
            results: list[Result] = []
            # Nothing may end this thread but the end: without it nothing of any run is stored any more.
            try:
                self._look()
                results = self._write(jobs) if jobs else []
            except Exception as error:
                _log.exception("%s: the log failed", self.path)
                results = [Unavailable(f"{self.path} can't be written: {_named(error)}") for _ in jobs]
            for job, result in zip(jobs, results, strict=True):
                try:
                    job.done(result)
                except Exception:
                    _log.exception("%s: an answer of the log was not taken", self.path)
            self._move_wal(all_of_it=ended)

    def _next_jobs(self) -> tuple[list[_Job], bool]:
        """What has piled up, and whether it is the last; waits for something, but not for long."""
        try:
            job = self._jobs.get(timeout=_RETRY_SECONDS)
        except queue.Empty:
            return [], False
        jobs: list[_Job] = []
        events = 0
        while job is not None:
            jobs.append(job)
            events += len(job.append.records)
            if events >= _COMMIT_EVENTS:
                return jobs, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _write(self, jobs: Sequence[_Job]) -> list[Result]:
        """Commit appends; where the file turns out to be gone, in the one after it."""
        appends = [job.append for job in jobs]
        unfit: Exception | None = None
        with self._writing:
            for _ in range(2):
                try:
                    file = self._opened()
                    results = self._commit(file, appends)
                except Unavailable as unavailable:
                    return [unavailable for _ in jobs]
                except FAULTS as error:
                    self._runs.clear()
                    if isinstance(error, _OF_THE_APPEND):
                        unfit = error
                        break
                    if not is_corrupt(error):
                        return [Unavailable(f"{self.path} can't be written: {error}") for _ in jobs]
                    self._damage = str(error)
                except Exception as error:
                    self._runs.clear()
                    unfit = error
                    break
                else:
                    if file.is_here():
                        return results
                self._look()
        if unfit is not None:
            return self._write_one_by_one(jobs, unfit)
        return [Unavailable(f"{self.path} was deleted again and again") for _ in jobs]

    def _write_one_by_one(self, jobs: Sequence[_Job], error: Exception) -> list[Result]:
        """What becomes of appends of which one can't be stored, whatever the file: the others are."""
        if len(jobs) > 1:
            return [result for job in jobs for result in self._write([job])]
        append = jobs[0].append
        key = (append.dag_id, append.run_id)
        if key not in self._unfit:
            self._unfit.add(key)
            _log.error("events of the run %r of %r can't be stored", append.run_id, append.dag_id, exc_info=error)
        return [Unavailable(f"the events after {append.after:,} can't be stored: {_named(error)}")]

    def _commit(self, file: LogFile, appends: Sequence[Append]) -> list[Result]:
        """Write appends as one transaction."""
        database = file.writer
        try:
            sync = any(append.sync for append in appends)
            database.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
            database.execute("BEGIN IMMEDIATE")
            results = [self._append(database, append) for append in appends]
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise
        return results

    def _append(self, database: sqlite3.Connection, append: Append) -> Result:
        key = (append.dag_id, append.run_id)
        run = self._runs.get(key) or _find(database, *key)
        refused = conflict(append, None if run is None else run.head, None if run is None else run.meta)
        if refused is not None:
            return refused
        if run is None:
            run = self._insert(database, append)
        size = run.bytes + self._insert_records(database, run.number, append.records)
        if append.checkpoint is not None:
            data, seq = msgspec.json.encode(append.checkpoint), append.checkpoint.seq
            row = (run.number, seq, data, crc(data, run.number, seq))
            database.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?)", row)
            size += len(data)
        meta, head = append.meta or run.meta, append.records[-1].seq if append.records else append.after
        run = run._replace(meta=meta, head=head, bytes=size, is_sound=True)
        encoded = _encode_meta(meta)
        checksum = crc(encoded, run.number, *key, run.begins, head)
        database.execute(
            "UPDATE runs SET meta = ?, begins = ?, head = ?, bytes = ?, crc = ? WHERE id = ?",
            (encoded, run.begins, head, size, checksum, run.number),
        )
        self._runs[key] = run
        self._unfit.discard(key)
        return Stored(head)

    def _insert(self, database: sqlite3.Connection, append: Append) -> _Run:
        """Add a run; that may make older ones of its DAG go."""
        key, meta = (append.dag_id, append.run_id), append.meta
        begins = append.after if meta is None else meta.begins
        started_at = time.time_ns() // 1_000_000 if meta is None else meta.summary.started_at
        new = database.execute(
            "INSERT INTO runs (dag_id, run_id, started_at, meta, begins, head, bytes, crc)"
            " VALUES (?, ?, ?, ?, ?, ?, 0, 0)",
            (*key, started_at, _encode_meta(meta), begins, append.after),
        )
        assert new.lastrowid is not None
        self._delete(database, too_many(self._rows(database, append.dag_id), self._retention, self._may_go))
        return _Run(new.lastrowid, *key, started_at, meta, begins, append.after, 0, is_sound=True)

    def _insert_records(self, database: sqlite3.Connection, run: int, records: Sequence[Record]) -> int:
        """Add records; returns by how many bytes the run grows."""
        if not records:
            return 0
        first, last = records[0].seq, records[-1].seq
        data = msgpack.encode([record.bare() for record in records])
        row = (run, first, last, data, crc(data, run, first, last))
        database.execute("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?)", row)
        outputs = (record.output for record in records if record.output is not None)
        return len(data) + sum(_insert_output(database, run, output) for output in outputs)

    def _move_wal(self, *, all_of_it: bool) -> None:
        """Move the WAL into the file: not while committing, as this is what waits for the disk."""
        with self._writing, contextlib.suppress(sqlite3.Error):
            if self._file is not None and (all_of_it or self._file.wal_bytes > _WAL_BYTES):
                self._file.move_wal()

    # --- Retention

    def _forget_old(self, database: sqlite3.Connection) -> None:
        """Delete what is too old, then the oldest of what is too much."""
        now = time.time_ns() // 1_000_000
        try:
            self._delete(database, too_old(self._rows(database), self._retention, self._may_go, now))
            sizes = dict(database.execute("SELECT id, bytes FROM runs").fetchall())
            self._delete(database, too_large(self._rows(database), sizes, self._retention, self._may_go))
        except FAULTS as error:
            _log.warning("%s: what is too old or too much was not deleted: %s", self.path, error)

    def _rows(self, database: sqlite3.Connection, dag_id: str | None = None) -> list[Row]:
        rows = database.execute(
            f"{_ROW} WHERE ?1 IS NULL OR dag_id = ?1 ORDER BY started_at DESC, id DESC", (dag_id,)
        ).fetchall()
        return [Row(run.number, run.dag_id, run.run_id, run.started_at, run.meta) for run in map(_run, rows)]

    def _may_go(self, row: Row) -> bool:
        return may_go(row, self._retention, time.time_ns() // 1_000_000) and not self.protected(row.dag_id, row.run_id)

    def _delete(self, database: sqlite3.Connection, rows: Iterable[Row]) -> None:
        for row in rows:
            for statement in _DELETE:
                database.execute(statement, (row.number,))
            self._runs.pop((row.dag_id, row.run_id), None)
            self.removed(row.dag_id, row.run_id)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _run(row: Sequence[Any]) -> _Run:
    """A row of `runs`; one that is damaged has no meta.

    Raises:
        Damaged: it is none.
    """
    if not is_typed("runs", row):
        raise Damaged("a row of its runs has values of other types")
    number, dag_id, run_id, started_at, data, begins, head, size, _ = row
    sound = is_sound("runs", row)
    meta = None
    if data is not None and sound:
        with contextlib.suppress(msgspec.MsgspecError):
            meta = msgpack.decode(data, type=RunMeta)
    return _Run(number, dag_id, run_id, started_at, meta, begins, head, size, sound)


def _find(database: sqlite3.Connection, dag_id: str, run_id: str) -> _Run | None:
    """The row of a run, if there is one. Where it is damaged, its log says how far it reaches."""
    row = database.execute(f"{_ROW} WHERE dag_id = ? AND run_id = ?", (dag_id, run_id)).fetchone()
    run = None if row is None else _run(row)
    if run is None or run.is_sound:
        return run
    begins, head = database.execute(
        "SELECT MIN(first) - 1, MAX(last) FROM batches"
        " WHERE run = ? AND typeof(first) = 'integer' AND typeof(last) = 'integer'",
        row[:1],
    ).fetchone()
    return run._replace(begins=begins or 0, head=head or 0)


def _records(batch: tuple[Any, ...]) -> list[Record]:
    """The records of a row of `batches`; none where it is damaged: then they are missing from their log."""
    if not is_sound("batches", batch):
        return []
    try:
        return msgpack.decode(batch[3], type=list[Record])
    except (msgspec.MsgspecError, UnicodeError):
        return []


def _insert_output(database: sqlite3.Connection, run: int, part: NodeOutput) -> int:
    """Add a part of an output, the first of which takes the place of an earlier one; returns by how much that grows."""
    key = (run, part.node_id, part.instance or "")
    grows = 0
    if part.part == 0:
        before = "SELECT COALESCE(SUM(LENGTH(data)), 0) FROM outputs WHERE run = ? AND node_id = ? AND instance = ?"
        grows -= database.execute(before, key).fetchone()[0]
        database.execute("DELETE FROM outputs WHERE run = ? AND node_id = ? AND instance = ?", key)
    data = msgpack.encode(part)
    row = (*key, part.part, data, crc(data, *key, part.part))
    database.execute("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?, ?)", row)
    return grows + len(data)


def _encode_meta(meta: RunMeta | None) -> bytes | None:
    return None if meta is None else msgpack.encode(meta)
