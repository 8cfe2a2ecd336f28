// The page that measures frames: a graph is drawn by us, by Cytoscape.js or by React Flow, and its nodes change as fast
// as they do in a busy run. `mount(kind, n)`, `run(rate, seconds)` and `rest()` are called by frame.py.

import { Background, ReactFlow } from "@xyflow/react";
import flowStyles from "@xyflow/react/dist/style.css";
import cytoscape from "cytoscape";
import { createElement, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { layered } from "../../js/src/layout/layered";
import { FIRST } from "../../js/src/layout/types";
import { Store } from "../../js/src/state/store";
import { mountDetails } from "../../js/src/view/details";
import { mountView } from "../../js/src/view/view";
import { ours } from "./layouters";
import { BOX, graphOf } from "./shapes";

/** px of the view. */
const SIZE = { width: 1000, height: 640 };
/** Updates come in batches, as from a socket. */
const BATCH_MS = 10;
const COLORS = { pending: "#98a2b1", running: "#1f5fe0", completed: "#0b7a6f" };

const host = document.getElementById("view");
Object.assign(host.style, { width: `${SIZE.width}px`, height: `${SIZE.height}px` });

const frames = (count) =>
  new Promise((resolve) => {
    const next = () => (count-- > 0 ? requestAnimationFrame(next) : resolve());
    next();
  });

/** Each takes a graph and where its nodes are, and returns how its nodes are changed: `(changes: Map<id, status>)`. */
const KINDS = {
  async dagwidget({ n, pairs }) {
    const store = new Store();
    const nodes = Array.from({ length: n }, (_, v) => ({ id: `n${v}`, label: `task ${v}` }));
    const edges = pairs.map(([from, to]) => ({ from: `n${from}`, to: `n${to}` }));
    store.apply([
      { type: "execution_state", status: "running" },
      { type: "dag_mutated", mutation: { add_nodes: nodes, add_edges: edges } },
    ]);
    const connection = { phase: "live", attempt: 1, resumable: true, role: "operate", seenAt: Date.now() };
    const stream = { connection, pending: [], send: () => new Promise(() => {}), subscribe: () => () => {} };
    let drawn;
    const offer = (draw) => {
      drawn = draw;
      return () => {};
    };
    mountView(host, { store, stream, dagId: "frames", details: mountDetails, offer });
    // There is a picture, refined, as soon as it could be saved.
    const picture = await drawn("svg");
    if (picture.size < 100 * n) throw new Error("there are nodes without a box");
    return {
      change: (changes) =>
        store.apply([...changes].map(([id, status]) => ({ type: "node_state", node_id: `n${id}`, status }))),
      end: () => store.apply([{ type: "execution_complete", results: null }]),
    };
  },

  async cytoscape({ n, pairs }, { x, y }) {
    const cy = cytoscape({
      container: host,
      elements: [
        ...Array.from({ length: n }, (_, v) => ({
          data: { id: String(v), label: `task ${v}`, status: "pending" },
          position: { x: x[v], y: y[v] },
        })),
        ...pairs.map(([from, to]) => ({ data: { source: String(from), target: String(to) } })),
      ],
      layout: { name: "preset" },
      style: [
        {
          selector: "node",
          style: { ...BOX, shape: "round-rectangle", label: "data(label)", "background-color": COLORS.pending },
        },
        ...Object.entries(COLORS).map(([status, color]) => ({
          selector: `node[status = "${status}"]`,
          style: { "background-color": color },
        })),
        { selector: "edge", style: { width: 1, "curve-style": "haystack" } },
      ],
      // As its documentation advises for large graphs.
      textureOnViewport: true,
      hideEdgesOnViewport: true,
    });
    cy.fit();
    return {
      change: (changes) =>
        cy.batch(() => {
          for (const [id, status] of changes) cy.getElementById(String(id)).data("status", status);
        }),
    };
  },

  async reactflow({ n, pairs }, { x, y }) {
    const style = document.createElement("style");
    style.textContent = flowStyles;
    document.head.append(style);
    const initial = Array.from({ length: n }, (_, v) => ({
      id: String(v),
      position: { x: x[v], y: y[v] },
      data: { label: `task ${v}` },
      style: { ...BOX, background: COLORS.pending },
    }));
    const edges = pairs.map(([from, to], e) => ({ id: `e${e}`, source: String(from), target: String(to) }));
    let update;
    function Flow() {
      const [nodes, setNodes] = useState(initial);
      useEffect(() => {
        update = setNodes;
      }, []);
      const options = { nodes, edges, fitView: true, minZoom: 0.001, nodesDraggable: false, children: createElement(Background) };
      return createElement(ReactFlow, options);
    }
    createRoot(host).render(createElement(Flow));
    await frames(5);
    return {
      change: (changes) =>
        update((nodes) =>
          nodes.map((node, v) =>
            changes.has(v) ? { ...node, style: { ...node.style, background: COLORS[changes.get(v)] } } : node,
          ),
        ),
    };
  },
};

let shown;
let size = 0;

window.mount = async (kind, n) => {
  const graph = graphOf("random", n);
  size = n;
  shown = await KINDS[kind](graph, layered(ours(graph), FIRST));
  await frames(10);
};

/** The times between frames, ms, while `rate` nodes a second change their state. */
window.run = (rate, seconds) =>
  new Promise((resolve) => {
    const times = [];
    let waiting = new Map();
    let seed = 1;
    const random = () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed / 2 ** 32;
    };
    let sent = 0;
    const began = performance.now();
    const timer = setInterval(() => {
      for (const due = ((performance.now() - began) / 1000) * rate; sent < due; sent++) {
        waiting.set(Math.floor(random() * size), random() < 0.5 ? "running" : "completed");
      }
    }, BATCH_MS);
    let last;
    const frame = (now) => {
      if (last !== undefined) times.push(now - last);
      last = now;
      // Nobody is asked to draw more often than the screen does.
      const changes = waiting;
      waiting = new Map();
      if (changes.size > 0) shown.change(changes);
      if (now - began < seconds * 1000) requestAnimationFrame(frame);
      else {
        clearInterval(timer);
        resolve(times);
      }
    };
    requestAnimationFrame(frame);
  });

/** The run ends, and nothing changes any more. */
window.rest = async () => {
  shown.end();
  await frames(30);
};
