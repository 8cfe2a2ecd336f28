// From when to when something ran, out of what is known of it.

import type { Execution, Gate, Node } from "../../state/types";
import { settled } from "./status";

/** Unix ms; `end` is absent while it runs. */
export interface Span {
  start?: number;
  end?: number;
}

const cached = new WeakMap<Execution, Span>();

/** When a node or an instance ran; of a node with instances, from the first start to the last end. */
export function spanOf(execution: Execution): Span {
  let span = cached.get(execution);
  if (!span) {
    const { instances } = execution as Node;
    span = instances ? around(execution, Object.values(instances)) : own(execution);
    cached.set(execution, span);
  }
  return span;
}

/** Since when each node (or instance, by `gateKey`) waits for a person. */
export function waitingSince(gates: Iterable<Gate>): Map<string, number> {
  const since = new Map<string, number>();
  for (const { node_id, instance, opened_at } of gates) {
    if (opened_at === undefined) continue;
    for (const key of [gateKey(node_id), gateKey(node_id, instance)]) {
      since.set(key, Math.min(opened_at, since.get(key) ?? opened_at));
    }
  }
  return since;
}

export function gateKey(nodeId: string, instance?: string): string {
  return JSON.stringify([nodeId, instance]);
}

function own({ status, started_at, ended_at, metrics }: Execution): Span {
  const took = typeof metrics?.duration_ms === "number" ? metrics.duration_ms : undefined;
  const start = started_at ?? (ended_at !== undefined && took !== undefined ? ended_at - took : undefined);
  if (!settled(status)) return { start };
  return { start, end: ended_at ?? (start !== undefined && took !== undefined ? start + took : start) };
}

function around(node: Execution, instances: readonly Execution[]): Span {
  let start = node.started_at ?? Number.POSITIVE_INFINITY;
  let end = node.ended_at ?? Number.NEGATIVE_INFINITY;
  let running = false;
  for (const instance of instances) {
    const span = own(instance);
    if (!settled(instance.status)) running = true;
    if (span.start !== undefined) start = Math.min(start, span.start);
    if (span.end !== undefined) end = Math.max(end, span.end);
  }
  return { start: Number.isFinite(start) ? start : undefined, end: running || !Number.isFinite(end) ? undefined : end };
}
