import { afterEach, describe, expect, it, vi } from "vitest";
import { Layouter, type NamedGraph, type NamedLayout } from "../../src/layout/layouter";
import { type Job, type Result, Stages } from "../../src/layout/stages";

vi.mock("../../src/layout/worker.ts?inline", () => ({ default: "// what the bundler would put here" }));

/** A chain of nodes named by `ids`. */
function chain(ids: readonly string[], version: number): NamedGraph {
  const edges = ids.slice(1).flatMap((_, i) => [i, i + 1]);
  const size = { width: new Float32Array(ids.length).fill(100), height: new Float32Array(ids.length).fill(48) };
  return { ids, version, graph: { n: ids.length, ...size, edges: Uint32Array.from(edges), direction: "LR" } };
}

const many = (n: number) => Array.from({ length: n }, (_, i) => `node ${i}`);

/** Collects layouts, and waits for the refined one of a version. */
function listen(layouter: Layouter) {
  const seen: NamedLayout[] = [];
  const refined = (version: number) =>
    new Promise<NamedLayout>((resolve) => {
      layouter.onLayout((result) => {
        if (result.version === version && result.stage === "refined") resolve(result);
      });
    });
  layouter.onLayout((result) => seen.push(result));
  return { seen, refined, stages: () => seen.map(({ version, stage }) => `${version} ${stage}`) };
}

afterEach(() => vi.unstubAllGlobals());

describe("a layouter without workers", () => {
  it("lays out a small graph once, and hands back what was asked with it", async () => {
    const layouter = new Layouter();
    const { refined, stages } = listen(layouter);
    const input = chain(["a", "b", "c"], 7);
    const done = refined(7);
    layouter.request(input);
    const result = await done;
    expect(result.ids).toBe(input.ids);
    expect(result.graph).toBe(input.graph);
    expect(result.layout.x).toHaveLength(3);
    expect(stages()).toEqual(["7 refined"]);
  });

  it("shows a large graph at first quickly, then refined", async () => {
    const layouter = new Layouter();
    const { refined, stages } = listen(layouter);
    const done = refined(1);
    layouter.request(chain(many(1000), 1));
    await done;
    expect(stages()).toEqual(["1 first", "1 refined"]);
  });

  it("skips what is out of date: of many requests only the first and the newest are laid out", async () => {
    const layouter = new Layouter();
    const { refined, stages } = listen(layouter);
    const done = refined(5);
    for (const version of [1, 2, 3, 4, 5]) layouter.request(chain(many(version + 1), version));
    await done;
    expect(stages()).toEqual(["1 refined", "5 refined"]);
  });

  it("does not refine a large graph when a newer one waits", async () => {
    const layouter = new Layouter();
    const { refined, stages } = listen(layouter);
    const done = refined(2);
    layouter.request(chain(many(1000), 1));
    layouter.request(chain(["a"], 2));
    await done;
    expect(stages()).toEqual(["1 first", "2 refined"]);
  });

  it("keeps nodes in the order that they had, by their names", async () => {
    const star = (leaves: readonly string[], version: number): NamedGraph => {
      const input = chain(["hub", ...leaves], version);
      return { ...input, graph: { ...input.graph, edges: Uint32Array.from(leaves.flatMap((_, i) => [0, i + 1])) } };
    };
    const layouter = new Layouter();
    const { refined } = listen(layouter);
    let done = refined(1);
    layouter.request(star(["a", "b", "c"], 1));
    await done;
    done = refined(2);
    layouter.request(star(["c", "b", "a"], 2));
    const { layout } = await done;
    expect(layout.y[3]!).toBeLessThan(layout.y[2]!);
    expect(layout.y[2]!).toBeLessThan(layout.y[1]!);
  });

  it("says nothing more once it is closed", async () => {
    const layouter = new Layouter();
    const { seen } = listen(layouter);
    layouter.request(chain(["a"], 1));
    layouter.close();
    layouter.request(chain(["a"], 2));
    const other = new Layouter();
    const done = listen(other).refined(3);
    other.request(chain(["a"], 3));
    await done;
    expect(seen).toEqual([]);
  });

  it("stops telling a listener that has left", async () => {
    const layouter = new Layouter();
    const left = vi.fn();
    layouter.onLayout(left)();
    const done = listen(layouter).refined(1);
    layouter.request(chain(["a"], 1));
    await done;
    expect(left).not.toHaveBeenCalled();
  });
});

describe("a layouter with workers", () => {
  class FakeWorker {
    static all: FakeWorker[] = [];
    jobs: Job[] = [];
    terminated = false;
    onmessage: ((event: { data: Result }) => void) | null = null;
    onerror: ((event: { preventDefault(): void }) => void) | null = null;
    constructor() {
      FakeWorker.all.push(this);
    }
    postMessage(job: Job) {
      this.jobs.push(job);
    }
    terminate() {
      this.terminated = true;
    }
  }

  function fake() {
    FakeWorker.all = [];
    vi.stubGlobal("Worker", FakeWorker);
    return FakeWorker.all;
  }

  it("sends it one job at a time, and tells it where nodes were", () => {
    const workers = fake();
    const layouter = new Layouter();
    const { stages } = listen(layouter);
    for (const version of [1, 2, 3]) layouter.request(chain(["a", "b"], version));
    const [worker] = workers;
    expect(worker!.jobs.map((job) => job.version)).toEqual([1]);
    new Stages(
      (data) => worker!.onmessage!({ data }),
      (work) => work(),
    ).start(worker!.jobs[0]!);
    expect(stages()).toEqual(["1 refined"]);
    expect(worker!.jobs.map((job) => job.version)).toEqual([1, 3]);
    expect([...worker!.jobs[1]!.previous!.of]).toEqual([0, 1]);
    expect([...worker!.jobs[1]!.previous!.layout.y]).toEqual([24, 24]);
    layouter.close();
    expect(worker!.terminated).toBe(true);
  });

  it("works without one where a page's policy refuses workers later", async () => {
    const workers = fake();
    const layouter = new Layouter();
    const done = listen(layouter).refined(2);
    layouter.request(chain(["a"], 1));
    layouter.request(chain(["a", "b"], 2));
    workers[0]!.onerror!({ preventDefault() {} });
    expect((await done).layout.x).toHaveLength(2);
    expect(workers[0]!.terminated).toBe(true);
  });

  it("works without one where a page's policy refuses workers at once", async () => {
    vi.stubGlobal("Worker", function refuse() {
      throw new Error("refused by the page's policy");
    });
    const layouter = new Layouter();
    const done = listen(layouter).refined(1);
    layouter.request(chain(["a"], 1));
    expect((await done).layout.x).toHaveLength(1);
  });

  it("has a worker that answers a job with its layout, and hands the arrays over", async () => {
    vi.stubGlobal("importScripts", () => {});
    vi.stubGlobal("onmessage", null);
    const answer = new Promise<[Result, ArrayBuffer[]]>((resolve) => {
      vi.stubGlobal("postMessage", (result: Result, transfer: ArrayBuffer[]) => resolve([result, transfer]));
    });
    await import("../../src/layout/worker");
    const scope = globalThis as unknown as { onmessage(event: { data: Job }): void };
    scope.onmessage({ data: { graph: chain(["a", "b"], 1).graph, version: 1 } });
    const [result, transfer] = await answer;
    expect([result.version, result.stage, result.layout.x.length]).toEqual([1, "refined", 2]);
    expect(transfer).toContain(result.layout.route.buffer);
  });
});
