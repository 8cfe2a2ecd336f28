// @vitest-environment jsdom
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Change, DagState, Edge, Node, NodeStatus } from "../../../src/state/types";
import { FAN, type Folded, Folding, isFolded } from "../../../src/view/model/folding";
import { Model } from "../../../src/view/model/model";
import { parseQuery } from "../../../src/view/model/search";
import { label, STATUSES } from "../../../src/view/model/status";
import { twins } from "../../../src/view/model/twins";
import { memberList } from "../../../src/view/panels/members";
import { Fake, NOW, runningState } from "../helpers";

const change = (more: Partial<Change>): Change => ({
  reset: false,
  structure: false,
  edges: false,
  nodes: new Set(),
  ...more,
});
const names = (what: string, many: number) => Array.from({ length: many }, (_, i) => `${what}-${i + 1}`);

function dag(nodes: readonly (string | Node)[], edges: readonly (readonly [string, string])[]): DagState {
  const state = runningState(nodes.map((node) => (typeof node === "string" ? { id: node, status: "pending" } : node)));
  for (const [from, to] of edges) {
    const sources = state.edges.get(to) ?? new Map<string, Edge>();
    state.edges.set(to, sources.set(from, { active: false, taken: false }));
  }
  return state;
}

/** `list`, many chains `load → clean`, `report`. */
function fanOut(many: number, more: Partial<Node> = {}): DagState {
  const [loads, cleans] = [names("load", many), names("clean", many)];
  const nodes = ["list", ...[...loads, ...cleans].map((id): Node => ({ id, status: "pending", ...more })), "report"];
  return dag(nodes, [
    ...loads.map((id) => ["list", id] as const),
    ...loads.map((id, i) => [id, cleans[i]!] as const),
    ...cleans.map((id) => [id, "report"] as const),
  ]);
}

const shownIds = (folding: Folding) =>
  [...folding.shown.nodes.values()].map((node) => (isFolded(node) ? node.label : node.id));
const edgesOf = (folding: Folding) =>
  [...folding.shown.edges].flatMap(([to, sources]) => [...sources.keys()].map((from) => [from, to] as const));
const foldOf = (folding: Folding, id: string) => folding.shown.nodes.get(folding.shows(id)) as Folded;

test("chains between one node and another are one chain, and its nodes say how many they stand for", () => {
  const folding = new Folding(() => fanOut(20));
  expect(shownIds(folding)).toEqual(["list", "load ×\u00a020", "clean ×\u00a020", "report"]);
  const [load, clean] = [folding.shows("load-1"), folding.shows("clean-7")];
  expect(edgesOf(folding)).toEqual(
    expect.arrayContaining([
      ["list", load],
      [load, clean],
      [clean, "report"],
    ]),
  );
  expect(edgesOf(folding)).toHaveLength(3);
});

test("fewer than that are seen one by one, and what is drawn is the state itself", () => {
  const state = fanOut(FAN - 1);
  expect(new Folding(() => state).shown).toBe(state);
});

test("long chains of one task are no fan", () => {
  const steps = names("step", 200);
  const state = dag(
    steps,
    steps.slice(1).map((id, i) => [steps[i]!, id]),
  );
  expect(new Folding(() => state).shown).toBe(state);
});

test("what leads somewhere else is not like the others", () => {
  const state = fanOut(20);
  state.nodes.set("alert", { id: "alert", status: "pending" });
  state.edges.set("alert", new Map([["clean-3", { active: false, taken: false }]]));
  expect(shownIds(new Folding(() => state))).toEqual([
    "list",
    "load ×\u00a019",
    "load-3",
    "clean ×\u00a019",
    "clean-3",
    "report",
    "alert",
  ]);
});

test("different tasks, kinds and groups between the same two nodes are not one", () => {
  const others = [...names("map", 16), ...names("check", 16), "x1"];
  const state = dag(
    ["a", ...others, "b"],
    others.flatMap(
      (id) =>
        [
          ["a", id],
          [id, "b"],
        ] as const,
    ),
  );
  expect(shownIds(new Folding(() => state))).toEqual(["a", "map ×\u00a016", "check ×\u00a016", "x1", "b"]);
});

test("a cycle back to the beginning leaves a fan a fan", () => {
  const state = fanOut(20);
  state.edges.set("list", new Map([["report", { active: false, taken: false }]]));
  expect(shownIds(new Folding(() => state))).toEqual(["list", "load ×\u00a020", "clean ×\u00a020", "report"]);
});

