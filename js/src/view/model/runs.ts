// The DAG's other runs, as someone who looks at one of them wants to know of them.

import type { RunSummary } from "../../protocol/messages";
import type { DagState } from "../../state/types";
import type { RunList } from "../../stream/stream";
import { count } from "./format";
import { over } from "./status";

/** As many characters tell the ids of one DAG's runs apart. */
const SHORT = 8;
const LONG = 16;
/** How many of the newest runs the server lists. */
const LISTED = 50;

/** What a run goes by: its name, or the beginning of a long id. */
export function runName({ run_id, name }: Pick<RunSummary, "run_id" | "name">): string {
  return name?.trim() || (run_id.length > LONG ? run_id.slice(0, SHORT) : run_id);
}

/** Whether a run is under way, and its engine is there. */
export function isLive({ status, engine = "gone" }: RunSummary): boolean {
  return !over(status) && status !== "pending" && status !== "lost" && engine !== "gone";
}

/** The run that one who follows the DAG is taken to: the newest that is live, else the newest. */
export function newestRun({ runs }: RunList): RunSummary | undefined {
  return runs.find(isLive) ?? runs[0];
}

/** The newest live run that began after the one that is shown, while that one lives. */
export function newerRun({ runs }: RunList, { epoch, status, started_at }: DagState): RunSummary | undefined {
  if (over(status)) return undefined;
  const began = runs.find(({ run_id }) => run_id === epoch)?.started_at ?? started_at;
  const found = runs.find(isLive);
  return began !== undefined && found && found.run_id !== epoch && found.started_at > began ? found : undefined;
}

/** Whether the run that is shown is over, and others began after it. */
export function isPast({ runs }: RunList, { epoch, status }: DagState): boolean {
  return over(status) && epoch !== undefined && runs.length > 0 && runs[0]?.run_id !== epoch;
}

/** `run 3 of 12 · 2 live · 1 decision waits elsewhere`: a DAG's first run is its run 1. */
export function runsText({ total, live, waiting, runs }: RunList, run: string | undefined): string {
  const index = runs.findIndex(({ run_id }) => run_id === run);
  // Behind the newest are those with open gates, and between them gaps.
  const known = index >= 0 && (index < LISTED || runs.length === total);
  const elsewhere = waiting - (runs[index]?.gates ?? 0);
  return [
    known ? `run ${count(total - index)} of ${count(total)}` : `${count(total)} runs`,
    live > 0 ? `${count(live)} live` : "",
    elsewhere > 0 ? `${count(elsewhere)} ${elsewhere === 1 ? "decision waits" : "decisions wait"} elsewhere` : "",
  ]
    .filter(Boolean)
    .join(" · ");
}
