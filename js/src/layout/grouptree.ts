// The tree that the paths of groups make, and which group each node is in.

import type { Graph } from "./types";

/** What lies in deeper groups lies in the one of this depth: nobody reads more frames, and a path may have thousands. */
const DEPTH_LIMIT = 32;

/** The groups that have members, and those around them; parents come before their children. */
export interface Groups {
  paths: string[];
  /** The group around each group, -1 = none. */
  parent: Int32Array;
  /** 0 for outermost groups. */
  depth: Int32Array;
  /** The innermost group of each node, -1 = none. */
  of: Int32Array;
}

export function groupTree(n: number, group: NonNullable<Graph["group"]>): Groups {
  const index = new Map<string, number>();
  const paths: string[] = [];
  const parent: number[] = [];
  const depth: number[] = [];
  const add = (path: string): number => {
    const known = index.get(path);
    if (known !== undefined) return known;
    const cut = path.lastIndexOf("/");
    const above = cut > 0 ? add(path.slice(0, cut)) : -1;
    const at = paths.push(path) - 1;
    parent.push(above);
    depth.push(above < 0 ? 0 : depth[above]! + 1);
    index.set(path, at);
    return at;
  };
  const of = new Int32Array(n).fill(-1);
  for (let v = 0; v < n; v++) {
    const path = group.paths[group.of[v]!];
    if (path) of[v] = add(path.split("/", DEPTH_LIMIT).join("/"));
  }
  return { paths, parent: Int32Array.from(parent), depth: Int32Array.from(depth), of };
}

/** The innermost group that holds both `a` and `b` (groups, or -1). */
export function commonGroup(groups: Groups, a: number, b: number): number {
  while (a !== b) {
    if (a < 0 || b < 0) return -1;
    if (groups.depth[a]! >= groups.depth[b]!) a = groups.parent[a]!;
    else b = groups.parent[b]!;
  }
  return a;
}

/** The outermost group around each node, -1 = none. */
export function outermost(groups: Groups): Int32Array {
  return groups.of.map((g) => {
    while (g >= 0 && groups.parent[g]! >= 0) g = groups.parent[g]!;
    return g;
  });
}
