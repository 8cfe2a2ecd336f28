// The order of nodes within their layers: few crossings.

import { Best } from "./best";
import type { Blocks } from "./groups";
import { Kind, type Proper } from "./proper";
import type { Settings } from "./types";

/** Pairs of neighbours whose degrees multiply to more are left to the sweeps: comparing them would take too long. */
const EXCHANGE_LIMIT = 4096;
/** Layers up to this size are sorted by insertion: they are small, or nearly sorted already. */
const INSERTION_LIMIT = 40;
/** Graphs with very many edges and bends get fewer sweeps: about so many visits to them, yet a few sweeps always. */
const WORK = 800_000;
const FEWEST = 6;
/** With more crossings than that for each segment of an edge nobody can follow one, and the search ends after so many. */
const TANGLED = 1.5;
const HOPELESS = 10;
/** How many sweeps in vain end the search. */
const PATIENCE = 9;
/** Parts of up to this size (bends included) are searched three times: there is time enough. */
const SMALL = 1000;
const SMOOTH_ROUNDS = 60;
/** Parts of up to this size are also searched from orders that are mere chance: how many nodes and edges those have in all. */
const TINY = 600;
const SHUFFLED = 8000;
/** How far a node looks for a better place at once, and how often all do. */
const REACH = 40;
const SIFTS = 2;

/**
 * What neighbours do whose exchange neither makes nor undoes crossings: stay, which keeps the reading order; change
 * places every other time, which leads out of many a dead end, and saves a fifth of all crossings; or return to the
 * reading order.
 */
const Ties = { Stay: 0, Alternate: 1, Home: 2 } as const;
type Ties = (typeof Ties)[keyof typeof Ties];
/** An order that keeps the previous picture is given up only for one with this share of its crossings, */
const WORTH_MOVING = 0.8;
/** and if that saves this many for each segment of an edge: one in a small graph, some hundred in a large one. */
const WORTH_SAVING = 0.03;
/** Of the nodes of a part: if fewer were in the previous picture, it is another. */
const KNOWN = 0.5;
/** How often what is new looks for a better place among what was there. */
const FITTING = 6;

/**
 * Order every layer, part by part: sweeps down and up sort each layer by the barycentres of the neighbours (Sugiyama,
 * Tagawa & Toda, "Methods for visual understanding of hierarchical system structures", 1981), exchanges of neighbours
 * remove what is left (Gansner et al. 1993), and the best order met is kept.
 *
 * @param seed Where everything was in an earlier picture, across the layers; NaN = not there, and given a place.
 * @returns 1 for each part that keeps the order of the earlier picture.
 */
export function orderLayers(p: Proper, settings: Settings, blocks?: Blocks, seed?: Float64Array): Uint8Array {
  // Of few sweeps, one alone is about as good as what can be made of them all.
  const search = new Search(p, blocks, settings.exchange === 0);
  const keeps = new Uint8Array(p.firstRank.length - 1);
  search.natural();
  const fresh = seed && Uint8Array.from(seed, (at) => (Number.isNaN(at) ? 1 : 0));
  if (seed) search.seeded(seed);
  search.settle();
  for (let part = 0; part < keeps.length; part++) {
    const [from, to] = [p.firstRank[part]!, p.firstRank[part + 1]!];
    const known = fresh && knownShare(p, from, to, fresh) >= KNOWN ? fresh : undefined;
    if (search.improve(from, to, settings, known)) keeps[part] = 1;
  }
  return keeps;
}

function knownShare(p: Proper, from: number, to: number, fresh: Uint8Array): number {
  let [known, all] = [0, 0];
  for (let slot = p.start[from]!; slot < p.start[to]!; slot++) {
    const v = p.order[slot]!;
    if (v >= p.n) continue;
    all++;
    if (!fresh[v]) known++;
  }
  return known / all;
}

