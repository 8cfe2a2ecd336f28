// Where the viewer looks: a plain object of world-to-screen arithmetic, testable without a canvas.

export interface View {
  /** The world point at the middle of the screen. */
  x: number;
  y: number;
  /** Screen pixels per world pixel. */
  k: number;
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Where a node is a pixel wide. Of what is larger still, the map shows the whole. */
export const MIN_ZOOM = 0.004;
export const MAX_ZOOM = 3;
/** `fit` never blows a small graph up. */
const FIT_MAX = 1.1;
const FLIGHT_MS = 280;

export class Camera {
  /** Screen size in CSS pixels. */
  width = 1;
  height = 1;
  #view: View = { x: 0, y: 0, k: 1 };
  #flight: { from: View; to: View; start: number; ms: number } | undefined;

  getState(): View {
    return { ...this.#view };
  }

  /** Jump to `view`; ends an animation. */
  setState(view: Partial<View>): void {
    this.#flight = undefined;
    this.#view = { ...this.#view, ...view };
    this.#view.k = clamp(this.#view.k);
  }

  resize(width: number, height: number): void {
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
  }

  toScreen(x: number, y: number): [number, number] {
    const { k } = this.#view;
    return [(x - this.#view.x) * k + this.width / 2, (y - this.#view.y) * k + this.height / 2];
  }

  toWorld(x: number, y: number): [number, number] {
    const { k } = this.#view;
    return [(x - this.width / 2) / k + this.#view.x, (y - this.height / 2) / k + this.#view.y];
  }

  /** The part of the world that is on screen. */
  visible(): Box {
    const { k } = this.#view;
    const [x, y] = this.toWorld(0, 0);
    return { x, y, width: this.width / k, height: this.height / k };
  }

  /** Move the picture by screen pixels. */
  pan(dx: number, dy: number): void {
    const { x, y, k } = this.#view;
    this.setState({ x: x - dx / k, y: y - dy / k });
  }

  /** Zoom so that the world point under the screen point stays there. */
  zoomAt(x: number, y: number, factor: number): void {
    const [worldX, worldY] = this.toWorld(x, y);
    this.setState({ k: this.#view.k * factor });
    const [nowX, nowY] = this.toWorld(x, y);
    this.setState({ x: this.#view.x + worldX - nowX, y: this.#view.y + worldY - nowY });
  }

  /** The view that shows all of `box`, with screen pixels kept free at the sides, and more below for the buttons. */
  fitted(box: Box, margin = 24, below = 48): View {
    const across = Math.max(this.width - 2 * margin, this.width / 2);
    const down = Math.max(this.height - margin - below, this.height / 2);
    const k = clamp(Math.min(across / Math.max(1, box.width), down / Math.max(1, box.height), FIT_MAX));
    return { x: box.x + box.width / 2, y: box.y + box.height / 2 + (below - margin) / 2 / k, k };
  }

  /** The smallest move that brings `box` on screen at the zoom there is, above what covers `below` pixels of it. */
  revealing(box: Box, margin = 12, below = 0): View {
    const seen = this.visible();
    seen.height -= below / this.#view.k;
    const inset = margin / this.#view.k;
    const shift = (low: number, size: number, from: number, length: number) => {
      if (size > length - 2 * inset) return low + size / 2 - (from + length / 2);
      return Math.min(0, low - inset - from) + Math.max(0, low + size + inset - (from + length));
    };
    return {
      x: this.#view.x + shift(box.x, box.width, seen.x, seen.width),
      y: this.#view.y + shift(box.y, box.height, seen.y, seen.height),
      k: this.#view.k,
    };
  }

  /** Fly to `view`, starting at `now` (ms of any clock that `step` is given too). */
  animate(view: View, now: number, ms = FLIGHT_MS): void {
    this.#flight = { from: this.getState(), to: { ...view, k: clamp(view.k) }, start: now, ms };
  }

  /** Advance an animation; whether one is still under way. */
  step(now: number): boolean {
    if (!this.#flight) return false;
    const { from, to, start, ms } = this.#flight;
    const t = Math.min(1, Math.max(0, (now - start) / ms));
    const eased = ease(t);
    // Zoom is felt as a ratio, so it goes by the logarithm.
    const k = from.k * (to.k / from.k) ** eased;
    this.#view = { x: from.x + (to.x - from.x) * eased, y: from.y + (to.y - from.y) * eased, k };
    if (t === 1) {
      this.#view = to;
      this.#flight = undefined;
    }
    return this.#flight !== undefined;
  }

  get moving(): boolean {
    return this.#flight !== undefined;
  }
}

/** Slow in, slow out. */
export function ease(t: number): number {
  return t < 0.5 ? 4 * t * t * t : 1 - (-2 * t + 2) ** 3 / 2;
}

function clamp(k: number): number {
  return Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, k));
}
