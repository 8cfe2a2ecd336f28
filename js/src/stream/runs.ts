// The run list of a DAG, as the server sends it: first whole, then what changed.

import type { RunSummary, Runs } from "../protocol/messages";

/** How many runs the server lists, beside those with open gates. */
const NEWEST = 50;

export interface RunList {
  /** How many runs the server has. */
  total: number;
  /** How many of them are live. */
  live: number;
  /** How many gates are open, in all runs. */
  waiting: number;
  /** The newest runs and those with open gates, newest first. */
  runs: readonly RunSummary[];
}

/** The list after `message`; without a list before it, the message holds the whole. */
export function updated(before: RunList | undefined, { total, live, waiting, runs, removed }: Runs): RunList {
  const known = new Map(before?.runs.map((run) => [run.run_id, run]));
  for (const run of runs) known.set(run.run_id, run);
  for (const id of removed ?? []) known.delete(id);
  const sorted = [...known.values()].sort(newestFirst);
  return { total, live, waiting, runs: sorted.filter((run, index) => index < NEWEST || run.gates) };
}

/** By the run's own start; ties by id. */
function newestFirst(a: RunSummary, b: RunSummary): number {
  return b.started_at - a.started_at || (a.run_id < b.run_id ? 1 : -1);
}