class Search {
  readonly #p: Proper;
  readonly #blocks: Blocks | undefined;
  readonly #best: Best;
  readonly #key: Float64Array;
  readonly #other: Float64Array;
  /** Positions in the order that the search set out from. */
  #home: Int32Array;
  /** Nodes of a layer that have neighbours to go by, their keys, and the slots that they share. */
  readonly #moving: Int32Array;
  readonly #slots: Int32Array;
  readonly #packed: Float64Array;

  constructor(p: Proper, blocks: Blocks | undefined, whole: boolean) {
    this.#p = p;
    this.#blocks = blocks;
    this.#best = new Best(p, whole || blocks !== undefined);
    this.#key = new Float64Array(p.size);
    this.#other = new Float64Array(p.size);
    this.#home = new Int32Array(p.size);
    this.#moving = new Int32Array(p.size);
    this.#slots = new Int32Array(p.size);
    this.#packed = new Float64Array(p.size);
  }

  /** The reading order: depth first along the edges, so that trees have no crossings, and nodes as they were added. */
  natural(): void {
    const { size, ranks, rank, start, order, pos, down, downStart, n } = this.#p;
    const fill = start.slice(0, ranks);
    const met = new Uint8Array(size);
    const cursor = downStart.slice(0, size);
    const stack: number[] = [];
    const meet = (v: number) => {
      met[v] = 1;
      const r = rank[v]!;
      pos[v] = fill[r]! - start[r]!;
      order[fill[r]!++] = v;
      stack.push(v);
    };
    const byRank = this.#nodesByRank();
    for (const first of byRank) {
      if (met[first] || first >= n) continue;
      meet(first);
      while (stack.length > 0) {
        const v = stack[stack.length - 1]!;
        const at = cursor[v]!;
        if (at === downStart[v + 1]) {
          stack.pop();
          continue;
        }
        cursor[v] = at + 1;
        if (!met[down[at]!]) meet(down[at]!);
      }
    }
    for (const v of byRank) {
      if (met[v]) continue;
      meet(v);
      stack.pop();
    }
    this.#arrangeAll(0, ranks);
  }

  /** Remember the order as it is as the one to set out from. */
  settle(): void {
    this.#home = this.#p.pos.slice();
  }

  /** Start from an earlier picture: nodes where they were, new ones at the middle of their neighbours. */
  seeded(seed: Float64Array): void {
    const { ranks, start, order, size } = this.#p;
    for (let pass = 0; pass < 2; pass++) {
      for (let slot = 0; slot < size; slot++) this.#placeByNeighbours(order[pass ? size - 1 - slot : slot]!, seed);
    }
    for (let r = 0; r < ranks; r++) {
      // What has no place stays behind the node that stands before it.
      let last = 0;
      for (let slot = start[r]!; slot < start[r + 1]!; slot++) {
        const v = order[slot]!;
        if (Number.isNaN(seed[v])) seed[v] = last;
        last = seed[v]!;
      }
      const sorted = Array.from(order.subarray(start[r]!, start[r + 1]!));
      sorted.sort((a, b) => seed[a]! - seed[b]!);
      this.#write(r, sorted);
    }
    // Side by side, groups were in the sequence of their places: in any other, nothing could stay.
    this.#blocks?.measure(0, ranks, seed);
    for (let r = 0; r < ranks; r++) this.#blocks?.arrange(r, seed);
  }

