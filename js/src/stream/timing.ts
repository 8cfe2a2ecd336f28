// When a stream acts by itself: times in ms, and what it acknowledges at once.

/** How long the server may take to answer, how long it may be silent, and how long a connection lasts that stands. */
export const ANSWER = 5_000;
export const DEAD_AFTER = 25_000;
export const STABLE_AFTER = 5_000;
/** A token is renewed so long before it expires, or when half of its time is over where it has less. */
const RENEW_BEFORE = 60_000;
const RENEW_AT_ALL = 1_000;
/** Timers can't be set for longer. */
const LONGEST_TIMER = 2 ** 31 - 1;
export const UNATTENDED_FOR = 60_000;
/** A timer this late means that the machine slept, or the page was kept from running: the silence says nothing. */
export const LATE = 1_000;

export const ACK_AFTER = 1_000;
export const ACK_FRAMES = 64;
export const ACK_BYTES = 256 * 1024;

/** Clocks that differ by less are taken to agree: the way here takes its time. */
const CLOCKS_AGREE = 2000;

/** How far the server's clock is ahead of ours, where that is more than the way here can explain. */
export function ahead(now: number | null | undefined): number {
  const difference = (now ?? Date.now()) - Date.now();
  return Math.abs(difference) > CLOCKS_AGREE ? difference : 0;
}

/**
 * How long to wait before a token is renewed that is good for `left` ms more. Undefined where it is too late: without another
 * one the connection goes on until the server ends it, and then begins anew.
 */
export function renewIn(left: number): number | undefined {
  return left < RENEW_AT_ALL ? undefined : Math.min(Math.max(left - RENEW_BEFORE, left / 2), LONGEST_TIMER);
}
