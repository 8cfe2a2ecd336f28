// Empty bands along the layers are taken out: what the four corners of Brandes & Köpf agree on is straight, but where
// groups stand side by side, the room that each corner gave them alone is left between them.

import type { Extents, Proper } from "./proper";

/**
 * Move everything of a part towards its first node as far as bands are empty: they shrink to `gap`. What was in line
 * stays in line, and nothing comes closer to its neighbours than `gap` or than it was.
 */
export function squeeze(p: Proper, part: number, cross: Float64Array, { before, after }: Extents, gap: number): void {
  const [first, last] = [p.start[p.firstRank[part]!]!, p.start[p.firstRank[part + 1]!]!];
  const low = new Float64Array(last - first);
  const high = new Float64Array(last - first);
  for (let slot = first; slot < last; slot++) {
    const v = p.order[slot]!;
    low[slot - first] = cross[v]! - before[v]!;
    high[slot - first] = cross[v]! + after[v]!;
  }
  low.sort();
  high.sort();
  // Where as many have ended as have begun, there is nothing.
  const from: number[] = [];
  const by: number[] = [];
  let sum = 0;
  for (let i = 0; i + 1 < low.length; i++) {
    const spare = low[i + 1]! - high[i]! - gap;
    if (spare <= 0) continue;
    sum += spare;
    from.push(low[i + 1]!);
    by.push(sum);
  }
  if (from.length === 0) return;
  for (let slot = first; slot < last; slot++) {
    const v = p.order[slot]!;
    const band = countUpTo(from, cross[v]! - before[v]!);
    if (band > 0) cross[v]! -= by[band - 1]!;
  }
}

/** How many of `sorted` are at most `value`. */
function countUpTo(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}
