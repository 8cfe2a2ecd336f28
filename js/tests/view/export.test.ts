// @vitest-environment jsdom
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { layered } from "../../src/layout/layered";
import type { DagState, Node } from "../../src/state/types";
import { pngScale } from "../../src/view/export/png";
import { escaped, toSvg } from "../../src/view/export/svg";
import { graphOf, Scene } from "../../src/view/graph/scene";
import { TextMeasure } from "../../src/view/graph/text";
import { makeTheme } from "../../src/view/graph/theme";
import { STATUSES } from "../../src/view/model/status";
import type { Draw } from "../../src/view/panel";
import { mountView } from "../../src/view/view";
import { Fake, NOW, runningState, viewIn } from "./helpers";

class Observer {
  observe(): void {}
  disconnect(): void {}
}

let unmount: (() => void) | undefined;

beforeEach(() => {
  vi.stubGlobal("ResizeObserver", Observer);
  vi.stubGlobal("IntersectionObserver", Observer);
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
});

afterEach(() => {
  unmount?.();
  unmount = undefined;
  document.body.replaceChildren();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function svgOf(state: DagState, title = "run"): Document {
  const input = graphOf(state, (text) => text.length * 7, 1);
  const scene = new Scene();
  scene.arrange({ ...input, layout: layered(input.graph), stage: "refined" }, state, false);
  const text = toSvg({ scene, theme: makeTheme({}), text: new TextMeasure(), asOf: NOW, cost: state.cost }, title);
  const document = new DOMParser().parseFromString(text, "image/svg+xml");
  expect(document.querySelector("parsererror")?.textContent).toBeUndefined();
  return document;
}

const texts = (svg: Document) => [...svg.querySelectorAll("text")].map((text) => text.textContent);

test("every status has its colour and its shape, and its word", () => {
  const svg = svgOf(runningState(STATUSES.map((status) => ({ id: status, status }))));
  const nodes = [...svg.querySelectorAll("svg > g")];
  expect(nodes.map((node) => node.querySelector("title")!.textContent)).toEqual(STATUSES.map((it) => `${it}: ${it}`));
  expect(new Set(nodes.map((node) => node.querySelector("g")!.innerHTML)).size).toBe(STATUSES.length);
  const { status } = makeTheme({});
  for (const [i, name] of STATUSES.entries())
    expect(nodes[i]!.querySelector("g")!.getAttribute("stroke")).toBe(status[name]);
});

test("edges have their routes and labels, and groups their names", () => {
  const state = runningState([
    { id: "a", status: "completed", group: "etl" },
    { id: "b", status: "running", group: "etl", progress: 0.5 },
    { id: "c", status: "pending" },
  ]);
  state.edges.set("b", new Map([["a", { active: true, taken: true, label: "rows" }]]));
  state.edges.set("c", new Map([["b", { active: false, taken: false, conditional: true }]]));
  const svg = svgOf(state);
  expect(svg.querySelectorAll('path[fill="none"][d^="M"][d*="C"]').length).toBe(2);
  expect(texts(svg)).toEqual(expect.arrayContaining(["etl", "rows", "a", "b", "c"]));
  expect(svg.documentElement.outerHTML).not.toMatch(/NaN|undefined/);
});

test("a group says what its nodes have cost, also in groups within it", () => {
  const state = runningState([
    { id: "a", status: "completed", group: "etl" },
    { id: "b", status: "completed", group: "etl/load", metrics: { cost: 1 } },
  ]);
  state.cost = { spent: 3, currency: "USD", by_node: { a: 2 } };
  expect(texts(svgOf(state))).toEqual(expect.arrayContaining(["etl · $3.00", "load · $1.00"]));
});

test.each([
  "</title><script>alert(1)</script>",
  `"><image href="x" onerror="alert(1)">`,
  "a & b < c > d ' e",
  "]]><!-- x",
  "&lt;b&gt;",
  "\u0000\u001b[31m\ud800 lone \udfff\uffff",
])("a label can't break out of its text: %j", (hostile) => {
  const nodes: Node[] = [{ id: hostile, status: "failed", error: hostile, group: hostile, native: hostile }];
  const state = runningState([...nodes, { id: "b", status: "pending" }]);
  state.edges.set("b", new Map([[hostile, { active: false, taken: false, label: hostile }]]));
  const svg = svgOf(state, hostile);
  expect(svg.querySelectorAll("script, image, foreignObject, a")).toHaveLength(0);
  const names = new Set([...svg.querySelectorAll("*")].map((element) => element.localName));
  expect([...names].sort()).toEqual(["g", "path", "rect", "svg", "text", "title"]);
  for (const element of svg.querySelectorAll("*")) {
    expect(element.getAttributeNames().filter((name) => name.startsWith("on") || name.includes("href"))).toEqual([]);
  }
});

test("what XML can't hold is shown as missing, what nobody sees by its number, the rest as it is", () => {
  expect(escaped("a\u0000\u202e\ud800é😀\n")).toBe("a[U+0000][U+202E]\uFFFDé😀\n");
  expect(escaped(`<&>"'`)).toBe("&#60;&#38;&#62;&#34;&#39;");
});

test("a PNG has two pixels a pixel, as long as that is not too large", () => {
  expect(pngScale(800, 400)).toBe(2);
  for (const [width, height] of [
    [20_000, 300],
    [300, 90_000],
    [30_000, 30_000],
  ] as const) {
    const scale = pngScale(width, height);
    expect(scale * Math.max(width, height)).toBeLessThanOrEqual(8192.001);
    expect(scale * width * scale * height).toBeLessThanOrEqual(16_777_217);
  }
});

test("a view draws for others, also a graph that was never on screen, until it is taken down", async () => {
  let draw: Draw | undefined;
  const taken = vi.fn();
  const fake = new Fake(runningState([{ id: "a", status: "waiting" }]), {
    offer: (offered) => {
      draw = offered;
      return taken;
    },
  });
  const el = document.createElement("div");
  document.body.append(el);
  unmount = mountView(el, fake.options);
  const picture = await draw!("svg");
  expect(picture.type).toBe("image/svg+xml");
  const text = await new Promise<string>((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.readAsText(picture);
  });
  expect(text).toContain("<title>my-dag: running</title>");
  expect(text).toContain("a: waiting");
  await expect(draw!("png")).rejects.toThrow("draws no canvas");
  unmount();
  unmount = undefined;
  expect(taken).toHaveBeenCalledOnce();
});

test("the menu downloads the state", async () => {
  const blobs: Blob[] = [];
  vi.stubGlobal(
    "URL",
    Object.assign(URL, { createObjectURL: (blob: Blob) => `blob:${blobs.push(blob)}`, revokeObjectURL() {} }),
  );
  const clicked: string[] = [];
  vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (this: HTMLAnchorElement) {
    clicked.push(this.download);
  });
  const el = document.createElement("div");
  document.body.append(el);
  unmount = mountView(el, { ...new Fake(runningState([{ id: "a", status: "waiting" }])).options, dagId: "../my dag" });
  const menu = [...viewIn(el).querySelectorAll<HTMLDetailsElement>(".dw-menu")].at(-1)!;
  menu.open = true;
  [...menu.querySelectorAll("button")].at(-1)!.click();
  expect(menu.open).toBe(false);
  await vi.waitFor(() => expect(clicked).toEqual([".._my_dag.json"]));
  expect(blobs.at(-1)!.type).toBe("application/json");
});

test("a node's attempt and the engine's own word are on it, and one that stands for several is a stack", () => {
  const folded = { id: "maps", label: "map × 20", status: "running", members: ["a"], counts: { running: 20 } } as Node;
  const state = runningState([{ id: "b", status: "failed", attempt: 3, native: "gone", error: "no" }, folded]);
  const svg = svgOf(state);
  expect(texts(svg)).toEqual(expect.arrayContaining(["#3", "gone", "no", "map × 20", "0/20"]));
  const rects = [...svg.querySelectorAll("svg > g")].map((node) => node.querySelectorAll("rect[stroke]").length);
  expect(rects).toEqual([1, 3]);
});
