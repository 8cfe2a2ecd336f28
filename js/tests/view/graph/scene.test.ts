import { expect, test } from "vitest";
import { layered } from "../../../src/layout/layered";
import type { DagState, Edge, Node } from "../../../src/state/types";
import { caption } from "../../../src/view/graph/caption";
import { chooseDirection } from "../../../src/view/graph/direction";
import { Grid } from "../../../src/view/graph/grid";
import { ACTIVE, BACK, CONDITIONAL, graphOf, NODE_MAX, NODE_MIN, Scene, TAKEN } from "../../../src/view/graph/scene";
import { step } from "../../../src/view/graph/walk";
import { NOW, runningState } from "../helpers";

/** A state of the given nodes and edges (`"a>b"`). */
function stateOf(nodes: readonly (string | Node)[], edges: readonly string[]): DagState {
  const state = runningState(nodes.map((it) => (typeof it === "string" ? { id: it, status: "pending" } : it)));
  for (const text of edges) {
    const [from, to] = text.split(">") as [string, string];
    const sources = state.edges.get(to) ?? new Map<string, Edge>();
    state.edges.set(to, sources.set(from, { active: false, taken: false }));
  }
  return state;
}

function laidOut(state: DagState) {
  const input = graphOf(state, (text) => text.length * 7, 1);
  return { ...input, layout: layered(input.graph), stage: "refined" as const };
}

function sceneOf(state: DagState): Scene {
  const scene = new Scene();
  scene.arrange(laidOut(state), state, true);
  return scene;
}

const DIAMOND = ["a>b", "a>c", "b>d", "c>d"];

test("a node is as wide as its label, within bounds", () => {
  const { graph } = graphOf(
    stateOf(["x", "a label of some length", "y".repeat(200)], []),
    (text) => text.length * 7,
    1,
  );
  expect(graph.width[0]).toBe(NODE_MIN);
  expect(graph.width[1]).toBeGreaterThan(NODE_MIN);
  expect(graph.width[2]).toBe(NODE_MAX);
});

test("groups are named once, and nodes outside have none", () => {
  const nodes: Node[] = [
    { id: "a", status: "pending", group: "etl" },
    { id: "b", status: "pending" },
    { id: "c", status: "pending", group: "etl" },
  ];
  const { graph } = graphOf(stateOf(nodes, []), () => 50, 1);
  expect(graph.group!.paths).toEqual(["etl"]);
  expect([...graph.group!.of]).toEqual([0, -1, 0]);
});

test("an edge whose end is not there is left out", () => {
  const state = stateOf(["a"], []);
  state.edges.set("a", new Map([["ghost", { active: false, taken: false }]]));
  expect(graphOf(state, () => 50, 1).graph.edges).toHaveLength(0);
});

test("a point finds the node whose box it is in, and none beside it", () => {
  const scene = sceneOf(stateOf(["a", "b", "c", "d"], DIAMOND));
  for (let i = 0; i < scene.n; i++) expect(scene.hit(scene.x[i]!, scene.y[i]!, 0)).toBe(i);
  expect(scene.hit(-5000, -5000, 10)).toBeUndefined();
});

test("the index finds every box that touches a window, like a search through all", () => {
  const n = 500;
  let seed = 3;
  const random = () => {
    seed = (seed * 16807) % 2147483647;
    return seed / 2147483647;
  };
  const array = (scale: number, least = 0) => Float32Array.from({ length: n }, () => least + random() * scale);
  const [x, y, width, height] = [array(9000, -4000), array(3000), array(240, 20), array(60, 10)];
  const grid = new Grid(n, x, y, width, height);
  for (let k = 0; k < 50; k++) {
    const box = { x: random() * 9000 - 4500, y: random() * 3000, width: random() * 2000, height: random() * 900 };
    const found = new Set<number>();
    grid.query(box, (i) => found.add(i));
    for (let i = 0; i < n; i++) {
      const touches =
        Math.abs(x[i]! - box.x - box.width / 2) <= (width[i]! + box.width) / 2 &&
        Math.abs(y[i]! - box.y - box.height / 2) <= (height[i]! + box.height) / 2;
      if (touches) expect(found.has(i)).toBe(true);
    }
  }
});

test("an edge's flags follow the state: active, taken, conditional, back", () => {
  const state = stateOf(["a", "b"], ["a>b", "b>a"]);
  const scene = sceneOf(state);
  const flagsOf = (from: string, to: string) => {
    for (let e = 0; e < scene.flags.length; e++) {
      if (scene.ids[scene.edges[2 * e]!] === from && scene.ids[scene.edges[2 * e + 1]!] === to) return scene.flags[e];
    }
    return undefined;
  };
  expect([flagsOf("a", "b"), flagsOf("b", "a")].sort()).toEqual([0, BACK]);
  const [from, to] = flagsOf("a", "b") === BACK ? ["a", "b"] : ["b", "a"];
  state.edges.get(to!)!.set(from!, { active: true, taken: true, conditional: true });
  scene.refreshEdges(state);
  expect(flagsOf(from!, to!)).toBe(ACTIVE | TAKEN | CONDITIONAL | BACK);
});