test("one node fails, runs or ends: the node that stands for it says so, from when to when too", () => {
  const state = fanOut(16);
  const folding = new Folding(() => state);
  expect(foldOf(folding, "load-1")).toMatchObject({ status: "pending", counts: { pending: 16 } });
  const set = (id: string, status: NodeStatus, started_at?: number, ended_at?: number) => {
    state.nodes.set(id, {
      ...state.nodes.get(id)!,
      status,
      ...(started_at && { started_at }),
      ...(ended_at && { ended_at }),
    });
    folding.changed(change({ nodes: new Set([id]) }));
  };
  set("load-2", "completed", 5, 9);
  expect(foldOf(folding, "load-1")).toMatchObject({
    status: "running",
    counts: { completed: 1, pending: 15 },
    started_at: 5,
  });
  set("load-3", "running", 3);
  set("load-4", "failed", 4, 20);
  expect(foldOf(folding, "load-1")).toMatchObject({ status: "failed", started_at: 3 });
  expect(foldOf(folding, "load-1").ended_at).toBeUndefined();
  for (const id of names("load", 16)) set(id, "completed", 5, 30);
  expect(foldOf(folding, "load-1")).toMatchObject({ status: "completed", counts: { completed: 16 }, ended_at: 30 });
  expect(foldOf(folding, "clean-1").status).toBe("pending");
});

test("a fan is opened by its node, and folded again by any of its members", () => {
  const folding = new Folding(() => fanOut(20));
  const load = folding.shows("load-5");
  expect(folding.turn(load)).toEqual({ action: "expand", what: "load ×\u00a020" });
  folding.toggle(load);
  expect(shownIds(folding)).toHaveLength(1 + 20 + 1 + 1);
  expect(folding.shows("load-5")).toBe("load-5");
  expect(folding.origin("load-5")).toBe(load);
  expect(folding.turn("load-5")).toEqual({ action: "collapse", what: "20 similar nodes" });
  folding.toggle("load-5");
  expect(shownIds(folding)).toEqual(["list", "load ×\u00a020", "clean ×\u00a020", "report"]);
  expect(folding.turn("list")).toBeUndefined();
});

test("what is shown as one has the times and the cost of its members as they are now, not as they were", () => {
  const state = fanOut(20);
  const folding = new Folding(() => state);
  const set = (id: string, more: Partial<Node>) => {
    state.nodes.set(id, { id, status: "pending", ...more });
    folding.changed(change({ nodes: new Set([id]) }));
    return foldOf(folding, id);
  };
  set("load-2", { status: "running", started_at: 50, metrics: { cost: 1 } });
  expect(set("load-3", { status: "running", started_at: 70, metrics: { cost: 2 } })).toMatchObject({
    started_at: 50,
    metrics: { cost: 3 },
  });
  expect(set("load-2", {})).toMatchObject({ started_at: 70, metrics: { cost: 2 } });
  expect(set("load-3", {})).not.toHaveProperty("started_at");
});

test("all groups are collapsed, whatever their paths begin with", () => {
  const state = dag([{ id: "a", status: "pending", group: "/etl/load" }, "b"], []);
  const folding = new Folding(() => state);
  folding.toggleAll();
  expect(shownIds(folding)).toEqual(["etl", "b"]);
});

test("of what is shown as one, what was searched for is listed first, and then what needs attention", () => {
  const state = fanOut(100);
  state.nodes.set("load-9", { id: "load-9", status: "failed" });
  const model = new Model(new Fake(state).options, () => NOW);
  const listed = () =>
    [...memberList(foldOf(model.folding, "load-1"), model).querySelectorAll("button")].map((one) => one.textContent);
  expect(listed().slice(0, 2)).toEqual(["load-9", "load-1"]);
  model.sought = parseQuery("load-77");
  expect(listed().slice(0, 3)).toEqual(["load-77", "load-9", "load-1"]);
  expect(listed()).toHaveLength(50);
});

