// A moment of a replay in words.

import { clock, duration } from "../format";
import type { Replay } from "./replay";

/** A clock tells nothing of what took less. */
const SHORT_MS = 60_000;

/** `12:03:41, event 512 of 2,048`; with the date where that is another day than `now`. */
export function momentText({ at, position, recording }: Replay, now: number, locale?: string): string {
  const events = (value: number) => value.toLocaleString(locale);
  return `${timeText(at, now, locale)}, event ${events(position)} of ${events(recording.length)}`;
}

/** `0:41 of 2:07`: how far it is, of how long it took. */
export function elapsedText({ at, recording: { from, to } }: Replay): string {
  const text = to - from < SHORT_MS ? duration : clock;
  return `${text(at - from)} of ${text(to - from)}`;
}

function timeText(at: number, now: number, locale?: string): string {
  const date = new Date(at);
  const time: Intl.DateTimeFormatOptions = {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  };
  const sameDay = date.toDateString() === new Date(now).toDateString();
  return date.toLocaleString(locale, sameDay ? time : { ...time, month: "short", day: "numeric" });
}
