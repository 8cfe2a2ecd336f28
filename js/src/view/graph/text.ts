// How wide text is, and how to make it fit.

import { visible } from "../model/visible";

export const LABEL_SIZE = 13;
export const DETAIL_SIZE = 11;

/** Measured widths kept; a graph's labels and its numbers repeat, but not for ever. */
const CACHE_LIMIT = 20_000;

export class TextMeasure {
  #ctx: CanvasRenderingContext2D | null | undefined;
  readonly #widths = new Map<string, number>();
  readonly #fitted = new Map<string, string>();

  /** The width of `text` in CSS px when drawn in `font`. */
  width(text: string, font: string): number {
    const key = `${font}\n${text}`;
    let width = this.#widths.get(key);
    if (width === undefined) {
      width = this.#measure(text, font);
      if (this.#widths.size >= CACHE_LIMIT) this.#widths.clear();
      this.#widths.set(key, width);
    }
    return width;
  }

  /** `text` where it fits in `room` px, else its beginning and an ellipsis. */
  fit(words: string, font: string, room: number): string {
    // Longer text cannot fit, and measuring a megabyte takes a while.
    const text = visible(words.slice(0, 201));
    const short = text.slice(0, 200);
    if (short === text && this.width(text, font) <= room) return text;
    const key = `${font}\n${Math.floor(room)}\n${short}`;
    let fitted = this.#fitted.get(key);
    if (fitted === undefined) {
      let [low, high] = [0, short.length];
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (this.#measure(`${short.slice(0, middle)}…`, font) <= room) low = middle;
        else high = middle - 1;
      }
      fitted = low > 0 ? `${short.slice(0, low).trimEnd()}…` : "";
      if (this.#fitted.size >= CACHE_LIMIT) this.#fitted.clear();
      this.#fitted.set(key, fitted);
    }
    return fitted;
  }

  /** `text` on one line where it fits, else on two, broken between words; the second is cut as `fit` does. */
  lines(words: string, font: string, room: number): string[] {
    const text = visible(words.slice(0, 201));
    if (text.length > 200 || this.width(text, font) <= room) return [this.fit(text, font, room)];
    let end = -1;
    for (const { index } of text.matchAll(/[\s_\-./:]/g)) {
      if (this.width(text.slice(0, index + 1).trimEnd(), font) > room) break;
      end = index + 1;
    }
    if (end <= 0) return [this.fit(text, font, room)];
    return [text.slice(0, end).trimEnd(), this.fit(text.slice(end).trimStart(), font, room)];
  }

  #measure(text: string, font: string): number {
    if (this.#ctx === undefined) this.#ctx = document.createElement("canvas").getContext("2d");
    // Without a canvas nothing is drawn either; a rough width keeps the layout sane.
    if (!this.#ctx) return text.length * 7;
    this.#ctx.font = font;
    return this.#ctx.measureText(text).width;
  }
}
