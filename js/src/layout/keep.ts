// What of an earlier picture still holds: everything that was there stays where it was, as far as there is room.

import { tighten } from "./groups";
import type { Groups } from "./grouptree";
import { gapBetween } from "./position";
import type { Extents, Oriented, Proper } from "./proper";
import type { Graph, Layout, Previous, Settings } from "./types";

/** Where things were, px along both axes; NaN for what is new. */
export interface Recalled {
  /** Of each node of the layered graph, across. */
  cross: Float64Array;
  /** The middle of each rank along the flow. */
  rank: Float64Array;
}

/** A new node gives way sooner than one that was there; the borders of groups, once they are straight, to none. */
const NEW = 1e-4;
const FIRM = 1e4;
/** How often groups and what stands around them may push each other until there is room for all. */
const PUSHES = 8;
const EPSILON = 0.01;

/** Find boxes, bends and frames of the earlier picture again. */
export function recall(
  p: Proper,
  { lo, hi }: Oriented,
  graph: Graph,
  groups: Groups | undefined,
  { of, graph: before, layout }: Previous,
): Recalled {
  const across = graph.direction === "TB";
  const [along, beside] = across ? [layout.y, layout.x] : [layout.x, layout.y];
  const cross = new Float64Array(p.size).fill(NaN);
  const met: number[][] = Array.from({ length: p.ranks }, () => []);
  for (let v = 0; v < p.n; v++) {
    if (of[v]! < 0) continue;
    cross[v] = beside[of[v]!]!;
    met[p.rank[v]!]!.push(along[of[v]!]!);
  }
  const rank = Float64Array.from(met, (values) => (values.length > 0 ? median(values) : NaN));

  // Parallel edges are told apart by their sequence: each one's place is taken once.
  const known = new Map<number, number>();
  const next = new Int32Array(layout.back.length).fill(-1);
  for (let e = next.length - 1; e >= 0; e--) {
    const ends = before.edges[2 * e]! * before.n + before.edges[2 * e + 1]!;
    next[e] = known.get(ends) ?? -1;
    known.set(ends, e);
  }
  for (let e = 0; e < lo.length; e++) {
    if (p.chain[e]! < 0) continue;
    const [from, to] = [of[graph.edges[2 * e]!]!, of[graph.edges[2 * e + 1]!]!];
    const old = from < 0 || to < 0 ? -1 : (known.get(from * before.n + to) ?? -1);
    if (old < 0) continue;
    known.set(from * before.n + to, next[old]!);
    const bends = p.rank[hi[e]!]! - p.rank[lo[e]!]! - 1;
    for (let i = 0; i < bends; i++) {
      const bend = p.chain[e]! + i;
      cross[bend] = crossAt(layout, old, rank[p.rank[bend]!]!, across);
    }
  }

  const frames = new Map(layout.groups.map((frame) => [frame.path, frame]));
  for (const [g, path] of (groups?.paths ?? []).entries()) {
    const frame = frames.get(path);
    if (!frame) continue;
    const [low, size] = across ? [frame.x, frame.width] : [frame.y, frame.height];
    for (let r = p.groupFirst[g]!; r <= p.groupLast[g]!; r++) {
      cross[p.border(g, r)] = low;
      cross[p.border(g, r) + 1] = low + size;
    }
  }
  return { cross, rank };
}

/** Where edge `e` passed a point along the flow; NaN where it did not. Edges run level through layers. */
function crossAt({ route, offset }: Layout, e: number, at: number, across: boolean): number {
  const [main, side] = across ? [1, 0] : [0, 1];
  for (let i = offset[e]!; i + 3 < offset[e + 1]!; i += 3) {
    const [a, b] = [route[2 * i + main]!, route[2 * (i + 3) + main]!];
    if (Math.min(a, b) > at || Math.max(a, b) < at) continue;
    const [c, d] = [route[2 * i + side]!, route[2 * (i + 3) + side]!];
    return a === b ? c : c + ((d - c) * (at - a)) / (b - a);
  }
  return NaN;
}

/** Bring what is new in a group into it, and the borders of groups as close to what they hold as a layout does. */
export function enclose(p: Proper, groups: Groups, wanted: Float64Array, fresh: Uint8Array, extents: Extents): void {
  for (let v = 0; v < p.firstBorder; v++) {
    const g = p.group[v]!;
    if (g < 0 || !fresh[v]) continue;
    const border = p.border(g, p.rank[v]!);
    if (fresh[border]) continue;
    const low = wanted[border]! + extents.after[border]! + extents.before[v]!;
    const high = wanted[border + 1]! - extents.before[border + 1]! - extents.after[v]!;
    wanted[v] = Math.max(low, Math.min(high, wanted[v]!));
  }
  tighten(p, groups, wanted, extents, () => true);
}

