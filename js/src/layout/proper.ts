// The layered graph that the later phases work on: long edges are chains with a dummy node in every layer they pass.

import { commonGroup, type Groups } from "./grouptree";

/** What a node of the layered graph stands for. */
export const Kind = { Box: 0, Bend: 1, BackBend: 2, Before: 3, After: 4 } as const;

/**
 * Layers of different parts are different ranks, numbered part by part: no edge leaves its part, so all phases treat
 * many parts like one graph. Nodes of rank r are `order[start[r] … start[r + 1])`.
 */
export interface Proper {
  /** Real nodes are 0 … n, bends follow, borders of groups come last. */
  n: number;
  size: number;
  firstBorder: number;
  ranks: number;
  rank: Int32Array;
  kind: Uint8Array;
  /** Part p has the ranks `firstRank[p] … firstRank[p + 1])`. */
  firstRank: Int32Array;
  start: Int32Array;
  order: Int32Array;
  /** Index of each node in its rank. */
  pos: Int32Array;
  /** Neighbours in the next and in the previous rank. */
  downStart: Int32Array;
  down: Int32Array;
  upStart: Int32Array;
  up: Int32Array;
  /** The first bend of each edge (the others follow), from its lower rank to its higher; -1 = none. */
  chain: Int32Array;
  /** 1 = the edge would have needed too many bends, and has none. */
  cut: Uint8Array;
  /** The innermost group of each node, borders within their own; -1 = none. Empty without groups. */
  group: Int32Array;
  /** The ranks that each group spans. */
  groupFirst: Int32Array;
  groupLast: Int32Array;
  /** The border before group g in rank r; the next node is the one after it. */
  border(g: number, r: number): number;
}

/** Room that each node needs on both sides of its centre line, px. */
export interface Extents {
  before: Float64Array;
  after: Float64Array;
}

/** Edges as the phases see them: `lo[e]` stands in an earlier layer than `hi[e]`, or both are the same node (a loop). */
export interface Oriented {
  lo: Int32Array;
  hi: Int32Array;
  back: Uint8Array;
}

const NONE = new Int32Array(0);

export function proper(
  n: number,
  edges: Oriented,
  layer: Int32Array,
  part: { of: Int32Array; count: number },
  groups: Groups | undefined,
  bendLimit: number,
): Proper {
  const { lo, hi, back } = edges;
  const m = lo.length;
  const firstRank = new Int32Array(part.count + 1);
  for (let v = 0; v < n; v++) firstRank[part.of[v]! + 1] = Math.max(firstRank[part.of[v]! + 1]!, layer[v]! + 1);
  for (let p = 0; p < part.count; p++) firstRank[p + 1]! += firstRank[p]!;
  const ranks = firstRank[part.count]!;

  const longest = longestSpan(lo, hi, layer, bendLimit);
  const chain = new Int32Array(m).fill(-1);
  const cut = new Uint8Array(m);
  let size = n;
  for (let e = 0; e < m; e++) {
    const bends = layer[hi[e]!]! - layer[lo[e]!]! - 1;
    if (bends >= longest) cut[e] = 1;
    else if (bends > 0) {
      chain[e] = size;
      size += bends;
    }
  }
  const firstBorder = size;
  const [groupFirst, groupLast, borderOf] = spans(n, layer, part.of, firstRank, groups, firstBorder);
  if (groups) for (let g = 0; g < groups.paths.length; g++) size += 2 * (groupLast[g]! - groupFirst[g]! + 1);

  const rank = new Int32Array(size);
  const kind = new Uint8Array(size);
  const group = groups ? new Int32Array(size) : NONE;
  for (let v = 0; v < n; v++) rank[v] = firstRank[part.of[v]!]! + layer[v]!;
  if (groups) group.set(groups.of);

  let segments = 0;
  for (let e = 0; e < m; e++) if (!cut[e] && lo[e] !== hi[e]) segments += layer[hi[e]!]! - layer[lo[e]!]!;
  if (groups) segments += size - firstBorder;
  const from = new Int32Array(segments);
  const to = new Int32Array(segments);
  let s = 0;
  const connect = (v: number, w: number) => {
    from[s] = v;
    to[s++] = w;
  };
  for (let e = 0; e < m; e++) {
    if (cut[e] || lo[e] === hi[e]) continue;
    let v = lo[e]!;
    if (chain[e]! >= 0) {
      const bends = layer[hi[e]!]! - layer[v]! - 1;
      const within = groups ? commonGroup(groups, groups.of[v]!, groups.of[hi[e]!]!) : -1;
      for (let i = 0; i < bends; i++) {
        const bend = chain[e]! + i;
        rank[bend] = rank[v]! + 1;
        kind[bend] = back[e] ? Kind.BackBend : Kind.Bend;
        if (groups) group[bend] = within;
        connect(v, bend);
        v = bend;
      }
    }
    connect(v, hi[e]!);
  }
  if (groups) {
    for (let g = 0; g < groups.paths.length; g++) {
      for (let r = groupFirst[g]!; r <= groupLast[g]!; r++) {
        const border = borderOf[g]! + 2 * (r - groupFirst[g]!);
        for (const side of [0, 1]) {
          rank[border + side] = r;
          kind[border + side] = side ? Kind.After : Kind.Before;
          group[border + side] = g;
          if (r > groupFirst[g]!) connect(border + side - 2, border + side);
        }
      }
    }
  }

  const start = new Int32Array(ranks + 1);
  for (let v = 0; v < size; v++) start[rank[v]! + 1]!++;
  for (let r = 0; r < ranks; r++) start[r + 1]! += start[r]!;
  const [downStart, down] = rows(size, from, to, s);
  const [upStart, up] = rows(size, to, from, s);
  return {
    n,
    size,
    firstBorder,
    ranks,
    rank,
    kind,
    firstRank,
    start,
    order: new Int32Array(size),
    pos: new Int32Array(size),
    downStart,
    down,
    upStart,
    up,
    chain,
    cut,
    group,
    groupFirst,
    groupLast,
    border: (g, r) => borderOf[g]! + 2 * (r - groupFirst[g]!),
  };
}

