// Applies events to a DagState, in the order of their seq. The Python reducer has the same rules: both run tests/vectors.

import { type AnyEvent, isEvent } from "../protocol/decode";
import type * as p from "../protocol/messages";
import { assertNever } from "../protocol/never";
import { Approval, Capabilities, Presentation } from "../protocol/shapes";
import type { Change, DagState, Edge, Execution, Node, NodeStatus } from "./types";

/** How many log lines of a node are kept. */
const LOG_TAIL = 200;
/** How many errors of a run are kept. */
const ERRORS_TAIL = 100;

const TERMINAL: ReadonlySet<string> = new Set(["completed", "failed", "skipped", "cancelled"]);
const FINAL: ReadonlySet<string> = new Set(["completed", "failed", "cancelled"]);
// The statuses of a run from a request until the engine confirms it.
const ASKED: ReadonlySet<string> = new Set(["pausing", "resuming", "cancelling"]);
// An instance's status decides its node's in this order.
const WORST_FIRST: readonly NodeStatus[] = [
  "failed",
  "waiting",
  "running",
  "pending",
  "cancelled",
  "completed",
  "skipped",
];

/** A `Change` while it is being made. */
export type Changes = Change & { nodes: Set<string> };

export function noChange(): Changes {
  return { reset: false, structure: false, nodes: new Set(), edges: false };
}

export function emptyState(epoch?: string): DagState {
  return {
    epoch,
    seq: 0,
    status: "pending",
    nodes: new Map(),
    edges: new Map(),
    gates: new Map(),
    decisions: [],
    errors: [],
  };
}

/** Apply one event, and note in `changes` what it changed. */
export function reduce(state: DagState, event: AnyEvent, changes: Changes): void {
  if (isEvent(event)) applyEvent(state, event, changes);
  if (event.seq != null) state.seq = event.seq;
}

function applyEvent(state: DagState, event: p.Event, changes: Changes): void {
  switch (event.type) {
    case "node_state":
      if (event.inferred) inferEnd(state, event, changes);
      else nodeState(state, event, changes);
      break;
    case "edge_active":
      edgeActive(state, event, changes);
      break;
    case "dag_mutated":
      dagMutated(state, event.mutation, changes);
      break;
    case "cost_update":
      costUpdate(state, event);
      break;
    case "execution_complete":
      executionComplete(state, event, changes);
      break;
    case "human_gate_waiting":
      gateWaiting(state, event, changes);
      break;
    case "human_gate_resolved":
      gateResolved(state, event);
      break;
    case "error":
      error(state, event);
      break;
    case "execution_state":
      executionState(state, event);
      break;
    case "node_log":
      nodeLog(state, event, changes);
      break;
    default:
      assertNever(event);
  }
}

function begin(state: DagState, ts: number | undefined): void {
  if (state.status !== "pending") return;
  state.status = "running";
  state.started_at = ts;
}

/** The node of that name, made where it is not yet known. */
function nodeOf(state: DagState, id: string, changes: Changes): Node {
  const known = state.nodes.get(id);
  if (known) return known;
  changes.structure = true;
  return setNode(state, { id, status: "pending" }, changes);
}

function setNode(state: DagState, node: Node, changes: Changes): Node {
  state.nodes.set(node.id, node);
  changes.nodes.add(node.id);
  return node;
}

function edgeOf(state: DagState, from: string, to: string, changes: Changes): Edge {
  nodeOf(state, from, changes);
  nodeOf(state, to, changes);
  const sources = state.edges.get(to) ?? new Map<string, Edge>();
  state.edges.set(to, sources);
  const known = sources.get(from);
  if (known) return known;
  const edge = { active: false, taken: false };
  sources.set(from, edge);
  changes.structure = true;
  return edge;
}

function nodeState(state: DagState, event: p.NodeState, changes: Changes): void {
  if (event.status !== "pending") begin(state, event.ts ?? undefined);
  let node = nodeOf(state, event.node_id, changes);
  const attempt = event.attempt ?? undefined;
  if (attempt !== undefined && startsAttempt(node, attempt, event.instance)) node = nextAttempt(node, attempt);
  if (event.instance == null) {
    // Its instances decide a node's status, so it does not say whether the node's own execution has ended.
    const next = advance(node, event, !node.instances && hasEnded(node));
    if (next) placeNode(state, { ...node, ...next }, changes);
    return;
  }
  let before = node.instances?.[event.instance];
  if (!before) {
    if (attempt !== undefined && node.attempt !== undefined && attempt < node.attempt) return;
    before = { status: "pending", attempt: node.attempt };
  }
  const next = advance(before, event, hasEnded(before));
  if (next) placeInstance(state, node, event.instance, next, changes);
}

