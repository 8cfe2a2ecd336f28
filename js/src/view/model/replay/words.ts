// A moment of a replay in words.

import { clock, duration, timeOfDay } from "../format";
import type { Replay } from "./replay";

/** A clock tells nothing of what took less. */
const SHORT_MS = 60_000;

/** `12:03:41, event 512 of 2,048`; with the date where that is another day than `now`. */
export function momentText({ at, position, recording }: Replay, now: number, locale?: string): string {
  const events = (value: number) => value.toLocaleString(locale);
  return `${timeOfDay(at, now, locale, "2-digit")}, event ${events(position)} of ${events(recording.length)}`;
}

/** `0:41 of 2:07`: how far it is, of how long it took. */
export function elapsedText({ at, recording: { from, to } }: Replay): string {
  const text = to - from < SHORT_MS ? duration : clock;
  return `${text(at - from)} of ${text(to - from)}`;
}