test("only the nodes that are named are taken in anew", () => {
  const state = stateOf(["a", "b"], ["a>b"]);
  const scene = sceneOf(state);
  state.nodes.set("a", { id: "a", status: "failed" });
  state.nodes.set("b", { id: "b", status: "running" });
  scene.refreshNodes(state, ["a", "gone"]);
  expect([scene.statusOf(0), scene.statusOf(1)]).toEqual(["failed", "pending"]);
});

test("on the way to a new layout nodes set out from where they were, and routes stay at their ends", () => {
  const state = stateOf(["a", "b"], ["a>b"]);
  const scene = sceneOf(state);
  expect(scene.progress).toBe(1);
  const [x, y] = [scene.x[1]!, scene.y[1]!];
  state.nodes.set("c", { id: "c", status: "pending" });
  state.edges.set("c", new Map([["a", { active: false, taken: false }]]));
  state.nodes.set("d", { id: "d", status: "pending" });
  state.edges.set("d", new Map([["a", { active: false, taken: false }]]));
  const next = laidOut(state);
  scene.arrange(next, state, true);
  expect([scene.x[1], scene.y[1]]).toEqual([x, y]);
  expect([...scene.fresh]).toEqual([0, 0, 1, 1]);
  const points: number[] = [];
  for (const t of [0, 0.3, 1]) {
    scene.move(t);
    for (let e = 0; e < scene.flags.length; e++) {
      const length = scene.routeOf(e, points);
      const to = scene.edges[2 * e + 1]!;
      const [dx, dy] = [points[length - 2]! - scene.x[to]!, points[length - 1]! - scene.y[to]!];
      expect(Math.abs(dx)).toBeLessThanOrEqual(scene.width[to]! / 2 + 0.01);
      expect(Math.abs(dy)).toBeLessThanOrEqual(scene.height[to]! / 2 + 0.01);
    }
  }
  expect(scene.x[1]).toBeCloseTo(next.layout.x[1]!, 3);
});

test("arrow keys walk along the edges, and among the neighbours of a layer", () => {
  const scene = sceneOf(stateOf(["a", "b", "c", "d"], DIAMOND));
  const name = (i: number | undefined) => scene.ids[i!];
  expect(name(step(scene, undefined, "ArrowRight"))).toBe("a");
  const second = step(scene, scene.index.get("a"), "ArrowRight")!;
  expect(["b", "c"]).toContain(name(second));
  const other = scene.y[scene.index.get("b")!]! < scene.y[scene.index.get("c")!]! ? ["b", "c"] : ["c", "b"];
  expect(name(step(scene, scene.index.get(other[0]!), "ArrowDown"))).toBe(other[1]);
  expect(name(step(scene, scene.index.get(other[1]!), "ArrowUp"))).toBe(other[0]);
  expect(name(step(scene, second, "ArrowRight"))).toBe("d");
  expect(name(step(scene, scene.index.get("d"), "ArrowRight"))).toBe("d");
  expect(name(step(scene, scene.index.get("d"), "ArrowDown"))).toBe("d");
});

test("a chain runs along a wide window and down a narrow one", () => {
  const { graph } = graphOf(stateOf(["a", "b", "c", "d", "e", "f"], ["a>b", "b>c", "c>d", "d>e", "e>f"]), () => 80, 1);
  expect(chooseDirection(graph, { width: 1200, height: 420 }, undefined)).toBe("LR");
  expect(chooseDirection(graph, { width: 340, height: 420 }, undefined)).toBe("TB");
});

test("a direction is kept unless the other is far better, and cycles are no obstacle", () => {
  const { graph } = graphOf(stateOf(["a", "b", "c"], ["a>b", "b>c", "c>a"]), () => 80, 1);
  for (const current of ["LR", "TB"] as const) {
    expect(chooseDirection(graph, { width: 500, height: 420 }, current)).toBe(current);
  }
});

test("the second line says the one thing that matters", () => {
  const node = (more: Partial<Node>): Node => ({ id: "n", status: "running", ...more });
  const cost = { spent: 1, currency: "USD", by_node: { n: 0.25 } };
  const said = (more: Partial<Node>) => caption(node(more), cost, NOW);
  expect(said({ started_at: NOW - 65_000 })).toBe("1:05");
  expect(said({ started_at: NOW - 65_000, message: "page 3" })).toBe("page 3 · 1:05");
  expect(said({ counts: { completed: 2, failed: 1 } })).toBe("2/3, 1 failed");
  expect(said({ status: "failed", error: "Boom\n at x" })).toBe("Boom");
  expect(said({ status: "waiting" })).toBe("needs a decision");
  expect(said({ status: "completed", started_at: 0, ended_at: 1500 })).toMatch(/^1\.5 s · .*0\.25/);
  expect(said({ status: "pending" })).toBe("");
});
