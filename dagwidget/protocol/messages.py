"""Protocol 1: every message on the wire, as tagged structs.

A message is a JSON object with a `type`; a frame holds one message or, on a `dagwidget.v1` connection, an array of
them. *Events* report what happened in a run, *commands* are what people ask for, *control* messages manage the
connection. The JSON Schema (`schema()`) and the TypeScript types are generated from these classes.

Two rules let the protocol grow: a reader ignores fields and types that it does not know, and `null` means *absent*.
All times are Unix milliseconds. All amounts of money are in units of `currency` (default USD), never in cents.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta, Struct, field

from .bounds import LARGEST

PROTOCOL: Final = 1
SUBPROTOCOL: Final = "dagwidget.v1"

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512)]
Whole: TypeAlias = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=LARGEST)]
Several: TypeAlias = Annotated[int, Meta(ge=1, le=LARGEST)]
Millis: TypeAlias = Whole
Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1)]

NodeStatus: TypeAlias = Literal["pending", "running", "waiting", "completed", "failed", "skipped", "cancelled"]
FinalStatus: TypeAlias = Literal["completed", "failed", "cancelled"]
LiveStatus: TypeAlias = Literal["running", "pausing", "paused", "resuming", "cancelling"]
Verdict: TypeAlias = Literal["approve", "reject", "modify"]
Role: TypeAlias = Literal["view", "operate", "publish"]
OnBudget: TypeAlias = Literal["warn", "pause", "gate"]
Feature: TypeAlias = Literal["runs", "engine", "lost"]
"""What a client asks for in `hello`: `runs` and `engine` messages, and `lost` as a run's status."""
EngineState: TypeAlias = Literal["connected", "silent", "gone", "ended", "unobserved"]
Metrics: TypeAlias = dict[str, int | float | str]
"""Measurements of one node: `duration_ms`, `cost`, `tokens_in`, `tokens_out`, `model`, and other numbers by name."""


class NodeSpec(Struct, omit_defaults=True, kw_only=True):
    """A node of the graph. `group` is a path: `"etl/load"` lies inside `"etl"`."""

    id: Id
    label: str | None = None
    kind: str | None = None
    group: str | None = None
    description: str | None = None


class EdgeSpec(Struct, omit_defaults=True, kw_only=True):
    """An edge of the graph. The run may or may not take a `conditional` edge."""

    from_: Id = field(name="from")
    to: Id
    label: str | None = None
    conditional: bool | None = None


class Mutation(Struct, omit_defaults=True, kw_only=True):
    """A change of the graph, applied in the order of these fields."""

    add_nodes: list[NodeSpec] | None = None
    update_nodes: list[NodeSpec] | None = None
    remove_nodes: list[Id] | None = None
    add_edges: list[EdgeSpec] | None = None
    remove_edges: list[EdgeSpec] | None = None


class Presentation(Struct, omit_defaults=True, kw_only=True):
    """What a gate shows, and which decisions it accepts."""

    title: str | None = None
    body: str | None = None
    """Markdown."""
    data: Any = None
    """The value under review. A modification starts from it."""
    schema: Any = None
    """JSON Schema of the decision's `value`."""
    options: list[Any] | None = None
    allowed: list[Verdict] | None = None
    """The decisions that the gate accepts; all three when absent."""
    deadline: Millis | None = None
    on_timeout: Literal["fail", "reject", "approve", "default"] | None = None
    default: Any = None
    assignees: list[str] | None = None
    """The names of those who may decide; anyone when absent."""
    required: Several | None = None
    """How many people must approve; one when absent. A single rejection is enough."""


