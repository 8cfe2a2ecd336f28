// Mouse, wheel, touch and keys, told as gestures. The page keeps its own scrolling until the graph has the focus: a
// widget that swallows the wheel on its way down a notebook is a trap.

import { focusedNear } from "../dom/dom";

export interface Gestures {
  pan(dx: number, dy: number): void;
  zoom(x: number, y: number, factor: number): void;
  /** The pointer is at (x, y), or has left. */
  hover(x: number | undefined, y?: number): void;
  click(x: number, y: number, touch: boolean): void;
  /** Whether the key meant something here. */
  key(event: KeyboardEvent): boolean;
  /** The wheel was turned over a graph that does not have the focus. */
  passed?(): void;
  /** What scrolls by itself takes the wheel as it likes: whether it did. */
  wheel?(x: number, event: WheelEvent): boolean;
}

/** A press that moves less than this is a click. */
const CLICK_PX = 4;
const WHEEL_SPEED = 0.0016;
const LINE_PX = 16;

/** By how much a turn of the wheel zooms. */
export function zoomOf(event: WheelEvent): number {
  const turned = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_PX : 1);
  const speed = event.ctrlKey ? WHEEL_SPEED * 5 : WHEEL_SPEED;
  return Math.exp(-Math.max(-120, Math.min(120, turned)) * speed);
}

/** Listen on `el`; returns how to stop. */
export function listen(el: HTMLElement, gestures: Gestures): () => void {
  const stop = new AbortController();
  const options = { signal: stop.signal };
  const pointers = new Map<number, { x: number; y: number }>();
  let moved = 0;

  const at = (event: { clientX: number; clientY: number }) => {
    const box = el.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  el.addEventListener(
    "pointerdown",
    (event) => {
      // A press beside the content is meant for its scroll bar.
      if (event.button !== 0 || (el.clientWidth < el.offsetWidth && at(event).x > el.clientWidth)) return;
      if (pointers.size === 0) moved = 0;
      pointers.set(event.pointerId, at(event));
      if (event.pointerType !== "touch") el.setPointerCapture(event.pointerId);
    },
    options,
  );
  el.addEventListener(
    "pointermove",
    (event) => {
      const now = at(event);
      const before = pointers.get(event.pointerId);
      if (!before) {
        if (event.pointerType !== "touch") gestures.hover(now.x, now.y);
        return;
      }
      const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
      moved += Math.hypot(now.x - before.x, now.y - before.y);
      pointers.set(event.pointerId, now);
      if (other) {
        // The middle of two fingers moves the picture, their distance zooms it.
        gestures.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
        const [from, to] = [
          Math.hypot(before.x - other.x, before.y - other.y),
          Math.hypot(now.x - other.x, now.y - other.y),
        ];
        if (from > 0) gestures.zoom((now.x + other.x) / 2, (now.y + other.y) / 2, to / from);
      } else if (moved > CLICK_PX) {
        el.classList.add("dw-dragging");
        gestures.pan(now.x - before.x, now.y - before.y);
      }
    },
    options,
  );
  const release = (event: PointerEvent) => {
    const known = pointers.delete(event.pointerId);
    if (pointers.size === 0) el.classList.remove("dw-dragging");
    if (known && event.type === "pointerup" && moved <= CLICK_PX) {
      const { x, y } = at(event);
      gestures.click(x, y, event.pointerType === "touch");
    }
  };
  el.addEventListener("pointerup", release, options);
  el.addEventListener("pointercancel", release, options);
  el.addEventListener("pointerleave", () => gestures.hover(undefined), options);
  el.addEventListener(
    "wheel",
    (event) => {
      if (gestures.wheel) {
        if (gestures.wheel(at(event).x, event)) event.preventDefault();
        return;
      }
      // A pinch on a trackpad arrives as a wheel with ctrl.
      if (!event.ctrlKey && !event.metaKey && focusedNear(el) !== el) {
        gestures.passed?.();
        return;
      }
      event.preventDefault();
      const { x, y } = at(event);
      gestures.zoom(x, y, zoomOf(event));
    },
    { ...options, passive: false },
  );
  el.addEventListener(
    "keydown",
    (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (!gestures.key(event)) return;
      event.preventDefault();
      // Notebooks have a command for every key: what was meant for the graph ends here.
      event.stopPropagation();
    },
    options,
  );
  return () => stop.abort();
}
