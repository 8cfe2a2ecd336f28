"""`DAGStreamWidget`: a running DAG in a notebook cell."""

from .widget import DAGStreamWidget

__all__ = [
    "DAGStreamWidget",
]
