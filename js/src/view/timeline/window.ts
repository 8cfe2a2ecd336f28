// Which stretch of time is on screen: a plain object of time-to-pixel arithmetic, as the graph's camera is.

const SHORTEST_MS = 20;
/** How many times the fitted stretch may be seen at once. */
const WIDEST = 6;

export class TimeWindow {
  /** Unix ms at the left and right edges. */
  from = 0;
  to = 10_000;
  /** CSS px between them. */
  width = 1;
  #whole = 10_000;

  toX(at: number): number {
    return ((at - this.from) / (this.to - this.from)) * this.width;
  }

  toTime(x: number): number {
    return this.from + (x / this.width) * (this.to - this.from);
  }

  /** Show all from `from` to `to`, with px kept free at the right for what is written there. */
  fit(from: number, to: number, right: number): void {
    const span = Math.max(SHORTEST_MS, to - from);
    const left = Math.min(8, this.width / 10);
    const perPx = span / Math.max(1, this.width - left - Math.min(right, this.width / 3));
    this.from = from - left * perPx;
    this.to = this.from + this.width * perPx;
    this.#whole = this.to - this.from;
  }

  /** Move the picture by px. */
  pan(dx: number): void {
    const by = (dx / this.width) * (this.to - this.from);
    this.from -= by;
    this.to -= by;
  }

  /** Zoom so that the moment under `x` stays there. */
  zoomAt(x: number, factor: number): void {
    const at = this.toTime(x);
    const span = this.to - this.from;
    const next = Math.min(this.#whole * WIDEST, Math.max(SHORTEST_MS, span / factor));
    this.from = at - ((at - this.from) / span) * next;
    this.to = this.from + next;
  }
}
