// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Execution, Node } from "../../src/state/types";
import { makeTheme } from "../../src/view/graph/theme";
import { instanceLeft, leftText, nodeLeft, runLeft, typical } from "../../src/view/model/estimate";
import { Model } from "../../src/view/model/model";
import { gateKey, spanOf, waitingSince } from "../../src/view/model/span";
import { rowsOf } from "../../src/view/timeline/rows";
import { ticks } from "../../src/view/timeline/ticks";
import { Timeline } from "../../src/view/timeline/timeline";
import { TimeWindow } from "../../src/view/timeline/window";
import { describe as inWords, standing, summary } from "../../src/view/timeline/words";
import { mountView } from "../../src/view/view";
import { Fake, NOW, runningState, viewIn } from "./helpers";

const nothing = new Map<string, never>();

function names(nodes: Node[], rank = new Map<string, number>(), folds = new Map<string, boolean>()): string[] {
  const { rows } = rowsOf(runningState(nodes), rank, folds);
  return rows.map(
    ({ kind, id, instance, depth }) => `${"  ".repeat(depth)}${kind === "group" ? "#" : ""}${instance ?? id}`,
  );
}

function many(count: number, of: (i: number) => Execution): Record<string, Execution> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`i${i}`, of(i)]));
}

describe("rows", () => {
  test("stand in the order in which nodes started, and then in that of the layout", () => {
    const nodes: Node[] = [
      { id: "later", status: "running", started_at: 20 },
      { id: "second", status: "pending" },
      { id: "first", status: "pending" },
      { id: "early", status: "completed", started_at: 10, ended_at: 12 },
    ];
    expect(names(nodes)).toEqual(["early", "later", "second", "first"]);
    expect(
      names(
        nodes,
        new Map([
          ["first", 0],
          ["second", 1],
        ]),
      ),
    ).toEqual(["early", "later", "first", "second"]);
  });

  test("are gathered by group, which stands where its first member does", () => {
    const nodes: Node[] = [
      { id: "a", status: "running", started_at: 30 },
      { id: "b", status: "running", started_at: 40, group: "etl" },
      { id: "c", status: "running", started_at: 20, group: "etl/load" },
      { id: "d", status: "pending" },
    ];
    expect(names(nodes)).toEqual(["#etl", "  #etl/load", "    c", "  b", "a", "d"]);
  });

  test("list the instances of a node up to twenty, and fold more into one", () => {
    const running = (count: number): Node[] => [
      { id: "map", status: "running", instances: many(count, (i) => ({ status: "running", started_at: 100 - i })) },
    ];
    expect(names(running(3))).toEqual(["map", "  i2", "  i1", "  i0"]);
    expect(names(running(20))).toHaveLength(21);
    expect(names(running(21))).toEqual(["map"]);
    expect(names(running(21), nothing, new Map([["map", true]]))).toHaveLength(22);
    expect(names(running(3), nothing, new Map([["map", false]]))).toEqual(["map"]);
  });

  test("take a group of any depth, and ten thousand nodes", () => {
    expect(names([{ id: "a", status: "pending", group: "x/".repeat(50_000) }]).at(-1)).toContain("a");
    const nodes = Array.from(
      { length: 10_000 },
      (_, i): Node => ({ id: `n${i}`, status: "running", started_at: i % 7 }),
    );
    expect(names(nodes)).toHaveLength(10_000);
  });

  test("know the first start and the last moment", () => {
    const { from, to } = rowsOf(
      runningState([
        { id: "a", status: "completed", started_at: 10, ended_at: 50 },
        { id: "b", status: "running", started_at: 40 },
        { id: "c", status: "pending" },
      ]),
      nothing,
      nothing,
    );
    expect([from, to]).toEqual([10, 50]);
    expect(rowsOf(runningState(), nothing, nothing)).toMatchObject({ rows: [], from: undefined, to: undefined });
  });
});

