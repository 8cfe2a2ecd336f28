// Which layer each node stands in: every edge leads to a later layer, and edges are short.

import { type Adjacency, adjacency } from "./adjacency";

/** How often nodes are moved to where their edges are shorter, right and then left. */
const ROUNDS = 3;

/**
 * Give each node of a graph without cycles a layer.
 *
 * Longest paths from the sources give the fewest layers; then each node moves to where the sum of its edges' lengths is
 * least, as the network simplex of Gansner et al. (1993) would have it, one node at a time: in linear time, and for
 * graphs of workflows nearly as short. Ties move right and then left, so a chain goes along with what it leads to, yet
 * stays close to where it comes from if that can't move.
 */
export function layers(n: number, from: Int32Array, to: Int32Array): Int32Array {
  const layer = new Int32Array(n);
  const out = adjacency(n, from, to);
  const into = adjacency(n, to, from);
  const sorted = topological(n, out, into);
  for (const v of sorted) {
    for (let i = out.start[v]!; i < out.start[v + 1]!; i++) {
      const w = out.to[i]!;
      if (layer[w]! <= layer[v]!) layer[w] = layer[v]! + 1;
    }
  }
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
      let earliest = 0;
      for (let i = into.start[v]!; i < into.start[v + 1]!; i++) earliest = Math.max(earliest, layer[into.to[i]!]! + 1);
      layer[v] = earliest;
    }
  }
  return layer;
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
