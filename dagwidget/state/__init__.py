"""What events add up to: the records, the reducer and compaction."""

from .compaction import compact
from .records import FINAL, Cost, Decision, Edge, Execution, Fault, Gate, Node, RunStatus
from .reducer import ERRORS_TAIL, LOG_TAIL, DagState, reduce

__all__ = [
    "ERRORS_TAIL",
    "FINAL",
    "LOG_TAIL",
    "Cost",
    "DagState",
    "Decision",
    "Edge",
    "Execution",
    "Fault",
    "Gate",
    "Node",
    "RunStatus",
    "compact",
    "reduce",
]
