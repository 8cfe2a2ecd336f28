// The marks on a time axis: round steps of elapsed time, no closer than their labels are wide.

import { clock } from "../model/format";

export interface Tick {
  /** Unix ms. */
  at: number;
  label: string;
}

/** Labels are at least this far apart, px. */
const APART = 72;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS: readonly number[] = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((step) => step * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((step) => step * MINUTE),
  ...[1, 2, 3, 6, 12].map((step) => step * HOUR),
];

/** The ticks between `from` and `to` (Unix ms) on `width` px, counted from `origin`. */
export function ticks(from: number, to: number, width: number, origin: number): Tick[] {
  if (!(to > from) || !(width > 0)) return [];
  const least = ((to - from) / width) * APART;
  const step = STEPS.find((one) => one >= least) ?? DAY * 2 ** Math.max(0, Math.ceil(Math.log2(least / DAY)));
  const found: Tick[] = [];
  for (let n = Math.ceil((from - origin) / step); origin + n * step <= to; n++) {
    found.push({ at: origin + n * step, label: tickLabel(n * step, step) });
  }
  return found;
}

/** Elapsed time with as many decimals as `step` needs: `2.5 s`, `1:30`, `2:00:00`. */
function tickLabel(ms: number, step: number): string {
  const size = Math.abs(ms);
  const digits = step >= SECOND ? 0 : step >= 100 ? 1 : step >= 10 ? 2 : 3;
  const text =
    size < MINUTE
      ? `${(size / SECOND).toFixed(digits)} s`
      : clock(size) + (digits > 0 ? ((size % SECOND) / SECOND).toFixed(digits).slice(1) : "");
  return ms < 0 ? `−${text}` : text;
}
