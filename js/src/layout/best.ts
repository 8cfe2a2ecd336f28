// The best order of the layers, put together from all that were met.

import { CrossingCounter } from "./crossings";
import type { Proper } from "./proper";

const OLD = 0;
const NEW = 1;

/**
 * Of the orders that a search meets, one is better here and another there. Edges only lead from one layer to the next, so
 * the best mixture of two orders, each layer from the one or from the other, is a shortest path through the layers
 * (Bellman, "On a routing problem", 1958), found for the price of counting twice more: in a graph of many layers it has
 * far fewer crossings than either.
 */
export class Best {
  readonly #p: Proper;
  readonly #counter: CrossingCounter;
  readonly #whole: boolean;
  /** By slot, and by node. */
  readonly #order: Int32Array;
  readonly #pos: Int32Array;
  /** Crossings of the best order between each rank and the next. */
  readonly #gaps: Int32Array;
  /** 1 = a rank is the same in both orders. */
  readonly #same: Uint8Array;
  /** The same for the new order, and with either rank from the one and the other from the other: 4 numbers a rank. */
  readonly #mixed: Float64Array;
  /** Whence the best way to either order of a rank comes: 1 = from the new order of the rank before. */
  readonly #whence: Uint8Array;
  crossings = 0;

  /** @param whole Take an order as a whole or not at all: groups lie alike in all of their layers. */
  constructor(p: Proper, whole: boolean) {
    this.#p = p;
    this.#counter = new CrossingCounter(p);
    this.#whole = whole;
    this.#order = new Int32Array(p.size);
    this.#pos = new Int32Array(p.size);
    this.#gaps = new Int32Array(p.ranks);
    this.#same = new Uint8Array(p.ranks);
    this.#mixed = new Float64Array(4 * p.ranks);
    this.#whence = new Uint8Array(2 * p.ranks);
  }

  /** Forget what was, and begin with the present order of the ranks `from` to `to` (exclusive). */
  begin(from: number, to: number): void {
    this.crossings = 0;
    for (let r = from; r < to; r++) this.#take(r);
    for (let r = from; r + 1 < to; r++) this.crossings += this.#gaps[r] = this.#count(r, this.#p.order, this.#p.pos);
  }

  /** Take from the present order what makes the best one better; returns the crossings of the present order. */
  learn(from: number, to: number): number {
    const { order, pos, start } = this.#p;
    const [same, mixed, whence] = [this.#same, this.#mixed, this.#whence];
    for (let r = from; r < to; r++) {
      let slot = start[r]!;
      while (slot < start[r + 1]! && order[slot] === this.#order[slot]) slot++;
      same[r] = slot === start[r + 1] ? 1 : 0;
    }
    let present = 0;
    let [old, fresh] = [0, 0];
    for (let r = from; r + 1 < to; r++) {
      const [here, next] = [same[r], same[r + 1]];
      const stay = this.#gaps[r]!;
      const go = here && next ? stay : this.#count(r, order, pos);
      const leave = this.#whole ? Infinity : here ? go : next ? stay : this.#count(r, this.#order, pos);
      const back = this.#whole ? Infinity : here ? stay : next ? go : this.#count(r, order, this.#pos);
      mixed.set([stay, leave, back, go], 4 * r);
      whence[2 * (r + 1)] = fresh + back < old + stay ? NEW : OLD;
      whence[2 * (r + 1) + 1] = fresh + go <= old + leave ? NEW : OLD;
      [old, fresh] = [Math.min(old + stay, fresh + back), Math.min(old + leave, fresh + go)];
      present += go;
    }
    if (Math.min(old, fresh) >= this.crossings) return present;
    this.crossings = Math.min(old, fresh);
    let state = fresh < old ? NEW : OLD;
    for (let r = to - 1; r >= from; r--) {
      if (state === NEW && !same[r]) this.#take(r);
      const before = whence[2 * r + state]!;
      if (r > from) this.#gaps[r - 1] = mixed[4 * (r - 1) + 2 * before + state]!;
      state = before;
    }
    return present;
  }

  /** The best order of rank r. */
  of(r: number): Int32Array {
    return this.#order.subarray(this.#p.start[r]!, this.#p.start[r + 1]!);
  }

  #take(r: number): void {
    const { order, start } = this.#p;
    for (let slot = start[r]!; slot < start[r + 1]!; slot++) {
      this.#order[slot] = order[slot]!;
      this.#pos[order[slot]!] = slot - start[r]!;
    }
  }

  #count(r: number, order: Int32Array, pos: Int32Array): number {
    return this.#counter.between(r, order, pos);
  }
}
