// Generated from dagwidget/protocol/messages.py by `make protocol`. Do not edit.

import {
  any,
  event,
  flag,
  id,
  int,
  list,
  maybe,
  natural,
  number,
  numberOrText,
  object,
  oneOf,
  record,
  text,
  within,
} from "./fits";

export const NodeSpec = object({ id: id }, { label: text, kind: text, group: text, description: text });
export const EdgeSpec = object({ from: id, to: id }, { label: text, conditional: flag });
export const Mutation = object(
  {},
  {
    add_nodes: list(NodeSpec),
    update_nodes: list(NodeSpec),
    remove_nodes: list(id),
    add_edges: list(EdgeSpec),
    remove_edges: list(EdgeSpec),
  },
);
export const Presentation = object(
  {},
  {
    title: text,
    body: text,
    data: any,
    schema: any,
    options: list(any),
    allowed: list(oneOf("approve modify reject")),
    deadline: int,
    on_timeout: oneOf("approve default fail reject"),
    default: any,
    assignees: list(text),
    required: within(int, 1),
  },
);
export const Approval = object({ by: text, at: int }, { feedback: text });
export const Capabilities = object(
  {},
  {
    pause: oneOf("cooperative native none"),
    cancel: oneOf("cooperative native none"),
    gate: oneOf("cooperative native none"),
  },
);
export const HumanGateResolved = event(
  {
    node_id: id,
    gate_id: id,
    decision: oneOf("approve modify reject"),
    by: text,
    at: int,
    source: oneOf("budget engine python timeout widget"),
  },
  { feedback: text, value: any, approvals: list(Approval) },
);
export const RunSummary = object(
  {
    run_id: text,
    status: oneOf("cancelling paused pausing resuming running cancelled completed failed lost pending"),
    started_at: int,
  },
  {
    name: text,
    tags: list(text),
    ended_at: int,
    gates: int,
    engine: oneOf("connected ended gone silent unobserved"),
    spent: number,
    events: int,
    bytes: int,
  },
);

export const EVENTS = {
  node_state: event(
    {
      node_id: id,
      status: oneOf("cancelled completed failed pending running skipped waiting"),
      attempt: maybe(natural),
      instance: maybe(id),
      inferred: maybe(flag),
    },
    {
      output: any,
      metrics: record(numberOrText),
      error: text,
      progress: within(number, 0, 1),
      native: text,
      reason: text,
      message: text,
      started_at: int,
      ended_at: int,
      output_bytes: natural,
      output_cut: flag,
    },
  ),
  edge_active: event({ from: id, to: id, active: maybe(flag) }),
  dag_mutated: event({ mutation: Mutation }),
  cost_update: event(
    { spent: number, currency: maybe(text) },
    {
      budget: number,
      remaining: number,
      tokens: int,
      by_node: record(number),
      unpriced: int,
      on_budget: oneOf("gate pause warn"),
    },
  ),
  execution_complete: event(
    { status: maybe(oneOf("cancelled completed failed")), inferred: maybe(flag) },
    { results: any, reason: text },
  ),
  human_gate_waiting: event(
    { node_id: id, presentation: Presentation, gate_id: maybe(id), instance: maybe(id) },
    { approvals: list(Approval) },
  ),
  error: event({ message: text }, { node_id: id, code: text, detail: any }),
  human_gate_resolved: HumanGateResolved,
  execution_state: event(
    { status: oneOf("cancelling paused pausing resuming running lost"), inferred: maybe(flag) },
    { capabilities: Capabilities },
  ),
  node_log: event({ node_id: id, lines: list(text) }),
};

export const CONTROL = {
  welcome: object(
    {
      protocol: int,
      dag_id: text,
      epoch: text,
      head: int,
      role: oneOf("operate publish view"),
      heartbeat_ms: int,
      window: int,
      limits: record(int),
    },
    { now: int, expires_at: int, server: text, log: text, features: list(text) },
  ),
  sync: object({ epoch: text, seq: int, reset: flag }, { log: text }),
  synced: object({ seq: int }),
  ping: object({ head: int }),
  command_ack: object({ id: text, ok: flag }, { code: text, message: text, durable: flag, winner: HumanGateResolved }),
  engine: object({ state: oneOf("connected ended gone silent unobserved") }, { since: int }),
  runs: object({ total: int, live: int, waiting: int, runs: list(RunSummary) }, { removed: list(text), dag_id: text }),
  bye: object({ code: int, reason: text, retry: flag }, { after_ms: int }),
};
