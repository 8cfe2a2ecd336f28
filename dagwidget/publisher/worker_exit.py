"""What a worker process has published is delivered before it ends, however its pool ends it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from . import sigterm

_registered_in: int | None = None


def deliver_at_exit(deliver: Callable[[], None]) -> None:
    """Call `deliver` before this process ends. `atexit` is enough, but for the workers of `multiprocessing`.

    These end without `atexit`, or by SIGTERM, and forget at their start what was registered before: so this is called
    when a worker publishes.
    """
    global _registered_in  # noqa: PLW0603
    if _registered_in == os.getpid():
        return
    _registered_in = os.getpid()
    sigterm.worker_publishes(deliver)
    if "multiprocessing.util" in sys.modules:
        from multiprocessing import parent_process, util

        if parent_process() is not None:
            util.Finalize(None, deliver, exitpriority=100)
