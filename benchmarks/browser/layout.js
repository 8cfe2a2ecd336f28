// The page that measures layouts: `measure(task)` resolves with what layout.worker.js answers, or `{late: true}`.

import ELK from "elkjs/lib/elk-api";
import { BOX, graphOf } from "./shapes";

let worker;
let last = 0;

function answer(task, seconds) {
  worker ??= new Worker("/layout.worker.js");
  const id = ++last;
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      worker.terminate();
      worker = undefined;
      resolve({ late: true });
    }, seconds * 1000);
    worker.onmessage = ({ data }) => {
      if (data.id !== id) return;
      clearTimeout(timer);
      resolve(data);
    };
    worker.postMessage({ id, ...task });
  });
}

/** ELK brings a worker of its own. */
async function elk({ shape, n }, seconds) {
  const { pairs } = graphOf(shape, n);
  const engine = new ELK({ workerFactory: () => new Worker("/elk-worker.js") });
  const graph = {
    id: "root",
    layoutOptions: { "elk.algorithm": "layered", "elk.direction": "RIGHT" },
    children: Array.from({ length: n }, (_, v) => ({ id: String(v), ...BOX })),
    edges: pairs.map(([from, to], e) => ({ id: `e${e}`, sources: [String(from)], targets: [String(to)] })),
  };
  try {
    await engine.layout({ id: "warm", children: [{ id: "a", ...BOX }], edges: [] });
    const began = performance.now();
    const late = new Promise((resolve) => setTimeout(() => resolve({ late: true }), seconds * 1000));
    return await Promise.race([engine.layout(graph).then(() => ({ ms: performance.now() - began })), late]);
  } catch (error) {
    return { error: String(error) };
  } finally {
    engine.terminateWorker();
  }
}

window.measure = (task, seconds) => (task.layouter === "elk" ? elk(task, seconds) : answer(task, seconds));
