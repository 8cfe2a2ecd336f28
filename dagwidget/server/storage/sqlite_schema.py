"""The tables of the log file, their versions, and the checksums of their rows.

A row of `runs` is the summary of a run: run lists, timers and retention read these rows only. Its `head` says how far
the run's log must reach, so that a batch which is gone is missed. Rows of earlier versions have no checksum.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Final

_TABLES: Final = """
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, dag_id TEXT NOT NULL, run_id TEXT NOT NULL, started_at INTEGER NOT NULL, meta BLOB,
  begins INTEGER NOT NULL, head INTEGER NOT NULL, bytes INTEGER NOT NULL, crc INTEGER NOT NULL,
  UNIQUE (dag_id, run_id)
);
CREATE TABLE batches (
  run INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, records BLOB NOT NULL, crc INTEGER NOT NULL,
  PRIMARY KEY (run, first)
);
CREATE TABLE outputs (
  run INTEGER NOT NULL, node_id TEXT NOT NULL, instance TEXT NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL,
  crc INTEGER NOT NULL, PRIMARY KEY (run, node_id, instance, part)
);
"""
_CHECKPOINTS: Final = """
CREATE TABLE checkpoints (
  run INTEGER NOT NULL, seq INTEGER NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (run, seq)
);
"""
# Version 1 had no `meta`; version 2 no checksums, checkpoints and facts of a run beside `meta`.
_FROM_1: Final = "ALTER TABLE runs ADD COLUMN meta BLOB;"
_FROM_2: Final = """
ALTER TABLE runs ADD COLUMN begins INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN head INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN crc INTEGER;
ALTER TABLE batches ADD COLUMN crc INTEGER;
ALTER TABLE outputs ADD COLUMN crc INTEGER;
UPDATE runs SET
  begins = COALESCE((SELECT MIN(first) - 1 FROM batches WHERE run = runs.id), 0),
  head = COALESCE((SELECT MAX(last) FROM batches WHERE run = runs.id), 0),
  bytes = COALESCE((SELECT SUM(LENGTH(records)) FROM batches WHERE run = runs.id), 0)
    + COALESCE((SELECT SUM(LENGTH(data)) FROM outputs WHERE run = runs.id), 0);
"""
VERSION: Final = 3
# From here on, what stands in the header is damage and no version.
_NO_VERSION: Final = 256
# Written into the file's header: "dagw".
APPLICATION: Final = 0x64616777
TABLES: Final = ("runs", "batches", "outputs", "checkpoints")
# SQLite keeps a value of another type than its column's, and where a row is damaged there may be one.
_TYPES: Final[Mapping[str, tuple[type | UnionType, ...]]] = {
    "runs": (int, str, str, int, bytes | None, int, int, int, int | None),
    "batches": (int, int, int, bytes, int | None),
    "outputs": (int, str, str, int, bytes, int | None),
    "checkpoints": (int, int, bytes, int | None),
}


class Damaged(Exception):
    """The file is ours, and damaged."""


def prepare(database: sqlite3.Connection) -> None:
    """Make the tables where the file is new, or bring them to this version.

    Raises:
        OSError: a newer version wrote the file.
        Damaged: what is in the file is no version's.
    """
    version = database.execute("PRAGMA user_version").fetchone()[0]
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if VERSION < version < _NO_VERSION:
        raise OSError(f"it was written by a newer dagwidget (version {version} of the file)")
    if version >= _NO_VERSION:
        raise Damaged("its header is damaged")
    script = {0: _TABLES, 1: _FROM_1 + _FROM_2, 2: _FROM_2}.get(version)
    expected = set() if version == 0 else set(TABLES) - ({"checkpoints"} if version < VERSION else set())
    if not tables >= expected or (version == 0 and tables & set(TABLES)):
        raise Damaged("its tables are not those of a log")
    if script is not None:
        head = f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
        try:
            database.executescript(f"{head}{script}{_CHECKPOINTS}COMMIT;")
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                # The header names a version that the tables are not of.
                raise Damaged(str(error)) from error
            raise
    check(database)


def check(database: sqlite3.Connection) -> None:
    """Check that the tables are those of this version.

    Raises:
        Damaged: they are not.
    """
    if _columns(database) != _expected_columns():
        raise Damaged("the columns of its tables are not those of a log")


def _columns(database: sqlite3.Connection) -> dict[str, list[tuple[str, str, int]]]:
    """The name and type of each table's columns, and the place of each in the table's key."""
    return {
        table: [(name, kind, key) for _, name, kind, _, _, key in database.execute(f"PRAGMA table_info({table})")]
        for table in TABLES
    }


@functools.cache
def _expected_columns() -> dict[str, list[tuple[str, str, int]]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.executescript(_TABLES + _CHECKPOINTS)
        return _columns(database)


def check_runs(database: sqlite3.Connection) -> None:
    """Check the types of all rows of `runs`; the rows of other tables are checked as they are read.

    Raises:
        Damaged: one does not.
    """
    for row in database.execute("SELECT * FROM runs"):
        if not is_typed("runs", row):
            raise Damaged("a row of its runs has values of other types")


def is_typed(table: str, row: Sequence[Any]) -> bool:
    """Whether the values of a row that has all columns of its table are of these columns' types."""
    return all(map(isinstance, row, _TYPES[table]))


def crc(data: bytes | None, *key: str | int) -> int:
    """The checksum of a row: of its data, and of the columns that say where it belongs."""
    return zlib.crc32(data or b"", zlib.crc32(repr(key).encode()))


def checksum(table: str, row: Sequence[Any]) -> int:
    """The checksum of a row that has all columns of its table, in their order and of their types."""
    match table:
        case "runs":
            number, dag_id, run_id, _, data, begins, head, _, _ = row
            return crc(data, number, dag_id, run_id, begins, head)
        case "batches":
            run, first, last, data, _ = row
            return crc(data, run, first, last)
        case _:
            *key, data, _ = row
            return crc(data, *key)


def is_sound(table: str, row: Sequence[Any]) -> bool:
    """Whether a row that has all columns of its table is as it was written, as far as its types and checksum tell."""
    return is_typed(table, row) and row[-1] in (None, checksum(table, row))


FAULTS: Final = (sqlite3.Error, UnicodeDecodeError, Damaged)
"""What is raised where a file is read: if it is damaged, also for text that is none, and for rows that are none."""


def is_corrupt(error: Exception) -> bool:
    """Whether an error says that the file is damaged; otherwise another attempt may succeed."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # SQLite has no code of its own for a header that names a format which there is not.
    return (
        isinstance(error, (UnicodeDecodeError, Damaged))
        or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        or (code == sqlite3.SQLITE_ERROR and str(error) == "unsupported file format")
    )
