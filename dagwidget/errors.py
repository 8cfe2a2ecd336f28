"""The exceptions of dagwidget: one small tree, so that `except DagwidgetError` catches every fault of ours."""

__all__ = [
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
]


class DagwidgetError(Exception):
    """Base of every error that dagwidget raises."""


class ProtocolError(DagwidgetError):
    """A message does not follow protocol 1; the text names the field, and quotes at most 200 characters."""


class ServerNotFound(DagwidgetError):
    """No stream server could be found or started."""


class NotConnected(DagwidgetError):
    """What was asked needs a connection, and there is none."""


class UnknownGate(DagwidgetError, LookupError):
    """A decision names a node or gate that is not waiting."""


class UnknownRun(DagwidgetError, LookupError):
    """A past run was asked for that the server has not kept."""


class UnknownOutput(DagwidgetError, LookupError):
    """A whole output was asked for that the server has not kept."""


class InvalidDecision(DagwidgetError, ValueError):
    """A decision is not one that its gate accepts."""


class GateTimeout(DagwidgetError, TimeoutError):
    """Nobody decided at a gate before its deadline."""


class RunFailed(DagwidgetError):
    """The run that was awaited ended in failure."""


class RunCancelled(BaseException):
    """A person cancelled the run.

    A `BaseException`, like `asyncio.CancelledError`: an engine's own `except Exception` must not swallow it.
    """
