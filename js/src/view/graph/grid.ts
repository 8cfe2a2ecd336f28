// A spatial index over boxes: which are near a point or in a rectangle, without asking all of them.

import type { Box } from "./camera";

export class Grid {
  readonly #cell: number;
  readonly #columns: number;
  readonly #rows: number;
  /** Items of cell c are `#items[#start[c] … #start[c + 1])`. */
  readonly #start: Uint32Array;
  readonly #items: Uint32Array;
  /** Boxes are filed under their centre, so a query looks this much further. */
  readonly #reachX: number;
  readonly #reachY: number;
  readonly #left: number;
  readonly #top: number;

  /** Index `n` boxes by their centres `x`, `y` and sizes. */
  constructor(n: number, x: Float32Array, y: Float32Array, width: Float32Array, height: Float32Array) {
    let [left, top, right, bottom, reachX, reachY] = [0, 0, 1, 1, 0, 0];
    for (let i = 0; i < n; i++) {
      left = Math.min(left, x[i]!);
      top = Math.min(top, y[i]!);
      right = Math.max(right, x[i]!);
      bottom = Math.max(bottom, y[i]!);
      reachX = Math.max(reachX, width[i]! / 2);
      reachY = Math.max(reachY, height[i]! / 2);
    }
    // A few boxes a cell, however sparse the picture is.
    this.#cell = Math.max(200, Math.sqrt(((right - left) * (bottom - top)) / (2 * n + 1)));
    this.#left = left;
    this.#top = top;
    this.#reachX = reachX;
    this.#reachY = reachY;
    this.#columns = Math.floor((right - left) / this.#cell) + 1;
    this.#rows = Math.floor((bottom - top) / this.#cell) + 1;
    const cellOf = new Uint32Array(n);
    this.#start = new Uint32Array(this.#columns * this.#rows + 1);
    for (let i = 0; i < n; i++) {
      cellOf[i] = this.#column(x[i]!) + this.#row(y[i]!) * this.#columns;
      this.#start[cellOf[i]! + 1]!++;
    }
    for (let c = 1; c < this.#start.length; c++) this.#start[c]! += this.#start[c - 1]!;
    const next = this.#start.slice();
    this.#items = new Uint32Array(n);
    for (let i = 0; i < n; i++) this.#items[next[cellOf[i]!]!++] = i;
  }

  /** Visit every item whose box may touch `box`: a superset of those that do. */
  query(box: Box, visit: (item: number) => void): void {
    const from = this.#column(box.x - this.#reachX);
    const to = this.#column(box.x + box.width + this.#reachX);
    const last = this.#row(box.y + box.height + this.#reachY);
    for (let row = this.#row(box.y - this.#reachY); row <= last; row++) {
      const end = this.#start[row * this.#columns + to + 1]!;
      for (let at = this.#start[row * this.#columns + from]!; at < end; at++) visit(this.#items[at]!);
    }
  }

  #column(x: number): number {
    return Math.min(this.#columns - 1, Math.max(0, Math.floor((x - this.#left) / this.#cell)));
  }

  #row(y: number): number {
    return Math.min(this.#rows - 1, Math.max(0, Math.floor((y - this.#top) / this.#cell)));
  }
}
