// How many times the edges of a picture cross, counted on what is drawn.

/** Pairs of segments that cross; those of one edge, and of edges that share a node, don't count. */
export function crossings({ lines }, pairs) {
  const segments = [];
  for (const [e, line] of lines.entries()) {
    for (let i = 1; i < line.length; i++) {
      const [a, b] = [line[i - 1], line[i]];
      segments.push({ e, a, b, left: Math.min(a[0], b[0]), right: Math.max(a[0], b[0]) });
    }
  }
  const turn = (p, q, r) => (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]);
  const meet = (e, f) => pairs[e].some((v) => pairs[f].includes(v));
  segments.sort((s, t) => s.left - t.left);
  let open = [];
  let count = 0;
  for (const s of segments) {
    // What ended before this one begins is in the way of none that follows.
    open = open.filter((t) => t.right > s.left);
    const [low, high] = [Math.min(s.a[1], s.b[1]), Math.max(s.a[1], s.b[1])];
    for (const t of open) {
      if (t.e === s.e || Math.max(t.a[1], t.b[1]) < low || Math.min(t.a[1], t.b[1]) > high) continue;
      if (turn(s.a, s.b, t.a) * turn(s.a, s.b, t.b) >= 0 || turn(t.a, t.b, s.a) * turn(t.a, t.b, s.b) >= 0) continue;
      if (!meet(s.e, t.e)) count++;
    }
    open.push(s);
  }
  return count;
}
