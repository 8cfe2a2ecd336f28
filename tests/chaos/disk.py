"""`Disk`: the folder of a server's log, and what becomes of disks: full, read-only, files that vanish, damaged pages.

Where this process may mount (as root), the folder is a small tmpfs: its end is the disk's own error. Elsewhere "full"
is a limit on the size of the server's files, and "read-only" takes the right to write away.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from pathlib import Path
from random import Random
from typing import Literal

Damage = Literal["json", "records", "zeroed", "header", "truncated", "wal"]

_SIZE = 8 * 1024 * 1024
_PAGE = 4096
_EVENT = b'{"type"'


class Disk:
    """A folder with a log in it."""

    def __init__(self, folder: Path, *, small: bool = False) -> None:
        """Args:
        folder: The folder; made here.
        small: Whether it may become full or read-only.
        """
        self.folder = folder
        folder.mkdir()
        self.log = folder / "log.sqlite3"
        self.mounted = small and _mount(folder)
        self._ballast = folder / "ballast"

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", self.folder], check=True)

    def fill(self, pid: int) -> None:
        """There is no space left for the process `pid`."""
        if self.mounted:
            # Unbuffered: what is left in a buffer would fail again as the file is closed.
            with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(_PAGE))
            return
        largest = max(path.stat().st_size for path in self.folder.iterdir())
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

    def free(self, pid: int | None) -> None:
        """There is space again."""
        if self.mounted:
            self._ballast.unlink(missing_ok=True)
        elif pid is not None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def protect(self) -> None:
        """Nothing may be written any more; nobody has the log open."""
        if self.mounted:
            subprocess.run(["mount", "-o", "remount,ro", self.folder], check=True)
            return
        for path in self.folder.iterdir():
            path.chmod(0o400)
        self.folder.chmod(0o500)

    def unprotect(self) -> None:
        if self.mounted:
            subprocess.run(["mount", "-o", "remount,rw", self.folder], check=True)
            return
        self.folder.chmod(0o700)
        for path in self.folder.iterdir():
            path.chmod(0o600)

    @property
    def can_be_protected(self) -> bool:
        return self.mounted or os.geteuid() != 0

    def vanish(self, random: Random) -> None:
        """The log's files are deleted, or moved away, while the server has them open."""
        aside = self.folder / "aside"
        for path in sorted(self.folder.glob("log.sqlite3*")):
            if path.suffix == ".lock":
                continue
            if random.random() < 0.5:
                path.unlink()
            else:
                path.rename(aside.with_name(f"aside-{path.name}"))

    def damage(self, kind: Damage, random: Random) -> None:
        """Spoil the log, which nobody has open.

        Raises:
            RuntimeError: It has nothing to spoil in this way.
        """
        path = self.log.with_name(self.log.name + "-wal") if kind == "wal" else self.log
        data = bytearray(path.read_bytes())
        pages = len(data) // _PAGE
        match kind:
            case "json":
                at = _somewhere(data, random)
                data[at : at + 2] = b"}{"
            case "records":
                # What a record begins with: how long it is, and of what.
                at = _somewhere(data, random)
                data[at - 3 : at] = b"\xc1\xc1\xc1"
            case "zeroed":
                at = random.randrange(1, pages) * _PAGE
                data[at : at + _PAGE] = bytes(_PAGE)
            case "header":
                data[:_PAGE] = bytes(_PAGE)
            case "truncated":
                del data[random.randrange(1, pages) * _PAGE + random.choice((0, 100)) :]
            case "wal":
                at = random.randrange(len(data))
                data[at : at + 64] = bytes(byte ^ 0xFF for byte in data[at : at + 64])
        path.write_bytes(data)


def _mount(folder: Path) -> bool:
    if os.geteuid() != 0:
        return False
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=700", "dagwidget-chaos", folder], capture_output=True
    )
    return done.returncode == 0


def _somewhere(data: bytearray, random: Random) -> int:
    """Where an event is in a file, neither the first nor the last."""
    found, at = [], data.find(_EVENT)
    while at >= 0:
        found.append(at)
        at = data.find(_EVENT, at + 1)
    if len(found) < 3:
        raise RuntimeError("the log has too few events to spoil one")
    return random.choice(found[1:-1])
