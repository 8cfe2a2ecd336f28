// How many edges cross between layers.

import type { Proper } from "./proper";

/** Up to this many numbers are sorted by insertion. */
const INSERTION_LIMIT = 40;

/**
 * Counts crossings with an accumulator tree, in O(e log v) for e edges (Barth, Mutzel & Jünger, "Simple and efficient
 * bilayer cross counting", 2004).
 */
export class CrossingCounter {
  readonly #p: Proper;
  readonly #tree: Int32Array;
  #south: Int32Array;

  constructor(p: Proper) {
    this.#p = p;
    let widest = 1;
    for (let r = 0; r < p.ranks; r++) widest = Math.max(widest, p.start[r + 1]! - p.start[r]!);
    let leaves = 1;
    while (leaves < widest) leaves *= 2;
    this.#tree = new Int32Array(2 * leaves);
    this.#south = new Int32Array(64);
  }

  /** Crossings between each two neighbouring ranks of `from` to `to` (exclusive). */
  count(from: number, to: number): number {
    const { order, pos } = this.#p;
    let crossings = 0;
    for (let r = from; r + 1 < to; r++) crossings += this.between(r, order, pos);
    return crossings;
  }

  /** Crossings between rank r in `order` and the next one in the places `pos`. */
  between(r: number, order: Int32Array, pos: Int32Array): number {
    const { start, down, downStart } = this.#p;
    const below = start[r + 2]! - start[r + 1]!;
    if (below < 2 || start[r + 1]! - start[r]! < 2) return 0;
    const tree = this.#tree;
    let leaves = 1;
    while (leaves < below) leaves *= 2;
    tree.fill(0, 0, 2 * leaves);
    let crossings = 0;
    for (let slot = start[r]!; slot < start[r + 1]!; slot++) {
      const v = order[slot]!;
      const degree = downStart[v + 1]! - downStart[v]!;
      if (degree > this.#south.length) this.#south = new Int32Array(2 * degree);
      const south = this.#south;
      for (let i = 0; i < degree; i++) south[i] = pos[down[downStart[v]! + i]!]!;
      sortAscending(south, degree);
      for (let i = 0; i < degree; i++) {
        // Node 1 is the tree's root; on the way up, every right brother holds edges that this one crosses.
        for (let at = leaves + south[i]!; at > 1; at >>= 1) {
          tree[at]!++;
          if ((at & 1) === 0) crossings += tree[at + 1]!;
        }
      }
    }
    return crossings;
  }
}

function sortAscending(values: Int32Array, length: number): void {
  if (length > INSERTION_LIMIT) {
    values.subarray(0, length).sort();
    return;
  }
  for (let i = 1; i < length; i++) {
    const value = values[i]!;
    let j = i - 1;
    for (; j >= 0 && values[j]! > value; j--) values[j + 1] = values[j]!;
    values[j + 1] = value;
  }
}
