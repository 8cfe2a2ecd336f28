// The connected parts of a graph, and how their pictures share one canvas.

/** Number the connected parts, by their first nodes; nodes with the same `bond` (≥ 0) belong together without an edge. */
export function parts(
  n: number,
  from: Int32Array,
  to: Int32Array,
  bond?: Int32Array,
): { of: Int32Array; count: number } {
  const root = new Int32Array(n);
  for (let v = 0; v < n; v++) root[v] = v;
  const find = (v: number) => {
    while (root[v] !== v) {
      root[v] = root[root[v]!]!;
      v = root[v]!;
    }
    return v;
  };
  // The smaller index is the root, so that a part is numbered when its root is met.
  const join = (v: number, w: number) => {
    const [a, b] = [find(v), find(w)];
    if (a < b) root[b] = a;
    else root[a] = b;
  };
  for (let e = 0; e < from.length; e++) join(from[e]!, to[e]!);
  if (bond) {
    const first = new Map<number, number>();
    for (let v = 0; v < n; v++) {
      const b = bond[v]!;
      if (b < 0) continue;
      const other = first.get(b);
      if (other === undefined) first.set(b, v);
      else join(v, other);
    }
  }
  const of = new Int32Array(n);
  let count = 0;
  for (let v = 0; v < n; v++) of[v] = root[v] === v ? count++ : of[find(v)]!;
  return { of, count };
}

/**
 * Place boxes in rows without overlap, in an order that keeps what was added first near the top left: tall boxes first,
 * equal ones as they come, so that single nodes end as a tidy grid.
 *
 * @returns The top left corners.
 */
export function pack(width: Float64Array, height: Float64Array, gap: number, aspect: number) {
  const count = width.length;
  const x = new Float64Array(count);
  const y = new Float64Array(count);
  let area = 0;
  let widest = 0;
  for (let i = 0; i < count; i++) {
    area += (width[i]! + gap) * (height[i]! + gap);
    widest = Math.max(widest, width[i]!);
  }
  const rowEnd = Math.max(widest, Math.sqrt(area * aspect));
  const sequence = Array.from(width, (_, i) => i).sort((a, b) => height[b]! - height[a]! || a - b);
  let [left, top, rowHeight] = [0, 0, 0];
  for (const i of sequence) {
    if (left > 0 && left + width[i]! > rowEnd) [left, top, rowHeight] = [0, top + rowHeight + gap, 0];
    x[i] = left;
    y[i] = top;
    left += width[i]! + gap;
    rowHeight = Math.max(rowHeight, height[i]!);
  }
  return { x, y };
}

/** Rectangles by their top left corners and sizes. */
export interface Boxes {
  x: Float64Array;
  y: Float64Array;
  width: Float64Array;
  height: Float64Array;
}

/** More boxes than these are packed anew: looking for room among them would take too long. */
const AROUND = 200;

/**
 * Leave the boxes where they are that are kept, and place the others beside or below them.
 *
 * @param keeps 1 = this box stays.
 * @returns The top left corners; undefined where none stays.
 */
export function packAround({ x, y, width, height }: Boxes, keeps: Uint8Array, gap: number, aspect: number) {
  const count = width.length;
  const area = Float64Array.from(width, (wide, i) => (wide + gap) * (height[i]! + gap));
  const kept = Array.from(keeps.keys()).filter((i) => keeps[i]);
  if (kept.length === 0 || count > AROUND) return undefined;
  const corners = { x: Float64Array.from(x), y: Float64Array.from(y) };
  const set: number[] = [];
  const free = (i: number, left: number, top: number, apart: number) =>
    set.every(
      (j) =>
        left >= corners.x[j]! + width[j]! + apart ||
        left + width[i]! + apart <= corners.x[j]! ||
        top >= corners.y[j]! + height[j]! + apart ||
        top + height[i]! + apart <= corners.y[j]!,
    );
  // What has grown pushes away what is smaller; to the others it may come closer than where there is a choice.
  const pushed: number[] = [];
  for (const i of kept.sort((a, b) => area[b]! - area[a]!)) (free(i, x[i]!, y[i]!, gap / 4) ? set : pushed).push(i);
  const right = set.reduce((end, i) => Math.max(end, x[i]! + width[i]!), -Infinity);
  const left = set.reduce((start, i) => Math.min(start, x[i]!), Infinity);
  const top = set.reduce((start, i) => Math.min(start, y[i]!), Infinity);
  const put = (i: number, place: readonly [number, number]) => {
    [corners.x[i], corners.y[i]] = place;
    set.push(i);
  };
  const below = (): [number, number] => [
    left,
    set.reduce((end, j) => Math.max(end, corners.y[j]! + height[j]! + gap), top),
  ];

  for (const i of pushed) {
    let nearest: readonly [number, number] | undefined;
    let least = Infinity;
    for (const j of set) {
      const [fromX, toX] = [corners.x[j]! - width[i]! - gap, corners.x[j]! + width[j]! + gap];
      const [fromY, toY] = [corners.y[j]! - height[i]! - gap, corners.y[j]! + height[j]! + gap];
      for (const [atX, atY] of [
        [fromX, y[i]!],
        [toX, y[i]!],
        [x[i]!, fromY],
        [x[i]!, toY],
      ] as const) {
        const away = Math.abs(atX - x[i]!) + Math.abs(atY - y[i]!);
        if (away < least && free(i, atX, atY, gap)) [nearest, least] = [[atX, atY], away];
      }
    }
    put(i, nearest ?? below());
  }

  const rowEnd = Math.max(right, left + Math.sqrt(area.reduce((sum, one) => sum + one, 0) * aspect));
  for (let i = 0; i < count; i++) {
    if (keeps[i]) continue;
    const beside = set.find((j) => {
      const at = corners.x[j]! + width[j]! + gap;
      return at + width[i]! <= rowEnd && free(i, at, corners.y[j]!, gap);
    });
    put(i, beside === undefined ? below() : [corners.x[beside]! + width[beside]! + gap, corners.y[beside]!]);
  }
  return corners;
}