describe("a span", () => {
  test("is what is known of when something ran", () => {
    expect(spanOf({ status: "running", started_at: 5 })).toEqual({ start: 5 });
    expect(spanOf({ status: "completed", started_at: 5, ended_at: 9 })).toEqual({ start: 5, end: 9 });
    expect(spanOf({ status: "completed", ended_at: 9, metrics: { duration_ms: 3 } })).toEqual({ start: 6, end: 9 });
    expect(spanOf({ status: "failed", started_at: 5 })).toEqual({ start: 5, end: 5 });
    expect(spanOf({ status: "skipped" })).toEqual({ start: undefined, end: undefined });
  });

  test("of a node with instances is around all of them, and open while one is", () => {
    const node = (last: Execution): Node => ({
      id: "n",
      status: "running",
      instances: { a: { status: "completed", started_at: 5, ended_at: 9 }, b: last },
    });
    expect(spanOf(node({ status: "completed", started_at: 7, ended_at: 30 }))).toEqual({ start: 5, end: 30 });
    expect(spanOf(node({ status: "pending" }))).toEqual({ start: 5, end: undefined });
  });

  test("of waiting begins when the gate opened", () => {
    const since = waitingSince([
      { gate_id: "g", node_id: "a", instance: "x", opened_at: 7, presentation: {} },
      { gate_id: "h", node_id: "a", opened_at: 5, presentation: {} },
      { gate_id: "k", node_id: "b", presentation: {} },
    ]);
    expect([since.get(gateKey("a")), since.get(gateKey("a", "x")), since.get(gateKey("b"))]).toEqual([5, 7, undefined]);
  });
});

describe("ticks", () => {
  const labels = (ms: number, width = 400) => ticks(NOW, NOW + ms, width, NOW).map(({ label }) => label);

  test("are round steps that leave their labels room", () => {
    expect(labels(60_000)).toEqual(["0 s", "15 s", "30 s", "45 s", "1:00"]);
    expect(labels(500)).toEqual(["0.0 s", "0.1 s", "0.2 s", "0.3 s", "0.4 s", "0.5 s"]);
    expect(labels(4 * 3_600_000)).toEqual(
      ["0:00:00", "1:00:00", "2:00:00", "3:00:00", "4:00:00"].map((it, i) => (i ? it : "0 s")),
    );
    expect(labels(90 * 86_400_000).length).toBeLessThanOrEqual(6);
  });

  test("count from the start of the run, also before it and far from it", () => {
    expect(ticks(NOW - 20_000, NOW + 20_000, 300, NOW).map(({ label }) => label)).toEqual([
      "−20 s",
      "−10 s",
      "0 s",
      "10 s",
      "20 s",
    ]);
    expect(ticks(NOW + 3_600_000, NOW + 3_601_000, 150, NOW).map(({ label }) => label)).toEqual([
      "1:00:00.0",
      "1:00:00.5",
      "1:00:01.0",
    ]);
  });

  test("are none where there is no room or no time", () => {
    expect(ticks(5, 5, 100, 0)).toEqual([]);
    expect(ticks(0, 10, 0, 0)).toEqual([]);
  });
});

