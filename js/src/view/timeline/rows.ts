// Which rows a timeline has, and in which order: by start and then as laid out, within the groups.

import type { DagState, Node } from "../../state/types";
import { spanOf } from "../model/span";

/** A node with more instances than this shows one row for all of them, until it is unfolded. */
export const FOLD_ABOVE = 20;
/** Groups nest no deeper than this here: what is deeper stands in the last. */
const DEEPEST = 6;

export interface Row {
  kind: "group" | "node" | "instance";
  key: string;
  /** Of the node; of a group, its path. */
  id: string;
  instance?: string;
  depth: number;
  /** Whether its instances stand below it; undefined where it has none. */
  open?: boolean;
}

export interface Rows {
  rows: Row[];
  index: Map<string, number>;
  /** The earliest start and the latest moment that is known (Unix ms). */
  from: number | undefined;
  to: number | undefined;
}

interface Branch {
  path: string;
  start: number;
  order: number;
  nodes: Entry[];
  branches: Map<string, Branch>;
}
interface Entry {
  start: number;
  order: number;
  node: Node;
}

/** The rows for `state`. `rank` is the place of nodes in the layout, `folds` what a person folded or unfolded. */
export function rowsOf(
  state: Pick<DagState, "nodes">,
  rank: ReadonlyMap<string, number>,
  folds: ReadonlyMap<string, boolean>,
): Rows {
  const root = branch("");
  let [from, to] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  let added = 0;
  for (const node of state.nodes.values()) {
    const { start = Number.POSITIVE_INFINITY, end } = spanOf(node);
    from = Math.min(from, start);
    to = Math.max(to, end ?? (start < Number.POSITIVE_INFINITY ? start : to));
    const order = rank.get(node.id) ?? rank.size + added;
    added++;
    let at = root;
    // A saved picture may say anything.
    if (node.group && typeof node.group === "string") {
      for (const name of node.group.split("/", DEEPEST)) {
        let next = at.branches.get(name);
        if (!next) {
          next = branch(at === root ? name : `${at.path}/${name}`);
          at.branches.set(name, next);
        }
        at = next;
        // A group stands where its first member does.
        at.start = Math.min(at.start, start);
        at.order = Math.min(at.order, order);
      }
    }
    at.nodes.push({ start, order, node });
  }
  const rows: Row[] = [];
  write(root, 0, folds, rows);
  return {
    rows,
    index: new Map(rows.map((row, i) => [row.key, i])),
    from: Number.isFinite(from) ? from : undefined,
    to: Number.isFinite(to) ? to : undefined,
  };
}

export function keyOf(kind: Row["kind"], id: string, instance = ""): string {
  return `${kind}\n${id}\n${instance}`;
}

function branch(path: string): Branch {
  return { path, start: Number.POSITIVE_INFINITY, order: Number.POSITIVE_INFINITY, nodes: [], branches: new Map() };
}

function write(at: Branch, depth: number, folds: ReadonlyMap<string, boolean>, rows: Row[]): void {
  for (const entry of [...at.nodes, ...at.branches.values()].sort(byStart)) {
    if ("node" in entry) writeNode(entry.node, depth, folds, rows);
    else {
      rows.push({ kind: "group", key: keyOf("group", entry.path), id: entry.path, depth });
      write(entry, depth + 1, folds, rows);
    }
  }
}

function writeNode({ id, instances }: Node, depth: number, folds: ReadonlyMap<string, boolean>, rows: Row[]): void {
  const row: Row = { kind: "node", key: keyOf("node", id), id, depth };
  rows.push(row);
  if (!instances) return;
  const all = Object.entries(instances);
  row.open = folds.get(id) ?? all.length <= FOLD_ABOVE;
  if (!row.open) return;
  const entries = all.map(([name, execution], order) => ({
    name,
    order,
    start: spanOf(execution).start ?? Number.POSITIVE_INFINITY,
  }));
  for (const { name } of entries.sort(byStart)) {
    rows.push({ kind: "instance", key: keyOf("instance", id, name), id, instance: name, depth: depth + 1 });
  }
}

/** Infinite starts are equal: their difference is no number. */
function byStart(a: { start: number; order: number }, b: { start: number; order: number }): number {
  return a.start === b.start ? a.order - b.order : a.start - b.start;
}
