"""The exceptions of dagwidget. `except DagwidgetError` catches them all, but for `RunCancelled`.

    DagwidgetError
    ├── ProtocolError              a message does not follow the protocol
    ├── ServerNotFound             no server was found, and none could be started
    ├── NotConnected               the operation needs a connection, and there is none
    │   ├── ServerUnreachable      the server does not answer
    │   ├── ServerRefused          the server refuses: the token, its role, the origin, the version …
    │   ├── TokenUnavailable       the function passed as `token` failed
    │   ├── ClientClosed           the client is closed, or not open yet
    │   ├── RunEnded               the run has ended, so nobody can answer its gates
    │   └── NoFrontEnd             no browser shows the widget
    ├── UnknownGate                no such gate is open                        (a LookupError)
    ├── UnknownRun                 the server does not have this run           (a LookupError)
    ├── UnknownOutput              the server does not have this output        (a LookupError)
    ├── InvalidDecision            the gate does not accept this decision      (a ValueError)
    ├── GateTimeout                nobody decided before the gate's deadline   (a TimeoutError)
    └── RunFailed                  the run failed, or was cancelled

    RunCancelled                   a person cancelled the run                  (a BaseException)

Their attributes say what they concern, and they can be pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .visible import visible

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ClientClosed",
    "DagwidgetError",
    "GateTimeout",
    "InvalidDecision",
    "NoFrontEnd",
    "NotConnected",
    "ProtocolError",
    "RunCancelled",
    "RunEnded",
    "RunFailed",
    "ServerNotFound",
    "ServerRefused",
    "ServerUnreachable",
    "TokenUnavailable",
    "UnknownGate",
    "UnknownOutput",
    "UnknownRun",
]


class DagwidgetError(Exception):
    """Base of every error that dagwidget raises."""

    def __str__(self) -> str:
        # A server's reason and an engine's error are part of it.
        return visible(super().__str__())

    def __reduce__(self) -> tuple[Any, ...]:
        # By default an exception is unpickled by calling it with its text alone, without its attributes.
        return _unpickled, (type(self), self.args, self.__dict__)


def _unpickled(kind: type[DagwidgetError], args: tuple[Any, ...], attributes: dict[str, Any]) -> DagwidgetError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ProtocolError(DagwidgetError):
    """A message does not follow protocol 1. The text names the field, and quotes at most 200 characters."""


class ServerNotFound(DagwidgetError):
    """No stream server was found on this machine, and none could be started.

    Attributes:
        command: The command that should have started it.
        log_file: What that command printed.
    """

    def __init__(self, message: str, *, command: tuple[str, ...], log_file: Path) -> None:
        super().__init__(message)
        self.command = command
        self.log_file = log_file


class NotConnected(DagwidgetError):
    """The operation needs a connection, and there is none. The subclass says why."""


class ServerUnreachable(NotConnected):
    """The server does not answer, or something else answers at its address.

    Attributes:
        url: The server's base URL.
    """

    def __init__(self, message: str, *, url: str) -> None:
        super().__init__(message)
        self.url = url


class ServerRefused(NotConnected):
    """The server refuses the connection or the request.

    Attributes:
        code: Why. A close code of the protocol: 4401 for the token, 4403 for its role or the page's origin, 4409 for
            the protocol version (`dagwidget.protocol.CLOSE_CODES` lists them all). For an HTTP request its status, such
            as 401. None if the server gave no code.
    """

    def __init__(self, message: str, *, code: int | None) -> None:
        super().__init__(message)
        self.code = code


class TokenUnavailable(NotConnected):
    """The function passed as `token` raised, or did not return a string. `__cause__` is what it raised."""


class ClientClosed(NotConnected):
    """The client is closed, or not open yet.

    Attributes:
        dag_id: The DAG that it follows.
    """

    def __init__(self, message: str, *, dag_id: str) -> None:
        super().__init__(message)
        self.dag_id = dag_id


class RunEnded(NotConnected):
    """The run has ended or was replaced, so nobody can answer its gates any more.

    Attributes:
        dag_id: The DAG.
        run_id: The run; None for a worker that joined the current run and was never connected.
    """

    def __init__(self, message: str, *, dag_id: str, run_id: str | None) -> None:
        super().__init__(message)
        self.dag_id = dag_id
        self.run_id = run_id


class NoFrontEnd(NotConnected):
    """No browser shows the widget, or none answered in time.

    Attributes:
        timeout: How many seconds the call waited.
    """

    def __init__(self, message: str, *, timeout: float | None) -> None:
        super().__init__(message)
        self.timeout = timeout


class UnknownGate(DagwidgetError, LookupError):
    """A decision names a gate that is not open, or several gates are open at the node and it names none of them.

    Attributes:
        node_id: The node that the decision names.
        gate_id: The gate that it names, if any.
        open_gates: The gates that are open: their nodes, by `gate_id`.
    """

    def __init__(self, message: str, *, node_id: str, gate_id: str | None, open_gates: Mapping[str, str]) -> None:
        super().__init__(message)
        self.node_id = node_id
        self.gate_id = gate_id
        self.open_gates = open_gates


class UnknownRun(DagwidgetError, LookupError):
    """The server does not have this run.

    Attributes:
        dag_id: The DAG.
        run_id: The run.
    """

    def __init__(self, message: str, *, dag_id: str, run_id: str) -> None:
        super().__init__(message)
        self.dag_id = dag_id
        self.run_id = run_id


class UnknownOutput(DagwidgetError, LookupError):
    """The server does not have the whole output of this node.

    Attributes:
        dag_id: The DAG.
        node_id: The node.
        instance: The node's instance; None for the node itself.
        run_id: The run; None for the current one.
    """

    def __init__(self, message: str, *, dag_id: str, node_id: str, instance: str | None, run_id: str | None) -> None:
        super().__init__(message)
        self.dag_id = dag_id
        self.node_id = node_id
        self.instance = instance
        self.run_id = run_id


class InvalidDecision(DagwidgetError, ValueError):
    """The gate does not accept this decision.

    Attributes:
        node_id: The node that it answers.
        decision: The decision.
        allowed: The decisions that are accepted.
    """

    def __init__(self, message: str, *, node_id: object, decision: object, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.node_id = node_id
        self.decision = decision
        self.allowed = allowed


class GateTimeout(DagwidgetError, TimeoutError):
    """Nobody decided before the gate's deadline.

    Attributes:
        node_id: The node that asked.
        gate_id: The gate.
    """

    def __init__(self, message: str, *, node_id: str, gate_id: str) -> None:
        super().__init__(message)
        self.node_id = node_id
        self.gate_id = gate_id


class ReportedError(Protocol):
    """An error that a run reported; `dagwidget.state.Fault` is one."""

    @property
    def message(self) -> str:
        """What happened."""

    @property
    def node_id(self) -> str | None:
        """The node; None if it concerns the run as a whole."""

    @property
    def code(self) -> str | None:
        """Its kind, as one word: often the name of an exception."""


class RunFailed(DagwidgetError):
    """The run that was waited for failed or was cancelled, or it ended before what was waited for happened.

    Attributes:
        dag_id: The DAG.
        run_id: The run.
        status: How it ended: `completed`, `failed` or `cancelled`.
        errors: What it reported, the oldest first: each has a `message`, a `node_id` and a `code`.
    """

    def __init__(
        self, message: str, *, dag_id: str, run_id: str | None, status: str, errors: tuple[ReportedError, ...]
    ) -> None:
        super().__init__(message)
        self.dag_id = dag_id
        self.run_id = run_id
        self.status = status
        self.errors = errors


class RunCancelled(BaseException):
    """A person cancelled the run. Your own code may raise it too, to end the run as cancelled.

    A `BaseException`, like `asyncio.CancelledError`: an engine's own `except Exception` must not swallow it.

    Attributes:
        dag_id: The DAG; None where your own code raised it.
        run_id: The run; None if your own code raised it.
    """

    def __init__(self, message: str = "", *, dag_id: str | None = None, run_id: str | None = None) -> None:
        super().__init__(message)
        self.dag_id = dag_id
        self.run_id = run_id