describe("an estimate", () => {
  const done = (took: number): Execution => ({ status: "completed", started_at: 0, ended_at: took });
  const node = (instances: Record<string, Execution>): Node => ({ id: "map", status: "running", instances });

  test("is the median of the instances that have completed, if they are enough", () => {
    expect(typical(node({ a: done(10), b: done(20), c: done(90) }))).toEqual({ ms: 20, of: 3 });
    expect(typical(node({ a: done(10), b: done(20), c: done(30), d: done(90) }))).toEqual({ ms: 25, of: 4 });
    expect(
      typical(node({ a: done(10), b: done(20), c: { status: "failed", started_at: 0, ended_at: 1 } })),
    ).toBeUndefined();
    expect(typical({ id: "a", status: "running", started_at: 0 })).toBeUndefined();
  });

  test("of an instance is what it has left of that, and none once it takes longer", () => {
    const running: Execution = { status: "running", started_at: 100 };
    const of = node({ a: done(20), b: done(20), c: done(20), d: running });
    expect(instanceLeft(of, running, 105)).toBe(15);
    expect(instanceLeft(of, running, 120)).toBeUndefined();
  });

  test("of a node counts what waits, for as many at once as run now; none while a person is asked", () => {
    const finished = { a: done(20), b: done(20), c: done(20) };
    const running: Execution = { status: "running", started_at: 100 };
    const pending: Execution = { status: "pending" };
    expect(nodeLeft(node({ ...finished, d: running }), 105)).toBe(15);
    expect(nodeLeft(node({ ...finished, d: running, e: running, f: pending }), 110)).toBe(20);
    expect(nodeLeft(node({ ...finished, f: pending, g: pending }), 110)).toBe(40);
    expect(nodeLeft(node({ ...finished, d: running, e: { status: "waiting" } }), 105)).toBeUndefined();
    expect(nodeLeft(node(finished), 105)).toBeUndefined();
  });

  test("of a run is the share of its work that is not done, as the last run tells it", () => {
    const earlier = { ms: 100, nodes: { a: 40, b: 40, gone: 7 } };
    const run = (...nodes: Node[]) => runningState([{ id: "another", status: "pending" }, ...nodes]);
    const b: Node = { id: "b", status: "pending" };
    expect(runLeft(run({ id: "a", ...done(20) }, b), earlier, 20)).toBe(50);
    expect(runLeft(run({ id: "a", status: "running", started_at: 0 }, b), earlier, 20)).toBe(75);
    // What takes longer than last time is not done for that.
    expect(runLeft(run({ id: "a", status: "running", started_at: 0 }, b), earlier, 400)).toBe(50);
    expect(runLeft(run({ id: "a", ...done(20) }, { ...b, ...done(20) }), earlier, 40)).toBeUndefined();
    expect(runLeft(run(), earlier, 40)).toBeUndefined();
    const asks = runningState([b], [{ gate_id: "g", node_id: "b", presentation: {} }]);
    expect(runLeft(asks, earlier, 20)).toBeUndefined();
    expect(runLeft({ ...run(b), status: "failed" }, earlier, 20)).toBeUndefined();
  });

  test("is said to be one", () => {
    const last = { ms: 100_000, nodes: { map: 40_000 } };
    const begun = runningState([{ id: "map", status: "running", started_at: NOW - 10_000 }]);
    expect(summary(begun, NOW, last)).toBe("1:00 elapsed · about 1:15 left (estimate from the last run)");
    expect(leftText(3200)).toBe("about 4 s left (estimate)");
    expect(leftText(100_000)).toBe("about 1:40 left (estimate)");
    const of = node({
      a: done(20_000),
      b: done(20_000),
      c: done(20_000),
      d: { status: "running", started_at: NOW - 5000 },
    });
    const row = { kind: "instance", key: "", id: "map", instance: "d", depth: 1 } as const;
    expect(standing(row, runningState([of]), NOW)).toBe("0:05 · about 15 s left (estimate)");
  });
});

describe("the window", () => {
  const window = () => Object.assign(new TimeWindow(), { from: 1000, to: 2000, width: 500 });

  test("maps time to pixels and back", () => {
    expect(window().toX(1500)).toBe(250);
    expect(window().toTime(250)).toBe(1500);
  });

  test("keeps the moment under the pointer when it zooms, within bounds", () => {
    const one = window();
    one.zoomAt(100, 2);
    expect([one.toTime(100), one.to - one.from]).toEqual([1200, 500]);
    for (let i = 0; i < 50; i++) one.zoomAt(100, 3);
    expect(one.to - one.from).toBeCloseTo(20);
    for (let i = 0; i < 50; i++) one.zoomAt(100, 0.1);
    expect(one.to - one.from).toBeLessThan(100_000);
  });

  test("moves by pixels, and fits all with room for words", () => {
    const one = window();
    one.pan(50);
    expect(one.from).toBe(900);
    one.fit(0, 1000, 100);
    expect(one.toX(0)).toBeCloseTo(8);
    expect(one.toX(1000)).toBeCloseTo(400);
    one.fit(5, 5, 100);
    expect(one.to).toBeGreaterThan(one.from);
  });
});

