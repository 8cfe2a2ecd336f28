// Every layout under the same name: a graph in, its picture out. A picture has the centres of the boxes, and each edge
// as a polyline along its curve.

import dagre from "@dagrejs/dagre";
import { Graphviz } from "@hpcc-js/wasm-graphviz";
import { coordSimplex, decrossTwoLayer, graphConnect, layeringSimplex, sugiyama } from "d3-dag";
import { layered } from "../../js/src/layout/layered";
import { FIRST, REFINED } from "../../js/src/layout/types";
import { BOX } from "./shapes";

/** Points taken of each curve. */
const STEPS = 4;

export function ours({ n, pairs }, more = {}) {
  return {
    n,
    width: new Float32Array(n).fill(BOX.width),
    height: new Float32Array(n).fill(BOX.height),
    edges: Uint32Array.from(pairs.flat()),
    direction: "LR",
    ...more,
  };
}

export function pictureOf({ x, y, route, offset }) {
  const lines = Array.from({ length: offset.length - 1 }, (_, e) => {
    const points = [];
    for (let i = offset[e]; i < offset[e + 1]; i++) points.push([route[2 * i], route[2 * i + 1]]);
    return along(points);
  });
  return { x: Array.from(x), y: Array.from(y), lines };
}

/** A polyline along a chain of cubic Béziers (a start, and then three points for each). */
function along(points) {
  const line = [points[0]];
  for (let i = 1; i + 2 < points.length; i += 3) {
    const [a, b, c, d] = [points[i - 1], points[i], points[i + 1], points[i + 2]];
    for (let step = 1; step <= STEPS; step++) {
      const t = step / STEPS;
      const s = 1 - t;
      line.push(
        [0, 1].map((k) => s * s * s * a[k] + 3 * s * s * t * b[k] + 3 * s * t * t * c[k] + t * t * t * d[k]),
      );
    }
  }
  return line;
}

let graphviz;

/** What must be there before anything is timed: Graphviz comes as WebAssembly. */
export async function load() {
  graphviz ??= await Graphviz.load();
  return graphviz.version();
}

export const LAYOUTERS = {
  first: (graph) => () => layered(ours(graph), FIRST),
  refined: (graph) => () => layered(ours(graph), REFINED),
  dagre: ({ n, pairs }) => {
    const g = new dagre.graphlib.Graph();
    g.setGraph({ rankdir: "LR" });
    g.setDefaultEdgeLabel(() => ({}));
    for (let v = 0; v < n; v++) g.setNode(String(v), { ...BOX });
    for (const [from, to] of pairs) g.setEdge(String(from), String(to));
    return () => dagre.layout(g);
  },
  "d3-dag": ({ n, pairs }) => {
    const layout = sugiyama()
      .nodeSize([BOX.height + 24, BOX.width + 56])
      .layering(layeringSimplex())
      .decross(decrossTwoLayer())
      .coord(coordSimplex());
    const build = graphConnect()
      .sourceId(([from]) => String(from))
      .targetId(([, to]) => String(to));
    // It takes no cycles: what closes one is turned round, as the others do by themselves.
    const dag = build(pairs.map(([from, to]) => (from < to ? [from, to] : [to, from])));
    if (dag.nnodes() > n) throw new Error("more nodes than there are");
    return () => layout(dag);
  },
  dot: ({ n, pairs }) => {
    const node = `node [shape=box fixedsize=true width=${BOX.width / 72} height=${BOX.height / 72} label=""]`;
    const names = Array.from({ length: n }, (_, v) => v).join(";");
    const source = `digraph { rankdir=LR; ${node}; ${names}; ${pairs.map(([from, to]) => `${from}->${to}`).join(";")} }`;
    return () => graphviz.layout(source, "plain", "dot");
  },
};

/** Dot's picture, out of its `plain` format: lines `node name x y …` and `edge tail head n x1 y1 … xn yn …`. */
export function pictureOfDot(plain, { n, pairs }) {
  const [x, y] = [new Array(n), new Array(n)];
  const known = new Map();
  for (const row of plain.replace(/\\\n/g, "").split("\n")) {
    const [what, a, b, ...rest] = row.split(" ");
    if (what === "node") [x[+a], y[+a]] = [+b, +rest[0]];
    if (what !== "edge") continue;
    const points = Array.from({ length: +rest[0] }, (_, i) => [+rest[1 + 2 * i], +rest[2 + 2 * i]]);
    known.set(`${a} ${b}`, along(points));
  }
  return { x, y, lines: pairs.map(([from, to]) => known.get(`${from} ${to}`)) };
}
