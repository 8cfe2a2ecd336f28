import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { layered } from "../../../src/layout/layered";
import type { Edge, Node, NodeStatus } from "../../../src/state/types";
import { Camera } from "../../../src/view/graph/camera";
import { drawEdges } from "../../../src/view/graph/edges";
import type { Frame } from "../../../src/view/graph/frame";
import { drawMoving } from "../../../src/view/graph/moving";
import { drawNodes } from "../../../src/view/graph/nodes";
import { graphOf, Scene } from "../../../src/view/graph/scene";
import type { TextMeasure } from "../../../src/view/graph/text";
import { makeTheme } from "../../../src/view/graph/theme";
import { NOW, runningState } from "../helpers";

/** A context that remembers what was asked of it: every call as `[name, …arguments]`. */
function recorder() {
  const calls: [string, ...unknown[]][] = [];
  const target = { canvas: { width: 800, height: 400 } } as Record<string, unknown>;
  const ctx = new Proxy(target, {
    get: (object, name: string) => object[name] ?? ((...args: unknown[]) => void calls.push([name, ...args])),
    set: (object, name: string, value) => {
      object[name] = value;
      return true;
    },
  });
  const named = (name: string) => calls.filter(([it]) => it === name);
  return {
    ctx: ctx as unknown as CanvasRenderingContext2D,
    named,
    texts: () => named("fillText").map(([, text]) => text),
  };
}

const text = {
  width: (it: string) => it.length * 7,
  fit: (it: string) => it,
  lines: (it: string) => [it],
} as unknown as TextMeasure;

function frameOf(count: number, k: number, more: Partial<Frame> = {}, status: NodeStatus = "completed") {
  const nodes: Node[] = Array.from({ length: count }, (_, i) => ({ id: `n${i}`, status, label: `node ${i}` }));
  const state = runningState(nodes);
  for (let i = 1; i < count; i++) {
    state.edges.set(`n${i}`, new Map<string, Edge>([[`n${i - 1}`, { active: i === 1, taken: true, label: "go" }]]));
  }
  const input = graphOf(state, (it) => it.length * 7, 1);
  const scene = new Scene();
  scene.arrange({ ...input, layout: layered(input.graph), stage: "refined" }, state, false);
  const camera = new Camera();
  camera.resize(800, 400);
  camera.setState({ x: scene.x[0]!, y: scene.y[0]!, k });
  const record = recorder();
  const frame: Frame = {
    ctx: record.ctx,
    scene,
    theme: makeTheme({}),
    text,
    view: camera.getState(),
    visible: camera.visible(),
    width: 800,
    height: 400,
    ratio: 1,
    asOf: NOW,
    time: 0,
    still: false,
    cost: undefined,
    ...more,
  };
  return { frame, scene, ...record };
}

const noMarks = { hovered: undefined, selected: undefined, cursor: undefined };

beforeEach(() => {
  vi.stubGlobal(
    "Path2D",
    class {
      moveTo(): void {}
      lineTo(): void {}
      bezierCurveTo(): void {}
      closePath(): void {}
    },
  );
});

afterEach(() => {
  vi.unstubAllGlobals();
});

test("from far away a node is a mark, nearer a box, and near enough it has its label and second line", () => {
  const far = frameOf(3, 0.05);
  drawNodes(far.frame);
  expect(far.named("fillRect")).toHaveLength(3);
  expect(far.texts()).toEqual([]);
  const box = frameOf(3, 0.2);
  drawNodes(box.frame);
  expect(box.named("roundRect")).toHaveLength(3);
  expect(box.texts()).toEqual([]);
  const near = frameOf(3, 0.4, {}, "waiting");
  drawNodes(near.frame);
  expect(near.texts()).toContain("node 0");
  expect(near.texts()).not.toContain("needs a decision");
  const close = frameOf(3, 1, {}, "waiting");
  drawNodes(close.frame);
  expect(close.texts()).toContain("needs a decision");
});

test("what is off screen is not drawn", () => {
  const { frame, texts } = frameOf(200, 1);
  drawNodes(frame);
  expect(texts()).toContain("node 0");
  expect(texts()).not.toContain("node 150");
  expect(texts().length).toBeLessThan(20);
});

test("edges of one look are one stroke, however many they are", () => {
  const { frame, named } = frameOf(300, 0.05);
  drawEdges(frame);
  expect(named("stroke")).toHaveLength(1);
});

test("the flow on an active edge asks for another frame, unless motion is not wanted or seen", () => {
  expect(drawMoving(frameOf(3, 1).frame, noMarks)).toBe(true);
  expect(drawMoving(frameOf(3, 1, { still: true }).frame, noMarks)).toBe(false);
  expect(drawMoving(frameOf(3, 0.05).frame, noMarks)).toBe(false);
});

test("a picture in which nothing moves asks for no frame", () => {
  const { frame, scene } = frameOf(3, 1);
  scene.flags.fill(0);
  expect(drawMoving(frame, noMarks)).toBe(false);
});

test("a node that waits for a person is ringed at every distance", () => {
  for (const k of [0.01, 0.2, 1]) {
    const { frame, scene, named } = frameOf(1, k, {}, "waiting");
    scene.flags.fill(0);
    expect(drawMoving(frame, noMarks)).toBe(true);
    expect(named("roundRect")).toHaveLength(1);
  }
});

test("the hovered, the selected and the focused node are each marked", () => {
  const { frame, scene, named } = frameOf(4, 1);
  scene.flags.fill(0);
  drawMoving(frame, { hovered: 0, selected: 1, cursor: 2 });
  expect(named("roundRect")).toHaveLength(3);
});
