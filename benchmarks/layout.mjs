// `node benchmarks/layout.mjs`: times and crossings of the layout, as JSON rows {name, value, unit}.

import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const js = fileURLToPath(new URL("../js/", import.meta.url));
const { build } = createRequire(join(js, "package.json"))("esbuild");

const SIZES = [1000, 2000, 10000];
const RUNS = 7;

/** The layout as the widget bundles it. */
async function load() {
  const folder = await mkdtemp(join(tmpdir(), "dagwidget-layout-"));
  const outfile = join(folder, "layout.mjs");
  try {
    const contents = `
      export { layered } from "./src/layout/layered.ts";
      export { FIRST, REFINED } from "./src/layout/types.ts";`;
    await build({
      stdin: { contents, resolveDir: js },
      bundle: true,
      minify: true,
      format: "esm",
      outfile,
      logLevel: "error",
    });
    return await import(pathToFileURL(outfile).href);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Numbers from 0 to 1, the same each time. */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function graphOf(n, pairs) {
  return {
    n,
    width: new Float32Array(n).fill(124),
    height: new Float32Array(n).fill(48),
    edges: Uint32Array.from(pairs.flat()),
    direction: "LR",
  };
}

const SHAPES = {
  /** Tasks that depend on a few of those shortly before them: 1.4 edges a node. */
  pipeline(n) {
    const next = random(3);
    const pairs = [];
    for (let v = 1; v < n; v++) pairs.push([Math.max(0, v - 1 - Math.floor(next() * 20)), v]);
    while (pairs.length < 1.4 * n) {
      const v = Math.floor(next() * (n - 1));
      pairs.push([v, Math.min(n - 1, v + 1 + Math.floor(next() * 20))]);
    }
    return graphOf(n, pairs);
  },
  /** √n layers, edges at random between neighbouring ones, some further: 1.4 edges a node. */
  random(n) {
    const next = random(5);
    const wide = Math.ceil(Math.sqrt(n));
    const pick = (layer) => Math.min(n - 1, layer * wide + Math.floor(next() * wide));
    const layers = Math.ceil(n / wide);
    const pairs = [];
    for (let v = wide; v < n; v++) pairs.push([pick(Math.floor(v / wide) - 1), v]);
    while (pairs.length < 1.4 * n) {
      const layer = Math.floor(next() * (layers - 3));
      pairs.push([pick(layer), pick(layer + 1 + Math.floor(next() * next() * 3))]);
    }
    return graphOf(n, pairs);
  },
  /** Stages of 98 tasks each, split and joined. */
  mapreduce(n) {
    const pairs = [];
    for (let from = 0; from + 1 < n; from += 99) {
      const to = Math.min(n - 1, from + 99);
      for (let v = from + 1; v < to; v++) pairs.push([from, v], [v, to]);
    }
    return graphOf(n, pairs);
  },
  /** One after the other, every seventh leading five further. */
  chain(n) {
    const pairs = [];
    for (let v = 1; v < n; v++) pairs.push([v - 1, v]);
    for (let v = 0; v + 5 < n; v += 7) pairs.push([v, v + 5]);
    return graphOf(n, pairs);
  },
};

function median(work) {
  const times = Array.from({ length: RUNS }, () => {
    const start = performance.now();
    work();
    return performance.now() - start;
  });
  return times.sort((a, b) => a - b)[RUNS >> 1];
}

/** Pairs of routes that cross, counted on the picture itself; edges of the same node don't count. */
function crossings(graph, layout) {
  const segments = [];
  for (let e = 0; e < layout.back.length; e++) {
    const points = [];
    for (let i = layout.offset[e]; i < layout.offset[e + 1]; i += 3)
      points.push([layout.route[2 * i], layout.route[2 * i + 1]]);
    for (let i = 1; i < points.length; i++) segments.push({ e, a: points[i - 1], b: points[i] });
  }
  const left = ({ a, b }) => Math.min(a[0], b[0]);
  const right = ({ a, b }) => Math.max(a[0], b[0]);
  const turn = (p, q, r) => (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]);
  const ends = (e) => [graph.edges[2 * e], graph.edges[2 * e + 1]];
  segments.sort((s, t) => left(s) - left(t));
  let open = [];
  let count = 0;
  for (const s of segments) {
    open = open.filter((t) => right(t) > left(s));
    for (const t of open) {
      if (s.e === t.e || ends(s.e).some((v) => ends(t.e).includes(v))) continue;
      if (turn(s.a, s.b, t.a) * turn(s.a, s.b, t.b) < 0 && turn(t.a, t.b, s.a) * turn(t.a, t.b, s.b) < 0) count++;
    }
    open.push(s);
  }
  return count;
}

const { layered, FIRST, REFINED } = await load();
const rows = [];
const row = (name, value, unit) => rows.push({ name, value: Math.round(value * 100) / 100, unit });
// Once over everything first, as a worker that has drawn before: engines compile what runs often.
for (const shape of Object.values(SHAPES)) for (const settings of [FIRST, REFINED]) layered(shape(SIZES[0]), settings);
for (const n of SIZES) {
  for (const [name, shape] of Object.entries(SHAPES)) {
    const graph = shape(n);
    // The pipeline is what runs look like most: it stands for its size.
    const place = name === "pipeline" ? `layout/${n}` : `layout/${n}/${name}`;
    row(
      `${place}/first_ms`,
      median(() => layered(graph, FIRST)),
      "ms",
    );
    row(
      `${place}/refined_ms`,
      median(() => layered(graph, REFINED)),
      "ms",
    );
    if (n < 10000) row(`${place}/crossings`, crossings(graph, layered(graph, REFINED)), "crossings");
  }
}
console.log(JSON.stringify(rows, null, 1));