/** End an execution that is open, as the run has ended. What the engine said of it stays as it is. */
function inferEnd(state: DagState, event: p.NodeState, changes: Changes): void {
  const node = state.nodes.get(event.node_id);
  if (!node || !TERMINAL.has(event.status)) return;
  const { instances } = node;
  const execution = event.instance == null ? (instances ? undefined : node) : instances?.[event.instance];
  if (!execution || TERMINAL.has(execution.status)) return;
  if (event.attempt != null && event.attempt !== execution.attempt) return;
  begin(state, event.ts ?? undefined);
  const end = {
    status: event.status,
    native: event.native ?? undefined,
    reason: event.reason ?? undefined,
    message: event.message ?? undefined,
    ended_at: event.ended_at ?? event.ts ?? undefined,
    inferred: true,
  };
  if (event.instance != null) placeInstance(state, node, event.instance, { ...execution, ...end }, changes);
  else placeNode(state, { ...node, ...end }, changes);
}

/** Whether the engine said that the execution has ended. */
function hasEnded(execution: Execution): boolean {
  return TERMINAL.has(execution.status) && !execution.inferred;
}

/** Whether an event begins the node's next attempt, with no instances: one that it names, after all others ended. */
function startsAttempt(node: Node, attempt: number, instance: string | null | undefined): boolean {
  if (!isSettled(node)) return false;
  // The first attempt may go without a number.
  if (instance == null) return node.instances !== undefined && attempt > (node.attempt ?? 1);
  // In a node whose attempts have no numbers, an instance counts its own.
  if (node.attempt === undefined || attempt <= node.attempt) return false;
  return attempt > (node.instances?.[instance]?.attempt ?? 0);
}

function nextAttempt({ id, label, kind, group, description, logs }: Node, attempt: number): Node {
  return { id, status: "pending", attempt, label, kind, group, description, logs };
}

/** An execution after `event`, or undefined where it changes nothing; `ended`: the engine said that it has ended. */
function advance(old: Execution, event: p.NodeState, ended: boolean): Execution | undefined {
  const attempt = event.attempt ?? undefined;
  const terminal = TERMINAL.has(event.status);
  const restarts = ended && !terminal;
  if (attempt !== undefined && old.attempt !== undefined) {
    if (attempt < old.attempt || (restarts && attempt === old.attempt)) return undefined;
  }
  const fresh = restarts || (attempt !== undefined && attempt > (old.attempt ?? 0));
  const kept: Partial<Execution> = fresh ? { attempt: old.attempt } : old;
  const ts = event.ts ?? undefined;
  const ended_at = event.ended_at ?? (kept.inferred ? undefined : kept.ended_at) ?? ts;
  return {
    status: event.status,
    output: event.output ?? kept.output,
    output_bytes: event.output == null ? kept.output_bytes : (event.output_bytes ?? undefined),
    output_cut: event.output == null ? kept.output_cut : (event.output_cut ?? undefined),
    metrics: isEmpty(event.metrics) ? kept.metrics : { ...kept.metrics, ...event.metrics },
    error: event.error ?? (event.status === "completed" ? undefined : kept.error),
    progress: event.progress ?? kept.progress,
    attempt: attempt ?? kept.attempt,
    native: event.native ?? undefined,
    reason: event.reason ?? undefined,
    message: event.message ?? undefined,
    started_at: event.started_at ?? kept.started_at ?? (event.status === "running" ? ts : undefined),
    ended_at: terminal ? ended_at : undefined,
    inferred: undefined,
  };
}

function placeInstance(state: DagState, node: Node, name: string, execution: Execution, changes: Changes): void {
  // Without a prototype, an instance may have any name.
  const instances: Record<string, Execution> = node.instances ?? Object.create(null);
  const counts = count(node.counts, instances[name]?.status, execution.status);
  instances[name] = execution;
  placeNode(state, { ...(node.inferred ? reopened(node) : node), instances, counts }, changes);
}

