"""How an exception ends a node, a run, or a process: the same verdict for all three."""

from __future__ import annotations

from typing import NamedTuple

from .. import protocol as p
from ..errors import RunCancelled
from .serialize import text_of


class Verdict(NamedTuple):
    """A final status, and why where that is not the engine's own word."""

    status: p.FinalStatus
    reason: str | None = None


def verdict_of(error: BaseException | None) -> Verdict:
    """The verdict of an exception that left a block; None: it ended well.

    What somebody did on purpose cancels: an interrupt, a cancelled task, `sys.exit(0)`. Anything else has failed.
    """
    if error is None:
        return Verdict("completed")
    # Not loaded by `import dagwidget.publisher`.
    import asyncio

    reason = text_of(error) or type(error).__name__
    if isinstance(error, SystemExit):
        if error.code in (None, 0):
            return Verdict("cancelled", "the program exited (SystemExit 0)")
        return Verdict("failed", f"the program exited (SystemExit {error.code})")
    if isinstance(error, KeyboardInterrupt):
        return Verdict("cancelled", "interrupted (KeyboardInterrupt)")
    if isinstance(error, (RunCancelled, asyncio.CancelledError, GeneratorExit)):
        return Verdict("cancelled", reason)
    return Verdict("failed", reason)
