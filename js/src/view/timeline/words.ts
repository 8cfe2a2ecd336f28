// What a timeline says in words: beside a bar, in a tooltip, and to whoever can't see it.

import type { DagState, Execution, Node } from "../../state/types";
import { caption, took } from "../graph/caption";
import { type Durations, instanceLeft, leftText, nodeLeft, runLeft } from "../model/estimate";
import { clock, duration } from "../model/format";
import { spanOf } from "../model/span";
import { label, STATUSES, settled } from "../model/status";
import type { Row } from "./rows";

/** Nodes of one status that are told by name. */
const NAMED = 8;

/** The execution that a row stands for; undefined for a group. */
export function executionOf(row: Row, state: Pick<DagState, "nodes">): Execution | undefined {
  if (row.kind === "group") return undefined;
  const node = state.nodes.get(row.id);
  return row.instance === undefined ? node : node?.instances?.[row.instance];
}

export function rowLabel(row: Row, state: Pick<DagState, "nodes">): string {
  if (row.kind === "group") return row.id.slice(row.id.lastIndexOf("/") + 1);
  return row.instance ?? label(state.nodes.get(row.id) ?? row);
}

/** How a row stands at the moment `asOf`, in a few words. */
export function standing(row: Row, state: Pick<DagState, "nodes" | "cost">, asOf: number): string {
  const node = state.nodes.get(row.id);
  const execution = executionOf(row, state);
  if (!node || !execution) return "";
  if (execution === node) {
    const elapsed = node.counts && !settled(node.status) ? running(node, asOf) : undefined;
    return join(caption(node, state.cost, asOf), elapsed, told(nodeLeft(node, asOf)));
  }
  if (execution.status === "failed") return execution.error?.split("\n", 1)[0] ?? "failed";
  if (settled(execution.status)) return took(execution) ?? "";
  return join(execution.message, running(execution, asOf), told(instanceLeft(node, execution, asOf)));
}

/** The whole timeline in a few sentences. */
export function describe(state: DagState, asOf: number): string {
  const names = new Map<string, string[]>(STATUSES.map((status) => [status, []]));
  for (const node of state.nodes.values()) names.get(node.status)!.push(node.id);
  const sentences = [`${state.nodes.size} nodes, ${elapsed(state, asOf)}.`];
  for (const [status, ids] of names) {
    if (ids.length === 0) continue;
    const worth = status === "failed" || status === "waiting" || status === "running";
    const each = (id: string) => {
      const node = state.nodes.get(id)!;
      const { start, end } = spanOf(node);
      const long = start === undefined ? "" : ` for ${duration((end ?? asOf) - start)}`;
      return join(`${label(node)}${long}`, told(nodeLeft(node, asOf)));
    };
    const list = worth ? `: ${ids.slice(0, NAMED).map(each).join("; ")}${ids.length > NAMED ? "; and more" : ""}` : "";
    sentences.push(`${ids.length} ${status}${list}.`);
  }
  return sentences.join(" ");
}

/** The line above the rows: how long it has run, what is left of it, and of the node that has the most left. */
export function summary(state: DagState, asOf: number, earlier?: Durations): string {
  let most: [node: Node, left: number] | undefined;
  for (const node of state.nodes.values()) {
    if (node.status !== "running" || !node.instances) continue;
    const left = nodeLeft(node, asOf);
    if (left !== undefined && left > (most?.[1] ?? 0)) most = [node, left];
  }
  const whole = earlier && runLeft(state, earlier, asOf);
  return join(
    elapsed(state, asOf),
    whole !== undefined && leftText(whole, "estimate from the last run"),
    most && `${label(most[0])}: ${leftText(most[1])}`,
  );
}

function elapsed({ started_at }: DagState, asOf: number): string {
  return started_at === undefined ? "not started" : `${clock(asOf - started_at)} elapsed`;
}

function running(execution: Execution, asOf: number): string | undefined {
  const { start } = spanOf(execution);
  return start === undefined ? undefined : clock(asOf - start);
}

function told(left: number | undefined): string | undefined {
  return left === undefined ? undefined : leftText(left);
}

function join(...parts: (string | false | undefined)[]): string {
  return parts.filter(Boolean).join(" · ");
}