function placeNode(state: DagState, node: Node, changes: Changes): void {
  const { counts } = node;
  if (counts) {
    node.status = WORST_FIRST.find((status) => counts[status]) ?? node.status;
    if (!TERMINAL.has(node.status)) node.ended_at = undefined;
  }
  setNode(state, node, changes);
  if (isSettled(node)) settle(state, node.id, changes);
  else if (node.status !== "waiting" && state.gates.get(node.id)?.node_id === node.id) {
    // A gate that goes by its node's name has no other sign that it was answered.
    state.gates.delete(node.id);
  }
}

/** `node` without the end that was inferred for it. */
function reopened(node: Node): Node {
  return {
    ...node,
    native: undefined,
    reason: undefined,
    message: undefined,
    ended_at: undefined,
    inferred: undefined,
  };
}

function count(counts: Node["counts"], before: NodeStatus | undefined, after: NodeStatus): Node["counts"] {
  const next = { ...counts, [after]: (counts?.[after] ?? 0) + 1 };
  if (before) {
    next[before] = (next[before] ?? 0) - 1;
    if (next[before] === 0) delete next[before];
  }
  return next;
}

/** Whether nothing more is expected of the node. */
function isSettled(node: Node): boolean {
  return node.counts ? Object.keys(node.counts).every((status) => TERMINAL.has(status)) : TERMINAL.has(node.status);
}

/** Nothing flows into a settled node, and it asks nothing. */
function settle(state: DagState, id: string, changes: Changes): void {
  const sources = state.edges.get(id);
  if (sources) quiet(sources, changes);
  for (const gate of state.gates.values()) if (gate.node_id === id) state.gates.delete(gate.gate_id);
}

function quiet(sources: Map<string, Edge>, changes: Changes): void {
  for (const [source, edge] of sources) {
    if (!edge.active) continue;
    sources.set(source, { ...edge, active: false });
    changes.edges = true;
  }
}

function edgeActive(state: DagState, event: p.EdgeActive, changes: Changes): void {
  const edge = edgeOf(state, event.from, event.to, changes);
  const active = event.active !== false;
  const flows = active && !FINAL.has(state.status);
  state.edges.get(event.to)?.set(event.from, { ...edge, active: flows, taken: edge.taken || active });
  changes.edges = true;
}

function dagMutated(state: DagState, mutation: p.Mutation, changes: Changes): void {
  for (const spec of [...(mutation.add_nodes ?? []), ...(mutation.update_nodes ?? [])]) {
    const node = nodeOf(state, spec.id, changes);
    const next = {
      ...node,
      label: spec.label ?? node.label,
      kind: spec.kind ?? node.kind,
      group: spec.group ?? node.group,
      description: spec.description ?? node.description,
    };
    if (next.label !== node.label || next.group !== node.group) changes.structure = true;
    setNode(state, next, changes);
  }
  if (mutation.remove_nodes?.length) removeNodes(state, new Set(mutation.remove_nodes), changes);
  for (const link of mutation.add_edges ?? []) {
    const edge = edgeOf(state, link.from, link.to, changes);
    const next = { ...edge, label: link.label ?? edge.label, conditional: link.conditional ?? edge.conditional };
    if (next.label !== edge.label || next.conditional !== edge.conditional) changes.structure = true;
    state.edges.get(link.to)?.set(link.from, next);
  }
  for (const link of mutation.remove_edges ?? []) {
    if (removeEdge(state, link.from, link.to)) changes.structure = true;
  }
}

function removeNodes(state: DagState, removed: ReadonlySet<string>, changes: Changes): void {
  changes.structure = true;
  for (const id of removed) {
    state.nodes.delete(id);
    state.edges.delete(id);
    changes.nodes.add(id);
  }
  for (const [target, sources] of state.edges) {
    for (const source of sources.keys()) if (removed.has(source)) removeEdge(state, source, target);
  }
  for (const gate of state.gates.values()) if (removed.has(gate.node_id)) state.gates.delete(gate.gate_id);
}

function removeEdge(state: DagState, from: string, to: string): boolean {
  const sources = state.edges.get(to);
  const removed = sources?.delete(from) ?? false;
  if (sources?.size === 0) state.edges.delete(to);
  return removed;
}