/**
 * Give everything of a part its place of before, and move what has no room there as little as possible: in each layer
 * the sum of the squared moves is least (isotonic regression by pooling adjacent violators: Ayer, Brunk, Ewing, Reid &
 * Silverman, "An empirical distribution function for sampling with incomplete information", 1955). It takes linear time.
 *
 * @param wanted Where everything should be; with the places of what is new chosen.
 * @param fresh 1 = was not there before.
 * @param cross Takes the places of this part.
 * @returns Whether there was room for everything.
 */
export function stay(
  p: Proper,
  part: number,
  wanted: Float64Array,
  fresh: Uint8Array,
  extents: Extents,
  settings: Settings,
  groups: Groups | undefined,
  cross: Float64Array,
): boolean {
  const [from, to] = [p.firstRank[part]!, p.firstRank[part + 1]!];
  const own = new Set(groups ? partGroups(p, groups, from, to) : []);
  for (let push = 0; ; push++) {
    for (let r = from; r < to; r++) settleRank(p, r, wanted, fresh, extents, settings, cross, push > 0);
    if (own.size === 0) return true;
    tighten(p, groups!, cross, extents, (g) => own.has(g));
    if (fits(p, from, to, cross, extents, settings)) return true;
    if (push === PUSHES) return false;
    for (const g of own) {
      for (let r = p.groupFirst[g]!; r <= p.groupLast[g]!; r++) {
        wanted[p.border(g, r)] = cross[p.border(g, r)]!;
        wanted[p.border(g, r) + 1] = cross[p.border(g, r) + 1]!;
      }
    }
  }
}

function partGroups(p: Proper, groups: Groups, from: number, to: number): number[] {
  return groups.paths.flatMap((_, g) => (p.groupFirst[g]! >= from && p.groupLast[g]! < to ? [g] : []));
}

function apart(p: Proper, a: number, b: number, { before, after }: Extents, settings: Settings): number {
  return after[a]! + gapBetween(p, a, b, settings) + before[b]!;
}

/** Place one layer: neighbours that would overlap are pooled, and pools move as one. */
function settleRank(
  p: Proper,
  r: number,
  wanted: Float64Array,
  fresh: Uint8Array,
  extents: Extents,
  settings: Settings,
  cross: Float64Array,
  firm: boolean,
): void {
  const { order, start } = p;
  // Less the room of those before it, every place must be at least that of the one before.
  const pools: { mean: number; weight: number; end: number }[] = [];
  let room = 0;
  for (let slot = start[r]!; slot < start[r + 1]!; slot++) {
    const v = order[slot]!;
    if (slot > start[r]!) room += apart(p, order[slot - 1]!, v, extents, settings);
    const weight = firm && v >= p.firstBorder ? FIRM : fresh[v] ? NEW : 1;
    let pool = { mean: wanted[v]! - room, weight, end: slot + 1 };
    for (let last = pools.at(-1); last && last.mean > pool.mean; last = pools.at(-1)) {
      const sum = last.weight + pool.weight;
      pool = { mean: (last.mean * last.weight + pool.mean * pool.weight) / sum, weight: sum, end: slot + 1 };
      pools.pop();
    }
    pools.push(pool);
  }
  let slot = start[r]!;
  room = 0;
  for (const { mean, end } of pools) {
    for (; slot < end; slot++) {
      if (slot > start[r]!) room += apart(p, order[slot - 1]!, order[slot]!, extents, settings);
      cross[order[slot]!] = mean + room;
    }
  }
}

function fits(p: Proper, from: number, to: number, cross: Float64Array, extents: Extents, settings: Settings): boolean {
  for (let r = from; r < to; r++) {
    for (let slot = p.start[r]! + 1; slot < p.start[r + 1]!; slot++) {
      const [a, b] = [p.order[slot - 1]!, p.order[slot]!];
      if (cross[b]! - cross[a]! < apart(p, a, b, extents, settings) - EPSILON) return false;
    }
  }
  return true;
}

function median(values: number[]): number {
  values.sort((a, b) => a - b);
  return values[values.length >> 1]!;
}
