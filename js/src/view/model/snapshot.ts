// A saved state, drawn when nothing live is there. It comes out of a notebook file, so nothing in it is taken on trust.

import { named } from "../../protocol/decode";
import { isObject } from "../../protocol/fits";
import type { DagState, Edge, Gate, Node } from "../../state/types";
import { STATUSES } from "./status";

type Json = Record<string, unknown>;

/** The state that `json` (the store's `toJSON`) describes; what is malformed is left out. */
export function restore(json: Json): DagState {
  const nodes = new Map<string, Node>();
  for (const [id, value] of entries(json.nodes)) {
    if (isObject(value) && (STATUSES as readonly unknown[]).includes(value.status)) {
      nodes.set(id, named({ ...value, id } as unknown as Node));
    }
  }
  const edges = new Map<string, Map<string, Edge>>();
  for (const [target, sources] of entries(json.edges)) {
    if (!nodes.has(target)) continue;
    const kept = entries(sources).filter(([source, edge]) => nodes.has(source) && isObject(edge));
    // Nothing flows in a saved picture.
    edges.set(target, new Map(kept.map(([source, edge]) => [source, { ...(edge as unknown as Edge), active: false }])));
  }
  const gates = new Map<string, Gate>();
  for (const [id, gate] of entries(json.gates)) {
    if (isObject(gate) && isObject(gate.presentation)) gates.set(id, { ...gate, gate_id: id } as unknown as Gate);
  }
  const cost = isObject(json.cost) && typeof json.cost.spent === "number" ? json.cost : undefined;
  return {
    ...(json as unknown as DagState),
    seq: typeof json.seq === "number" ? json.seq : 0,
    status: typeof json.status === "string" ? (json.status as DagState["status"]) : "pending",
    nodes,
    edges,
    gates,
    cost: cost as DagState["cost"],
    decisions: Array.isArray(json.decisions) ? json.decisions : [],
    errors: Array.isArray(json.errors) ? (json.errors.filter(isObject) as unknown as DagState["errors"]) : [],
  };
}

function entries(value: unknown): [string, unknown][] {
  return isObject(value) ? Object.entries(value) : [];
}
