// Groups of nodes: their blocks within a layer, and the frames around them.

import type { Groups } from "./grouptree";
import type { Extents, Proper } from "./proper";
import type { Frame, Graph, Settings } from "./types";

/**
 * Keeps each group one block in every layer, and blocks side by side in the same sequence in all layers, so that the
 * straight borders of frames never cross (after Forster, "Applying crossing reduction strategies to layered compound
 * graphs", 2002, with one sequence of all groups in place of his constraint graph).
 */
export class Blocks {
  readonly #p: Proper;
  readonly #groups: Groups;
  /** Where each group lies on the whole: what the sequence of blocks comes from. */
  readonly #place: Float64Array;
  /** Children of the groups that are in the layer at hand: nodes v as v, groups g as -1 - g. */
  readonly #children = new Map<number, number[]>();
  readonly #sum: Float64Array;
  readonly #count: Int32Array;

  constructor(p: Proper, groups: Groups) {
    this.#p = p;
    this.#groups = groups;
    this.#place = new Float64Array(groups.paths.length);
    this.#sum = new Float64Array(groups.paths.length);
    this.#count = new Int32Array(groups.paths.length);
  }

  /** Take the groups' places from the order as it is in layers `from` to `to` (exclusive), or from those of nodes. */
  measure(from: number, to: number, places?: Float64Array): void {
    const { order, start, group } = this.#p;
    const sum = new Float64Array(this.#place.length);
    const count = new Int32Array(this.#place.length);
    for (let r = from; r < to; r++) {
      const middle = (start[r]! + start[r + 1]! - 1) / 2;
      for (let slot = start[r]!; slot < start[r + 1]!; slot++) {
        for (let g = group[order[slot]!]!; g >= 0; g = this.#groups.parent[g]!) {
          sum[g]! += places ? places[order[slot]!]! : slot - middle;
          count[g]!++;
        }
      }
    }
    for (let g = 0; g < count.length; g++) if (count[g]) this.#place[g] = sum[g]! / count[g]!;
  }

  /** Sort layer `r` by `key` (by node) as far as the blocks allow. */
  arrange(r: number, key: Float64Array): void {
    const { order, pos, start, group, firstBorder } = this.#p;
    const parent = this.#groups.parent;
    this.#children.clear();
    const met: number[] = [];
    for (let slot = start[r]!; slot < start[r + 1]!; slot++) {
      const v = order[slot]!;
      let g = group[v]!;
      if (v >= firstBorder) continue;
      this.#list(g).push(v);
      for (; g >= 0; g = parent[g]!) {
        this.#sum[g]! += key[v]!;
        this.#count[g]!++;
      }
    }
    // A group may cross a layer in which it has no node: its borders stand there nevertheless.
    for (let slot = start[r]!; slot < start[r + 1]!; slot++) {
      const v = order[slot]!;
      const g = group[v]!;
      if (v < firstBorder || (v - firstBorder) % 2 === 1) continue;
      met.push(g);
      this.#list(parent[g]!).push(-1 - g);
    }
    const keyOf = (unit: number) => {
      if (unit >= 0) return key[unit]!;
      const g = -1 - unit;
      if (this.#count[g]) return this.#sum[g]! / this.#count[g]!;
      const border = this.#p.border(g, r);
      return (key[border]! + key[border + 1]!) / 2;
    };
    let slot = start[r]!;
    const put = (v: number) => {
      order[slot] = v;
      pos[v] = slot++ - start[r]!;
    };
    const emit = (g: number) => {
      const units = this.#children.get(g) ?? [];
      const keys = new Map(units.map((unit) => [unit, keyOf(unit)]));
      units.sort((a, b) => keys.get(a)! - keys.get(b)!);
      // Blocks take the places of blocks, in their own sequence.
      const blocks = units
        .filter((unit) => unit < 0)
        .sort((a, b) => this.#place[-1 - a]! - this.#place[-1 - b]! || b - a);
      let next = 0;
      for (const each of units) {
        const unit = each < 0 ? blocks[next++]! : each;
        if (unit >= 0) put(unit);
        else {
          const border = this.#p.border(-1 - unit, r);
          put(border);
          emit(-1 - unit);
          put(border + 1);
        }
      }
    };
    emit(-1);
    for (const g of met) {
      this.#sum[g] = 0;
      this.#count[g] = 0;
    }
  }

  #list(g: number): number[] {
    const known = this.#children.get(g);
    if (known) return known;
    const list: number[] = [];
    this.#children.set(g, list);
    return list;
  }
}

/** Draw the borders of these groups, which hold all that are within them, close around what is in them. */
export function tighten(
  p: Proper,
  groups: Groups,
  cross: Float64Array,
  { before, after }: Extents,
  of: (group: number) => boolean,
): void {
  const count = groups.paths.length;
  const low = new Float64Array(count).fill(Infinity);
  const high = new Float64Array(count).fill(-Infinity);
  for (let v = 0; v < p.firstBorder; v++) {
    const g = p.group[v]!;
    if (g < 0) continue;
    low[g] = Math.min(low[g]!, cross[v]! - before[v]!);
    high[g] = Math.max(high[g]!, cross[v]! + after[v]!);
  }
  // Children come after their parents, so going backwards every group knows those within it.
  for (let g = count - 1; g >= 0; g--) {
    if (!of(g)) continue;
    const border = p.border(g, p.groupFirst[g]!);
    const first = low[g]! - after[border]!;
    const last = high[g]! + before[border + 1]!;
    for (let r = p.groupFirst[g]!; r <= p.groupLast[g]!; r++) {
      cross[p.border(g, r)] = first;
      cross[p.border(g, r) + 1] = last;
    }
    const above = groups.parent[g]!;
    if (above < 0) continue;
    low[above] = Math.min(low[above]!, first);
    high[above] = Math.max(high[above]!, last);
  }
}

/** How much room frames need before the first and after the last layer of a group, by layer. */
export function framePadding(p: Proper, groups: Groups, settings: Settings, labelFirst: boolean) {
  const before = new Float64Array(p.ranks);
  const after = new Float64Array(p.ranks);
  // Children come after their parents, so going backwards every frame knows those within it.
  const inner = { first: new Float64Array(groups.paths.length), last: new Float64Array(groups.paths.length) };
  for (let g = groups.paths.length - 1; g >= 0; g--) {
    const [lo, hi] = [p.groupFirst[g]!, p.groupLast[g]!];
    const first = inner.first[g]! + settings.groupGap + (labelFirst ? settings.groupLabel : 0);
    const last = inner.last[g]! + settings.groupGap;
    before[lo] = Math.max(before[lo]!, first);
    after[hi] = Math.max(after[hi]!, last);
    const above = groups.parent[g]!;
    if (above < 0) continue;
    if (p.groupFirst[above] === lo) inner.first[above] = Math.max(inner.first[above]!, first);
    if (p.groupLast[above] === hi) inner.last[above] = Math.max(inner.last[above]!, last);
  }
  return { before, after };
}

/** Frames around the members of groups, whose boxes have their centres at `x`, `y`. */
export function frames(graph: Graph, groups: Groups, x: Float32Array, y: Float32Array, settings: Settings): Frame[] {
  const count = groups.paths.length;
  const [left, top] = [new Float64Array(count).fill(Infinity), new Float64Array(count).fill(Infinity)];
  const [right, bottom] = [new Float64Array(count).fill(-Infinity), new Float64Array(count).fill(-Infinity)];
  const cover = (g: number, l: number, t: number, r: number, b: number) => {
    left[g] = Math.min(left[g]!, l);
    top[g] = Math.min(top[g]!, t);
    right[g] = Math.max(right[g]!, r);
    bottom[g] = Math.max(bottom[g]!, b);
  };
  for (let v = 0; v < graph.n; v++) {
    if (groups.of[v]! < 0) continue;
    const [w, h] = [graph.width[v]! / 2, graph.height[v]! / 2];
    cover(groups.of[v]!, x[v]! - w, y[v]! - h, x[v]! + w, y[v]! + h);
  }
  const result: Frame[] = new Array(count);
  for (let g = count - 1; g >= 0; g--) {
    const [l, t] = [left[g]! - settings.groupGap, top[g]! - settings.groupGap - settings.groupLabel];
    const [r, b] = [right[g]! + settings.groupGap, bottom[g]! + settings.groupGap];
    if (groups.parent[g]! >= 0) cover(groups.parent[g]!, l, t, r, b);
    result[g] = { path: groups.paths[g]!, x: l, y: t, width: r - l, height: b - t };
  }
  return result;
}
