"""What ipykernel's versions need so that a widget's comm works from every thread."""

from __future__ import annotations

import contextvars
from typing import Any


def use_from_any_thread(comm: Any) -> None:
    """Let any thread send over a comm, and let the browser's messages arrive while a cell runs.

    Call it once for each comm, in the code of a cell or in a handler of the kernel's messages.
    """
    _send_in_the_current_context(comm)
    _let_the_browser_choose_the_subshell(comm)


def _send_in_the_current_context(comm: Any) -> None:
    """Let each message be published in the context of the code that runs now.

    ipykernel 7.0 finds the request that a message belongs to in a context variable. A new thread, also one that the
    user's code starts, has no such variable: `send` raises `LookupError: shell_parent` there.
    """
    publish = getattr(comm, "publish_msg", None)
    if publish is None:
        return
    context = contextvars.copy_context()
    # Each call needs a copy: two threads can't be in one context at a time.
    comm.publish_msg = lambda *args, **kwargs: context.copy().run(publish, *args, **kwargs)


def _let_the_browser_choose_the_subshell(comm: Any) -> None:
    """Let messages run in the subshell that the browser sends them to.

    ipykernel 7.4 runs them in the shell that last published on the comm. After a `send` from a cell that is the main
    shell: they wait for the end of the cell, and the browser's state updates stop for good.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default
