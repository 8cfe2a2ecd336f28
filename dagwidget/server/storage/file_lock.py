"""`FileLock`: one server per log file, by a lock of the operating system on `FILE.lock` beside it.

So the file itself can be opened twice: to write, and to read meanwhile. The lock ends with its process. What is written
in it says that the file beside it is ours, even where that is damaged beyond recognition.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

_MARK: Final = b"The file beside this one is a log of dagwidget, and its server holds this lock.\n"


class FileLock:
    """The lock of a log file.

    Raises:
        OSError: another server has it, or it can't be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        self._is_new = not self.path.exists()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(self._file)
            self.is_marked = os.read(self._file, len(_MARK)) == _MARK
        except OSError as error:
            os.close(self._file)
            raise OSError(f"{path} is locked: another server has it") from error

    def mark(self) -> None:
        """Note that the file is ours."""
        if not self.is_marked:
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, _MARK)
            self.is_marked = True

    def is_here(self) -> bool:
        """Whether the lock is the file at its path: who deletes that, lets another server make one of its own."""
        try:
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        except OSError:
            return False

    def retake(self) -> None:
        """Make the lock again, and take it.

        Raises:
            OSError: another server has it by now, or it can't be made.
        """
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(file)
        except OSError as error:
            os.close(file)
            raise OSError(f"{self.path} was deleted, and another server has made and locked it") from error
        os.close(self._file)
        self._file, self.is_marked = file, False
        self.mark()

    def release(self) -> None:
        """Let another server have the file; beside a file that is not ours nothing stays."""
        if self._is_new and not self.is_marked:
            self.path.unlink(missing_ok=True)
        os.close(self._file)


def _lock(file: int) -> None:
    """Lock a file, or raise `OSError`."""
    if sys.platform == "win32":
        import msvcrt

        # Past the mark, which can't be read where it is locked.
        os.lseek(file, 1024, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_NETWORK: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre"}
    | {"ncpfs", "nfs", "nfs4", "smb3", "smbfs", "vboxsf"}
)


def is_on_network(path: Path) -> bool:
    """Whether a file is on a network file system, as far as the system says."""
    whole = str(path.resolve())
    found, kind = -1, ""
    for mount in _mounts():
        left, _, right = mount.partition(" - ")
        point = left.split(" ")[4].encode().decode("unicode_escape")
        inside = whole == point or whole.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= found:
            found, kind = len(point), right.split(" ", 1)[0]
    return kind in _NETWORK or whole.startswith("\\\\")


def _mounts() -> list[str]:
    """What is mounted here, where Linux says so."""
    with contextlib.suppress(OSError):
        return Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    return []
