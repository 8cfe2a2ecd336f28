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
