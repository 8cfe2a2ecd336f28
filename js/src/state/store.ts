// The state of a run, kept by the reducer and observable. No DOM, no sockets.
// Records are replaced when they change, never written to (but for `instances`, the one live map), so `===` tells.

import type * as p from "../protocol/messages";
import { type Changes, emptyState, noChange, reduce } from "./reducer";

export type NodeStatus = p.NodeState["status"];
export type RunStatus = "pending" | p.ExecutionState["status"] | "completed" | "failed" | "cancelled";

/** What is known of one execution: of a node, or of one instance of it. Times are Unix milliseconds. */
export interface Execution {
  status: NodeStatus;
  output?: unknown;
  /** The size of the whole, where `output` is a preview of it and the whole is kept. */
  output_bytes?: number;
  metrics?: Record<string, number | string>;
  error?: string;
  progress?: number;
  attempt?: number;
  native?: string;
  reason?: string;
  message?: string;
  started_at?: number;
  ended_at?: number;
}

/** A node. Where it has `instances`, its status is derived from theirs, and `counts` says how many are in each. */
export interface Node extends Execution {
  id: string;
  label?: string;
  kind?: string;
  group?: string;
  description?: string;
  instances?: Record<string, Execution>;
  counts?: Partial<Record<NodeStatus, number>>;
  logs?: string[];
}

export interface Edge {
  active: boolean;
  taken: boolean;
  label?: string;
  conditional?: boolean;
}

export interface Gate {
  gate_id: string;
  node_id: string;
  presentation: p.Presentation;
  instance?: string;
  opened_at?: number;
  /** Those that there are, where the gate requires several. */
  approvals?: p.Approval[];
}

export interface Cost {
  spent: number;
  budget?: number;
  remaining?: number;
  currency?: string;
  tokens?: number;
  by_node?: Record<string, number>;
  unpriced?: number;
  on_budget?: p.CostUpdate["on_budget"];
}

export interface Decision {
  gate_id: string;
  node_id: string;
  decision: p.HumanDecision["decision"];
  by: string;
  at: number;
  source: string;
  feedback?: string;
  value?: unknown;
  approvals?: p.Approval[];
}

export interface Fault {
  message: string;
  node_id?: string;
  code?: string;
  detail?: unknown;
  at?: number;
}

export interface DagState {
  epoch?: string;
  seq: number;
  status: RunStatus;
  capabilities?: p.Capabilities;
  started_at?: number;
  ended_at?: number;
  nodes: Map<string, Node>;
  /** By target, then by source. */
  edges: Map<string, Map<string, Edge>>;
  gates: Map<string, Gate>;
  cost?: Cost;
  decisions: readonly Decision[];
  errors: readonly Fault[];
  results?: unknown;
}

/** What one batch of events changed, so that a view redraws no more than that. */
export interface Change {
  /** The whole state was replaced (a resync, a new epoch). */
  reset: boolean;
  /** Nodes or edges came or went, or a node's label or group changed: the layout is out of date. */
  structure: boolean;
  /** Ids of the nodes that changed or were removed. */
  nodes: ReadonlySet<string>;
  /** Whether an edge's activity changed. */
  edges: boolean;
}

/** The state of one DAG, and who wants to know when it changes. */
export class Store {
  #state = emptyState();
  #ignored = 0;
  readonly #listeners = new Set<(change: Change) => void>();

  /** The current state: updated in place by `apply`, another object after `replace`. */
  get state(): DagState {
    return this.#state;
  }

  /** How many events had a type that this version does not know. */
  get ignored(): number {
    return this.#ignored;
  }

  /** Apply a batch in the order of its seq; listeners are told once. It is the caller who drops duplicates. */
  apply(events: readonly p.Event[]): void {
    this.#notify(this.#reduce(events));
  }

  /** Begin anew with what `events` add up to; listeners are told once, so the old picture stays until then. */
  replace(cursor: { epoch?: string; seq: number }, events: readonly p.Event[]): void {
    this.#state = emptyState(cursor.epoch);
    const changes = this.#reduce(events);
    this.#state.seq = cursor.seq;
    this.#notify({ ...changes, reset: true, structure: true });
  }

  /** Be told what each batch changed; returns how to stop. */
  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #reduce(events: readonly p.Event[]): Changes {
    const changes = noChange();
    for (const event of events) if (!reduce(this.#state, event, changes)) this.#ignored++;
    return changes;
  }

  #notify(change: Change): void {
    for (const listener of this.#listeners) listener(change);
  }
}

/** The state as JSON-safe values, as `DagState.to_dict` in Python gives it; what is absent has no key. */
export function toJSON(state: DagState): Record<string, unknown> {
  const edges = [...state.edges].map(([target, sources]) => [target, Object.fromEntries(sources)] as const);
  const whole = {
    ...state,
    nodes: Object.fromEntries(state.nodes),
    edges: Object.fromEntries(edges),
    gates: Object.fromEntries(state.gates),
  };
  return Object.fromEntries(Object.entries(whole).filter(([, value]) => value !== undefined));
}
