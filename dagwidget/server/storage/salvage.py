"""Copies what can be read of a damaged log file into a new one."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from .sqlite_schema import FAULTS, TABLES, Damaged, check, checksum, is_typed, prepare

_log = logging.getLogger("dagwidget")

_HEADER: Final = 100
_PAGE: Final = 4096
# How many times a table is entered anew behind a damaged place.
_PROBES: Final = 5_000


def salvage(damaged: Path, new: sqlite3.Connection, sound: Path) -> int:
    """Copy all rows that can be read; what they hold is checked when it is read.

    Args:
        damaged: The damaged file, which stays as it is.
        new: The new file's connection, with its tables.
        sound: The new file: its first page helps where the damaged one's can't be read.

    Returns:
        How many rows were copied. What belongs to no run is not.
    """
    copy = damaged.with_name(damaged.name + ".copy")
    # The header is the same in every log, but for the number of pages; the rest of the first page says where the tables
    # are, and that is the same where this version began the file.
    ways: tuple[Callable[[], None], ...] = (
        lambda: None,
        lambda: _migrate(damaged, copy),
        lambda: _patch(damaged, copy, sound, _HEADER),
        lambda: _patch(damaged, copy, sound, _PAGE),
    )
    for number, way in enumerate(ways):
        try:
            way()
            with contextlib.closing(_connect(copy if number else damaged)) as old:
                return _copy_all(old, new, checked=way is ways[-1])
        except (*FAULTS, OSError) as error:
            _log.info("%s can't be read: %s", damaged, error)
        finally:
            for suffix in ("", "-wal", "-shm"):
                copy.with_name(copy.name + suffix).unlink(missing_ok=True)
    return 0


def _patch(damaged: Path, copy: Path, sound: Path, size: int) -> None:
    """Copy the damaged file, with the first bytes of the sound one."""
    shutil.copyfile(damaged, copy)
    with copy.open("r+b") as file, sound.open("rb") as other:
        first = bytearray(other.read(size))
        # How many pages there are; and no page is free.
        first[28:32] = (copy.stat().st_size // _PAGE).to_bytes(4, "big")
        first[32:40] = bytes(8)
        first[92:96] = first[24:28]
        file.write(first)


def _connect(path: Path) -> sqlite3.Connection:
    """Open a damaged file to read it.

    Raises:
        Damaged: its tables are not those of this version.
    """
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    database.text_factory = lambda text: text.decode(errors="replace")
    try:
        check(database)
    except BaseException:
        database.close()
        raise
    return database


def _migrate(damaged: Path, copy: Path) -> None:
    """Copy a file of an earlier version, and bring the copy to this one."""
    shutil.copyfile(damaged, copy)
    with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as database:
        if not database.execute("PRAGMA user_version").fetchone()[0]:
            raise Damaged("it is of no version")
        prepare(database)


def _copy_all(old: sqlite3.Connection, new: sqlite3.Connection, *, checked: bool) -> int:
    new.execute("BEGIN IMMEDIATE")
    try:
        copied = sum(_copy(old, new, table, checked=checked) for table in TABLES)
        # A new run could be given the number of one whose row is lost, and with it the rest of that one's log.
        for table in TABLES[1:]:
            copied -= new.execute(f"DELETE FROM {table} WHERE run NOT IN (SELECT id FROM runs)").rowcount  # noqa: S608
        new.execute("COMMIT")
    except BaseException:
        new.execute("ROLLBACK")
        raise
    return copied


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str, *, checked: bool) -> int:
    """Copy the rows of a table, or those whose checksums are right."""
    copied = 0
    columns = [name for _, name, *_ in new.execute(f"PRAGMA table_info({table})")]
    names, places = ", ".join(columns), ", ".join("?" * (len(columns) + 1))
    for row in _rows(old, f"SELECT rowid, {names} FROM {table}"):  # noqa: S608
        if not is_typed(table, row[1:]):
            continue
        with contextlib.suppress(sqlite3.Error):
            # Rows of an earlier version have none.
            right = checksum(table, row[1:])
            if checked and row[-1] != right:
                continue
            full = row if row[-1] is not None else (*row[:-1], right)
            new.execute(f"INSERT INTO {table} (rowid, {names}) VALUES ({places})", full)  # noqa: S608
            copied += 1
    return copied


def _rows(old: sqlite3.Connection, select: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a table, around the damaged places: each is entered from both sides, and then from its middle."""
    gaps = deque([(0, 2**62)])
    for _ in range(_PROBES):
        if not gaps:
            return
        low, high = gaps.popleft()
        for order in ("ASC", "DESC"):
            try:
                for row in old.execute(f"{select} WHERE rowid BETWEEN ? AND ? ORDER BY rowid {order}", (low, high)):
                    low, high = (row[0] + 1, high) if order == "ASC" else (low, row[0] - 1)
                    yield row
            except FAULTS:
                continue
            break
        else:
            if low < high:
                middle = (low + high) // 2
                gaps += [(low, middle), (middle + 1, high)]
