// Which layer each node stands in: every edge leads to a later layer, and edges are short.

import { type Adjacency, adjacency } from "./adjacency";
import { shorten } from "./simplex";

/** How often nodes are moved to where their edges are shorter, right and then left. */
const ROUNDS = 3;

/**
 * Give each node of a graph without cycles a layer.
 *
 * Longest paths from the sources give the fewest layers; `work` visits to nodes and edges are then spent on making edges
 * shorter. Where nodes can move without that, they move right and then left, so a chain goes along with what it leads
 * to, yet stays close to where it comes from if that can't move.
 *
 * @param before The layer that each node had in an earlier picture; -1 = it was not there. What was there moves only
 *   where an edge would not lead forward otherwise.
 */
export function layers(n: number, from: Int32Array, to: Int32Array, work: number, before?: Int32Array): Int32Array {
  const layer = new Int32Array(n);
  const out = adjacency(n, from, to);
  const into = adjacency(n, to, from);
  const sorted = topological(n, out, into);
  if (before) {
    stay(layer, sorted, out, into, before);
    return layer;
  }
  for (const v of sorted) {
    for (let i = out.start[v]!; i < out.start[v + 1]!; i++) {
      const w = out.to[i]!;
      if (layer[w]! <= layer[v]!) layer[w] = layer[v]! + 1;
    }
  }
  settle(layer, sorted, out, into);
  if (work > 0) {
    shorten(out, into, from, to, layer, work);
    settle(layer, sorted, out, into);
  }
  return layer;
}

/** Leave each node in the layer in which it was, as far as its edges allow, and put new ones beside their neighbours. */
function stay(layer: Int32Array, sorted: Int32Array, out: Adjacency, into: Adjacency, before: Int32Array): void {
  for (const v of sorted) {
    let least = -Infinity;
    for (let i = into.start[v]!; i < into.start[v + 1]!; i++) least = Math.max(least, layer[into.to[i]!]! + 1);
    let most = Infinity;
    for (let i = out.start[v]!; i < out.start[v + 1]!; i++) {
      const was = before[out.to[i]!]!;
      if (was >= 0) most = Math.min(most, was - 1);
    }
    const wanted = before[v]! >= 0 ? before[v]! : least > -Infinity ? least : most < Infinity ? most : 0;
    layer[v] = Math.max(wanted, least);
  }
}

/** How long the edges are, all in all. */
export function span(layer: Int32Array, from: Int32Array, to: Int32Array): number {
  let sum = 0;
  for (let e = 0; e < from.length; e++) sum += layer[to[e]!]! - layer[from[e]!]!;
  return sum;
}

/** Move each node to where its edges are shorter, or as short. */
function settle(layer: Int32Array, sorted: Int32Array, out: Adjacency, into: Adjacency): void {
  const n = layer.length;
  for (let round = 0; round < ROUNDS; round++) {
    let moved = false;
    for (let k = n - 1; k >= 0; k--) {
      const v = sorted[k]!;
      const outs = out.start[v + 1]! - out.start[v]!;
      if (outs === 0 || outs < into.start[v + 1]! - into.start[v]!) continue;
      let latest = Infinity;
      for (let i = out.start[v]!; i < out.start[v + 1]!; i++) latest = Math.min(latest, layer[out.to[i]!]! - 1);
      moved ||= latest !== layer[v];
      layer[v] = latest;
    }
    if (!moved) break;
    for (const v of sorted) {
      const ins = into.start[v + 1]! - into.start[v]!;
      if (ins === 0 || ins < out.start[v + 1]! - out.start[v]!) continue;
      let earliest = -Infinity;
      for (let i = into.start[v]!; i < into.start[v + 1]!; i++) earliest = Math.max(earliest, layer[into.to[i]!]! + 1);
      layer[v] = earliest;
    }
  }
}

function topological(n: number, out: Adjacency, into: Adjacency): Int32Array {
  const sorted = new Int32Array(n);
  const open = new Int32Array(n);
  let end = 0;
  for (let v = 0; v < n; v++) {
    open[v] = into.start[v + 1]! - into.start[v]!;
    if (open[v] === 0) sorted[end++] = v;
  }
  for (let k = 0; k < end; k++) {
    const v = sorted[k]!;
    for (let i = out.start[v]!; i < out.start[v + 1]!; i++) {
      const w = out.to[i]!;
      if (--open[w]! === 0) sorted[end++] = w;
    }
  }
  return sorted;
}
