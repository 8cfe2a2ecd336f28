// Which way a graph should flow, so that the most of it can be read in the window that there is.

import type { Graph } from "../../layout/types";

/** What a layer and a node take, in px, along the flow and across it; near enough to compare. */
const GAP_ALONG = 56;
const GAP_ACROSS = 24;
/** Turning the whole picture round must be worth it. */
const WORTH = 1.4;
/** Left to right reads like text, so it wins a near tie. */
const PREFER_LR = 1.2;

/** The direction in which `graph` fits `window` at the larger zoom; `current` is kept unless the other is far better. */
export function chooseDirection(
  graph: Pick<Graph, "n" | "edges" | "width" | "height">,
  window: { width: number; height: number },
  current: "LR" | "TB" | undefined,
): "LR" | "TB" {
  if (graph.n === 0) return current ?? "LR";
  const { layers, breadth } = extent(graph);
  const mean = (sizes: Float32Array) => sizes.reduce((sum, size) => sum + size, 0) / graph.n;
  const [width, height] = [mean(graph.width), mean(graph.height)];
  const zoom = (w: number, h: number) => Math.min(1, window.width / w, window.height / h);
  const lr = zoom(layers * (width + GAP_ALONG), breadth * (height + GAP_ACROSS));
  const tb = zoom(breadth * (width + GAP_ACROSS), layers * (height + GAP_ALONG));
  const needed = current === "LR" ? WORTH : current === "TB" ? 1 / WORTH : PREFER_LR;
  return tb > lr * needed ? "TB" : "LR";
}

/** How many layers there are, and how many nodes the fullest has; edges that close a cycle are passed over. */
function extent({ n, edges }: Pick<Graph, "n" | "edges">): { layers: number; breadth: number } {
  const waiting = new Int32Array(n);
  const start = new Uint32Array(n + 1);
  for (let e = 0; e < edges.length; e += 2) {
    start[edges[e]! + 1]!++;
    waiting[edges[e + 1]!]!++;
  }
  for (let i = 0; i < n; i++) start[i + 1]! += start[i]!;
  const next = start.slice();
  const targets = new Uint32Array(edges.length / 2);
  for (let e = 0; e < edges.length; e += 2) targets[next[edges[e]!]!++] = edges[e + 1]!;

  const layer = new Int32Array(n);
  const placed = new Uint8Array(n);
  const ready: number[] = [];
  let unplaced = 0;
  const place = (i: number) => {
    placed[i] = 1;
    ready.push(i);
  };
  for (let i = 0; i < n; i++) if (waiting[i] === 0) place(i);
  for (let at = 0; ; at++) {
    if (at === ready.length) {
      // Only cycles are left: enter the next at its first node.
      while (unplaced < n && placed[unplaced]) unplaced++;
      if (unplaced === n) break;
      place(unplaced);
    }
    const from = ready[at]!;
    for (let t = start[from]!; t < start[from + 1]!; t++) {
      const to = targets[t]!;
      if (placed[to]) continue;
      layer[to] = Math.max(layer[to]!, layer[from]! + 1);
      if (--waiting[to]! === 0) place(to);
    }
  }
  const sizes: number[] = [];
  for (const l of layer) sizes[l] = (sizes[l] ?? 0) + 1;
  return { layers: sizes.length, breadth: sizes.reduce((most, size) => Math.max(most, size ?? 0), 1) };
}
