"""What becomes of the runs that a process, or a cell of a notebook, leaves open.

An owned run ends with its process: at its exit, by an uncaught exception, by SIGTERM. A cell that fails ends the runs
that it began itself; a cell that is run again ends the run that its last execution left open. A forked child owns
nothing: it goes on as a worker.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import sys
import threading
import weakref
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from . import sigterm
from .verdict import Verdict, verdict_of

if TYPE_CHECKING:
    import asyncio

_EXITED = Verdict("cancelled", "its process ended without ending the run")
_TERMINATED = Verdict("cancelled", "its process was terminated (SIGTERM)")
_RUN_AGAIN = Verdict("cancelled", "its cell was run again")


class _Cell(NamedTuple):
    """An execution of a cell.

    Attributes:
        number: Counted here: IPython's own count changes before or after a cell, as its version has it.
        where: The task or the thread that executes it.
    """

    number: int
    where: weakref.ref[asyncio.Task[Any] | threading.Thread] | None = None


class _Cells(threading.local):
    """The executions that go on in a thread: a cell, those that it executes itself (`run_cell`), and so on."""

    def __init__(self) -> None:
        self.open: list[_Cell] = []


_BEFORE_ANY = _Cell(0)
_numbers = itertools.count(1)
_cells = _Cells()
# A task goes on with the cell that made it. What follows a cell may run in another context than the cell.
_current: ContextVar[_Cell] = ContextVar("dagwidget_cell", default=_BEFORE_ANY)


class OpenRun(Protocol):
    """A run as far as its end is concerned."""

    owned: bool
    keep: bool

    @property
    def origin(self) -> Origin:
        """Where it was begun."""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""

    def _end_left_open(self, verdict: Verdict, error: BaseException | None) -> None:
        """End it, as nobody else will."""

    def _become_worker(self) -> None:
        """Go on in a forked child, as a worker of the run."""


class Origin:
    """Where a run was begun: the cell and its execution, if it was one, on the main thread.

    Attributes:
        execution: The execution of the cell; None outside of cells.
        cell: The cell, over its executions.
    """

    def __init__(self) -> None:
        here = whereabouts()
        self._here = weakref.ref(here)
        self._elsewhere: weakref.WeakSet[asyncio.Task[Any] | threading.Thread] = weakref.WeakSet()
        shell = _shell()
        in_cell = shell is not None and threading.current_thread() is threading.main_thread()
        current = _current.get()
        self.execution: int | None = current.number if in_cell else None
        self.cell: str | None = _cell_of(shell) if in_cell else None
        if in_cell and current.where is not None and current.where() is not here:
            # A task that the cell has made, and that goes on without it.
            self._elsewhere.add(here)

    def note(self, where: asyncio.Task[Any] | threading.Thread) -> None:
        """A node is entered there."""
        if where is not self._here():
            self._elsewhere.add(where)

    @property
    def is_used_elsewhere(self) -> bool:
        """Whether another thread or task has begun the run or entered a node of it, and still goes on."""
        return any(
            each.is_alive() if isinstance(each, threading.Thread) else not each.done() for each in set(self._elsewhere)
        )


def whereabouts() -> asyncio.Task[Any] | threading.Thread:
    """The task that runs this, or else the thread."""
    # Not loaded by `import dagwidget.publisher`; without it there is no task.
    module = sys.modules.get("asyncio")
    if module is not None:
        with contextlib.suppress(RuntimeError):
            task: asyncio.Task[Any] | None = module.current_task()
            if task is not None:
                return task
    return threading.current_thread()


_runs: weakref.WeakSet[OpenRun] = weakref.WeakSet()
_uncaught: BaseException | None = None
_installed = False


def watch(run: OpenRun) -> None:
    """Look after a run of this process from now on."""
    _runs.add(run)
    _install()
    sigterm.install(_end_at_sigterm)


def _left_open() -> list[OpenRun]:
    return [run for run in list(_runs) if run.owned and not run.is_over]


def _install() -> None:
    global _installed  # noqa: PLW0603
    if _installed:
        return
    _installed = True
    # Registered after the transport's, and so called before it: what is said here is still delivered.
    atexit.register(_end_at_exit)
    _note_uncaught()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before_fork, after_in_parent=sigterm.after_fork_in_parent, after_in_child=_after_fork
        )
    shell = _shell()
    if shell is not None:
        shell.events.register("pre_run_cell", _before_cell)
        shell.events.register("post_run_cell", _after_cell)


# --- The process


def _end_at_exit() -> None:
    for run in _left_open():
        run._end_left_open(_EXITED if _uncaught is None else verdict_of(_uncaught), _uncaught)


def note_exit(error: BaseException | None) -> None:
    """`sys.exit` leaves a node: no hook tells of it later. With None, the program has gone on."""
    global _uncaught  # noqa: PLW0603
    if threading.current_thread() is not threading.main_thread():
        return
    if isinstance(error, SystemExit):
        _uncaught = error
    elif error is None and isinstance(_uncaught, SystemExit):
        _uncaught = None


def _note_uncaught() -> None:
    before = sys.excepthook

    def note(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        global _uncaught  # noqa: PLW0603
        _uncaught = error
        before(kind, error, traceback)

    sys.excepthook = note


def _end_at_sigterm() -> None:
    from .transport import deliver_at_exit

    for run in _left_open():
        run._end_left_open(_TERMINATED, None)
    deliver_at_exit()


def _before_fork() -> None:
    """A module that a transport's thread is just importing would stay half imported in the child."""
    if any(not run.is_over for run in list(_runs)):
        from .. import handshake  # noqa: F401
    sigterm.before_fork()


def _after_fork() -> None:
    from .transport import forget_all

    sigterm.after_fork_in_child()
    forget_all()
    for run in list(_runs):
        run._become_worker()


# --- Cells


def _before_cell(_info: Any = None) -> None:
    cell = _cell_of(_shell())
    # Not where the cell only executes another, as a part of itself.
    under_way = {each.number for each in _cells.open}
    this = _Cell(next(_numbers), weakref.ref(whereabouts()))
    _cells.open.append(this)
    _current.set(this)
    if cell is None:
        return
    for run in _left_open():
        if run.origin.cell == cell and run.origin.execution not in under_way and not run.keep:
            run._end_left_open(_RUN_AGAIN, None)


def _after_cell(result: Any = None) -> None:
    global _uncaught  # noqa: PLW0603
    # `sys.exit` in a cell ends the cell, and not its process.
    _uncaught = None
    ended = _cells.open.pop() if _cells.open else _BEFORE_ANY
    if _cells.open:
        _current.set(_cells.open[-1])
    error = getattr(result, "error_in_exec", None)
    if error is None:
        return
    for run in _left_open():
        if run.origin.execution == ended.number and not run.origin.is_used_elsewhere:
            run._end_left_open(verdict_of(error), error)


def _shell() -> Any:
    """The IPython shell that runs this, if there is one. IPython itself is not imported for it."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def _cell_of(shell: Any) -> str | None:
    """What identifies the cell that runs now, over its executions: its id, as the notebook's front end sends it."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return None
    with contextlib.suppress(Exception):
        parent = kernel.get_parent("shell") if hasattr(kernel, "get_parent") else {}
        cell = parent.get("metadata", {}).get("cellId")
        return cell if isinstance(cell, str) else None
    return None
