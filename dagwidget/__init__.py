"""A running DAG, live in a notebook cell, that a person can steer."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from .errors import (
    ClientClosed,
    DagwidgetError,
    GateTimeout,
    InvalidDecision,
    NoFrontEnd,
    NotConnected,
    ProtocolError,
    RunCancelled,
    RunEnded,
    RunFailed,
    ServerNotFound,
    ServerRefused,
    ServerUnreachable,
    TokenUnavailable,
    UnknownGate,
    UnknownOutput,
    UnknownRun,
)
from .version import __version__ as __version__

if TYPE_CHECKING:
    from . import engines as engines
    from .client import SentCommand, StreamClient, connect, output, run_state, runs
    from .publisher import Checkpoint, NodeExecution, OpenGate, Run, attach, start_run
    from .state import Cost, DagState, Decision, Edge, Execution, Gate, Node
    from .widget import DAGStreamWidget

__all__ = [
    "Checkpoint",
    "ClientClosed",
    "Cost",
    "DAGStreamWidget",
    "DagState",
    "DagwidgetError",
    "Decision",
    "Edge",
    "Execution",
    "Gate",
    "GateTimeout",
    "InvalidDecision",
    "NoFrontEnd",
    "Node",
    "NodeExecution",
    "NotConnected",
    "OpenGate",
    "ProtocolError",
    "Run",
    "RunCancelled",
    "RunEnded",
    "RunFailed",
    "SentCommand",
    "ServerNotFound",
    "ServerRefused",
    "ServerUnreachable",
    "StreamClient",
    "TokenUnavailable",
    "UnknownGate",
    "UnknownOutput",
    "UnknownRun",
    "attach",
    "connect",
    "engines",
    "output",
    "run_state",
    "runs",
    "start_run",
]

# The packages that are imported when one of these names is first used: a worker must not load the widget.
_LAZY: Final = {
    ".client": ("SentCommand", "StreamClient", "connect", "output", "run_state", "runs"),
    ".publisher": ("Checkpoint", "NodeExecution", "OpenGate", "Run", "attach", "start_run"),
    ".state": ("Cost", "DagState", "Decision", "Edge", "Execution", "Gate", "Node"),
    ".widget": ("DAGStreamWidget",),
}

# Hidden from type checkers, which would otherwise accept any `dagwidget.typo`.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "engines":
            return importlib.import_module(".engines", __name__)
        for package, names in _LAZY.items():
            if name in names:
                value = globals()[name] = getattr(_import(package, name), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def _import(package: str, name: str) -> object:
        try:
            return importlib.import_module(package, __name__)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{name} needs the package {error.name!r}, which is not installed: pip install dagwidget",
                name=error.name,
            ) from error

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
