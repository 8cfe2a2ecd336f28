// @vitest-environment jsdom
import { afterEach, expect, test, vi } from "vitest";
import { layered } from "../../../src/layout/layered";
import type { Edge, Node } from "../../../src/state/types";
import { Camera } from "../../../src/view/graph/camera";
import { boxOf, viewOf } from "../../../src/view/graph/follow";
import { fitInto } from "../../../src/view/graph/minimap";
import type { Navigation } from "../../../src/view/graph/navigation";
import { around, kin, longest } from "../../../src/view/graph/paths";
import { graphOf, Scene } from "../../../src/view/graph/scene";
import { nextOf, Spotlight } from "../../../src/view/graph/spotlight";
import { Model } from "../../../src/view/model/model";
import { matches, parseQuery } from "../../../src/view/model/search";
import { HeaderPanel } from "../../../src/view/panels/header";
import { KeysPanel } from "../../../src/view/panels/keys";
import { SearchBar } from "../../../src/view/panels/searchbar";
import { Fake, NOW, runningState } from "../helpers";

afterEach(() => document.body.replaceChildren());

const never = () => false;
// 0 → 1 → 3 → 4, 0 → 2 → 3, and 5 apart
const DIAMOND = [0, 1, 0, 2, 1, 3, 2, 3, 3, 4];

function look(nodes: readonly Node[], edges: readonly [string, string][]) {
  const state = runningState(nodes);
  for (const [from, to] of edges) {
    const sources = state.edges.get(to) ?? new Map<string, Edge>();
    state.edges.set(to, sources.set(from, { active: false, taken: false }));
  }
  const input = graphOf(state, (it) => it.length * 7, 1);
  const scene = new Scene();
  scene.arrange({ ...input, layout: layered(input.graph), stage: "refined" }, state, false);
  const spotlight = new Spotlight(scene, new Model(new Fake(state).options, () => NOW));
  const bright = () => scene.ids.filter((_, i) => !scene.lit || scene.lit[i]);
  return { state, scene, spotlight, bright };
}

const CHAIN: Node[] = [
  { id: "a", status: "completed", metrics: { duration_ms: 10 } },
  { id: "b", status: "failed", metrics: { duration_ms: 10 }, group: "prep" },
  { id: "c", status: "completed", metrics: { duration_ms: 500 }, group: "prep" },
  { id: "d", status: "pending", label: "Train model" },
  { id: "e", status: "pending" },
];
const CHAIN_EDGES: [string, string][] = [
  ["a", "b"],
  ["a", "c"],
  ["b", "d"],
  ["c", "d"],
  ["d", "e"],
];

test.each([
  ["train", { id: "x1", label: "Train model" }, true],
  ["x1 model", { id: "x1", label: "Train model" }, true],
  ["test", { id: "x1", label: "Train model" }, false],
  ["state:fail", { id: "x1", status: "failed" }, true],
  ["state:failed state:running", { id: "x1", status: "running" }, true],
  ["state:failed x2", { id: "x1", status: "failed" }, false],
  ['group:"data prep"', { id: "x1", group: "Data prep/clean" }, true],
  ["group:prep", { id: "x1" }, false],
])("%s asks for the node %o: %s", (text, node, expected) => {
  expect(matches({ status: "pending", ...node } as Node, parseQuery(text)!)).toBe(expected);
});

test.each(["", "  ", "state:", '""'])("%j asks for nothing yet", (text) => {
  expect(parseQuery(text)).toBeUndefined();
});

test("kin are what leads to a node and from it, not what stands beside it", () => {
  expect([...kin(6, DIAMOND, 1, never)]).toEqual([1, 1, 0, 1, 1, 0]);
  expect([...kin(6, DIAMOND, 5, never)]).toEqual([0, 0, 0, 0, 0, 1]);
});

test("one step around is no further", () => {
  expect([...around(DIAMOND, Uint8Array.of(0, 1, 0, 0, 0, 0))]).toEqual([1, 1, 0, 1, 0, 0]);
});

test("the longest path is the heaviest, and goes on to the end over nodes of which nothing is known", () => {
  expect(longest(6, DIAMOND, [1, 2, 9, 1, 0, 5], never)).toEqual([0, 2, 3, 4]);
  expect(longest(6, DIAMOND, [1, 9, 2, 1, 0, 50], never)).toEqual([5]);
  expect(longest(0, [], [], never)).toEqual([]);
});

test("an edge that goes back is no way, so a loop ends", () => {
  const edges = [...DIAMOND, 4, 0];
  expect(longest(5, edges, [1, 1, 1, 1, 1], (e) => e === 5)).toHaveLength(4);
  expect([...kin(5, edges, 1, (e) => e === 5)]).toEqual([1, 1, 0, 1, 1]);
});

test("a list is gone through in a circle", () => {
  expect(nextOf([3, 1, 2], undefined, 1)).toBe(3);
  expect(nextOf([3, 1, 2], 2, 1)).toBe(3);
  expect(nextOf([3, 1, 2], 3, -1)).toBe(2);
  expect(nextOf([], 3, 1)).toBeUndefined();
});

test("a search comes before a mode, and what it leaves bright follows what changes", () => {
  const { spotlight, bright, scene, state } = look(CHAIN, CHAIN_EDGES);
  spotlight.set("path", "b");
  spotlight.light();
  expect(bright()).toEqual(["a", "b", "d", "e"]);
  spotlight.search("state:failed");
  spotlight.light();
  expect(bright()).toEqual(["b"]);
  state.nodes.set("e", { id: "e", status: "failed" });
  scene.refreshNodes(state, ["e"]);
  spotlight.light();
  expect(spotlight.found.map((i) => scene.ids[i])).toEqual(["b", "e"]);
  spotlight.search("");
  spotlight.light();
  expect(bright()).toEqual(["a", "b", "d", "e"]);
});

