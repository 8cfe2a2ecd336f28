// How long a gate still waits, and what happens then.

import type { Presentation } from "../../protocol/messages";
import { clock } from "../model/format";

const URGENT_MS = 60_000;
const AT_DEADLINE = { fail: "Fails", reject: "Rejected", approve: "Approved", default: "Takes the default" } as const;

/** In words, as of `asOf` (Unix ms); undefined without a deadline. */
export function deadlineOf(presentation: Presentation, asOf: number): { text: string; urgent: boolean } | undefined {
  const { deadline, on_timeout } = presentation;
  if (typeof deadline !== "number") return undefined;
  const left = deadline - asOf;
  const what = on_timeout ? AT_DEADLINE[on_timeout] : "Expires";
  return { text: left > 0 ? `${what} in ${clock(left)}` : "Deadline passed", urgent: left < URGENT_MS };
}
