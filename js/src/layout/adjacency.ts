// Neighbours of nodes in two flat arrays (compressed sparse rows).

/** The neighbours of v are `to[start[v] … start[v + 1])`, reached by the edges `edge[…]` at the same places. */
export interface Adjacency {
  start: Int32Array;
  to: Int32Array;
  edge: Int32Array;
}

/** Group the edges `from[e] → to[e]` by their `from`, each node's neighbours in ascending order. */
export function adjacency(n: number, from: ArrayLike<number>, to: ArrayLike<number>): Adjacency {
  const m = from.length;
  // Two stable counting sorts, by `to` and then by `from`, leave every list sorted.
  const byTo = rows(n, to, m);
  const byFrom = rows(n, from, m, byTo.edge);
  const targets = new Int32Array(m);
  for (let i = 0; i < m; i++) targets[i] = to[byFrom.edge[i]!]!;
  return { start: byFrom.start, to: targets, edge: byFrom.edge };
}

function rows(n: number, key: ArrayLike<number>, m: number, sequence?: Int32Array) {
  const start = new Int32Array(n + 1);
  for (let e = 0; e < m; e++) start[key[e]! + 1]!++;
  for (let v = 0; v < n; v++) start[v + 1]! += start[v]!;
  const fill = start.slice(0, n);
  const edge = new Int32Array(m);
  for (let i = 0; i < m; i++) {
    const e = sequence ? sequence[i]! : i;
    edge[fill[key[e]!]!++] = e;
  }
  return { start, edge };
}
