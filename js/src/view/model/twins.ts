// Which nodes of a graph are alike: the same task, at the same place between the same others.

import { type Adjacency, adjacency } from "../../layout/adjacency";
import { backEdges } from "../../layout/cycles";

/** A partition that is finer still after so many rounds is none that anybody would see. */
const ROUNDS = 64;

/**
 * Find the nodes that stand in for each other: of one kind, at one depth, with neighbours that stand in for each other
 * again. Of 5,000 chains `load → clean` between one `list` and one `report`, all the `load`s are alike, and all the
 * `clean`s. Nodes of which fewer than `least` are alike are seen one by one, so whoever leads to one of them is like
 * only those who lead to the same one.
 *
 * Colour refinement (Weisfeiler & Leman, "The reduction of a graph to canonical form", 1968), on hashes of 53 bits.
 *
 * @param edges Pairs from, to (indices).
 * @param kind What nodes are: those of different kinds are never alike.
 * @returns The same number for nodes that are alike, and -1 for those that are like fewer than `least` others.
 */
export function twins(n: number, edges: Uint32Array, kind: ArrayLike<number>, least: number): Int32Array {
  const m = edges.length / 2;
  const from = Int32Array.from({ length: m }, (_, e) => edges[2 * e]!);
  const to = Int32Array.from({ length: m }, (_, e) => edges[2 * e + 1]!);
  const out = adjacency(n, from, to);
  const into = adjacency(n, to, from);
  const depth = depths(n, out, into);
  const groups = new Groups(n, least);
  groups.split((v) => key(kind[v]!, depth[v]!));
  for (let round = 0; round < ROUNDS; round++) {
    const { of } = groups;
    const sign = new Signs(of);
    const apart = groups.split((v) => {
      sign.begin(v);
      for (let i = out.start[v]!; i < out.start[v + 1]!; i++) sign.add(2 * of[out.to[i]!]!);
      for (let i = into.start[v]!; i < into.start[v + 1]!; i++) sign.add(2 * of[into.to[i]!]! + 1);
      return sign.key;
    });
    if (!apart) return groups.of.map((group) => (group < n ? group : -1));
  }
  return new Int32Array(n).fill(-1);
}

/** Nodes of one group have the same number below n, and each node that is in none has one of its own from n on. */
class Groups {
  of: Int32Array;
  #count = 1;
  readonly #least: number;

  constructor(n: number, least: number) {
    this.of = new Int32Array(n);
    this.#least = least;
  }

  /** Split the groups by `key`, which no two groups share, and dissolve what is too small; whether anything changed. */
  split(key: (v: number) => number): boolean {
    const n = this.of.length;
    const numbers = new Map<number, number>();
    const sizes: number[] = [];
    const next = this.of.slice();
    for (let v = 0; v < n; v++) {
      if (this.of[v]! >= n) continue;
      const its = key(v);
      let group = numbers.get(its);
      if (group === undefined) {
        group = sizes.push(0) - 1;
        numbers.set(its, group);
      }
      sizes[group]!++;
      next[v] = group;
    }
    for (let v = 0; v < n; v++) if (next[v]! < n && sizes[next[v]!]! < this.#least) next[v] = n + v;
    const apart = sizes.length !== this.#count || sizes.some((size) => size < this.#least);
    this.of = next;
    this.#count = sizes.filter((size) => size >= this.#least).length;
    return apart;
  }
}

/** What a node's group and those of its neighbours, in whatever order they come, amount to. */
class Signs {
  readonly #of: Int32Array;
  #high = 0;
  #low = 0;

  constructor(of: Int32Array) {
    this.#of = of;
  }

  begin(v: number): void {
    this.#high = scramble(~this.#of[v]!);
    this.#low = scramble(this.#high);
  }

  add(neighbour: number): void {
    const scrambled = scramble(neighbour + 1);
    this.#high = (this.#high + scrambled) | 0;
    this.#low = (this.#low + scramble(scrambled ^ 0x9e3779b9)) | 0;
  }

  get key(): number {
    return key(this.#high, this.#low);
  }
}

/** How many edges the longest way to each node has; edges that close a cycle don't count. */
function depths(n: number, out: Adjacency, into: Adjacency): Int32Array {
  const depth = new Int32Array(n);
  const back = backEdges(n, out, into);
  const open = new Int32Array(n);
  for (let v = 0; v < n; v++) {
    for (let i = into.start[v]!; i < into.start[v + 1]!; i++) if (!back[into.edge[i]!]) open[v]!++;
  }
  const ready: number[] = [];
  for (let v = 0; v < n; v++) if (open[v] === 0) ready.push(v);
  for (const v of ready) {
    for (let i = out.start[v]!; i < out.start[v + 1]!; i++) {
      if (back[out.edge[i]!]) continue;
      const w = out.to[i]!;
      depth[w] = Math.max(depth[w]!, depth[v]! + 1);
      if (--open[w]! === 0) ready.push(w);
    }
  }
  return depth;
}

/** Two numbers of 32 bits as one of 53. */
function key(high: number, low: number): number {
  return (high & 0x1fffff) * 2 ** 32 + (low >>> 0);
}

/** The finalizer of MurmurHash3 (Appleby, 2011). */
function scramble(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}