class Approval(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One of several approvals that a gate requires."""

    by: str
    at: Millis
    feedback: str | None = None


class Capabilities(Struct, omit_defaults=True, kw_only=True):
    """What the engine supports. The widget disables the rest and says why."""

    pause: Literal["native", "cooperative", "none"] | None = None
    cancel: Literal["native", "cooperative", "none"] | None = None
    gate: Literal["native", "cooperative", "none"] | None = None


# --- Events: what happened, numbered by `seq` within a run (its epoch)


class Event(Struct, omit_defaults=True, kw_only=True):
    """Base of all events. On a v1 connection each has `seq` (1, 2, 3 … within the epoch) and `ts`, its time."""

    seq: Count | None = None
    ts: Millis | None = None


class NodeState(Event, tag="node_state"):
    """A node, or one `instance` of a node that runs several times at once, is now in `status`."""

    node_id: Id
    status: NodeStatus
    output: Any = None
    metrics: Metrics | None = None
    error: str | None = None
    """First line: the summary. Further lines: the traceback."""
    progress: Fraction | None = None
    attempt: Count | None = None
    """Counts retries and re-runs of the node; an event of an older attempt is ignored."""
    instance: Id | None = None
    native: str | None = None
    """The engine's own word for the status, such as `up_for_retry`."""
    reason: str | None = None
    message: str | None = None
    started_at: Millis | None = None
    """When the attempt started, if that is not the `ts` of its `running`."""
    ended_at: Millis | None = None
    """When the attempt ended, if that is not the `ts` of its end."""
    inferred: bool | None = None
    """The room inferred this from the end of the run; any later event of the engine replaces it."""
    output_bytes: Count | None = None
    """The size of the whole output, if `output` is a preview and the whole is stored: see `node_output`."""
    output_cut: bool | None = None
    """`output` is a preview, and the whole is not stored."""


class EdgeActive(Event, tag="edge_active"):
    """Data flows along an edge, or no longer does."""

    from_: Id = field(name="from")
    to: Id
    active: bool | None = None
    """True when absent."""


class DagMutated(Event, tag="dag_mutated"):
    """The graph changed; the initial graph is one of these."""

    mutation: Mutation


class CostUpdate(Event, tag="cost_update"):
    """The run's cost so far: totals, never deltas. `by_node` holds the totals of the nodes that changed."""

    spent: float
    budget: float | None
    remaining: float | None
    currency: str | None = None
    tokens: Whole | None = None
    by_node: dict[str, float] | None = None
    unpriced: Whole | None = None
    """How many of `tokens` have no known price and so are not in `spent`."""
    on_budget: OnBudget | None = None
    """What happens once the budget is spent; nothing when absent."""


class ExecutionComplete(Event, tag="execution_complete"):
    """The run has ended. `status` is `completed` when absent."""

    results: Any
    status: FinalStatus | None = None
    reason: str | None = None
    """Why it ended, where the engine's results don't say so."""
    inferred: bool | None = None
    """A person gave the run up while its engine was gone; the engine's own end replaces it."""


class HumanGateWaiting(Event, tag="human_gate_waiting"):
    """A gate is open: a node waits for a decision. Without a `gate_id` the gate's id is the node's."""

    node_id: Id
    presentation: Presentation
    gate_id: Id | None = None
    instance: Id | None = None
    approvals: list[Approval] | None = None
    """The approvals so far, if the gate requires several. Unchanged when absent."""


class RunError(Event, tag="error"):
    """An error in a node, or in the run as a whole."""

    message: str
    node_id: Id | None = None
    code: str | None = None
    detail: Any = None


class HumanGateResolved(Event, tag="human_gate_resolved"):
    """A gate was decided. These events are the audit trail."""

    node_id: Id
    gate_id: Id
    decision: Verdict
    by: str
    at: Millis
    source: Literal["widget", "python", "timeout", "engine", "budget"]
    feedback: str | None = None
    value: Any = None
    approvals: list[Approval] | None = None
    """All approvals, if the gate required several."""


class ExecutionState(Event, tag="execution_state"):
    """The run as a whole is now in `status`. `lost` goes only to clients with that feature."""

    status: LiveStatus | Literal["lost"]
    capabilities: Capabilities | None = None
    inferred: bool | None = None
    """The room inferred this: `lost`, where the engine has been gone for long. Gates and nodes stay as they are."""


class NodeLog(Event, tag="node_log"):
    """Lines that a node logged. Readers keep only the last ones."""

    node_id: Id
    lines: list[str]


class Unknown(Event):
    """A message whose type this version does not know. As an event it advances the cursor and changes nothing."""

    type: str
    id: Any = None


# --- Commands: what people ask for


class Command(Struct, omit_defaults=True, kw_only=True):
    """Base of all commands. The client makes `id` once, and keeps it when it sends the command again."""

    id: Id
    run_id: Id | None = None
    """The run that it is meant for; when absent, the run of the client's last `synced` before it."""


class HumanDecision(Command, tag="human_decision"):
    """A person's decision at a gate. Without a `gate_id` it applies to the node's open gate."""

    node_id: Id
    decision: Verdict
    gate_id: Id | None = None
    feedback: str | None = None
    value: Any = None
    source: Literal["widget", "python"] | None = None
    """Where the decision was made; `widget` when absent."""


class PauseExecution(Command, tag="pause_execution"):
    """Start no further node; let the running ones finish."""


class ResumeExecution(Command, tag="resume_execution"):
    """Go on after a pause."""


class CancelExecution(Command, tag="cancel_execution"):
    """Stop the run for good."""

    give_up: bool | None = None
    """End the run although its engine is gone and can't confirm it."""


# --- Control: what manages a connection


class Control(Struct, omit_defaults=True, kw_only=True):
    """Base of all control messages. They have no `seq`."""


class Cursor(Struct, omit_defaults=True, kw_only=True):
    """A position in a run's log: everything up to `seq` of `epoch` has been received."""

    epoch: str
    seq: Count
    log: str | None = None
    """The incarnation of the log, from `welcome`; another one than the room's means a reset."""


class Hello(Control, tag="hello"):
    """A viewer's first message, and again to change the run. The token travels here, never in a URL.

    A client that names no `run` follows the DAG: it begins at the run of `last`, else at the newest live run, else at
    the newest; once its run is over, lost or gone, the server moves it by the same rule.
    """

    protocol: Whole
    token: str | None = None
    last: Cursor | None = None
    run: Id | None = None
    """The run to watch; the server never moves this client, and waits for the run where it has not begun."""
    follow: bool | None = None
    """Begin at `run`, then follow the DAG as if none had been named."""
    features: list[str] | None = None
    """See `Feature`; unknown ones are ignored."""


class Welcome(Control, tag="welcome"):
    """The server's answer to `hello`: the head of the log, and the limits of the connection."""

    protocol: Whole
    dag_id: str
    epoch: str
    head: Whole
    role: Role
    heartbeat_ms: Whole
    window: Whole
    """How many bytes the server sends before the client must `ack`."""
    limits: dict[str, Whole]
    now: Millis | None = None
    """The server's clock. The times of events are in this clock."""
    expires_at: Millis | None = None
    """When the token expires. A client that sends `hello` with a new one before stays connected."""
    server: str | None = None
    """The server's version."""
    log: str | None = None
    """Names this incarnation of the run's log; a lost tail makes a new one."""
    features: list[str] | None = None
    """Those of the client's features that the server has."""


class Sync(Control, tag="sync"):
    """Catching up starts: the events that the client lacks or, with `reset`, events that build the state at `seq`."""

    epoch: str
    seq: Whole
    reset: bool
    log: str | None = None
    """The incarnation of the log, for the client's next cursor; as in `welcome`, also where the server has moved it."""


class Synced(Control, tag="synced"):
    """Catching up has ended. The client's cursor is now `seq`."""

    seq: Whole


class Ping(Control, tag="ping"):
    """A heartbeat after silence. If `head` is not the client's own cursor, it missed something."""

    head: Whole


class Pong(Control, tag="pong"):
    """The answer to a `ping`."""

    seq: Whole


class Ack(Control, tag="ack"):
    """The sender has received everything up to `seq`."""

    seq: Whole
    durable: bool | None = None
    """From a server to a publisher. False while the log can't be written: the server has the events in memory only."""


class CommandAck(Control, tag="command_ack"):
    """The answer to a command. For a decision it is sent once the decision is durable."""

    id: str
    ok: bool
    code: str | None = None
    message: str | None = None
    durable: bool | None = None
    """False while the log can't be written: the answer holds, and is sent again, without this, once it is on disk."""
    winner: HumanGateResolved | None = None
    """The decision that was first, if there was one."""


class Engine(Control, tag="engine"):
    """Whether the engine behind the run is there: after `synced`, and at each change, to clients with `engine`.

    `silent`: the connection stands, but pings are not answered. `gone`: no owner is connected. `ended`: the run is
    over. `unobserved`: the run is only reported, and its reporter is gone.
    """

    state: EngineState
    since: Millis | None = None
    """When the engine was last heard of."""


class RunSummary(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One run in a DAG's run list. Times are Unix milliseconds."""

    run_id: str
    status: LiveStatus | FinalStatus | Literal["pending", "lost"]
    started_at: Millis
    name: str | None = None
    tags: list[str] | None = None
    ended_at: Millis | None = None
    gates: Whole = 0
    """How many gates are open."""
    engine: EngineState = "gone"
    spent: float | None = None
    """What the run has cost so far."""
    events: Whole = 0
    """How many events its log has."""
    bytes: Whole = 0
    """The size of its log on disk."""


NEWEST_RUNS: Final = 50
"""How many of the newest runs `Runs` holds, beside those with open gates."""


class Runs(Control, tag="runs"):
    """The DAG's run list, to clients with `runs`: whole after `synced`, then what changed, at most once a second.

    It holds the 50 newest runs and those with open gates; `removed` names runs that retention has deleted.
    On the stream of all DAGs, `dag_id` names the DAG; one without runs is no longer there.
    """

    total: Whole
    live: Whole
    waiting: Whole
    """How many gates are open, in all runs."""
    runs: list[RunSummary]
    removed: list[str] | None = None
    dag_id: str | None = None


class Bye(Control, tag="bye"):
    """The connection is about to close; `retry` says whether to reconnect. Proxies drop the code of a close frame."""

    code: Whole
    reason: str
    retry: bool
    after_ms: Whole | None = None


# --- Publishing: the messages of an engine, on its room's `publish` endpoint


class RunStart(Struct, omit_defaults=True, kw_only=True):
    """Starts a run, and with it a new epoch of the room."""

    budget: Annotated[float, Meta(ge=0)] | None = None
    currency: str | None = None
    capabilities: Capabilities | None = None
    on_budget: OnBudget | None = None
    """What happens once the budget is spent: a warning, a pause, or a pause with a gate that asks whether to go on."""
    started_at: Millis | None = None
    """When the run started, by the publisher's clock; when absent, the time at which the server receives it."""
    name: str | None = None
    """A name for people."""
    tags: list[str] | None = None


class Attach(Control, tag="attach"):
    """A publisher's first message.

    With `start` it owns the run `epoch`: it begins the run, reconnects to it, or takes it over from another process.
    Without `start` it joins the run `epoch` or, if that is absent, the DAG's only live run that has an owner.
    """

    protocol: Whole
    publisher: Id
    """The publisher's id on all its connections. It numbers its events with `seq` from 1, without gaps."""
    token: str | None = None
    epoch: Id | None = None
    start: RunStart | None = None
    now: Millis | None = None
    """The publisher's clock. If it is wrong, the room corrects the times of the events."""
    acknowledged: Count | None = None
    """How many of its events a server has acknowledged. A server that has fewer has lost its log."""


class Attached(Control, tag="attached"):
    """The server's answer to `attach`. The run's `human_gate_resolved` and `execution_state` events follow."""

    dag_id: str
    epoch: str
    seq: Whole
    """The last of the publisher's events that the room has. The publisher continues with the next."""
    heartbeat_ms: Whole


class CostDelta(Event, tag="cost_delta"):
    """An amount that was just spent.

    The room adds up the amounts of all publishers and sends `cost_update`.
    """

    amount: float | None = None
    """Absent if the price is not known: the tokens then count as unpriced."""
    node_id: Id | None = None
    tokens_in: Count | None = None
    tokens_out: Count | None = None


class NodeOutput(Event, tag="node_output"):
    """A part of a node's whole output, sent before the `node_state` with its preview.

    The room stores it and sends it to no client. Clients fetch the whole output over HTTP.
    """

    node_id: Id
    text: str
    """A part of the output's JSON. All parts, joined in order, are the whole output."""
    part: Count
    parts: Several
    instance: Id | None = None


AnyEvent: TypeAlias = (
    NodeState
    | EdgeActive
    | DagMutated
    | CostUpdate
    | ExecutionComplete
    | HumanGateWaiting
    | RunError
    | HumanGateResolved
    | ExecutionState
    | NodeLog
)
AnyCommand: TypeAlias = HumanDecision | PauseExecution | ResumeExecution | CancelExecution
ServerMessage: TypeAlias = AnyEvent | Welcome | Sync | Synced | Ping | CommandAck | Engine | Runs | Bye
ClientMessage: TypeAlias = AnyCommand | Hello | Pong | Ack
PublisherMessage: TypeAlias = AnyEvent | CostDelta | NodeOutput | Attach | Pong
PublishReply: TypeAlias = Attached | Ack | Ping | Bye | HumanGateResolved | ExecutionState

PLAIN_EVENTS: Final = (
    NodeState,
    EdgeActive,
    DagMutated,
    CostUpdate,
    ExecutionComplete,
    HumanGateWaiting,
    RunError,
)
"""The events that every client knows. A plain client gets no others."""

ESSENTIAL: Final = ("active", "attempt", "currency", "gate_id", "inferred", "instance", "status")
"""Optional fields of events that may be absent, but not malformed: without them the event would mean something else."""

TERMINAL: Final = frozenset({"completed", "failed", "skipped", "cancelled"})
"""The final statuses of a node."""


def check_dag_id(dag_id: object, what: str = "dag_id") -> None:
    """Check the id of a DAG or of a run: it becomes part of a URL, and people read it.

    Args:
        dag_id: The id.
        what: What the error calls it.

    Raises:
        TypeError: It is not a string.
        ValueError: It is empty, has more than 200 characters, or has one that can't be printed.

    Example:
        >>> from dagwidget import protocol
        >>> protocol.check_dag_id("")
        Traceback (most recent call last):
        ValueError: dag_id must have 1 to 200 printable characters, got ''
    """
    if not isinstance(dag_id, str):
        raise TypeError(f"{what} must be a string, got {type(dag_id).__name__}: {dag_id!r}")
    if not 1 <= len(dag_id) <= 200 or not all(char.isprintable() for char in dag_id):
        raise ValueError(f"{what} must have 1 to 200 printable characters, got {dag_id[:200]!r}")
