"""`LogFile`: the open log file: its lock, its two connections, and whether it is still the file at its path."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from pathlib import Path
from typing import Final

from .file_lock import FileLock, is_on_network
from .file_watch import MAGIC, FileWatch
from .salvage import salvage
from .sqlite_schema import APPLICATION, FAULTS, Damaged, check_runs, is_corrupt, prepare

_log = logging.getLogger("dagwidget")

# A file up to this size is looked through when it is opened; of a larger one, only the rows of its runs.
_LOOKED_THROUGH: Final = 64 * 1024 * 1024
# Where the header says which version of SQLite's format writes the file, and which reads it.
_VERSIONS: Final = slice(18, 20)


class LogFile:
    """The file `path`, opened; made where it is missing.

    Attributes:
        path: The file.
        writer: The connection that writes.
        reader: The one that reads meanwhile. On a network file system it is the writer: WAL needs shared memory there.
        is_whole: Whether nothing was found to be cut off from it.
        aside: Where a damaged file was put before this one was begun.
    """

    def __init__(self, path: Path, *, ours: bool, is_damaged: str | None = None) -> None:
        """Open the file.

        Args:
            path: The file.
            ours: Whether it is ours even where that can't be told from what is in it.
            is_damaged: Why it must be put aside at once.

        Raises:
            OSError: it can't be opened, another server has it, or it is not ours.
        """
        self.path = path
        self.aside: Path | None = None
        self.is_whole = True
        # Why the lock could not be taken again.
        self._lock_fault: str | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path)
        self._exclusive = is_on_network(path.parent)
        try:
            self.writer = self._open(ours=ours or self._lock.is_marked or _has_our_name(path), is_damaged=is_damaged)
        except BaseException:
            self._lock.release()
            raise
        self._lock.mark()
        self.reader = self.writer if self._exclusive else _connect(path)
        if self._exclusive:
            _log.info("%s is on a network file system: it is read and written by turns", path)
        self._watch = FileWatch(path)

    @property
    def is_shared(self) -> bool:
        """Whether the reader is a connection of its own."""
        return self.reader is not self.writer

    @property
    def wal_bytes(self) -> int:
        """How much waits to be moved into the file."""
        return self._watch.wal_bytes

    def is_here(self) -> bool:
        """Whether the file, and the WAL beside it, are still those that were opened, and nothing was cut off."""
        is_here = self._watch.is_here()
        self.is_whole = self.is_whole and self._watch.is_whole()
        return self.is_whole and is_here

    def keep_lock(self) -> None:
        """Take the lock again where somebody has deleted it: a second server would open the file too."""
        if self._lock.is_here():
            self._lock_fault = None
            return
        try:
            self._lock.retake()
        except OSError as error:
            if str(error) != self._lock_fault:
                _log.error("the log file %s may be written by two servers: stop one of them. %s", self.path, error)
            self._lock_fault = str(error)
        else:
            _log.warning("the lock of the log file %s was deleted, and is taken again", self.path)

    def move_wal(self) -> None:
        """Move the WAL into the file."""
        if self.is_here():
            self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._watch.remember()

    def close(self) -> None:
        """Let go of the file. What waits in the WAL is moved into it, but not from one that was spoilt."""
        guard = None if self.is_whole and self._watch.is_whole() else self._guard()
        with contextlib.suppress(sqlite3.Error):
            if self.is_shared:
                self.reader.close()
        with contextlib.suppress(sqlite3.Error):
            self.writer.close()
        with contextlib.suppress(sqlite3.Error):
            if guard is not None:
                guard.close()
        self._watch.close()
        self._lock.release()

    def _guard(self) -> sqlite3.Connection | None:
        """A connection which, as long as it is there, keeps the others from moving the WAL, and may not do it either.

        Zeros from the WAL would take the place of good pages.
        """
        with contextlib.suppress(sqlite3.Error):
            guard = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
            with contextlib.suppress(sqlite3.Error):
                guard.execute("PRAGMA schema_version").fetchone()
            return guard
        return None

    def _open(self, *, ours: bool, is_damaged: str | None) -> sqlite3.Connection:
        if self._lock.is_marked and not self.path.exists():
            _log.warning("%s is gone: a new one is begun, without the runs that were stored in it", self.path)
            is_damaged = None
        elif self._lock.is_marked and self.path.stat().st_size == 0:
            is_damaged = "it is empty"
        # Outputs may hold secrets.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            if is_damaged is not None:
                raise Damaged(is_damaged)
            return self._prepared(ours=ours)
        except FAULTS as error:
            if not is_corrupt(error):
                raise OSError(f"{self.path} can't be opened: {error}") from error
            if not ours:
                raise OSError(f"{self.path} is no log of dagwidget, and is left alone: {error}") from error
            return self._begin_anew(str(error))

    def _prepared(self, *, ours: bool) -> sqlite3.Connection:
        # SQLite takes a file of a few bytes for an empty one.
        if self.path.stat().st_size and not _is_database(self.path):
            raise Damaged("it is no database")
        database = _connect(self.path)
        try:
            owner = database.execute("PRAGMA application_id").fetchone()[0]
            tables = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
            if tables and owner != APPLICATION and not ours:
                raise OSError(f"{self.path} is the database of another program, and is left alone")
            if self._exclusive:
                database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA wal_autocheckpoint = 0")
            try:
                prepare(database)
            except OSError as error:
                raise OSError(f"{self.path}: {error}") from None
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            check = "quick_check(1)" if self.path.stat().st_size <= _LOOKED_THROUGH else "integrity_check(runs)"
            found = database.execute(f"PRAGMA {check}").fetchone()[0]
            if found == "ok":
                found = database.execute("PRAGMA integrity_check(runs)").fetchone()[0]
            if found != "ok":
                raise Damaged(found)
            check_runs(database)
        except BaseException:
            database.close()
            raise
        return database

    def _begin_anew(self, why: str) -> sqlite3.Connection:
        """Put the damaged file aside, and begin a new one with what can be read of it."""
        self.aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        self.path.rename(self.aside)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).rename(self.aside.with_name(self.aside.name + suffix))
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        database = self._prepared(ours=True)
        copied = salvage(self.aside, database, self.path)
        _log.warning(
            "%s is damaged (%s): it was put aside as %s, and a new one begun with the %d rows that can be read",
            *(self.path, why, self.aside, copied),
        )
        return database


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=1.0)
    # A name that is damaged is no text; its row's checksum says so.
    database.text_factory = lambda text: text.decode(errors="replace")
    return database


def _is_database(path: Path) -> bool:
    """Whether SQLite can read and write the file, by the first bytes of its header."""
    with path.open("rb") as file:
        header = file.read(_VERSIONS.stop)
    # SQLite opens a file of an unknown version to be read only, as if that were a permission.
    return header.startswith(MAGIC) and all(version in (1, 2) for version in header[_VERSIONS])


def _has_our_name(path: Path) -> bool:
    """Whether a file's header says that it is a log of ours."""
    try:
        with path.open("rb") as file:
            return file.read(72)[68:72] == APPLICATION.to_bytes(4, "big")
    except OSError:
        return False