test("a group is collapsed with all that is in it, and what is in both counts for the outer one", () => {
  const state = dag(
    [
      { id: "a", status: "completed", group: "etl/load" },
      { id: "b", status: "running", group: "etl" },
      { id: "c", status: "pending", group: "etl2" },
      { id: "d", status: "pending", label: "end" },
    ],
    [
      ["a", "b"],
      ["a", "d"],
      ["b", "c"],
      ["c", "d"],
    ],
  );
  const folding = new Folding(() => state);
  folding.toggle("a");
  expect(shownIds(folding)).toEqual(["load", "b", "c", "d"]);
  expect(foldOf(folding, "a")).toMatchObject({ group: "etl", members: ["a"] });
  folding.toggle("b");
  expect(shownIds(folding)).toEqual(["etl", "c", "d"]);
  expect(foldOf(folding, "a")).toMatchObject({ status: "running", counts: { running: 1, completed: 1 } });
  expect(edgesOf(folding)).toEqual([
    [folding.shows("a"), "d"],
    ["c", "d"],
    [folding.shows("a"), "c"],
  ]);
  folding.toggle(folding.shows("a"));
  expect(shownIds(folding)).toEqual(["load", "b", "c", "d"]);
});

test("all at once: everything by itself, or groups and fans as one each", () => {
  const state = fanOut(20);
  state.nodes.set("list", { id: "list", status: "pending", group: "in/out" });
  const folding = new Folding(() => state);
  folding.toggleAll();
  expect(folding.shown).toBe(state);
  folding.toggleAll();
  expect(shownIds(folding)).toEqual(["in", "load ×\u00a020", "clean ×\u00a020", "report"]);
});

test("what is no longer there can't be selected", () => {
  const model = new Model(new Fake(fanOut(20)).options, () => NOW);
  const fold = model.folding.shows("load-1");
  model.select(fold);
  model.fold(() => model.folding.toggle(fold));
  model.select(fold);
  expect(model.selected).toBeUndefined();
});

test("a node without a name, or with an empty one, goes by its id", () => {
  expect([{ id: "a" }, { id: "a", label: " " }, { id: "a", label: "A" }].map(label)).toEqual(["a", "a", "A"]);
});

test("all is expanded at once, fans inside of collapsed groups too", () => {
  const folding = new Folding(() => fanOut(20, { group: "g" }));
  folding.collapse("g");
  expect(folding.any).toBe(true);
  folding.toggleAll();
  expect(folding.any).toBe(false);
});

test("a fan that was opened stays open when the first of its nodes goes, or is like the others no longer", () => {
  const state = fanOut(20);
  const folding = new Folding(() => state);
  folding.toggle(folding.shows("clean-3"));
  state.nodes.delete("clean-1");
  folding.changed(change({ structure: true, nodes: new Set(["clean-1"]) }));
  expect(folding.shows("clean-3")).toBe("clean-3");
  folding.toggle("clean-3");
  expect(folding.shows("clean-3")).not.toBe("clean-3");
  folding.toggleAll();
  state.nodes.set("load-1", { id: "load-1", status: "pending", kind: "other" });
  folding.changed(change({ structure: true }));
  expect(folding.any).toBe(false);
});

test("a fan that grows stays one node, and an open one stays open", () => {
  let state = fanOut(20);
  const folding = new Folding(() => state);
  const load = folding.shows("load-1");
  state = fanOut(30);
  folding.changed(change({ structure: true }));
  expect(folding.shows("load-30")).toBe(load);
  folding.toggle(load);
  state = fanOut(40);
  folding.changed(change({ structure: true }));
  expect(folding.shows("load-40")).toBe("load-40");
});

const anyGraph = fc.integer({ min: 1, max: 60 }).chain((n) =>
  fc.record({
    n: fc.constant(n),
    kind: fc.array(fc.integer({ min: 0, max: 2 }), { minLength: n, maxLength: n }),
    pairs: fc.array(fc.tuple(fc.nat(n - 1), fc.nat(n - 1)), { maxLength: 2 * n }),
    least: fc.integer({ min: 2, max: 5 }),
  }),
);

