// The canvases, one above the other, and the loop that draws what is out of date and sleeps while nothing is.

import { h } from "../dom/dom";

export type Layer = "edges" | "nodes" | "moving";
const ALL: readonly Layer[] = ["edges", "nodes", "moving"];

export class Layers {
  /** Device pixels per CSS px. */
  ratio = 1;
  readonly #canvases: Record<Layer, HTMLCanvasElement>;
  readonly #dirty = new Set<Layer>(ALL);
  readonly #paint: (time: number) => boolean;
  #frame = 0;
  #asleep = false;

  /** @param paint Draws what is dirty; whether another frame is needed, for what moves by itself. */
  constructor(paint: (time: number) => boolean) {
    this.#paint = paint;
    const layer = () => h("canvas", { "aria-hidden": "true" });
    this.#canvases = { edges: layer(), nodes: layer(), moving: layer() };
  }

  /** From the lowest to the highest. */
  get elements(): HTMLCanvasElement[] {
    return ALL.map((name) => this.#canvases[name]);
  }

  /** Whether the loop stands still: out of sight nothing is redrawn. */
  get asleep(): boolean {
    return this.#asleep;
  }

  set asleep(asleep: boolean) {
    this.#asleep = asleep;
    this.wake();
  }

  resize(width: number, height: number): void {
    this.ratio = globalThis.devicePixelRatio || 1;
    for (const canvas of this.elements) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
    }
  }

  context(layer: Layer): CanvasRenderingContext2D | null {
    return this.#canvases[layer].getContext("2d");
  }

  isDirty(layer: Layer): boolean {
    return this.#dirty.has(layer);
  }

  /** These layers, or all, are out of date: told while they are painted. */
  mark(...layers: Layer[]): void {
    for (const name of layers.length > 0 ? layers : ALL) this.#dirty.add(name);
  }

  /** Have these layers, or all, drawn anew in the next frame. */
  redraw(...layers: Layer[]): void {
    this.mark(...layers);
    this.wake();
  }

  wake(): void {
    if (this.#frame !== 0 || this.#asleep) return;
    this.#frame = requestAnimationFrame((time) => {
      this.#frame = 0;
      if (this.paint(time)) this.wake();
    });
  }

  /** Draw at once, whether asleep or not. */
  paint(time: number = performance.now()): boolean {
    const again = this.#paint(time);
    this.#dirty.clear();
    return again;
  }

  close(): void {
    cancelAnimationFrame(this.#frame);
  }
}