test("the critical path is bright with the edges that it goes along, and says how long it is", () => {
  const { spotlight, bright, scene } = look(CHAIN, CHAIN_EDGES);
  spotlight.set("critical");
  spotlight.light();
  expect(bright()).toEqual(["a", "c", "d", "e"]);
  expect([...scene.litEdges!].filter(Boolean)).toHaveLength(3);
  expect(spotlight.note).toMatch(/^4 nodes, 510 ms/);
});

test("only active keeps what failed and one step around it, and nearly nothing else", () => {
  const { spotlight, bright, scene } = look(CHAIN, CHAIN_EDGES);
  spotlight.set("active");
  spotlight.light();
  expect(bright()).toEqual(["a", "b", "d"]);
  expect(scene.dim).toBeLessThan(0.1);
});

test("a node with an open gate waits, whatever else it does", () => {
  const { spotlight, scene, state } = look(CHAIN, CHAIN_EDGES);
  state.gates.set("g", { gate_id: "g", node_id: "b", presentation: {} });
  expect(spotlight.stops("waiting").map((i) => scene.ids[i])).toEqual(["b"]);
  expect(spotlight.stops("failed").map((i) => scene.ids[i])).toEqual(["b"]);
});

test("the camera stays while what runs is in sight, and moves no more than it must", () => {
  const { scene } = look(CHAIN, CHAIN_EDGES);
  const camera = new Camera();
  camera.resize(600, 400);
  camera.setState({ x: scene.x[0]!, y: scene.y[0]!, k: 0.5 });
  const here = boxOf(scene, [0])!;
  expect(viewOf(camera, here, false)).toBeUndefined();
  const away = viewOf(camera, { ...here, x: here.x + 1000 }, false)!;
  expect(away.k).toBe(0.5);
  expect(away.x).toBeLessThan(here.x + 1000);
  expect(viewOf(camera, { ...here, width: 9000 }, false)!.k).toBeLessThan(0.1);
  expect(boxOf(scene, [])).toBeUndefined();
});

test("a graph of any shape is in the middle of the map", () => {
  for (const [width, height] of [
    [10_000, 100],
    [100, 10_000],
    [300, 200],
  ] as const) {
    const { k, left, top } = fitInto(width, height);
    expect(left).toBeGreaterThanOrEqual(5.9);
    expect(top).toBeGreaterThanOrEqual(5.9);
    expect(2 * left + width * k).toBeCloseTo(168);
    expect(2 * top + height * k).toBeCloseTo(104);
  }
});

function bar(nodes: number, more: Partial<Pick<Navigation, "searching" | "found">> = {}) {
  const graph = {
    mode: undefined,
    following: false,
    searching: false,
    found: { at: 0, of: 0 },
    note: "",
    search: vi.fn(),
    step: vi.fn<Navigation["step"]>(),
    toggle: vi.fn(),
    watch: vi.fn(),
    foldAll: vi.fn(),
    focus: vi.fn(),
    ...more,
  };
  const list = Array.from({ length: nodes }, (_, i): Node => ({ id: `n${i}`, status: "pending" }));
  const panel = new SearchBar(new Model(new Fake(runningState(list)).options, () => NOW), graph, () => {});
  document.body.append(panel.el);
  panel.update();
  return { panel, graph, field: panel.el.querySelector("input")! };
}

const press = (el: Element, key: string, more: KeyboardEventInit = {}) =>
  el.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));

test("a small graph has no search line until it is asked for", () => {
  const { panel, field, graph } = bar(3);
  expect(panel.el.hidden).toBe(true);
  panel.focus();
  expect(panel.el.hidden).toBe(false);
  expect(document.activeElement).toBe(field);
  press(field, "Escape");
  expect(panel.el.hidden).toBe(true);
  expect(graph.focus).toHaveBeenCalled();
});

test("the search line says where it is, and Enter goes on", () => {
  const { panel, field, graph } = bar(50, { searching: true, found: { at: 3, of: 41 } });
  expect(panel.el.querySelector(".dw-search .dw-found")!.textContent).toBe("3 of 41");
  field.value = "n4";
  field.dispatchEvent(new Event("input"));
  expect(graph.search).toHaveBeenCalledWith("n4");
  press(field, "Enter");
  press(field, "Enter", { shiftKey: true });
  expect(graph.step.mock.calls).toEqual([[1], [-1]]);
});

test("a search that finds nothing says so, and offers no next", () => {
  const { panel } = bar(50, { searching: true });
  expect(panel.el.querySelector(".dw-search .dw-found")!.textContent).toBe("no matches");
  expect(panel.el.querySelectorAll(".dw-search button:not([hidden])")).toHaveLength(0);
});

test("the counts of what failed, waits and runs are ways to it", () => {
  const jump = vi.fn();
  const nodes: Node[] = [
    { id: "a", status: "failed" },
    { id: "b", status: "completed" },
  ];
  const panel = new HeaderPanel(new Model(new Fake(runningState(nodes)).options, () => NOW), jump);
  panel.update();
  const button = panel.el.querySelector<HTMLButtonElement>("li:not([hidden]) button")!;
  expect(button.textContent).toBe("1 failed");
  expect(button.title).toContain("(f)");
  button.click();
  expect(jump).toHaveBeenCalledWith("failed");
});

test("the list of keys gives the focus back", () => {
  const before = document.createElement("button");
  const keys = new KeysPanel();
  document.body.append(before, keys.el);
  before.focus();
  keys.toggle();
  expect(keys.el.contains(document.activeElement)).toBe(true);
  press(document.activeElement!, "Escape");
  expect(keys.el.hidden).toBe(true);
  expect(document.activeElement).toBe(before);
});
