// The layout's worker: jobs in, one or two results each out.

import { type Job, Stages } from "./stages";

/** A worker that stands by for jobs. Bundled on its own, and started from its source by `Layouter`. */
interface Scope {
  onmessage: ((event: { data: Job }) => void) | null;
  postMessage(message: unknown, transfer: Transferable[]): void;
}

// Wherever else this is loaded (by a test runner, that knows no inlining), it must not listen.
if (typeof importScripts === "function") {
  const scope = globalThis as unknown as Scope;
  const stages = new Stages((result) => {
    const { x, y, layer, route, offset, back } = result.layout;
    scope.postMessage(
      result,
      [x, y, layer, route, offset, back].map((array) => array.buffer as ArrayBuffer),
    );
  });
  scope.onmessage = ({ data }) => stages.start(data);
}

declare const importScripts: unknown;
