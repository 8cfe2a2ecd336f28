"""`Wanted`: which run a client asks for in `hello`."""

from __future__ import annotations

from typing import NamedTuple


class Asked(NamedTuple):
    """What `hello` says: the run, and whether to follow the DAG from there."""

    run: str | None = None
    follow: bool | None = None


class Wanted:
    """The run that a client watches, or begins at.

    Attributes:
        expected: The run that this process has begun, until the state is that run's.
        asked: What the last `hello` has said.
    """

    def __init__(self, run: str | None) -> None:
        """Watch `run`; follow the DAG where it is None."""
        self.expected: str | None = None
        self.asked = Asked()
        self._run = run
        # Whether the address of the socket may name a run that is no longer meant.
        self._unpinned = False

    def watch(self, run: str | None) -> None:
        """Watch one run from now on, or follow the DAG (None)."""
        self._run, self.expected, self._unpinned = run, None, run is None

    def begin(self, run: str | None, current: str | None) -> None:
        """A run that this process starts is about to begin, or will not (None); `current` is the run of the state."""
        if run is None or (self._run is None and run != current):
            self.expected = run

    def must_ask(self, current: str | None) -> bool:
        """Whether the server is to be asked for the run that is expected, or no more for one that is not."""
        return self.expected is not None or (self._run is None and self.asked.run not in (None, current))

    def arrived(self, run: str) -> None:
        """The state is that of `run` now."""
        if run == self.expected:
            self.expected = None

    @property
    def next(self) -> Asked:
        """What the next `hello` is to say."""
        if self._run is not None:
            return Asked(self._run)
        return Asked(self.expected, True if self.expected is not None or self._unpinned else None)

    @property
    def has_changed(self) -> bool:
        """Whether the last `hello` has asked for something else."""
        return self.next != self.asked