/** The least number of bends of an edge that is too long, so that all others have `limit` bends at most. */
function longestSpan(lo: Int32Array, hi: Int32Array, layer: Int32Array, limit: number): number {
  const count: number[] = [];
  for (let e = 0; e < lo.length; e++) {
    const bends = layer[hi[e]!]! - layer[lo[e]!]! - 1;
    if (bends > 0) count[bends] = (count[bends] ?? 0) + 1;
  }
  let sum = 0;
  for (let bends = 1; bends < count.length; bends++) {
    sum += bends * (count[bends] ?? 0);
    if (sum > limit) return bends;
  }
  return Infinity;
}

function spans(
  n: number,
  layer: Int32Array,
  part: Int32Array,
  firstRank: Int32Array,
  groups: Groups | undefined,
  firstBorder: number,
): [Int32Array, Int32Array, Int32Array] {
  if (!groups) return [NONE, NONE, NONE];
  const count = groups.paths.length;
  const first = new Int32Array(count).fill(0x7fffffff);
  const last = new Int32Array(count).fill(-1);
  for (let v = 0; v < n; v++) {
    const r = firstRank[part[v]!]! + layer[v]!;
    for (let g = groups.of[v]!; g >= 0; g = groups.parent[g]!) {
      first[g] = Math.min(first[g]!, r);
      last[g] = Math.max(last[g]!, r);
    }
  }
  const border = new Int32Array(count);
  let next = firstBorder;
  for (let g = 0; g < count; g++) {
    border[g] = next;
    next += 2 * (last[g]! - first[g]! + 1);
  }
  return [first, last, border];
}

/** Neighbours by node, in the order of the segments. */
function rows(size: number, from: Int32Array, to: Int32Array, segments: number): [Int32Array, Int32Array] {
  const start = new Int32Array(size + 1);
  for (let s = 0; s < segments; s++) start[from[s]! + 1]!++;
  for (let v = 0; v < size; v++) start[v + 1]! += start[v]!;
  const fill = start.slice(0, size);
  const list = new Int32Array(segments);
  for (let s = 0; s < segments; s++) list[fill[from[s]!]!++] = to[s]!;
  return [start, list];
}
