"""A running DAG, live in a notebook cell, that a person can steer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from .history import output, run_state, runs
from .publisher import attach, start_run
from .widget import DAGStreamWidget

if TYPE_CHECKING:
    from . import engines as engines
    from .client import connect as connect

__version__ = "0.1.0"

__all__ = [
    "DAGStreamWidget",
    "DagwidgetError",
    "GateTimeout",
    "InvalidDecision",
    "NotConnected",
    "ProtocolError",
    "RunCancelled",
    "RunFailed",
    "ServerNotFound",
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


def __getattr__(name: str) -> Any:
    if name == "engines":
        import importlib

        return importlib.import_module(".engines", __name__)
    if name == "connect":
        # It brings the websockets library with it.
        from .client import connect

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
