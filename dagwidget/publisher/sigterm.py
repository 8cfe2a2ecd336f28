"""SIGTERM: a process still says how its runs end, and delivers what is left, before it goes.

A handler in Python runs only once the main thread is back in the interpreter, and a fork drops the signals that the
child has not handled yet. A pool that ends its workers right after it has started them, or just as they wait for the
next task, would wait for such a worker for ever. So a forked child begins with the system's own handling, has a handler
only once it has published something, and is woken until that handler has run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

_AGAIN_SECONDS: Final = 0.1

_last_words: Callable[[], None] | None = None
_is_child = False
_is_suspended = False
_is_ending = False


def install(last_words: Callable[[], None]) -> None:
    """Call `last_words` before SIGTERM ends this process; a handler that the program has set is left alone."""
    global _last_words  # noqa: PLW0603
    _last_words = last_words
    if os.name == "nt" or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL or not _set(_handle):
        return
    if _is_child:
        _insist()


def worker_publishes(deliver: Callable[[], None]) -> None:
    """Call `deliver` before SIGTERM ends this process, where it is a forked child that has no handler yet."""
    if _is_child:
        install(deliver)


def before_fork() -> None:
    """The child is to begin with the system's own handling."""
    global _is_suspended  # noqa: PLW0603
    _is_suspended = signal.getsignal(signal.SIGTERM) is _handle and _set(signal.SIG_DFL)


def after_fork_in_parent() -> None:
    """Take the signal again."""
    if _is_suspended:
        _set(_handle)


def after_fork_in_child() -> None:
    """This process has nothing to say yet."""
    global _is_child, _is_ending
    _is_child, _is_ending = True, False
    if signal.getsignal(signal.SIGTERM) is _handle:
        _set(signal.SIG_DFL)


def _handle(number: int, _frame: FrameType | None) -> None:
    global _is_ending  # noqa: PLW0603
    _is_ending = True
    try:
        # It interrupts the main thread anywhere: whatever lock it needs, that thread may hold, and can take again.
        if _last_words is not None:
            _last_words()
    finally:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _set(handler: signal.Handlers | Callable[[int, FrameType | None], None]) -> bool:
    """Set the handler, where that is possible: in the main thread, of a program that allows it."""
    with contextlib.suppress(ValueError, OSError):
        signal.signal(signal.SIGTERM, handler)
        return True
    return False


def _insist() -> None:
    """Interrupt what the main thread waits for, again and again, from SIGTERM until its handler runs."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    if before != -1:
        # It belongs to an event loop, which is woken by it.
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
        return
    main = threading.main_thread().ident

    def interrupt() -> None:
        while signal.SIGTERM not in os.read(reader, 64):
            pass
        while main is not None and not _is_ending:
            time.sleep(_AGAIN_SECONDS)
            signal.pthread_kill(main, signal.SIGTERM)

    threading.Thread(target=interrupt, name="dagwidget-sigterm", daemon=True).start()
