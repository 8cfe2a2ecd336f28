"""`in_thread`: run what may block in a thread that nobody waits for when the process ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[[], T]) -> T:
    """Call a function in a daemon thread of its own, and wait for it.

    Unlike the threads of `asyncio.to_thread`, it delays no exit, and may be asked for while the process ends.

    Raises:
        OSError: The process ends, and no thread can be started any more.
    """
    loop = asyncio.get_running_loop()
    called: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if called.done():
            # Nobody waits for it any more.
            return
        if error is not None:
            called.set_exception(error)
        else:
            called.set_result(result)  # type: ignore[arg-type]

    def call() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as raised:
            error = raised
        # The loop may have been closed meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    try:
        threading.Thread(target=call, name="dagwidget-in-thread", daemon=True).start()
    except RuntimeError as error:
        raise OSError(f"the process ends: {error}") from None
    return await called
