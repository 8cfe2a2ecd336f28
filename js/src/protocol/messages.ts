// Generated from dagwidget/protocol/messages.py by `make protocol`. Do not edit.

export type Event =
  | NodeState
  | EdgeActive
  | DagMutated
  | CostUpdate
  | ExecutionComplete
  | HumanGateWaiting
  | RunError
  | HumanGateResolved
  | ExecutionState
  | NodeLog;
export type Command = HumanDecision | PauseExecution | ResumeExecution | CancelExecution;
export type ServerMessage =
  | NodeState
  | EdgeActive
  | DagMutated
  | CostUpdate
  | ExecutionComplete
  | HumanGateWaiting
  | RunError
  | HumanGateResolved
  | ExecutionState
  | NodeLog
  | Welcome
  | Sync
  | Synced
  | Ping
  | CommandAck
  | Engine
  | Runs
  | Bye;
export type ClientMessage = HumanDecision | PauseExecution | ResumeExecution | CancelExecution | Hello | Pong | Ack;

export interface Protocol {
  [k: string]: unknown;
}
/**
 * A node, or one `instance` of a node that runs several times at once, is now in `status`.
 */
export interface NodeState {
  type: "node_state";
  node_id: string;
  status: "cancelled" | "completed" | "failed" | "pending" | "running" | "skipped" | "waiting";
  output?: unknown;
  metrics?: {
    [k: string]: number | string;
  } | null;
  error?: string | null;
  progress?: number | null;
  attempt?: number | null;
  instance?: string | null;
  native?: string | null;
  reason?: string | null;
  message?: string | null;
  started_at?: number | null;
  ended_at?: number | null;
  inferred?: boolean | null;
  output_bytes?: number | null;
  output_cut?: boolean | null;
  seq?: number | null;
  ts?: number | null;
}
/**
 * Data flows along an edge, or no longer does.
 */
export interface EdgeActive {
  type: "edge_active";
  from: string;
  to: string;
  active?: boolean | null;
  seq?: number | null;
  ts?: number | null;
}
/**
 * The graph changed; the initial graph is one of these.
 */
export interface DagMutated {
  type: "dag_mutated";
  mutation: Mutation;
  seq?: number | null;
  ts?: number | null;
}
/**
 * A change of the graph, applied in the order of these fields.
 */
export interface Mutation {
  add_nodes?: NodeSpec[] | null;
  update_nodes?: NodeSpec[] | null;
  remove_nodes?: string[] | null;
  add_edges?: EdgeSpec[] | null;
  remove_edges?: EdgeSpec[] | null;
}
/**
 * A node of the graph. `group` is a path: `"etl/load"` lies inside `"etl"`.
 */
export interface NodeSpec {
  id: string;
  label?: string | null;
  kind?: string | null;
  group?: string | null;
  description?: string | null;
}
/**
 * An edge of the graph. The run may or may not take a `conditional` edge.
 */
export interface EdgeSpec {
  from: string;
  to: string;
  label?: string | null;
  conditional?: boolean | null;
}
/**
 * The run's cost so far: totals, never deltas. `by_node` holds the totals of the nodes that changed.
 */
export interface CostUpdate {
  type: "cost_update";
  spent: number;
  budget: number | null;
  remaining: number | null;
  currency?: string | null;
  tokens?: number | null;
  by_node?: {
    [k: string]: number;
  } | null;
  unpriced?: number | null;
  on_budget?: ("gate" | "pause" | "warn") | null;
  seq?: number | null;
  ts?: number | null;
}
/**
 * The run has ended. `status` is `completed` when absent.
 */
export interface ExecutionComplete {
  type: "execution_complete";
  results: unknown;
  status?: ("cancelled" | "completed" | "failed") | null;
  reason?: string | null;
  inferred?: boolean | null;
  seq?: number | null;
  ts?: number | null;
}
/**
 * A gate is open: a node waits for a decision. Without a `gate_id` the gate's id is the node's.
 */
export interface HumanGateWaiting {
  type: "human_gate_waiting";
  node_id: string;
  presentation: Presentation;
  gate_id?: string | null;
  instance?: string | null;
  approvals?: Approval[] | null;
  seq?: number | null;
  ts?: number | null;
}
/**
 * What a gate shows, and which decisions it accepts.
 */
export interface Presentation {
  title?: string | null;
  body?: string | null;
  data?: unknown;
  schema?: unknown;
  options?: unknown[] | null;
  allowed?: ("approve" | "modify" | "reject")[] | null;
  deadline?: number | null;
  on_timeout?: ("approve" | "default" | "fail" | "reject") | null;
  default?: unknown;
  assignees?: string[] | null;
  required?: number | null;
}
/**
 * One of several approvals that a gate requires.
 */
export interface Approval {
  by: string;
  at: number;
  feedback?: string | null;
}
/**
 * An error in a node, or in the run as a whole.
 */
export interface RunError {
  type: "error";
  message: string;
  node_id?: string | null;
  code?: string | null;
  detail?: unknown;
  seq?: number | null;
  ts?: number | null;
}
/**
 * A gate was decided. These events are the audit trail.
 */
