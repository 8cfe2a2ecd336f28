"""Protocol 1: every message on the wire, as tagged structs.

A message is a JSON object with a `type`; a frame holds one message or, on a `dagwidget.v1` connection, an array of
them. *Events* say what happened in a run, *commands* what a person asks for, *control* messages keep a connection
in step. The JSON Schema (`schema()`), and with it the TypeScript types, come from these classes.

Two rules let the protocol grow: a reader ignores fields and types that it does not know, and `null` means *absent*.
All times are Unix milliseconds, all money is in units of `currency` (default USD), never in cents.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta, Struct, field

PROTOCOL: Final = 1
SUBPROTOCOL: Final = "dagwidget.v1"

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512)]
Millis: TypeAlias = int
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
"""Measurements of one node: `duration_ms`, `cost`, `tokens_in`, `tokens_out`, `model`, and further numbers by name."""


class NodeSpec(Struct, omit_defaults=True, kw_only=True):
    """A node as the graph's structure describes it. `group` is a path: `"etl/load"` lies inside `"etl"`."""

    id: Id
    label: str | None = None
    kind: str | None = None
    group: str | None = None
    description: str | None = None


class EdgeSpec(Struct, omit_defaults=True, kw_only=True):
    """An edge of the graph. A `conditional` one is taken only when the run decides so."""

    from_: Id = field(name="from")
    to: Id
    label: str | None = None
    conditional: bool | None = None


class Mutation(Struct, omit_defaults=True, kw_only=True):
    """A change of the graph's structure, applied in the order of these fields."""

    add_nodes: list[NodeSpec] | None = None
    update_nodes: list[NodeSpec] | None = None
    remove_nodes: list[Id] | None = None
    add_edges: list[EdgeSpec] | None = None
    remove_edges: list[EdgeSpec] | None = None


class Presentation(Struct, omit_defaults=True, kw_only=True):
    """What a gate shows, and which answers it takes."""

    title: str | None = None
    body: str | None = None
    """Markdown."""
    data: Any = None
    """What is under review; also what a modification starts from."""
    schema: Any = None
    """JSON Schema of the answer's `value`."""
    options: list[Any] | None = None
    allowed: list[Verdict] | None = None
    """Which decisions the gate takes; all three when absent."""
    deadline: Millis | None = None
    on_timeout: Literal["fail", "reject", "approve", "default"] | None = None
    default: Any = None
    assignees: list[str] | None = None
    """Who may decide, by name; anybody when absent."""
    required: Annotated[int, Meta(ge=1)] | None = None
    """How many people must approve; one when absent. One who rejects is enough."""


