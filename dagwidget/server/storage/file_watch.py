"""`FileWatch`: whether the log file and its WAL still are what SQLite takes them for, while it has them open.

SQLite knows from shared memory how much of the WAL is good, and does not look again: what is written behind an end that
somebody has cut off is not found by the next who opens the file.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

MAGIC: Final = b"SQLite format 3\0"
_WAL_MAGIC: Final = frozenset({0x377F0682, 0x377F0683})
_WAL_HEADER: Final = struct.Struct(">IIIIIIII")
# What is in front of each page in the WAL; it begins with the page's number, which is never 0.
_FRAME_HEADER: Final = 24


class _Identity(NamedTuple):
    device: int
    inode: int


class FileWatch:
    """The file `path` and the WAL beside it, as they were when this was made, once SQLite had opened them.

    The file is kept open: a process that closes any of its handles of a file loses all the locks that it has on it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._identity = _identity(path)
        self._wal_identity = _identity(self._wal)
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._size = self._wal_size = 0
        self.remember()

    @property
    def wal_bytes(self) -> int:
        """The size of the WAL."""
        try:
            return self._wal.stat().st_size
        except OSError:
            return 0

    def remember(self) -> None:
        """Take both for what they should be: they were just made smaller by their owner."""
        self._size, self._wal_size = os.fstat(self._handle).st_size, self.wal_bytes

    def is_here(self) -> bool:
        """Whether the file, and the WAL, are those at their paths."""
        wal = _identity(self._wal)
        if self._wal_identity is None:
            self._wal_identity = wal
        return _identity(self._path) == self._identity and wal == self._wal_identity

    def is_whole(self) -> bool:
        """Whether nothing was cut off from either, or overwritten with zeros, since they were last looked at."""
        size = os.fstat(self._handle).st_size
        before, self._size = self._size, size
        if size < before:
            return False
        os.lseek(self._handle, 0, os.SEEK_SET)
        if size and os.read(self._handle, len(MAGIC)) != MAGIC:
            return False
        if _identity(self._wal) != self._wal_identity:
            # It was deleted: what was written is still in the one that SQLite has.
            return True
        wal_size = self.wal_bytes
        before, self._wal_size = self._wal_size, wal_size
        # Where it ended before too: what was written since may have made up for what was cut off.
        return wal_size >= before and (wal_size == 0 or _is_wal(self._wal, {before, wal_size}))

    def close(self) -> None:
        """Once SQLite has closed the file."""
        os.close(self._handle)


def _is_wal(path: Path, ends: set[int]) -> bool:
    """Whether there is a WAL with something in front of each of these places."""
    try:
        with path.open("rb") as file:
            header = file.read(_WAL_HEADER.size)
            if len(header) < _WAL_HEADER.size:
                return False
            magic, _, page, *_ = _WAL_HEADER.unpack(header)
            if magic not in _WAL_MAGIC:
                return False
            for end in ends:
                frame = _FRAME_HEADER + page
                count = (end - _WAL_HEADER.size) // frame
                if count > 0:
                    file.seek(_WAL_HEADER.size + (count - 1) * frame)
                    if not any(file.read(4)):
                        return False
    except OSError:
        return False
    return True


def _identity(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return _Identity(found.st_dev, found.st_ino)
