// Which edges run against the flow: without them the graph has no cycle.

import type { Adjacency } from "./adjacency";

const NEW = 0;
const OPEN = 1;

/**
 * Mark the edges that close a cycle, self-loops included.
 *
 * A depth-first search in the order in which nodes were added, from the sources first, finds the edges that lead back
 * to where the search came from (Gansner, Koutsofios, North & Vo, "A technique for drawing directed graphs", 1993,
 * section 2.1). There are smaller feedback sets (Eades, Lin & Smyth, "A fast and effective heuristic for the feedback
 * arc set problem", 1993), but they care for a count only: they may turn `agent → tools` around to save an edge, where
 * a reader expects `tools → agent` to be the way back.
 *
 * @returns 1 for each edge that runs back.
 */
export function backEdges(n: number, out: Adjacency, into: Adjacency): Uint8Array {
  const back = new Uint8Array(out.edge.length);
  const state = new Uint8Array(n);
  const cursor = out.start.slice(0, n);
  const stack = new Int32Array(n);
  const search = (from: number) => {
    let depth = 0;
    stack[depth++] = from;
    state[from] = OPEN;
    while (depth > 0) {
      const v = stack[depth - 1]!;
      const at = cursor[v]!;
      if (at === out.start[v + 1]) {
        state[v] = OPEN + 1;
        depth--;
        continue;
      }
      cursor[v] = at + 1;
      const w = out.to[at]!;
      if (state[w] === OPEN) back[out.edge[at]!] = 1;
      else if (state[w] === NEW) {
        state[w] = OPEN;
        stack[depth++] = w;
      }
    }
  };
  for (let v = 0; v < n; v++) if (into.start[v] === into.start[v + 1]) search(v);
  for (let v = 0; v < n; v++) if (state[v] === NEW) search(v);
  return back;
}
