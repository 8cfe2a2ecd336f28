// @vitest-environment jsdom
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { listen } from "../../../src/view/graph/input";

let el: HTMLElement;
let stop: () => void;
const gestures = {
  pan: vi.fn(),
  zoom: vi.fn(),
  hover: vi.fn(),
  click: vi.fn(),
  key: vi.fn((event: KeyboardEvent) => event.key === "f"),
  passed: vi.fn(),
};

function pointer(type: string, id: number, x: number, y: number, pointerType = "mouse"): void {
  const event = new MouseEvent(type, { clientX: x, clientY: y, button: 0, bubbles: true });
  el.dispatchEvent(Object.assign(event, { pointerId: id, pointerType }));
}

function wheel(init: WheelEventInit): WheelEvent {
  const event = new WheelEvent("wheel", { cancelable: true, bubbles: true, ...init });
  el.dispatchEvent(event);
  return event;
}

beforeEach(() => {
  vi.clearAllMocks();
  el = document.createElement("div");
  el.tabIndex = 0;
  el.setPointerCapture = () => {};
  document.body.replaceChildren(el);
  stop = listen(el, gestures);
});

afterEach(() => stop());

test("a press that hardly moves is a click, and pans nothing", () => {
  pointer("pointerdown", 1, 100, 50);
  pointer("pointermove", 1, 102, 51);
  pointer("pointerup", 1, 102, 51);
  expect(gestures.click).toHaveBeenCalledWith(102, 51, false);
  expect(gestures.pan).not.toHaveBeenCalled();
});

test("a drag pans by what the pointer moved, and clicks nothing", () => {
  pointer("pointerdown", 1, 100, 50);
  pointer("pointermove", 1, 120, 40);
  pointer("pointermove", 1, 125, 40);
  pointer("pointerup", 1, 125, 40);
  expect(gestures.pan.mock.calls).toEqual([
    [20, -10],
    [5, 0],
  ]);
  expect(gestures.click).not.toHaveBeenCalled();
});

test("two fingers that part zoom in about their middle", () => {
  pointer("pointerdown", 1, 100, 100, "touch");
  pointer("pointerdown", 2, 200, 100, "touch");
  pointer("pointermove", 2, 300, 100, "touch");
  expect(gestures.zoom).toHaveBeenCalledWith(200, 100, 2);
  pointer("pointerup", 2, 300, 100, "touch");
  pointer("pointerup", 1, 100, 100, "touch");
  expect(gestures.click).not.toHaveBeenCalled();
});

test("a finger that the page takes over for scrolling is no click", () => {
  pointer("pointerdown", 1, 100, 100, "touch");
  pointer("pointercancel", 1, 100, 100, "touch");
  expect(gestures.click).not.toHaveBeenCalled();
});

test("the wheel scrolls the page until the graph has the focus", () => {
  expect(wheel({ deltaY: 100 }).defaultPrevented).toBe(false);
  expect(gestures.passed).toHaveBeenCalledOnce();
  expect(gestures.zoom).not.toHaveBeenCalled();
  el.focus();
  expect(wheel({ deltaY: 100 }).defaultPrevented).toBe(true);
  expect(gestures.zoom.mock.calls[0]![2]).toBeLessThan(1);
});

test("a pinch on a trackpad, or the wheel with Ctrl, always zooms", () => {
  expect(wheel({ deltaY: -10, ctrlKey: true, clientX: 30, clientY: 40 }).defaultPrevented).toBe(true);
  const [x, y, factor] = gestures.zoom.mock.calls[0]!;
  expect([x, y]).toEqual([30, 40]);
  expect(factor).toBeGreaterThan(1);
});

test("a key that the graph knows stays with it, any other goes on to the host", () => {
  const heard = vi.fn();
  document.body.addEventListener("keydown", heard);
  const press = (init: KeyboardEventInit) =>
    el.dispatchEvent(new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...init }));
  expect(press({ key: "f" })).toBe(false);
  expect(heard).not.toHaveBeenCalled();
  expect(press({ key: "x" })).toBe(true);
  expect(press({ key: "f", ctrlKey: true })).toBe(true);
  expect(heard).toHaveBeenCalledTimes(2);
  document.body.removeEventListener("keydown", heard);
});

test("once stopped, nothing is heard", () => {
  stop();
  pointer("pointerdown", 1, 100, 50);
  pointer("pointerup", 1, 100, 50);
  wheel({ deltaY: 1, ctrlKey: true });
  expect(gestures.click).not.toHaveBeenCalled();
  expect(gestures.zoom).not.toHaveBeenCalled();
});
