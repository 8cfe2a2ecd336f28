"""`Clock`: a process's own time, by libfaketime, which can jump while it runs. What is monotonic stays so."""

from __future__ import annotations

from pathlib import Path


def library() -> Path | None:
    """Debian's libfaketime, where it is installed."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class Clock:
    """The time of the processes that are started with `environment`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump(0)

    def jump(self, seconds: float) -> None:
        """Be so far ahead of this machine's clock from now on."""
        self._file.write_text(f"{seconds:+g}\n")

    @property
    def environment(self) -> dict[str, str]:
        found = library()
        if found is None:
            raise RuntimeError("clocks that jump need libfaketime: install Debian's package of that name")
        return {
            "LD_PRELOAD": str(found),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            # Files keep their own times.
            "NO_FAKE_STAT": "1",
        }
