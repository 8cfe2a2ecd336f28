// Coordinates across the layers: straight edges, parents in the middle of their children.

import { type Extents, Kind, type Proper } from "./proper";
import type { Settings } from "./types";

/**
 * Brandes & Köpf, "Fast and simple horizontal coordinate assignment", 2002, in the corrected form of Brandes, Walter &
 * Zink, "Erratum: Fast and simple horizontal coordinate assignment", 2020: nodes are aligned with their median
 * neighbours into straight blocks, blocks are pushed together, from each of the four corners; the mean of the two
 * middle results balances them. Bends of an edge stay in line, borders of groups before all. Takes linear time.
 *
 * @returns The centre of each node across the layers, px, starting anywhere; every part on its own.
 */
export function positions(p: Proper, extents: Extents, settings: Settings): Float64Array {
  const sides = { up: sortedNeighbours(p, true), down: sortedNeighbours(p, false) };
  const crossed = conflicts(p, sides.up);
  const layouts: Float64Array[] = [];
  for (const upward of [false, true]) {
    for (const mirrored of [false, true]) {
      // Two corners that face each other give a balance too.
      if (settings.corners === 2 && upward !== mirrored) continue;
      const blocks = align(p, upward ? sides.down : sides.up, crossed, upward, mirrored);
      layouts.push(compact(p, blocks, extents, settings, upward, mirrored));
    }
  }
  return balance(p, layouts, extents);
}

/** Room between two neighbours of a layer, a before b. */
export function gapBetween(p: Proper, a: number, b: number, settings: Settings): number {
  const [ka, kb] = [p.kind[a]!, p.kind[b]!];
  if (ka === Kind.Before || kb === Kind.After) return 0;
  const bend = ka === Kind.Bend || ka === Kind.BackBend || kb === Kind.Bend || kb === Kind.BackBend;
  return bend ? settings.edgeGap : settings.nodeGap;
}

interface Neighbours {
  start: Int32Array;
  list: Int32Array;
}

/**
 * The neighbours of each node in the rank before (`up`) or after, by position. The ends of back edges are left out: an
 * edge that runs back never bends what runs forward.
 */
function sortedNeighbours(p: Proper, up: boolean): Neighbours {
  const { size, order, kind, n } = p;
  const [list, listStart] = up ? [p.down, p.downStart] : [p.up, p.upStart];
  const counts = new Int32Array(size + 1);
  const visit = (take: (v: number, w: number) => void) => {
    for (let slot = 0; slot < size; slot++) {
      const v = order[slot]!;
      for (let i = listStart[v]!; i < listStart[v + 1]!; i++) {
        const w = list[i]!;
        if ((v < n && kind[w] === Kind.BackBend) || (w < n && kind[v] === Kind.BackBend)) continue;
        take(v, w);
      }
    }
  };
  visit((_, w) => counts[w + 1]!++);
  for (let v = 0; v < size; v++) counts[v + 1]! += counts[v]!;
  const fill = counts.slice(0, size);
  const sorted = new Int32Array(counts[size]!);
  visit((v, w) => {
    sorted[fill[w]!++] = v;
  });
  return { start: counts, list: sorted };
}

/** How much a segment insists on being straight: 2 borders of groups, 1 bend to bend, 0 all else. */
function strength(p: Proper, a: number, b: number): number {
  if (a < p.n || b < p.n) return 0;
  return a >= p.firstBorder ? 2 : 1;
}

/** Keys (upper node · size + lower node) of the segments that cross a stronger one, and so must not be aligned. */
function conflicts(p: Proper, up: Neighbours): Set<number> {
  const crossed = new Set<number>();
  for (const strong of p.firstBorder < p.size ? [2, 1] : [1]) {
    for (let r = 1; r < p.ranks; r++) markConflicts(p, up, r, strong, crossed);
  }
  return crossed;
}

function markConflicts(p: Proper, up: Neighbours, r: number, strong: number, crossed: Set<number>): void {
  const { start, order, pos, size } = p;
  const innerUpper = (v: number) => {
    for (let i = up.start[v]!; i < up.start[v + 1]!; i++) {
      const u = up.list[i]!;
      if (strength(p, u, v) === strong && !crossed.has(u * size + v)) return u;
    }
    return -1;
  };
  let from = start[r]!;
  let low = -1;
  for (let slot = start[r]!; slot < start[r + 1]!; slot++) {
    const last = slot + 1 === start[r + 1];
    const upper = innerUpper(order[slot]!);
    if (upper < 0 && !last) continue;
    const high = upper < 0 ? Infinity : pos[upper]!;
    for (; from <= slot; from++) {
      const v = order[from]!;
      for (let i = up.start[v]!; i < up.start[v + 1]!; i++) {
        const u = up.list[i]!;
        if ((pos[u]! < low || pos[u]! > high) && strength(p, u, v) < strong) crossed.add(u * size + v);
      }
    }
    low = high;
  }
}

interface Aligned {
  root: Int32Array;
  /** The next node of the block; the last one's is the root. */
  next: Int32Array;
}

