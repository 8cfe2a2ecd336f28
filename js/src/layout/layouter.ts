// Layouts without a wait: in a worker where there is one, of the newest graph only, and close to the last picture.

import { type Job, type Result, Stages } from "./stages";
import type { Graph, Layout, Previous } from "./types";
import source from "./worker.ts?inline";

export interface NamedGraph {
  ids: readonly string[];
  graph: Graph;
  /** Chosen by the caller; the layout carries it. */
  version: number;
  /** Which node of an earlier graph stood where this one belongs, as far as one did. */
  origin?: (id: string) => string | undefined;
}

export interface NamedLayout extends NamedGraph {
  layout: Layout;
  /** Small graphs are `refined` at once; large ones have a `first` picture before. */
  stage: "first" | "refined";
}

/** Where jobs go: a worker, or this thread. */
interface Runner {
  start(job: Job): void;
  stop(): void;
}

export class Layouter {
  readonly #listeners = new Set<(result: NamedLayout) => void>();
  #runner: Runner | undefined;
  /** The request that the runner works on, and the newest one that waits for it. */
  #sent: NamedGraph | undefined;
  #waiting: NamedGraph | undefined;
  /** What was laid out last, and which of its nodes is which. */
  #last: { graph: Graph; layout: Layout } | undefined;
  #index = new Map<string, number>();
  #closed = false;

  /** Lay out `input`. What was requested before and is not done yet may be dropped. */
  request(input: NamedGraph): void {
    if (this.#closed) return;
    this.#waiting = input;
    if (!this.#sent) this.#next();
  }

  /** Be told of layouts; returns how to stop that. */
  onLayout(listener: (result: NamedLayout) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#closed = true;
    this.#listeners.clear();
    this.#runner?.stop();
    this.#runner = this.#sent = this.#waiting = undefined;
  }

  #next(): void {
    const input = this.#waiting;
    if (!input) return;
    this.#sent = input;
    this.#waiting = undefined;
    this.#runner ??= this.#worker() ?? this.#here();
    this.#runner.start({ graph: input.graph, previous: this.#previous(input), version: input.version });
  }

  #done({ layout, version, stage }: Result): void {
    const input = this.#sent;
    if (!input || input.version !== version) return;
    this.#remember(input, layout);
    // A newer request needs no refinement of this one: the runner drops it when it is told of the next.
    if (stage === "refined" || this.#waiting) this.#sent = undefined;
    for (const listener of [...this.#listeners]) listener({ ...input, layout, stage });
    if (!this.#sent) this.#next();
  }

  #remember({ ids, graph }: NamedGraph, layout: Layout): void {
    this.#last = { graph, layout };
    this.#index = new Map(ids.map((id, i) => [id, i]));
  }

  #previous({ ids, graph, origin }: NamedGraph): Previous | undefined {
    if (this.#last?.graph.direction !== graph.direction) return undefined;
    const of = Int32Array.from(ids, (id) => this.#index.get(id) ?? this.#index.get(origin?.(id) ?? "") ?? -1);
    return of.some((old) => old >= 0) ? { ...this.#last, of } : undefined;
  }

  #here(): Runner {
    return new Stages((result) => this.#done(result));
  }

  /** A worker from the inlined source; where a page's policy refuses it, at once or later, this thread takes over. */
  #worker(): Runner | undefined {
    if (typeof Worker === "undefined" || !source) return undefined;
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    let worker: Worker;
    try {
      worker = new Worker(url);
    } catch {
      URL.revokeObjectURL(url);
      return undefined;
    }
    const runner: Runner = { start: (job) => worker.postMessage(job), stop: () => worker.terminate() };
    worker.onmessage = ({ data }: MessageEvent<Result>) => {
      // The source has been read by now.
      URL.revokeObjectURL(url);
      this.#done(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      URL.revokeObjectURL(url);
      worker.terminate();
      if (this.#runner !== runner) return;
      this.#runner = this.#here();
      this.#waiting ??= this.#sent;
      this.#next();
    };
    return runner;
  }
}
