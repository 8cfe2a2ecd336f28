// The seven statuses, and how far a node has come: what counts and projections are made of.

import type { Node, NodeStatus, RunStatus } from "../../state/types";
import { count } from "./format";

/** In the order in which a person wants to hear of them. */
export const STATUSES: readonly NodeStatus[] = [
  "failed",
  "waiting",
  "running",
  "pending",
  "completed",
  "skipped",
  "cancelled",
];

const SETTLED: ReadonlySet<NodeStatus> = new Set(["completed", "failed", "skipped", "cancelled"]);

export function settled(status: NodeStatus): boolean {
  return SETTLED.has(status);
}

/** Whether the run has ended. */
export function over(status: RunStatus): status is "completed" | "failed" | "cancelled" {
  return status === "completed" || status === "failed" || status === "cancelled";
}

export const RUN_WORDS: Readonly<Record<RunStatus, string>> = {
  pending: "Not started",
  running: "Running",
  pausing: "Pausing…",
  paused: "Paused",
  resuming: "Resuming…",
  cancelling: "Cancelling…",
  lost: "Lost",
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
};

/** The status of a node that looks like the run's. */
export const RUN_LOOKS: Readonly<Record<RunStatus, NodeStatus>> = {
  pending: "pending",
  running: "running",
  pausing: "running",
  paused: "pending",
  resuming: "running",
  cancelling: "cancelled",
  lost: "pending",
  completed: "completed",
  failed: "failed",
  cancelled: "cancelled",
};

export function label(node: { id: string; label?: string }): string {
  // What has no name can't be clicked, nor told.
  return node.label?.trim() ? node.label : node.id;
}

/** How much of a node is done, 0 to 1. */
export function doneShare(node: Node): number {
  if (node.counts) {
    let done = 0;
    let all = 0;
    for (const status of STATUSES) {
      const count = node.counts[status] ?? 0;
      all += count;
      if (settled(status)) done += count;
    }
    return all > 0 ? done / all : 0;
  }
  return settled(node.status) ? 1 : node.status === "pending" ? 0 : (node.progress ?? 0);
}

/** `47/50, 1 failed`: the instances of a node that ran to an end, and what is wrong with the others. */
export function countsText(counts: NonNullable<Node["counts"]>): string {
  let all = 0;
  for (const status of STATUSES) all += counts[status] ?? 0;
  const wrong = (["failed", "waiting"] as const)
    .filter((status) => counts[status])
    .map((status) => `, ${count(counts[status]!)} ${status}`);
  return `${count(counts.completed ?? 0)}/${count(all)}${wrong.join("")}`;
}

/** Counts of nodes by status and the work done, kept up to date by the nodes that changed alone. */
export class Tally {
  readonly counts: Record<NodeStatus, number> = zero();
  /** Nodes' worth of work done. Skipped nodes are neither work nor done. */
  done = 0;
  total = 0;
  readonly #seen = new Map<string, { status: NodeStatus; done: number }>();

  reset(nodes: ReadonlyMap<string, Node>): void {
    Object.assign(this.counts, zero());
    this.done = this.total = 0;
    this.#seen.clear();
    for (const node of nodes.values()) this.set(node.id, node);
  }

  /** The node as it is now; undefined where it was removed. */
  set(id: string, node: Node | undefined): void {
    const before = this.#seen.get(id);
    if (before) this.#add(before, -1);
    if (node === undefined) {
      this.#seen.delete(id);
      return;
    }
    const entry = { status: node.status, done: doneShare(node) };
    this.#seen.set(id, entry);
    this.#add(entry, 1);
  }

  #add(entry: { status: NodeStatus; done: number }, sign: 1 | -1): void {
    this.counts[entry.status] += sign;
    if (entry.status === "skipped") return;
    this.total += sign;
    this.done += sign * entry.done;
  }
}

function zero(): Record<NodeStatus, number> {
  return { failed: 0, waiting: 0, running: 0, pending: 0, completed: 0, skipped: 0, cancelled: 0 };
}
