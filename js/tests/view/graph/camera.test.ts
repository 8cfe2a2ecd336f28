import { expect, test } from "vitest";
import { Camera, MAX_ZOOM, MIN_ZOOM } from "../../../src/view/graph/camera";

function camera(): Camera {
  const made = new Camera();
  made.resize(800, 400);
  return made;
}

test("a world point and its place on screen are each other's inverse", () => {
  const it = camera();
  it.setState({ x: 120, y: -40, k: 0.37 });
  const [x, y] = it.toWorld(...it.toScreen(33, 77));
  expect(x).toBeCloseTo(33, 6);
  expect(y).toBeCloseTo(77, 6);
});

test("zooming keeps what is under the pointer where it is", () => {
  const it = camera();
  it.setState({ x: 10, y: 20, k: 1 });
  const before = it.toWorld(700, 90);
  it.zoomAt(700, 90, 1.7);
  const after = it.toWorld(700, 90);
  expect(after[0]).toBeCloseTo(before[0], 6);
  expect(after[1]).toBeCloseTo(before[1], 6);
  expect(it.getState().k).toBeCloseTo(1.7, 6);
});

test("zoom stays within its bounds, and at a bound the picture does not slide", () => {
  const it = camera();
  it.zoomAt(0, 0, 1e9);
  expect(it.getState().k).toBe(MAX_ZOOM);
  const { x } = it.getState();
  it.zoomAt(0, 0, 2);
  expect(it.getState().x).toBeCloseTo(x, 6);
  it.zoomAt(0, 0, 1e-12);
  expect(it.getState().k).toBe(MIN_ZOOM);
});

test("panning moves the world by screen pixels", () => {
  const it = camera();
  it.setState({ x: 0, y: 0, k: 0.5 });
  it.pan(10, -20);
  expect(it.getState()).toMatchObject({ x: -20, y: 40 });
});

test("a fitted box lies on screen as a whole, above the buttons", () => {
  const it = camera();
  const box = { x: -300, y: 50, width: 4000, height: 3000 };
  it.setState(it.fitted(box));
  const [left, top] = it.toScreen(box.x, box.y);
  const [right, bottom] = it.toScreen(box.x + box.width, box.y + box.height);
  expect(left).toBeGreaterThanOrEqual(23.9);
  expect(right).toBeLessThanOrEqual(776.1);
  expect(top).toBeGreaterThanOrEqual(23.9);
  expect(bottom).toBeLessThanOrEqual(352.1);
});

test("fitting does not blow a small graph up", () => {
  expect(camera().fitted({ x: 0, y: 0, width: 20, height: 10 }).k).toBeLessThanOrEqual(1.1);
});

test("revealing a box that is on screen does not move the picture", () => {
  const it = camera();
  it.setState({ x: 0, y: 0, k: 1 });
  expect(it.revealing({ x: -50, y: -20, width: 100, height: 40 })).toEqual(it.getState());
});

test("what covers the bottom of the window hides nothing that is revealed", () => {
  const it = camera();
  const low = { x: -20, y: it.height / 2 - 60, width: 40, height: 40 };
  expect(it.revealing(low)).toEqual(it.getState());
  it.setState(it.revealing(low, 12, 100));
  expect(it.toScreen(0, low.y + low.height)[1]).toBeCloseTo(it.height - 112);
});

test("revealing a box off screen moves just far enough", () => {
  const it = camera();
  it.setState({ x: 0, y: 0, k: 1 });
  it.setState(it.revealing({ x: 450, y: 0, width: 100, height: 40 }, 10));
  expect(it.toScreen(550, 0)[0]).toBeCloseTo(790, 6);
  expect(it.getState().y).toBe(0);
});

test("a flight starts where the camera is, ends exactly where it was sent, and then rests", () => {
  const it = camera();
  it.setState({ x: 0, y: 0, k: 1 });
  it.animate({ x: 100, y: 50, k: 2 }, 1000);
  expect(it.step(1000)).toBe(true);
  expect(it.getState().x).toBeCloseTo(0, 6);
  expect(it.step(1100)).toBe(true);
  expect(it.getState().x).toBeGreaterThan(0);
  expect(it.step(9000)).toBe(false);
  expect(it.getState()).toEqual({ x: 100, y: 50, k: 2 });
  expect(it.moving).toBe(false);
});
