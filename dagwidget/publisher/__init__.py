"""Publishing a run: what an engine and its workers use."""

from .handles import Checkpoint, OpenGate
from .node import NodeExecution
from .run import Run
from .start import attach, start_run

__all__ = [
    "Checkpoint",
    "NodeExecution",
    "OpenGate",
    "Run",
    "attach",
    "start_run",
]