export interface HumanGateResolved {
  type: "human_gate_resolved";
  node_id: string;
  gate_id: string;
  decision: "approve" | "modify" | "reject";
  by: string;
  at: number;
  source: "budget" | "engine" | "python" | "timeout" | "widget";
  feedback?: string | null;
  value?: unknown;
  approvals?: Approval[] | null;
  seq?: number | null;
  ts?: number | null;
}
/**
 * The run as a whole is now in `status`. `lost` goes only to clients with that feature.
 */
export interface ExecutionState {
  type: "execution_state";
  status: ("cancelling" | "paused" | "pausing" | "resuming" | "running") | "lost";
  capabilities?: Capabilities | null;
  inferred?: boolean | null;
  seq?: number | null;
  ts?: number | null;
}
/**
 * What the engine supports. The widget disables the rest and says why.
 */
export interface Capabilities {
  pause?: ("cooperative" | "native" | "none") | null;
  cancel?: ("cooperative" | "native" | "none") | null;
  gate?: ("cooperative" | "native" | "none") | null;
}
/**
 * Lines that a node logged. Readers keep only the last ones.
 */
export interface NodeLog {
  type: "node_log";
  node_id: string;
  lines: string[];
  seq?: number | null;
  ts?: number | null;
}
/**
 * A person's decision at a gate. Without a `gate_id` it applies to the node's open gate.
 */
export interface HumanDecision {
  type: "human_decision";
  node_id: string;
  decision: "approve" | "modify" | "reject";
  gate_id?: string | null;
  feedback?: string | null;
  value?: unknown;
  source?: ("python" | "widget") | null;
  id: string;
  run_id?: string | null;
}
/**
 * Start no further node; let the running ones finish.
 */
export interface PauseExecution {
  type: "pause_execution";
  id: string;
  run_id?: string | null;
}
/**
 * Go on after a pause.
 */
export interface ResumeExecution {
  type: "resume_execution";
  id: string;
  run_id?: string | null;
}
/**
 * Stop the run for good.
 */
export interface CancelExecution {
  type: "cancel_execution";
  give_up?: boolean | null;
  id: string;
  run_id?: string | null;
}
/**
 * The server's answer to `hello`: the head of the log, and the limits of the connection.
 */
export interface Welcome {
  type: "welcome";
  protocol: number;
  dag_id: string;
  epoch: string;
  head: number;
  role: "operate" | "publish" | "view";
  heartbeat_ms: number;
  window: number;
  limits: {
    [k: string]: number;
  };
  now?: number | null;
  expires_at?: number | null;
  server?: string | null;
  log?: string | null;
  features?: string[] | null;
}
/**
 * Catching up starts: the events that the client lacks or, with `reset`, events that build the state at `seq`.
 */
export interface Sync {
  type: "sync";
  epoch: string;
  seq: number;
  reset: boolean;
  log?: string | null;
}
/**
 * Catching up has ended. The client's cursor is now `seq`.
 */
export interface Synced {
  type: "synced";
  seq: number;
}
/**
 * A heartbeat after silence. If `head` is not the client's own cursor, it missed something.
 */
export interface Ping {
  type: "ping";
  head: number;
}
/**
 * The answer to a command. For a decision it is sent once the decision is durable.
 */
export interface CommandAck {
  type: "command_ack";
  id: string;
  ok: boolean;
  code?: string | null;
  message?: string | null;
  durable?: boolean | null;
  winner?: HumanGateResolved | null;
}
/**
 * Whether the engine behind the run is there: after `synced`, and at each change, to clients with `engine`.
 *
 * `silent`: the connection stands, but pings are not answered. `gone`: no owner is connected. `ended`: the run is
 * over. `unobserved`: the run is only reported, and its reporter is gone.
 */
export interface Engine {
  type: "engine";
  state: "connected" | "ended" | "gone" | "silent" | "unobserved";
  since?: number | null;
}
/**
 * The DAG's run list, to clients with `runs`: whole after `synced`, then what changed, at most once a second.
 *
 * It holds the 50 newest runs and those with open gates; `removed` names runs that retention has deleted.
 * On the stream of all DAGs, `dag_id` names the DAG; one without runs is no longer there.
 */
export interface Runs {
  type: "runs";
  total: number;
  live: number;
  waiting: number;
  runs: RunSummary[];
  removed?: string[] | null;
  dag_id?: string | null;
}
/**
 * One run in a DAG's run list. Times are Unix milliseconds.
 */
export interface RunSummary {
  run_id: string;
  status:
    | ("cancelling" | "paused" | "pausing" | "resuming" | "running")
    | ("cancelled" | "completed" | "failed")
    | ("lost" | "pending");
  started_at: number;
  name?: string | null;
  tags?: string[] | null;
  ended_at?: number | null;
  gates?: number;
  engine?: "connected" | "ended" | "gone" | "silent" | "unobserved";
  spent?: number | null;
  events?: number;
  bytes?: number;
}
/**
 * The connection is about to close; `retry` says whether to reconnect. Proxies drop the code of a close frame.
 */
