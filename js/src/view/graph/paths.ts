// Ways through the graph: all that leads to a node and from it, one step around some, and the longest of all.

/** The edges, two numbers each (source, target). */
type Edges = ArrayLike<number>;

interface Ends {
  /** Where each node's part of `edge` begins; one more than there are nodes. */
  offset: Uint32Array;
  edge: Uint32Array;
}

/** The edges that leave each node (`end` 0) or arrive at it (1). */
function byEnd(n: number, edges: Edges, end: 0 | 1): Ends {
  const m = edges.length / 2;
  const offset = new Uint32Array(n + 1);
  for (let e = 0; e < m; e++) offset[edges[2 * e + end]! + 1]!++;
  for (let i = 0; i < n; i++) offset[i + 1]! += offset[i]!;
  const next = offset.slice(0, n);
  const edge = new Uint32Array(m);
  for (let e = 0; e < m; e++) edge[next[edges[2 * e + end]!]!++] = e;
  return { offset, edge };
}

/** `start` (1 = lit), its ancestors and its descendants. An edge for which `skip` holds is not walked. */
export function kin(n: number, edges: Edges, start: number, skip: (e: number) => boolean): Uint8Array {
  const lit = new Uint8Array(n);
  for (const end of [0, 1] as const) {
    const { offset, edge } = byEnd(n, edges, end);
    const seen = new Uint8Array(n);
    const open = [start];
    seen[start] = 1;
    for (let i = open.pop(); i !== undefined; i = open.pop()) {
      lit[i] = 1;
      for (let at = offset[i]!; at < offset[i + 1]!; at++) {
        const e = edge[at]!;
        const to = edges[2 * e + 1 - end]!;
        if (seen[to] || skip(e)) continue;
        seen[to] = 1;
        open.push(to);
      }
    }
  }
  return lit;
}

/** Those in `seeds`, and one step around them. */
export function around(edges: Edges, seeds: Uint8Array): Uint8Array {
  const lit = seeds.slice();
  for (let at = 0; at < edges.length; at += 2) {
    const [from, to] = [edges[at]!, edges[at + 1]!];
    if (seeds[from] || seeds[to]) lit[from] = lit[to] = 1;
  }
  return lit;
}

/**
 * The nodes of the heaviest path, from its start to its end; among equals, the one of more nodes. An edge for which
 * `skip` holds is not walked, and the others must close no cycle.
 */
export function longest(n: number, edges: Edges, weight: ArrayLike<number>, skip: (e: number) => boolean): number[] {
  const { offset, edge } = byEnd(n, edges, 0);
  const waits = new Uint32Array(n);
  for (let e = 0; e < edges.length / 2; e++) if (!skip(e)) waits[edges[2 * e + 1]!]!++;
  const [sum, steps] = [new Float64Array(n), new Uint32Array(n)];
  const from = new Int32Array(n).fill(-1);
  const open: number[] = [];
  for (let i = 0; i < n; i++) if (waits[i] === 0) open.push(i);
  const heavier = (a: number, b: number) => sum[a]! > sum[b]! || (sum[a] === sum[b] && steps[a]! > steps[b]!);
  let last = -1;
  for (let next = 0; next < open.length; next++) {
    const i = open[next]!;
    const before = from[i]!;
    sum[i] = weight[i]! + (before < 0 ? 0 : sum[before]!);
    steps[i] = before < 0 ? 1 : steps[before]! + 1;
    if (last < 0 || heavier(i, last)) last = i;
    for (let at = offset[i]!; at < offset[i + 1]!; at++) {
      const e = edge[at]!;
      if (skip(e)) continue;
      const to = edges[2 * e + 1]!;
      if (from[to]! < 0 || heavier(i, from[to]!)) from[to] = i;
      if (--waits[to]! === 0) open.push(to);
    }
  }
  const path: number[] = [];
  for (let i = last; i >= 0; i = from[i]!) path.push(i);
  return path.reverse();
}
