// The state of a run: the records that the reducer keeps.
// Records are replaced when they change, never written to (but for `instances`, the one live map), so `===` tells.

import type * as p from "../protocol/messages";

export type NodeStatus = p.NodeState["status"];
export type RunStatus = "pending" | p.ExecutionState["status"] | "completed" | "failed" | "cancelled";

/** What is known of one execution: of a node, or of one instance of it. Times are Unix milliseconds. */
export interface Execution {
  status: NodeStatus;
  output?: unknown;
  /** The size of the whole, where `output` is a preview of it and the whole is kept. */
  output_bytes?: number;
  /** `output` is a preview, and the whole is not kept. */
  output_cut?: boolean;
  metrics?: Record<string, number | string>;
  error?: string;
  progress?: number;
  attempt?: number;
  native?: string;
  reason?: string;
  message?: string;
  started_at?: number;
  ended_at?: number;
  /** The end is the room's inference, as the run had ended: any later word of the engine replaces it. */
  inferred?: boolean;
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
  /** Why the run ended. */
  reason?: string;
  /** The end is the room's inference: the engine's own end replaces it. */
  inferred?: boolean;
  /** When the pause, resume or cancel was asked that the engine has not confirmed yet. */
  asked_at?: number;
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