test("the timeline is told in words", () => {
  const state = runningState([
    { id: "a", status: "failed", started_at: NOW - 9000, ended_at: NOW - 4000 },
    { id: "b", status: "waiting", label: "review", started_at: NOW - 2000 },
    { id: "c", status: "completed" },
  ]);
  expect(inWords(state, NOW)).toBe(
    "3 nodes, 1:00 elapsed. 1 failed: a for 5.0 s. 1 waiting: review for 2.0 s. 1 completed.",
  );
});

describe("in the view", () => {
  class Observer {
    observe(): void {}
    disconnect(): void {}
  }
  let unmount: (() => void) | undefined;
  let painted: string[];

  beforeEach(() => {
    vi.stubGlobal("ResizeObserver", Observer);
    vi.stubGlobal("IntersectionObserver", Observer);
    painted = [];
    const ctx = new Proxy({} as Record<string, unknown>, {
      get: (object, name: string) =>
        object[name] ??
        ((text: string) => {
          if (name === "fillText") painted.push(text);
          return { width: String(text).length * 6 };
        }),
    });
    vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(ctx as never);
    vi.stubGlobal("Path2D", class {});
    for (const [name, size] of [
      ["clientWidth", 800],
      ["clientHeight", 388],
    ] as const) {
      vi.spyOn(HTMLElement.prototype, name, "get").mockReturnValue(size);
    }
  });
  afterEach(() => {
    unmount?.();
    unmount = undefined;
    document.body.replaceChildren();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });

  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const press = (el: Element, key: string) =>
    el.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));

  function timeline(nodes: Node[]) {
    const fake = new Fake(runningState(nodes));
    const model = new Model(fake.options, () => NOW);
    const said: string[] = [];
    const one = new Timeline(
      model,
      makeTheme({}),
      () => nothing,
      (text) => said.push(text),
    );
    model.onSelect(() => one.update());
    document.body.append(one.el);
    one.show(true);
    unmount = () => one.close();
    return { one, model, said, list: one.el.querySelector<HTMLElement>(".dw-rows")!, fake };
  }

  const steps = (count: number) =>
    Array.from({ length: count }, (_, i): Node => ({ id: `n${i}`, status: "running", started_at: NOW - 5000 + i }));

  test("only the rows in sight are drawn, of ten thousand", () => {
    const { list, one } = timeline(steps(10_000));
    expect(one.el.querySelector<HTMLElement>(".dw-tall")!.style.height).toBe(`${28 + 10_002 * 24}px`);
    const rows = painted.filter((text) => /^n\d/.test(text));
    expect([rows[0], rows.length]).toEqual(["n0", 15]);
    painted = [];
    list.scrollTop = 24 * 5000;
    one.show(true);
    expect(painted.filter((text) => /^n\d/.test(text))[0]).toBe("n5000");
  });

  test("the axis has no negative times, also where a node started before its run (by a clock that is behind)", () => {
    timeline([{ id: "a", status: "completed", started_at: NOW - 90_000, ended_at: NOW - 80_000 }]);
    expect(painted.filter((text) => text.startsWith("−"))).toEqual([]);
    expect(painted).toContain("0 s");
  });

  test("a page up ends at the first node, below the names of its groups", () => {
    const { list, model } = timeline(steps(5).map((node) => ({ ...node, group: "etl/load" })));
    press(list, "End");
    press(list, "PageUp");
    press(list, "Enter");
    expect(model.selected).toBe("n0");
  });

  test("the keyboard walks the rows, says where it is, scrolls there, and opens the inspector", () => {
    const { list, model, said } = timeline(steps(100));
    press(list, "ArrowDown");
    press(list, "ArrowDown");
    expect(said.at(-1)).toBe("n1, running, 0:04");
    expect(model.selected).toBeUndefined();
    press(list, "Enter");
    expect(model.selected).toBe("n1");
    press(list, "End");
    expect(model.selected).toBe("n99");
    expect(list.scrollTop).toBeGreaterThan(1000);
    press(list, "Home");
    expect([model.selected, list.scrollTop]).toEqual(["n0", 0]);
    press(list, "Escape");
    expect(model.selected).toBeUndefined();
  });

  test("what is selected elsewhere is scrolled to", () => {
    const { list, model } = timeline(steps(100));
    model.select("n80");
    expect(list.scrollTop).toBeGreaterThan(24 * 60);
  });

  test("a click selects the row that is there, and one at its triangle folds it", async () => {
    const instances = many(3, () => ({ status: "running", started_at: NOW - 100 }));
    const { list, model } = timeline([{ id: "map", status: "running", instances }, ...steps(2)]);
    list.setPointerCapture = () => {};
    const click = (x: number, y: number) => {
      for (const type of ["pointerdown", "pointerup"]) {
        list.dispatchEvent(new MouseEvent(type, { clientX: x, clientY: y, bubbles: true }));
      }
    };
    click(300, 28 + 12);
    expect(model.selected).toBe("n0");
    const height = () => list.querySelector<HTMLElement>(".dw-tall")!.style.height;
    expect(height()).toBe(`${28 + (6 + 2) * 24}px`);
    click(12, 28 + 2 * 24 + 12);
    await frame();
    expect([height(), model.selected]).toEqual([`${28 + (3 + 2) * 24}px`, "n0"]);
    press(list, " ");
    await frame();
    expect(height()).toBe(`${28 + (6 + 2) * 24}px`);
  });

  test("time stands still when the connection does, and when the run is over", () => {
    const { one, fake } = timeline(steps(1));
    const words = () => {
      one.tick();
      return one.words.textContent;
    };
    expect(words()).toBe("1:00 elapsed");
    fake.connect({ phase: "waiting", seenAt: NOW - 20_000 });
    expect(words()).toBe("0:40 elapsed");
    fake.state = { ...fake.state, status: "failed", ended_at: NOW - 30_000 };
    fake.connect({ phase: "live" });
    one.changed({ reset: false, structure: true, nodes: new Set(), edges: false });
    fake.state.nodes.set("n0", { id: "n0", status: "failed", started_at: NOW - 50_000, ended_at: NOW - 30_000 });
    one.show(true);
    expect(words()).toBe("0:30 elapsed");
  });

  test("T shows it in place of the graph and back, but not where somebody types", () => {
    const fake = new Fake(runningState(steps(2)));
    const el = document.createElement("div");
    document.body.append(el);
    unmount = mountView(el, fake.options);
    const view = viewIn(el);
    const [graph, time] = [...view.querySelectorAll<HTMLElement>(".dw-graph")];
    const shown = () => [!graph!.hidden, !time!.hidden];
    expect(shown()).toEqual([true, false]);
    view.querySelector<HTMLElement>(".dw-surface")!.focus();
    press(view.querySelector(".dw-surface")!, "t");
    expect(shown()).toEqual([false, true]);
    expect(view.activeElement).toBe(time!.querySelector(".dw-rows"));
    expect(view.querySelector(".dw-tab[aria-pressed=true]")!.textContent).toBe("Timeline");
    expect(view.querySelector(".dw-words")!.textContent).toContain("elapsed");
    const field = document.createElement("input");
    view.firstElementChild!.append(field);
    press(field, "t");
    expect(shown()).toEqual([false, true]);
    press(time!.querySelector(".dw-rows")!, "t");
    expect(shown()).toEqual([true, false]);
  });
});