  /**
   * Start from the slowest wave across the layers: places are smoothed along the edges again and again, with the mean
   * of every layer held at 0. That is power iteration towards an eigenvector of the walk on the graph (Koren & Harel,
   * "A multi-scale algorithm for the linear arrangement problem", 2002, order by it), and it tells what belongs far
   * apart, which no sweep from layer to layer can see.
   */
  #smooth(from: number, to: number): void {
    const { start, order, pos, up, upStart, down, downStart } = this.#p;
    const [first, last] = [start[from]!, start[to]!];
    let [place, next] = [this.#key, this.#other];
    for (let slot = first; slot < last; slot++) place[order[slot]!] = pos[order[slot]!]!;
    for (let round = 0; round < SMOOTH_ROUNDS; round++) {
      let largest = 0;
      for (let r = from; r < to; r++) {
        let mean = 0;
        for (let slot = start[r]!; slot < start[r + 1]!; slot++) {
          const v = order[slot]!;
          let sum = 0;
          for (let i = upStart[v]!; i < upStart[v + 1]!; i++) sum += place[up[i]!]!;
          for (let i = downStart[v]!; i < downStart[v + 1]!; i++) sum += place[down[i]!]!;
          const degree = upStart[v + 1]! - upStart[v]! + downStart[v + 1]! - downStart[v]!;
          next[v] = 0.5 * (place[v]! + (degree > 0 ? sum / degree : place[v]!));
          mean += next[v]!;
        }
        mean /= start[r + 1]! - start[r]!;
        for (let slot = start[r]!; slot < start[r + 1]!; slot++) {
          next[order[slot]!]! -= mean;
          largest = Math.max(largest, Math.abs(next[order[slot]!]!));
        }
      }
      if (largest === 0) return;
      const scale = largest < 1e-3 ? 1e3 : 1;
      if (scale !== 1) for (let slot = first; slot < last; slot++) next[order[slot]!]! *= scale;
      [place, next] = [next, place];
    }
    for (let r = from; r < to; r++) {
      const nodes = Array.from(order.subarray(start[r]!, start[r + 1]!)).sort((a, b) => place[a]! - place[b]!);
      this.#write(r, nodes);
    }
    this.#arrangeAll(from, to);
  }

  /**
   * Look for fewer crossings, from the order as it is. With `fresh` (1 = was not there before), what was there stays
   * unless that is worth it.
   *
   * @returns Whether it stays.
   */
  improve(from: number, to: number, settings: Settings, fresh: Uint8Array | undefined): boolean {
    const keep = fresh !== undefined;
    if (keep) this.#exchange(from, to, FITTING, Ties.Stay, fresh);
    const best = this.#best;
    best.begin(from, to);
    const before = best.crossings;
    if (before === 0 || to - from < 2 || (keep && settings.exchange === 0)) return keep;
    const { start, pos } = this.#p;
    const [first, last] = [start[from]!, start[to]!];
    const kept = keep ? pos.slice() : pos;
    if (keep || last - first > SMALL) this.#descend(from, to, settings, Ties.Alternate);
    else {
      this.#descend(from, to, settings, Ties.Stay);
      this.#restore(from, to, this.#home);
      this.#descend(from, to, settings, Ties.Alternate);
      if (best.crossings > 0) {
        this.#smooth(from, to);
        this.#descend(from, to, settings, Ties.Alternate);
      }
      const size = last - first + this.#segments(from, to);
      const starts = settings.exchange > 0 && last - first <= TINY ? Math.floor(SHUFFLED / size) : 0;
      for (let start = 1; start <= starts && best.crossings > 0; start++) {
        this.#shuffle(from, to, start);
        this.#descend(from, to, settings, Ties.Alternate);
      }
    }
    if (keep) {
      const enough = Math.min(before * WORTH_MOVING, before - this.#segments(from, to) * WORTH_SAVING);
      if (best.crossings >= enough) {
        this.#restore(from, to, kept);
        return true;
      }
    }
    for (let r = from; r < to; r++) this.#write(r, best.of(r));
    if (!keep && settings.exchange > 0) for (let round = 0; round < SIFTS && this.#sift(from, to); round++);
    if (!keep) this.#exchange(from, to, settings.exchange, Ties.Home);
    return false;
  }

  #segments(from: number, to: number): number {
    const { start, order, downStart } = this.#p;
    let count = 0;
    for (let slot = start[from]!; slot < start[to]!; slot++)
      count += downStart[order[slot]! + 1]! - downStart[order[slot]!]!;
    return count;
  }

  /** Any order: the same each time for the same seed. */
  #shuffle(from: number, to: number, seed: number): void {
    const { start, order } = this.#p;
    let state = seed;
    for (let r = from; r < to; r++) {
      const nodes = order.slice(start[r]!, start[r + 1]!);
      for (let i = nodes.length - 1; i > 0; i--) {
        // Numerical Recipes' generator.
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        const j = Math.floor((state / 2 ** 32) * (i + 1));
        [nodes[i], nodes[j]] = [nodes[j]!, nodes[i]!];
      }
      this.#write(r, nodes);
    }
    this.#arrangeAll(from, to);
  }

