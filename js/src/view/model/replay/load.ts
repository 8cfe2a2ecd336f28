// Getting a run's log, page by page, as far as a page of a browser can hold it.

import type { LogPage } from "../../../protocol/decode";
import { count } from "../format";
import type { Recording } from "./recording";

/** Gets the events of a run that follow `after`, as many as come at once. */
export type Log = (run: string, after: number) => Promise<LogPage>;

/** What a replay may hold: it is all in memory. */
const MOST_EVENTS = 200_000;
const MOST_CHARACTERS = 200_000_000;

/**
 * Add to `recording` what it lacks of the run; `told` hears how far it has come, and says whether to go on.
 *
 * @throws Error with a sentence, where there is no replay.
 */
export async function load(
  recording: Recording,
  { dagId, run }: { dagId: string; run: string },
  log: Log,
  told: (have: number, of: number) => boolean,
): Promise<void> {
  const inPython = `. In Python, dagwidget.run_state(${JSON.stringify(dagId)}, ${JSON.stringify(run)}, seq=…) has each moment`;
  for (;;) {
    const page = await log(run, recording.head);
    const before = recording.length === 0 ? page.after : recording.head - recording.length;
    const all = page.head - before;
    if (all > MOST_EVENTS) {
      throw new Error(`the run has ${count(all)} events, a replay holds at most ${count(MOST_EVENTS)}${inPython}`);
    }
    recording.append(page);
    if (recording.size > MOST_CHARACTERS) {
      throw new Error(`the run's outputs are too large to replay here${inPython}`);
    }
    if (!told(recording.length, all) || recording.head >= page.head) return;
    if (page.events.length === 0) throw new Error(`the server sent no events after ${recording.head}`);
  }
}