export interface Bye {
  type: "bye";
  code: number;
  reason: string;
  retry: boolean;
  after_ms?: number | null;
}
/**
 * A viewer's first message, and again to change the run. The token travels here, never in a URL.
 *
 * A client that names no `run` follows the DAG: it begins at the run of `last`, else at the newest live run, else at
 * the newest; once its run is over, lost or gone, the server moves it by the same rule.
 */
export interface Hello {
  type: "hello";
  protocol: number;
  token?: string | null;
  last?: Cursor | null;
  run?: string | null;
  follow?: boolean | null;
  features?: string[] | null;
}
/**
 * A position in a run's log: everything up to `seq` of `epoch` has been received.
 */
export interface Cursor {
  epoch: string;
  seq: number;
  log?: string | null;
}
/**
 * The answer to a `ping`.
 */
export interface Pong {
  type: "pong";
  seq: number;
}
/**
 * The sender has received everything up to `seq`.
 */
export interface Ack {
  type: "ack";
  seq: number;
  durable?: boolean | null;
}
/**
 * A publisher's first message.
 *
 * With `start` it owns the run `epoch`: it begins the run, reconnects to it, or takes it over from another process.
 * Without `start` it joins the run `epoch` or, if that is absent, the DAG's only live run that has an owner.
 */
export interface Attach {
  type: "attach";
  protocol: number;
  publisher: string;
  token?: string | null;
  epoch?: string | null;
  start?: RunStart | null;
  now?: number | null;
  acknowledged?: number | null;
}
/**
 * Starts a run, and with it a new epoch of the room.
 */
export interface RunStart {
  budget?: number | null;
  currency?: string | null;
  capabilities?: Capabilities | null;
  on_budget?: ("gate" | "pause" | "warn") | null;
  started_at?: number | null;
  name?: string | null;
  tags?: string[] | null;
}
/**
 * The server's answer to `attach`. The run's `human_gate_resolved` and `execution_state` events follow.
 */
export interface Attached {
  type: "attached";
  dag_id: string;
  epoch: string;
  seq: number;
  heartbeat_ms: number;
}
/**
 * An amount that was just spent.
 *
 * The room adds up the amounts of all publishers and sends `cost_update`.
 */
export interface CostDelta {
  type: "cost_delta";
  amount?: number | null;
  node_id?: string | null;
  tokens_in?: number | null;
  tokens_out?: number | null;
  seq?: number | null;
  ts?: number | null;
}
/**
 * A part of a node's whole output, sent before the `node_state` with its preview.
 *
 * The room stores it and sends it to no client. Clients fetch the whole output over HTTP.
 */
export interface NodeOutput {
  type: "node_output";
  node_id: string;
  text: string;
  part: number;
  parts: number;
  instance?: string | null;
  seq?: number | null;
  ts?: number | null;
}

export const PROTOCOL = 1;
export const SUBPROTOCOL = "dagwidget.v1";

export interface CloseCode {
  code: number;
  name: string;
  retry: boolean;
  meaning: string;
}

/** What our own `bye` and close codes mean; any other is a network's or a proxy's word. */
export const CLOSE_CODES: Readonly<Record<number, CloseCode>> = {
  1000: {"code":1000,"name":"done","retry":false,"meaning":"closed"},
  1001: {"code":1001,"name":"going_away","retry":false,"meaning":"the server, or a proxy, went away"},
  4000: {"code":4000,"name":"restart","retry":true,"meaning":"the server restarts"},
  4001: {"code":4001,"name":"slow","retry":true,"meaning":"the client fell behind and stopped acknowledging"},
  4003: {"code":4003,"name":"position_lost","retry":true,"meaning":"the server lost the client's place in the log"},
  4005: {"code":4005,"name":"token_expired","retry":true,"meaning":"the token expired; renew it first"},
  4006: {"code":4006,"name":"replaced","retry":false,"meaning":"another process took over this run"},
  4008: {"code":4008,"name":"log_unavailable","retry":true,"meaning":"the log can't be written or read"},
  4400: {"code":4400,"name":"bad_message","retry":false,"meaning":"a message does not follow the protocol"},
  4401: {"code":4401,"name":"unauthorized","retry":false,"meaning":"the token is missing or wrong"},
  4403: {"code":4403,"name":"forbidden","retry":false,"meaning":"the page's origin, or the token's role, does not permit this"},
  4404: {"code":4404,"name":"unknown_run","retry":true,"meaning":"no such DAG or run yet"},
  4408: {"code":4408,"name":"hello_timeout","retry":true,"meaning":"no hello in time"},
  4409: {"code":4409,"name":"version","retry":false,"meaning":"the protocol versions do not match; update dagwidget"},
  4410: {"code":4410,"name":"not_kept","retry":false,"meaning":"the run was deleted by retention"},
  4412: {"code":4412,"name":"ambiguous_run","retry":false,"meaning":"several runs are live; name one"},
  4413: {"code":4413,"name":"too_large","retry":false,"meaning":"a message is larger than the limit"},
  4429: {"code":4429,"name":"too_often","retry":true,"meaning":"too many messages or connections"},
};
