// First a quick layout, then a better one: of the newest graph only.

import { layered } from "./layered";
import { FIRST, type Graph, type Layout, type Previous, REFINED } from "./types";

export interface Job {
  graph: Graph;
  previous?: Previous;
  version: number;
}

export interface Result {
  layout: Layout;
  version: number;
  stage: "first" | "refined";
}

/** Up to this size the refined layout takes no longer than a frame, and a first one would only flicker. */
const AT_ONCE = 400;

/** Lays out one job after the other, and drops what a newer job makes useless. */
export class Stages {
  readonly #done: (result: Result) => void;
  readonly #later: (work: () => void) => void;
  #job: Job | undefined;
  #scheduled = false;

  /**
   * @param done Is told of each stage.
   * @param later Runs a function after what waits already, so that newer jobs come in between.
   */
  constructor(done: (result: Result) => void, later: (work: () => void) => void = (work) => setTimeout(work, 0)) {
    this.#done = done;
    this.#later = later;
  }

  start(job: Job): void {
    this.#job = job;
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#later(() => this.#run());
  }

  stop(): void {
    this.#job = undefined;
  }

  #run(): void {
    this.#scheduled = false;
    const job = this.#job;
    if (!job) return;
    if (job.graph.n <= AT_ONCE) {
      this.#refine(job);
      return;
    }
    this.#done({ layout: layered(job.graph, FIRST, job.previous), version: job.version, stage: "first" });
    this.#later(() => {
      if (this.#job === job) this.#refine(job);
    });
  }

  #refine(job: Job): void {
    this.#job = undefined;
    this.#done({ layout: layered(job.graph, REFINED, job.previous), version: job.version, stage: "refined" });
  }
}