  /** Put every node where it is in `place`, a position by node. */
  #restore(from: number, to: number, place: Int32Array): void {
    const { start, order, pos } = this.#p;
    for (let r = from; r < to; r++) {
      const nodes = order.slice(start[r]!, start[r + 1]!);
      for (const v of nodes) {
        pos[v] = place[v]!;
        order[start[r]! + place[v]!] = v;
      }
    }
  }

  /** Sweep on from the order as it is, until nothing better comes for a while. */
  #descend(from: number, to: number, settings: Settings, ties: Ties): void {
    let sweeps = Math.min(settings.sweeps, Math.max(FEWEST, Math.floor(WORK / this.#p.down.length)));
    let own = Infinity;
    let inVain = 0;
    for (let sweep = 0; sweep < sweeps && inVain < PATIENCE && this.#best.crossings > 0; sweep++) {
      this.#blocks?.measure(from, to);
      const flip = sweep % 4 > 1;
      if (sweep % 2 === 0) for (let r = from + 1; r < to; r++) this.#sortLayer(r, true, flip);
      else for (let r = to - 2; r >= from; r--) this.#sortLayer(r, false, flip);
      this.#exchange(from, to, settings.exchange, ties);
      const crossings = this.#best.learn(from, to);
      if (crossings < own) [own, inVain] = [crossings, 0];
      else inVain++;
      if (sweep === FEWEST && own > TANGLED * this.#segments(from, to)) sweeps = Math.min(sweeps, HOPELESS);
    }
  }

  /** Sort a layer by the barycentres of its neighbours on one side; `flip` lets equal ones change places. */
  #sortLayer(r: number, byUpper: boolean, flip: boolean): void {
    const { start, order, pos } = this.#p;
    const [list, listStart] = byUpper ? [this.#p.up, this.#p.upStart] : [this.#p.down, this.#p.downStart];
    const [first, last] = [start[r]!, start[r + 1]!];
    const key = this.#key;
    let moving = 0;
    for (let slot = first; slot < last; slot++) {
      const v = order[slot]!;
      const [a, b] = [listStart[v]!, listStart[v + 1]!];
      if (a === b) continue;
      let sum = 0;
      for (let i = a; i < b; i++) sum += pos[list[i]!]!;
      key[v] = sum / (b - a);
      this.#moving[moving] = v;
      this.#slots[moving++] = slot;
    }
    if (this.#blocks) {
      this.#keepOthers(r, moving);
      this.#blocks.arrange(r, key);
      return;
    }
    if (moving < 2) return;
    if (moving <= INSERTION_LIMIT) this.#insertionSort(moving, flip);
    else this.#packedSort(moving, flip);
    for (let i = 0; i < moving; i++) {
      const v = this.#moving[i]!;
      order[this.#slots[i]!] = v;
      pos[v] = this.#slots[i]! - first;
    }
  }

  #insertionSort(count: number, flip: boolean): void {
    const [moving, key] = [this.#moving, this.#key];
    if (flip) moving.subarray(0, count).reverse();
    for (let i = 1; i < count; i++) {
      const v = moving[i]!;
      const k = key[v]!;
      let j = i - 1;
      for (; j >= 0 && key[moving[j]!]! > k; j--) moving[j + 1] = moving[j]!;
      moving[j + 1] = v;
    }
  }

  /** Numbers sort much faster than comparisons by a function: key and index share one, 31 bits and 21. */
  #packedSort(count: number, flip: boolean): void {
    const [moving, key] = [this.#moving, this.#key];
    const packed = this.#packed.subarray(0, count);
    for (let i = 0; i < count; i++) {
      packed[i] = Math.round(key[moving[i]!]! * 1024) * 0x200000 + (flip ? count - 1 - i : i);
    }
    packed.sort();
    const before = moving.slice(0, count);
    for (let i = 0; i < count; i++) {
      const at = packed[i]! % 0x200000;
      moving[i] = before[flip ? count - 1 - at : at]!;
    }
  }

  /** Nodes without neighbours on this side keep their place among the others: give them the key of the one before. */
  #keepOthers(r: number, moving: number): void {
    const { start, order } = this.#p;
    let next = 0;
    let last = -1;
    for (let slot = start[r]!; slot < start[r + 1]!; slot++) {
      const v = order[slot]!;
      if (next < moving && this.#slots[next] === slot) {
        next++;
        last = this.#key[v]!;
      } else this.#key[v] = last;
    }
  }

  /**
   * Exchange neighbours of a layer as long as that undoes crossings, at most `rounds` times through all layers; with
   * `fresh`, only where one of them is new.
   */
  #exchange(from: number, to: number, rounds: number, ties: Ties, fresh?: Uint8Array): void {
    const { start, order, pos, up, upStart, down, downStart } = this.#p;
    for (let round = 0; round < rounds; round++) {
      let changed = false;
      for (let r = from; r < to; r++) {
        for (let slot = start[r]!; slot + 1 < start[r + 1]!; slot++) {
          const [v, w] = [order[slot]!, order[slot + 1]!];
          if (fresh && !fresh[v] && !fresh[w]) continue;
          if (!this.#mayPass(v, w)) continue;
          const gain = this.#gain(up, upStart, v, w) + this.#gain(down, downStart, v, w);
          if (gain < 0) continue;
          if (gain === 0) {
            if (ties === Ties.Stay || (ties === Ties.Alternate && round % 2 === 1)) continue;
            if (ties === Ties.Home && this.#home[v]! <= this.#home[w]!) continue;
          }
          changed = true;
          order[slot] = w;
          order[slot + 1] = v;
          pos[w] = slot - start[r]!;
          pos[v] = slot + 1 - start[r]!;
        }
      }
      if (!changed) break;
    }
  }

  /**
   * Move each node to the place in its layer where its edges cross least, as far as it may go (Matuszewski, Schönfeld &
   * Molitor, "Using sifting for k-layer straightline crossing minimization", 1999).
   */
  #sift(from: number, to: number): boolean {
    const { start, order } = this.#p;
    let moved = false;
    for (let r = from; r < to; r++) {
      for (const v of order.slice(start[r]!, start[r + 1]!)) {
        const at = start[r]! + this.#p.pos[v]!;
        const [left, saved] = this.#scan(r, v, at, -1);
        const [right, savedRight] = this.#scan(r, v, at, 1);
        if (Math.max(saved, savedRight) === 0) continue;
        this.#move(r, at, savedRight > saved ? right : left);
        moved = true;
      }
    }
    return moved;
  }

  /** The best place for v on one side of where it is, and how many crossings fewer there are then. */
  #scan(r: number, v: number, at: number, by: 1 | -1): [place: number, saved: number] {
    const { start, order, up, upStart, down, downStart } = this.#p;
    let [best, most, saved] = [at, 0, 0];
    for (let slot = at + by, left = REACH; slot >= start[r]! && slot < start[r + 1]! && left > 0; slot += by, left--) {
      const w = order[slot]!;
      if (!this.#mayPass(v, w)) break;
      const [a, b] = by > 0 ? [v, w] : [w, v];
      saved += this.#gain(up, upStart, a, b) + this.#gain(down, downStart, a, b);
      if (saved > most) [best, most] = [slot, saved];
    }
    return [best, most];
  }

  #move(r: number, from: number, to: number): void {
    const { start, order, pos } = this.#p;
    const v = order[from]!;
    if (from < to) order.copyWithin(from, from + 1, to + 1);
    else order.copyWithin(to + 1, to, from);
    order[to] = v;
    for (let slot = Math.min(from, to); slot <= Math.max(from, to); slot++) pos[order[slot]!] = slot - start[r]!;
  }

  /** Whether neighbours of a layer may change places: not over the border of a group. */
  #mayPass(v: number, w: number): boolean {
    const { group, kind } = this.#p;
    return group.length === 0 || (group[v] === group[w] && kind[v]! < Kind.Before && kind[w]! < Kind.Before);
  }

  /** How many crossings fewer there are with w before v than with v before w, on one side. */
  #gain(list: Int32Array, listStart: Int32Array, v: number, w: number): number {
    const pos = this.#p.pos;
    const [a, b, c, d] = [listStart[v]!, listStart[v + 1]!, listStart[w]!, listStart[w + 1]!];
    if ((b - a) * (d - c) > EXCHANGE_LIMIT) return 0;
    let gain = 0;
    for (let i = a; i < b; i++) {
      const at = pos[list[i]!]!;
      for (let j = c; j < d; j++) gain += Math.sign(at - pos[list[j]!]!);
    }
    return gain;
  }

  /** Bring groups together again after an order that knows nothing of them. */
  #arrangeAll(from: number, to: number): void {
    if (!this.#blocks) return;
    const { start, order, pos } = this.#p;
    this.#blocks.measure(from, to);
    for (let slot = start[from]!; slot < start[to]!; slot++) this.#key[order[slot]!] = pos[order[slot]!]!;
    for (let r = from; r < to; r++) this.#blocks.arrange(r, this.#key);
  }

  #write(r: number, nodes: ArrayLike<number>): void {
    const { start, order, pos } = this.#p;
    for (let i = 0; i < nodes.length; i++) {
      order[start[r]! + i] = nodes[i]!;
      pos[nodes[i]!] = i;
    }
  }

  /** A new node belongs behind the last of those that come from the same node or lead to it, or else between its neighbours. */
  #placeByNeighbours(v: number, place: Float64Array): void {
    if (!Number.isNaN(place[v])) return;
    const { up, upStart, down, downStart, n } = this.#p;
    let behind = -Infinity;
    for (const [near, nearStart, far, farStart] of [
      [up, upStart, down, downStart],
      [down, downStart, up, upStart],
    ] as const) {
      for (let i = nearStart[v]!; v < n && i < nearStart[v + 1]!; i++) {
        const [first, last] = [farStart[near[i]!]!, farStart[near[i]! + 1]!];
        for (let j = first; j < last; j++) if (place[far[j]!]! > behind) behind = place[far[j]!]!;
      }
      if (behind > -Infinity) {
        place[v] = behind + 1;
        return;
      }
    }
    let [sum, count] = [0, 0];
    for (const [list, listStart] of [
      [up, upStart],
      [down, downStart],
    ] as const) {
      for (let i = listStart[v]!; i < listStart[v + 1]!; i++) {
        const at = place[list[i]!]!;
        if (Number.isNaN(at)) continue;
        sum += at;
        count++;
      }
    }
    if (count > 0) place[v] = sum / count;
  }

  #nodesByRank(): Int32Array {
    const { size, ranks, rank, start } = this.#p;
    const fill = start.slice(0, ranks);
    const sorted = new Int32Array(size);
    for (let v = 0; v < size; v++) sorted[fill[rank[v]!]!++] = v;
    return sorted;
  }
}
