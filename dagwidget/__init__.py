"""A running DAG, live in a notebook cell, that a person can steer."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from .errors import (
    DagwidgetError,
    GateTimeout,
    InvalidDecision,
    NotConnected,
    ProtocolError,
    RunCancelled,
    RunFailed,
    ServerNotFound,
    UnknownGate,
    UnknownOutput,
    UnknownRun,
)
from .version import __version__ as __version__

if TYPE_CHECKING:
    from . import engines as engines
    from .client import StreamClient, connect
    from .client.http import output, run_state, runs
    from .publisher import Run, attach, start_run
    from .state import Cost, DagState, Decision, Edge, Execution, Gate, Node
    from .widget import DAGStreamWidget

__all__ = [
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
    "Node",
    "NotConnected",
    "ProtocolError",
    "Run",
    "RunCancelled",
    "RunFailed",
    "ServerNotFound",
    "StreamClient",
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

# What each name is imported from when it is first used, so that a worker that only publishes loads no widget.
_LAZY: Final = {
    "Cost": ".state",
    "DAGStreamWidget": ".widget",
    "DagState": ".state",
    "Decision": ".state",
    "Edge": ".state",
    "Execution": ".state",
    "Gate": ".state",
    "Node": ".state",
    "Run": ".publisher",
    "StreamClient": ".client",
    "attach": ".publisher",
    "connect": ".client",
    "output": ".client.http",
    "run_state": ".client.http",
    "runs": ".client.http",
    "start_run": ".publisher",
}

# Hidden from type checkers, which would otherwise accept any `dagwidget.typo`.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "engines":
            return importlib.import_module(".engines", __name__)
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_LAZY[name], __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
