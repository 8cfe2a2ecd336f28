// When to try again: 1, 2, 4, 8, 16, 30, 30 … seconds, less up to half of it, so that a server that comes back is not
// met by all of its clients at once (full-jitter's argument, with a floor so that nobody hammers).

const FIRST_MS = 1_000;
const LAST_MS = 30_000;

/** How long to wait after `failures` in a row (1, 2, …), in ms; `random` is uniform in [0, 1). */
export function backoff(failures: number, random: () => number): number {
  const most = Math.min(LAST_MS, FIRST_MS * 2 ** (failures - 1));
  return most / 2 + (random() * most) / 2;
}
