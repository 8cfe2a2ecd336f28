// One layout after the other, timed: in a worker, so that one that takes too long can be ended.

import { layered } from "../../js/src/layout/layered";
import { FIRST, REFINED } from "../../js/src/layout/types";
import { crossings } from "./crossings";
import { LAYOUTERS, load, ours, pictureOf, pictureOfDot } from "./layouters";
import { graphOf } from "./shapes";

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

function timed(graph, name, runs) {
  const times = [];
  let result;
  for (let i = 0; i < runs; i++) {
    const run = LAYOUTERS[name](graph);
    const began = performance.now();
    result = run();
    times.push(performance.now() - began);
  }
  return { ms: median(times), result };
}

const TASKS = {
  versions: () => load().then((dot) => ({ dot })),

  /** The time that a layout takes. The first runs of ours are no measure: engines compile what runs often. */
  time({ layouter, shape, n, runs }) {
    return { ms: timed(graphOf(shape, n), layouter, runs).ms };
  },

  crossings({ shape, n }) {
    const graph = graphOf(shape, n);
    return {
      ours: crossings(pictureOf(layered(ours(graph), REFINED)), graph.pairs),
      dot: crossings(pictureOfDot(LAYOUTERS.dot(graph)(), graph), graph.pairs),
    };
  },

  /** One more node, after one in the middle: how long until it is seen, and how far all others but that one move. */
  add({ shape, n, runs }) {
    const { pairs } = graphOf(shape, n);
    const graph = ours({ n, pairs });
    const before = layered(graph, REFINED);
    const after = n >> 1;
    const grown = ours({ n: n + 1, pairs: [...pairs, [after, n]] });
    const previous = { of: Int32Array.from({ length: n + 1 }, (_, v) => (v < n ? v : -1)), graph, layout: before };
    const times = [];
    let layout;
    for (let i = 0; i < runs; i++) {
      const began = performance.now();
      layout = layered(grown, FIRST, previous);
      times.push(performance.now() - began);
    }
    const moved = (now) => median(Array.from(before.x, (x, v) => Math.hypot(now.x[v] - x, now.y[v] - before.y[v])));
    return { ms: median(times), moved: moved(layout), refined: moved(layered(grown, REFINED, previous)) };
  },
};

onmessage = async ({ data: { id, task, ...options } }) => {
  try {
    await load();
    postMessage({ id, ...(await TASKS[task](options)) });
  } catch (error) {
    postMessage({ id, error: String(error) });
  }
};