class Approval(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One of several approvals that a gate requires."""

    by: str
    at: Millis
    feedback: str | None = None


class Capabilities(Struct, omit_defaults=True, kw_only=True):
    """What the engine behind a run can honour; the widget disables the rest, and says why."""

    pause: Literal["native", "cooperative", "none"] | None = None
    cancel: Literal["native", "cooperative", "none"] | None = None
    gate: Literal["native", "cooperative", "none"] | None = None


# --- Events: what happened, numbered by `seq` within an epoch


class Event(Struct, omit_defaults=True, kw_only=True):
    """Base of all events. On a v1 connection each carries `seq` (1, 2, 3 … within the epoch) and `ts`."""

    seq: Annotated[int, Meta(ge=0)] | None = None
    ts: Millis | None = None


class NodeState(Event, tag="node_state"):
    """A node, or one `instance` of a node that runs many times at once, is now in `status`."""

    node_id: Id
    status: NodeStatus
    output: Any = None
    metrics: Metrics | None = None
    error: str | None = None
    """First line: the summary. Further lines: the traceback."""
    progress: Fraction | None = None
    attempt: Annotated[int, Meta(ge=0)] | None = None
    """Counts retries and re-runs of the node; an event of an older attempt is ignored."""
    instance: Id | None = None
    native: str | None = None
    """The engine's own word for the status, such as `up_for_retry`."""
    reason: str | None = None
    message: str | None = None
    started_at: Millis | None = None
    """When the attempt started, where that is not `ts` of its `running`."""
    ended_at: Millis | None = None
    """When the attempt ended, where that is not `ts` of its end."""
    inferred: bool | None = None
    """The room inferred this, as the run had ended; any later word of the engine replaces it."""
    output_bytes: Annotated[int, Meta(ge=0)] | None = None
    """The size of the whole, where `output` is a preview of it and the whole is kept: see `node_output`."""


class EdgeActive(Event, tag="edge_active"):
    """Something flows along an edge, or no longer does."""

    from_: Id = field(name="from")
    to: Id
    active: bool | None = None
    """True when absent."""


class DagMutated(Event, tag="dag_mutated"):
    """The graph changed; the initial graph is one of these."""

    mutation: Mutation


class CostUpdate(Event, tag="cost_update"):
    """What the run has cost so far: totals, never deltas. `by_node` holds the totals of the nodes that changed."""

    spent: float
    budget: float | None
    remaining: float | None
    currency: str | None = None
    tokens: int | None = None
    by_node: dict[str, float] | None = None
    unpriced: int | None = None
    """How many of `tokens` have no known price, and so are not in `spent`."""
    on_budget: OnBudget | None = None
    """What the room does once the budget is spent; nothing when absent."""


class ExecutionComplete(Event, tag="execution_complete"):
    """The run has ended. `status` is `completed` when absent."""

    results: Any
    status: FinalStatus | None = None
    reason: str | None = None
    """Why it ended, where the engine's results don't say so."""
    inferred: bool | None = None
    """A person gave the run up while its engine was gone; the engine's own end replaces it."""


class HumanGateWaiting(Event, tag="human_gate_waiting"):
    """A node waits for a person. Without a `gate_id` the gate goes by its node's name."""

    node_id: Id
    presentation: Presentation
    gate_id: Id | None = None
    instance: Id | None = None
    approvals: list[Approval] | None = None
    """Those that there are, where the gate requires several. Absent: as before."""


class RunError(Event, tag="error"):
    """Something went wrong, in a node or in the run as a whole."""

    message: str
    node_id: Id | None = None
    code: str | None = None
    detail: Any = None


class HumanGateResolved(Event, tag="human_gate_resolved"):
    """A gate was decided: the audit trail, and how other viewers learn of it."""

    node_id: Id
    gate_id: Id
    decision: Verdict
    by: str
    at: Millis
    source: Literal["widget", "python", "timeout", "engine", "budget"]
    feedback: str | None = None
    value: Any = None
    approvals: list[Approval] | None = None
    """All of them, where the gate required several."""


class ExecutionState(Event, tag="execution_state"):
    """The run as a whole is now in `status`. `lost` goes only to clients with that feature."""

    status: LiveStatus | Literal["lost"]
    capabilities: Capabilities | None = None
    inferred: bool | None = None
    """The room inferred this: `lost`, where the engine has been gone for long. Gates and nodes stay as they are."""


class NodeLog(Event, tag="node_log"):
    """Lines that a node printed; readers keep a bounded tail."""

    node_id: Id
    lines: list[str]


class Unknown(Event):
    """A message of a type that this version does not know: as an event it moves the cursor on, and changes nothing."""

    type: str
    id: Any = None


# --- Commands: what a person asks


class Command(Struct, omit_defaults=True, kw_only=True):
    """Base of all commands. `id` is made once by whoever asks, and kept when the command is sent again."""

    id: Id
    run_id: Id | None = None
    """The run that it is meant for; when absent, the run of the client's last `synced` before it."""


class HumanDecision(Command, tag="human_decision"):
    """A person's answer to a gate. Without a `gate_id` the node's open gate is meant."""

    node_id: Id
    decision: Verdict
    gate_id: Id | None = None
    feedback: str | None = None
    value: Any = None
    source: Literal["widget", "python"] | None = None
    """Where the person sat; `widget` when absent."""


class PauseExecution(Command, tag="pause_execution"):
    """Let what runs finish, and start nothing new."""


class ResumeExecution(Command, tag="resume_execution"):
    """Go on after a pause."""


class CancelExecution(Command, tag="cancel_execution"):
    """Stop the run for good."""

    give_up: bool | None = None
    """End the run although its engine is gone and can't confirm it."""


# --- Control: what keeps a connection in step


class Control(Struct, omit_defaults=True, kw_only=True):
    """Base of all control messages; they carry no number."""


class Cursor(Struct, omit_defaults=True, kw_only=True):
    """A place in a room's log: everything up to `seq` of `epoch` has been seen."""

    epoch: str
    seq: Annotated[int, Meta(ge=0)]
    log: str | None = None
    """The incarnation of the log, from `welcome`; another one than the room's means a reset."""


class Hello(Control, tag="hello"):
    """A viewer's first message, and again to change the run. The token travels here, never in a URL.

    A client that names no `run` follows the DAG: it begins at the run of `last`, else at the newest live run, else at
    the newest; once its run is over, lost or gone, the server moves it by the same rule.
    """

    protocol: int
    token: str | None = None
    last: Cursor | None = None
    run: Id | None = None
    """The run to watch; the server never moves this client, and waits for the run where it has not begun."""
    follow: bool | None = None
    """Begin at `run`, then follow the DAG as if none had been named."""
    features: list[str] | None = None
    """See `Feature`; unknown ones are ignored."""


class Welcome(Control, tag="welcome"):
    """The server's answer to `hello`: where the log stands and what the connection may carry."""

    protocol: int
    dag_id: str
    epoch: str
    head: int
    role: Role
    heartbeat_ms: int
    window: int
    """Bytes that may be on their way before the client must `ack`."""
    limits: dict[str, int]
    now: Millis | None = None
    """The server's clock, by which the times of events are to be read."""
    expires_at: Millis | None = None
    """When the token expires: who says `hello` with another before stays connected."""
    server: str | None = None
    """The server's version."""
    log: str | None = None
    """Names this incarnation of the run's log; a lost tail makes a new one."""
    features: list[str] | None = None
    """Those of the client's features that the server has."""


class Sync(Control, tag="sync"):
    """Catching up starts: with the missing tail or, where `reset`, with what adds up to the state at `seq`."""

    epoch: str
    seq: int
    reset: bool


class Synced(Control, tag="synced"):
    """Catching up has ended: the client now stands at `seq`."""

    seq: int


class Ping(Control, tag="ping"):
    """A sign of life after silence. A `head` other than the client's own means that it missed something."""

    head: int


class Pong(Control, tag="pong"):
    """The answer to a `ping`."""

    seq: int


class Ack(Control, tag="ack"):
    """Everything up to `seq` has arrived."""

    seq: int


class CommandAck(Control, tag="command_ack"):
    """What became of a command; sent once a decision is durable."""

    id: str
    ok: bool
    code: str | None = None
    message: str | None = None
    winner: HumanGateResolved | None = None
    """Where somebody else was first: their decision."""


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
    gates: int = 0
    """How many gates are open."""
    engine: EngineState = "gone"
    spent: float | None = None
    """What the run has cost so far."""
    events: int = 0
    """How many events its log has."""
    bytes: int = 0
    """The size of its log on disk."""


class Runs(Control, tag="runs"):
    """The DAG's run list, to clients with `runs`: whole after `synced`, then what changed, at most once a second.

    It holds the 50 newest runs and those with open gates; `removed` names runs that retention has deleted.
    """

    total: int
    live: int
    waiting: int
    """How many gates are open, in all runs."""
    runs: list[RunSummary]
    removed: list[str] | None = None


class Bye(Control, tag="bye"):
    """The connection will close: why, and whether to come back. Sent ahead of the close frame, which proxies eat."""

    code: int
    reason: str
    retry: bool
    after_ms: int | None = None


# --- Publishing: what an engine says to its room, on the room's `publish` endpoint


class RunStart(Struct, omit_defaults=True, kw_only=True):
    """Opens a run, and with it a new epoch of the room."""

    budget: Annotated[float, Meta(ge=0)] | None = None
    currency: str | None = None
    capabilities: Capabilities | None = None
    on_budget: OnBudget | None = None
    """Once the budget is spent: say so, pause the run, or pause it and ask whether to go on."""
    name: str | None = None
    """What people call the run."""
    tags: list[str] | None = None


class Attach(Control, tag="attach"):
    """A publisher's first message.

    With `start` it owns the run `epoch`: begins it, reconnects to it, or takes it over from another process.
    Without, it joins the run `epoch` or, where none is named, the DAG's only live run that has an owner.
    """

    protocol: int
    publisher: Id
    """Names the publisher over all its connections; its events are numbered by `seq` from 1, without gaps."""
    token: str | None = None
    epoch: Id | None = None
    start: RunStart | None = None
    now: Millis | None = None
    """The publisher's clock: where it is off, the room corrects what it says of times."""
    acknowledged: Annotated[int, Meta(ge=0)] | None = None
    """How many of its events a server has said that it has: a server that has none of them has lost its log."""


class Attached(Control, tag="attached"):
    """The server's answer to `attach`. What follows are the `human_gate_resolved` and `execution_state` of this run."""

    dag_id: str
    epoch: str
    seq: int
    """The publisher's last event that the room has; it goes on with the next."""
    heartbeat_ms: int


class CostDelta(Event, tag="cost_delta"):
    """What was spent just now.

    One process can't know what the others spent: the room adds up, and sends `cost_update`.
    """

    amount: float | None = None
    """Absent: the price is not known, and the tokens count as unpriced."""
    node_id: Id | None = None
    tokens_in: Annotated[int, Meta(ge=0)] | None = None
    tokens_out: Annotated[int, Meta(ge=0)] | None = None


class NodeOutput(Event, tag="node_output"):
    """A part of a node's whole output, ahead of the `node_state` with its preview.

    The room keeps it and sends it to nobody: who wants the whole asks for it over HTTP.
    """

    node_id: Id
    text: str
    """A piece of the output's JSON; all of them, in order, are the whole."""
    part: Annotated[int, Meta(ge=0)]
    parts: Annotated[int, Meta(ge=1)]
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
"""The events that every version knows; a plain client gets no others."""

TERMINAL: Final = frozenset({"completed", "failed", "skipped", "cancelled"})
"""The node statuses after which nothing more is expected."""


def check_dag_id(dag_id: object, what: str = "dag_id") -> None:
    """Refuse what can't name a DAG, or a run: it becomes part of a URL, and of what people read.

    Raises:
        TypeError: it is not a string.
        ValueError: it is empty, longer than 200 characters, or holds a control character or a lone surrogate.
    """
    if not isinstance(dag_id, str):
        raise TypeError(f"{what} must be a string, not {type(dag_id).__name__}: {dag_id!r}")
    if not 1 <= len(dag_id) <= 200 or not all(char.isprintable() for char in dag_id):
        raise ValueError(f"{what} must have 1 to 200 printable characters: {dag_id[:200]!r}")


# --- Encoding and decoding


# --- Schema