function costUpdate(state: DagState, event: p.CostUpdate): void {
  const before = state.cost?.by_node;
  state.cost = {
    spent: event.spent,
    budget: event.budget ?? undefined,
    remaining: event.remaining ?? undefined,
    currency: event.currency ?? undefined,
    tokens: event.tokens ?? undefined,
    // Without a prototype, a node may have any name.
    by_node: isEmpty(event.by_node) ? before : Object.assign(Object.create(null), before, event.by_node),
    unpriced: event.unpriced ?? undefined,
    on_budget: event.on_budget ?? undefined,
  };
}

function executionComplete(state: DagState, event: p.ExecutionComplete, changes: Changes): void {
  if (event.inferred && FINAL.has(state.status)) return;
  begin(state, event.ts ?? undefined);
  state.status = event.status ?? "completed";
  state.asked_at = undefined;
  state.ended_at = event.ts ?? undefined;
  state.results = event.results ?? undefined;
  state.reason = event.reason ?? undefined;
  state.inferred = event.inferred || undefined;
  state.gates.clear();
  for (const sources of state.edges.values()) quiet(sources, changes);
}

function gateWaiting(state: DagState, event: p.HumanGateWaiting, changes: Changes): void {
  // A run that has ended asks nothing any more.
  if (FINAL.has(state.status)) return;
  begin(state, event.ts ?? undefined);
  const node = nodeOf(state, event.node_id, changes);
  const gate_id = event.gate_id ?? event.node_id;
  const { node_id, instance = null } = event;
  const open = state.gates.get(gate_id);
  // What was approved for another node was not approved for this one.
  const before = open?.node_id === node_id && (open.instance ?? null) === instance ? open : undefined;
  state.gates.set(gate_id, {
    gate_id,
    node_id,
    presentation: only(event.presentation, Presentation),
    instance: instance ?? undefined,
    opened_at: before ? before.opened_at : (event.ts ?? undefined),
    approvals: event.approvals?.length ? event.approvals.map((one) => only(one, Approval)) : before?.approvals,
  });
  if (!node.instances && node.status !== "waiting") {
    const asking = node.inferred ? reopened(node) : node;
    setNode(state, { ...asking, status: "waiting", ended_at: undefined }, changes);
  }
}

function gateResolved(state: DagState, event: p.HumanGateResolved): void {
  state.gates.delete(event.gate_id);
  const { gate_id, node_id, decision, by, at, source } = event;
  const feedback = event.feedback ?? undefined;
  const value = event.value ?? undefined;
  const approvals = event.approvals?.map((one) => only(one, Approval));
  state.decisions = [...state.decisions, { gate_id, node_id, decision, by, at, source, feedback, value, approvals }];
}

function error(state: DagState, event: p.RunError): void {
  const fault = {
    message: event.message,
    node_id: event.node_id ?? undefined,
    code: event.code ?? undefined,
    detail: event.detail ?? undefined,
    at: event.ts ?? undefined,
  };
  state.errors = [...state.errors, fault].slice(-ERRORS_TAIL);
}

function executionState(state: DagState, event: p.ExecutionState): void {
  if ((event.inferred || event.status === "lost") && FINAL.has(state.status)) return;
  begin(state, event.ts ?? undefined);
  if (event.status !== state.status) state.asked_at = ASKED.has(event.status) ? (event.ts ?? undefined) : undefined;
  state.status = event.status;
  state.ended_at = state.results = state.reason = state.inferred = undefined;
  if (event.capabilities) state.capabilities = only(event.capabilities, Capabilities);
}

function nodeLog(state: DagState, event: p.NodeLog, changes: Changes): void {
  const node = nodeOf(state, event.node_id, changes);
  const logs = [...(node.logs ?? []), ...event.lines].slice(-LOG_TAIL);
  setNode(state, { ...node, logs: logs.length > 0 ? logs : undefined }, changes);
}

// Both reducers must end in the same state, so neither keeps a field that its version of the protocol does not know.
function only<T extends object>(record: T, { fields }: { fields: object }): T {
  const known = Object.entries(record).filter(([name, value]) => Object.hasOwn(fields, name) && value !== null);
  return Object.fromEntries(known) as T;
}

function isEmpty(record: object | null | undefined): boolean {
  return !record || Object.keys(record).length === 0;
}
