// What is said in place of the picture while there are no nodes: what has happened, and what to do.

import { freshness, serverOf } from "./freshness";
import type { Model } from "./model";
import { over } from "./status";

export interface Placeholder {
  happened: string;
  next: string;
  /** Python that helps. */
  code?: string;
}

export function placeholder(model: Model): Placeholder | undefined {
  const { state, connection, saved, replay, now, dagId } = model;
  if (state.nodes.size > 0) return undefined;
  if (replay) return { happened: "The run had no nodes yet.", next: "" };
  if (saved) return { happened: "The saved snapshot has no nodes.", next: "" };
  if (over(state.status)) return { happened: "The run has ended. It had no nodes.", next: "" };
  if (connection.phase !== "live") return freshness(connection, now);
  if (connection.resumable === false && state.status === "pending") {
    return { happened: `Connected. Waiting for the first event of ${dagId}.`, next: "" };
  }
  if (!model.awaitsRun) return { happened: "No nodes yet.", next: "They appear as soon as the run adds them." };
  return {
    happened: `Connected. Waiting for the first run of ${dagId}.`,
    next: "To start one, run this in a cell:",
    code: example(dagId, connection.url),
  };
}

const LOCAL = /^wss?:\/\/(localhost|127\.0\.0\.1|\[::1\])[:/]/;

/** Lines that start a run of this DAG. A server on this machine is found without its address. */
function example(dagId: string, url: string | undefined): string {
  const where = url === undefined || LOCAL.test(url) ? "" : `, url=${JSON.stringify(serverOf(url))}`;
  return `import dagwidget

with dagwidget.start_run(${JSON.stringify(dagId)}, edges=[("load", "train")]${where}) as run:
    with run.node("load"):
        pass
    with run.node("train") as node:
        node.output("done")`;
}
