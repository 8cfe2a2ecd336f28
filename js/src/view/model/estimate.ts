// How long is left, guessed from the instances of the same node that have finished, or from an earlier run. Never more
// than a guess.

import type { DagState, Execution, Node } from "../../state/types";
import { clock } from "./format";
import { spanOf } from "./span";
import { doneShare, over } from "./status";

/** Fewer finished instances than this tell nothing of the others. */
const ENOUGH = 3;

/** The median duration of a node's completed instances, and how many they are. */
export interface Typical {
  ms: number;
  of: number;
}

/** How long an earlier run took, and its nodes, in milliseconds. */
export interface Durations {
  ms: number;
  nodes: Readonly<Record<string, number>>;
}

/** Milliseconds that a run has left, if it goes on as `earlier` did: by its share of the work that is not done. */
export function runLeft(state: DagState, earlier: Durations, asOf: number): number | undefined {
  // A person decides how long that takes.
  if (over(state.status) || state.gates.size > 0) return undefined;
  let [work, done] = [0, 0];
  for (const node of state.nodes.values()) {
    if (!Object.hasOwn(earlier.nodes, node.id)) continue;
    const took = earlier.nodes[node.id]!;
    const { start, end } = spanOf(node);
    const share = start === undefined || end !== undefined || took === 0 ? 0 : Math.min(1, (asOf - start) / took);
    work += took;
    done += took * Math.max(doneShare(node), share);
  }
  return work > done ? earlier.ms * (1 - done / work) : undefined;
}

const cached = new WeakMap<Node, { typical: Typical | undefined }>();

/** What an instance of `node` takes, where enough of them have completed. */
export function typical(node: Node): Typical | undefined {
  let known = cached.get(node);
  if (!known) {
    const took: number[] = [];
    for (const instance of Object.values(node.instances ?? {})) {
      const { start, end } = spanOf(instance);
      if (instance.status === "completed" && start !== undefined && end !== undefined) took.push(end - start);
    }
    known = { typical: took.length < ENOUGH ? undefined : { ms: median(took), of: took.length } };
    cached.set(node, known);
  }
  return known.typical;
}

/** Milliseconds that one instance has left; undefined where nothing can be said, or it takes longer than the others. */
export function instanceLeft(node: Node, instance: Execution, asOf: number): number | undefined {
  const usual = typical(node);
  const { start } = spanOf(instance);
  if (!usual || instance.status !== "running" || start === undefined || asOf - start >= usual.ms) return undefined;
  return usual.ms - (asOf - start);
}

/** Milliseconds until all instances of `node` are done, with as many at once as run now. */
export function nodeLeft(node: Node, asOf: number): number | undefined {
  const usual = typical(node);
  if (!usual || !node.instances) return undefined;
  let [running, work] = [0, 0];
  let longest = 0;
  for (const instance of Object.values(node.instances)) {
    // A person decides how long that takes.
    if (instance.status === "waiting") return undefined;
    if (instance.status === "pending") work += usual.ms;
    else if (instance.status === "running") {
      running++;
      const left = Math.max(0, usual.ms - (asOf - (spanOf(instance).start ?? asOf)));
      work += left;
      longest = Math.max(longest, left);
    }
  }
  const left = Math.max(longest, work / Math.max(1, running));
  return left > 0 ? left : undefined;
}

/** `about 0:40 left (estimate)`. */
export function leftText(ms: number, how = "estimate"): string {
  return `about ${ms < 60_000 ? `${Math.ceil(ms / 1000)} s` : clock(ms)} left (${how})`;
}

function median(values: number[]): number {
  const sorted = values.sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