function align(p: Proper, side: Neighbours, crossed: Set<number>, upward: boolean, mirrored: boolean): Aligned {
  const { size, ranks, start, order, pos } = p;
  const root = new Int32Array(size);
  for (let v = 0; v < size; v++) root[v] = v;
  const next = root.slice();
  for (let k = 1; k < ranks; k++) {
    const r = upward ? ranks - 1 - k : k;
    let reached = mirrored ? Infinity : -1;
    const count = start[r + 1]! - start[r]!;
    for (let i = 0; i < count; i++) {
      const v = order[mirrored ? start[r + 1]! - 1 - i : start[r]! + i]!;
      const [a, b] = [side.start[v]!, side.start[v + 1]!];
      if (a === b) continue;
      const [lower, upper] = [(a + b - 1) >> 1, (a + b) >> 1];
      for (let which = 0; which < 2 && next[v] === v; which++) {
        const u = side.list[(which === 0) === mirrored ? upper : lower]!;
        const free = mirrored ? pos[u]! < reached : pos[u]! > reached;
        if (!free || (crossed.size > 0 && crossed.has(upward ? v * size + u : u * size + v))) continue;
        next[u] = v;
        root[v] = root[u]!;
        next[v] = root[v]!;
        reached = pos[u]!;
      }
    }
  }
  return { root, next };
}

/** Push the blocks together, towards the first node of each layer, or the last if `mirrored`. */
function compact(
  p: Proper,
  { root, next }: Aligned,
  { before, after }: Extents,
  settings: Settings,
  upward: boolean,
  mirrored: boolean,
): Float64Array {
  const { size, ranks, rank, start, order, pos } = p;
  /** The neighbour that v is pushed against, -1 = none. */
  const against = (v: number) => {
    const r = rank[v]!;
    const slot = start[r]! + pos[v]! + (mirrored ? 1 : -1);
    return slot < start[r]! || slot >= start[r + 1]! ? -1 : order[slot]!;
  };
  const apart = (u: number, v: number) =>
    mirrored
      ? after[v]! + gapBetween(p, v, u, settings) + before[u]!
      : after[u]! + gapBetween(p, u, v, settings) + before[v]!;

  const sink = new Int32Array(size);
  for (let v = 0; v < size; v++) sink[v] = v;
  const x = new Float64Array(size);
  const placed = new Uint8Array(size);
  const cursor = new Int32Array(size);
  const stack: number[] = [];
  const open = (v: number) => {
    placed[v] = 1;
    cursor[v] = v;
    stack.push(v);
  };
  for (let slot = 0; slot < size; slot++) {
    const first = root[order[slot]!]!;
    if (placed[first]) continue;
    open(first);
    while (stack.length > 0) {
      const v = stack[stack.length - 1]!;
      let w = cursor[v]!;
      let waits = false;
      do {
        const neighbour = against(w);
        if (neighbour >= 0) {
          const u = root[neighbour]!;
          if (!placed[u]) {
            cursor[v] = w;
            open(u);
            waits = true;
            break;
          }
          if (sink[v] === v) sink[v] = sink[u]!;
          if (sink[v] === sink[u]) x[v] = Math.max(x[v]!, x[u]! + apart(neighbour, w));
        }
        w = next[w]!;
      } while (w !== v);
      if (!waits) stack.pop();
    }
  }

  // Classes of blocks are pushed together in turn, in an order in which those that a class leans on are settled first.
  const shift = new Float64Array(size).fill(Infinity);
  for (let k = 0; k < ranks; k++) {
    const top = upward ? ranks - 1 - k : k;
    if (start[top] === start[top + 1]) continue;
    let v = order[mirrored ? start[top + 1]! - 1 : start[top]!]!;
    const own = sink[root[v]!]!;
    if (own !== v) continue;
    if (shift[own] === Infinity) shift[own] = 0;
    for (;;) {
      while (next[v] !== root[v]) {
        v = next[v]!;
        const u = against(v);
        if (u < 0) continue;
        const other = sink[root[u]!]!;
        shift[other] = Math.min(shift[other]!, shift[own]! + x[root[v]!]! - x[root[u]!]! - apart(u, v));
      }
      const slot = start[rank[v]!]! + pos[v]! + (mirrored ? -1 : 1);
      if (slot < start[rank[v]!]! || slot >= start[rank[v]! + 1]!) break;
      v = order[slot]!;
      if (sink[root[v]!] !== own) break;
    }
  }
  const result = new Float64Array(size);
  for (let v = 0; v < size; v++) {
    const at = x[root[v]!]! + shift[sink[root[v]!]!]!;
    result[v] = mirrored ? -at : at;
  }
  return result;
}

/** Bring the results to the narrowest one's place, part by part, and take the mean of the middle two. */
function balance(p: Proper, layouts: readonly Float64Array[], { before, after }: Extents): Float64Array {
  const { start, order, firstRank } = p;
  const result = new Float64Array(p.size);
  for (let part = 0; part + 1 < firstRank.length; part++) {
    const [first, last] = [start[firstRank[part]!]!, start[firstRank[part + 1]!]!];
    const bounds = layouts.map((x) => {
      let [low, high] = [Infinity, -Infinity];
      for (let slot = first; slot < last; slot++) {
        const v = order[slot]!;
        low = Math.min(low, x[v]! - before[v]!);
        high = Math.max(high, x[v]! + after[v]!);
      }
      return { low, high };
    });
    const narrowest = bounds.reduce((a, b) => (b.high - b.low < a.high - a.low ? b : a));
    const move = bounds.map((b, i) => (i % 2 === 0 ? narrowest.low - b.low : narrowest.high - b.high));
    const outer = layouts.length - 2;
    for (let slot = first; slot < last; slot++) {
      const v = order[slot]!;
      let [sum, least, most] = [0, Infinity, -Infinity];
      for (let i = 0; i < layouts.length; i++) {
        const at = layouts[i]![v]! + move[i]!;
        sum += at;
        least = Math.min(least, at);
        most = Math.max(most, at);
      }
      result[v] = outer > 0 ? (sum - least - most) / outer : sum / 2;
    }
  }
  return result;
}