test("nodes that are alike are of one kind, are as many as asked for, and have like neighbours, also in cycles", () => {
  fc.assert(
    fc.property(anyGraph, ({ n, kind, pairs, least }) => {
      const alike = twins(n, Uint32Array.from(pairs.flat()), kind, least);
      const seen = (v: number) => (alike[v]! < 0 ? `=${v}` : String(alike[v]));
      const around = (v: number) => [
        kind[v],
        pairs
          .filter(([from]) => from === v)
          .map(([, to]) => seen(to))
          .sort(),
        pairs
          .filter(([, to]) => to === v)
          .map(([from]) => seen(from))
          .sort(),
      ];
      const groups = new Map<number, number[]>();
      for (const [v, group] of alike.entries()) if (group >= 0) groups.set(group, [...(groups.get(group) ?? []), v]);
      for (const members of groups.values()) {
        expect(members.length).toBeGreaterThanOrEqual(least);
        for (const v of members) expect(around(v)).toEqual(around(members[0]!));
      }
    }),
    { numRuns: 500 },
  );
});

test("whatever is folded, every node is shown once and every edge between two that are shown, at every moment", () => {
  const statuses = fc.constantFrom<NodeStatus>("pending", "running", "completed", "failed");
  const step = fc.oneof(
    fc.record({ turn: fc.nat(200) }),
    fc.record({ node: fc.nat(200), status: statuses }),
    fc.record({ edge: fc.nat(200) }),
    fc.constant({ all: true }),
  );
  const graph = fc.integer({ min: 1, max: 80 }).chain((n) =>
    fc.record({
      nodes: fc.array(
        fc.record({ task: fc.constantFrom("a", "a", "b"), group: fc.constantFrom(undefined, undefined, "g", "g/h") }),
        {
          minLength: n,
          maxLength: n,
        },
      ),
      // Few ends, so that there are fans.
      pairs: fc.array(fc.tuple(fc.nat(n - 1), fc.nat(Math.min(2, n - 1)), fc.boolean()), { maxLength: 2 * n }),
      steps: fc.array(step, { maxLength: 12 }),
    }),
  );
  fc.assert(
    fc.property(graph, ({ nodes, pairs, steps }) => {
      const state = dag(
        nodes.map(({ task, group }, i) => ({ id: `${task}-${i}`, status: "pending", ...(group && { group }) })),
        [],
      );
      const ids = [...state.nodes.keys()];
      for (const [many, few, out] of pairs) {
        const [from, to] = out ? [ids[few]!, ids[many]!] : [ids[many]!, ids[few]!];
        state.edges.set(to, (state.edges.get(to) ?? new Map()).set(from, { active: false, taken: false }));
      }
      const folding = new Folding(() => state);
      for (const each of [undefined, ...steps]) {
        if (each && "turn" in each)
          folding.toggle([...folding.shown.nodes.keys()][each.turn % folding.shown.nodes.size]!);
        else if (each && "node" in each) {
          const id = ids[each.node % ids.length]!;
          state.nodes.set(id, { ...state.nodes.get(id)!, status: each.status });
          folding.changed(change({ nodes: new Set([id]) }));
        } else if (each && "edge" in each) {
          const [to, sources] = [...state.edges][each.edge % Math.max(1, state.edges.size)] ?? [];
          const from = sources && [...sources.keys()][0];
          if (to !== undefined && from !== undefined) sources!.set(from, { active: true, taken: true });
          folding.changed(change({ edges: true }));
        } else if (each) folding.toggleAll();
        check(folding, state);
      }
    }),
    { numRuns: 300 },
  );
});

function check(folding: Folding, state: DagState): void {
  const { nodes, edges } = folding.shown;
  const standsFor = [...nodes.values()].flatMap((node) => (isFolded(node) ? node.members : [node.id]));
  expect([...standsFor].sort()).toEqual([...state.nodes.keys()].sort());
  for (const node of nodes.values()) {
    if (!isFolded(node)) expect(node).toBe(state.nodes.get(node.id));
    else
      for (const status of STATUSES)
        expect(node.counts[status] ?? 0).toBe(
          node.members.filter((id) => state.nodes.get(id)!.status === status).length,
        );
  }
  const wanted = new Map<string, boolean>();
  for (const [to, sources] of state.edges) {
    for (const [from, edge] of sources) {
      const [a, b] = [folding.shows(from), folding.shows(to)];
      if (a !== b || state.nodes.has(a)) wanted.set(`${a} ${b}`, edge.active || (wanted.get(`${a} ${b}`) ?? false));
    }
  }
  const drawn = [...edges].flatMap(([to, sources]) =>
    [...sources].map(([from, { active }]) => [`${from} ${to}`, active] as const),
  );
  expect(new Map(drawn)).toEqual(wanted);
}
