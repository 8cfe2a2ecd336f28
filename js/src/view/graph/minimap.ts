// A small picture of the whole graph, with the window as a frame: the picture is drawn when nodes have changed, and then
// a few times a second at most; the frame is an element, so that moving it draws nothing.

import { h, setHidden } from "../dom/dom";
import { STATUSES } from "../model/status";
import type { Camera } from "./camera";
import type { Scene } from "./scene";
import type { Theme } from "./theme";

const WIDTH = 168;
const HEIGHT = 104;
const PAD = 6;
/** Below the map, with its border. */
const MARGIN = 14;
/** A graph of fewer nodes is read without a map. */
const NODES_FROM = 20;
/** In a narrower cell it would hide more than it shows. */
const CELL_FROM = 560;
/** The frame around a window far smaller than the graph. */
const LEAST = 7;
const REDRAW_MS = 300;

export interface Fitting {
  k: number;
  left: number;
  top: number;
}

/** How a picture of this size fits into the map: its scale, and where its upper left corner is. */
export function fitInto(width: number, height: number): Fitting {
  const k = Math.min((WIDTH - 2 * PAD) / Math.max(1, width), (HEIGHT - 2 * PAD) / Math.max(1, height));
  return { k, left: (WIDTH - width * k) / 2, top: (HEIGHT - height * k) / 2 };
}

export class Minimap {
  readonly #canvas = h("canvas", { class: "dw-map-picture", width: 2 * WIDTH, height: 2 * HEIGHT });
  readonly #window = h("div", { class: "dw-map-window" });
  /** The keyboard walks and pans the graph itself. */
  readonly el = h(
    "div",
    { class: "dw-map", "aria-hidden": "true", title: "Drag to move", hidden: true },
    this.#canvas,
    this.#window,
  );
  readonly #scene: Scene;
  readonly #camera: Camera;
  #drawn = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stale = true;
  #shown = "";

  constructor(scene: Scene, camera: Camera, go: (x: number, y: number) => void) {
    this.#scene = scene;
    this.#camera = camera;
    let held = false;
    const move = (event: PointerEvent) => {
      const box = this.el.getBoundingClientRect();
      const { bounds } = scene;
      const { k, left, top } = fitInto(bounds.width, bounds.height);
      go(bounds.x + (event.clientX - box.left - left) / k, bounds.y + (event.clientY - box.top - top) / k);
    };
    this.el.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      held = true;
      this.el.setPointerCapture(event.pointerId);
      move(event);
    });
    this.el.addEventListener("pointermove", (event) => {
      if (held) move(event);
    });
    for (const type of ["pointerup", "pointercancel"] as const) {
      this.el.addEventListener(type, () => {
        held = false;
      });
    }
  }

  /** px at the bottom of the window in which a node may be under the map. */
  get covers(): number {
    return this.el.hidden ? 0 : HEIGHT + MARGIN;
  }

  /** Nodes or colours have changed. */
  changed(): void {
    this.#stale = true;
  }

  /** Put the frame where the window is; called with every frame. */
  update(theme: Theme): void {
    const { bounds, n } = this.#scene;
    const seen = this.#camera.visible();
    const inside =
      seen.x <= bounds.x &&
      seen.y <= bounds.y &&
      seen.x + seen.width >= bounds.x + bounds.width &&
      seen.y + seen.height >= bounds.y + bounds.height;
    // With all of it in sight the map would only hide a part.
    const hidden = n < NODES_FROM || inside || this.#camera.width < CELL_FROM;
    setHidden(this.el, hidden);
    if (hidden) return;
    if (this.#stale && this.#timer === undefined) {
      const wait = Math.max(0, this.#drawn + REDRAW_MS - performance.now());
      if (wait === 0) this.#draw(theme);
      else
        this.#timer = setTimeout(() => {
          this.#timer = undefined;
          this.#draw(theme);
        }, wait);
    }
    const { k, left, top } = fitInto(bounds.width, bounds.height);
    // Always on the map, however far out the window is.
    const along = (from: number, size: number, most: number) => {
      const start = Math.min(most - LEAST, Math.max(0, from));
      return [start, Math.max(LEAST, Math.min(most, from + size) - start)] as const;
    };
    const [x, wide] = along(left + (seen.x - bounds.x) * k, seen.width * k, WIDTH);
    const [y, high] = along(top + (seen.y - bounds.y) * k, seen.height * k, HEIGHT);
    const shown = [x, y, wide, high].map((it) => it.toFixed(1));
    if (shown.join() === this.#shown) return;
    this.#shown = shown.join();
    const { style } = this.#window;
    style.transform = `translate(${shown[0]}px, ${shown[1]}px)`;
    style.width = `${shown[2]}px`;
    style.height = `${shown[3]}px`;
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #draw(theme: Theme): void {
    this.#stale = false;
    this.#drawn = performance.now();
    const ctx = this.#canvas.getContext("2d");
    if (!ctx) return;
    const { n, x, y, width, height, status, bounds, lit } = this.#scene;
    const { k, left, top } = fitInto(bounds.width, bounds.height);
    ctx.setTransform(2, 0, 0, 2, 0, 0);
    ctx.clearRect(0, 0, WIDTH, HEIGHT);
    // What is wrong, waits or runs is drawn last and never too small to be seen.
    for (let s = STATUSES.length - 1; s >= 0; s--) {
      const name = STATUSES[s]!;
      ctx.fillStyle = name === "pending" ? theme.edge : theme.status[name];
      const least = s < 2 ? 3 : 1;
      for (let i = 0; i < n; i++) {
        if (status[i] !== s) continue;
        ctx.globalAlpha = lit && !lit[i] ? 0.25 : 1;
        const [w, h] = [Math.max(least, width[i]! * k), Math.max(least, height[i]! * k)];
        ctx.fillRect(left + (x[i]! - bounds.x) * k - w / 2, top + (y[i]! - bounds.y) * k - h / 2, w, h);
      }
    }
    ctx.globalAlpha = 1;
  }
}
