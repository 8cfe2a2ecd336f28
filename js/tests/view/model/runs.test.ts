import { describe, expect, test } from "vitest";
import type { RunSummary } from "../../../src/protocol/messages";
import type { RunList } from "../../../src/stream/stream";
import { canGiveUp, engineWords, isAway } from "../../../src/view/model/engine";
import { isLive, isPast, newerRun, newestRun, runName, runsText } from "../../../src/view/model/runs";
import { runningState } from "../helpers";

const run = (run_id: string, more: Partial<RunSummary> = {}): RunSummary => ({
  run_id,
  status: "running",
  started_at: 0,
  engine: "connected",
  ...more,
});

/** Runs, newest first, the first of them begun at 1,000 ms, the others before it. */
const list = (runs: readonly RunSummary[], more: Partial<RunList> = {}): RunList => ({
  total: runs.length,
  live: runs.filter(isLive).length,
  waiting: runs.reduce((sum, { gates = 0 }) => sum + gates, 0),
  runs: runs.map((each, i) => ({ ...each, started_at: 1000 - i })),
  ...more,
});

const over = (run_id: string, more: Partial<RunSummary> = {}) => run(run_id, { status: "completed", ...more });

describe("the line about the runs", () => {
  test("counts from the first run of the DAG, and says what lives and what waits elsewhere", () => {
    const runs = list([run("c", { gates: 1 }), run("b", { gates: 2 }), over("a")]);
    expect(runsText(runs, "b")).toBe("run 2 of 3 · 2 live · 1 decision waits elsewhere");
    expect(runsText(runs, "c")).toBe("run 3 of 3 · 2 live · 2 decisions wait elsewhere");
    expect(runsText(list([over("b"), over("a")]), "a")).toBe("run 1 of 2");
  });

  test("does not number a run that is behind a gap of the list, or not in it", () => {
    const newest = Array.from({ length: 50 }, (_, i) => over(`n${i}`));
    const runs = list([...newest, over("old", { gates: 1 })], { total: 1_200, live: 0 });
    expect(runsText(runs, "n0")).toBe("run 1,200 of 1,200 · 1 decision waits elsewhere");
    expect(runsText(runs, "n49")).toBe("run 1,151 of 1,200 · 1 decision waits elsewhere");
    expect(runsText(runs, "old")).toBe("1,200 runs");
    expect(runsText(runs, "deleted")).toBe("1,200 runs · 1 decision waits elsewhere");
  });
});

test("a run goes by its name, else by its id, which may be long", () => {
  expect(runName(run("7f3a9c2e-4f10-4d2b-9a37", { name: "nightly" }))).toBe("nightly");
  expect(runName(run("7f3a9c2e-4f10-4d2b-9a37", { name: " " }))).toBe("7f3a9c2e");
  expect(runName(run("2026-11-23"))).toBe("2026-11-23");
});

test("one who follows goes to the newest live run, else to the newest", () => {
  const gone = run("gone", { engine: "gone" });
  expect(newestRun(list([over("d"), gone, run("b"), run("a")]))?.run_id).toBe("b");
  expect(newestRun(list([over("d"), gone]))?.run_id).toBe("d");
  expect(newestRun(list([]))).toBeUndefined();
});

test("a run lives as long as its engine may end it; without a word of its engine it is gone", () => {
  const { engine: _, ...unknown } = run("a");
  expect(isLive(unknown)).toBe(false);
  expect(isLive(run("a", { engine: "silent" }))).toBe(true);
  expect(isLive(run("a", { engine: "unobserved" }))).toBe(true);
  for (const status of ["lost", "pending", "failed"] as const) expect(isLive(run("a", { status }))).toBe(false);
});

describe("a newer run", () => {
  const shown = (epoch: string, more = {}) => ({ ...runningState(), epoch, ...more });

  test("is one that lives, and began after the one that is shown, which lives too", () => {
    const runs = list([over("d"), run("c"), run("b"), run("a")]);
    expect(newerRun(runs, shown("a"))?.run_id).toBe("c");
    expect(newerRun(runs, shown("c"))).toBeUndefined();
    expect(newerRun(runs, shown("d"))).toBeUndefined();
    expect(newerRun(runs, shown("a", { status: "failed" }))).toBeUndefined();
  });

  test("is known also where the list does not have the run that is shown: by its own start", () => {
    const runs = list([run("b")]);
    expect(newerRun(runs, shown("a", { started_at: 999 }))?.run_id).toBe("b");
    expect(newerRun(runs, shown("just begun", { started_at: 1001 }))).toBeUndefined();
    expect(newerRun(runs, shown("not begun", { started_at: undefined }))).toBeUndefined();
  });

  test("makes a run that is over a past one", () => {
    const runs = list([run("b"), over("a")]);
    expect(isPast(runs, shown("a", { status: "completed" }))).toBe(true);
    expect(isPast(runs, shown("a"))).toBe(false);
    expect(isPast(list([over("a")]), shown("a", { status: "completed" }))).toBe(false);
  });
});

describe("the engine", () => {
  const engine = (state: "connected" | "silent" | "gone" | "ended" | "unobserved") =>
    ({ type: "engine", state }) as const;

  test("is away where it has gone, or whatever observes it; one that ended or is silent is not", () => {
    const away = (["connected", "silent", "gone", "ended", "unobserved"] as const).filter((state) =>
      isAway("running", engine(state)),
    );
    expect(away).toEqual(["gone", "unobserved"]);
    expect(isAway("completed", engine("gone"))).toBe(false);
  });

  test("of a lost run is away, until it is heard of again", () => {
    expect(isAway("lost", undefined)).toBe(true);
    expect(isAway("lost", engine("connected"))).toBe(false);
    expect(isAway("running", undefined)).toBe(false);
  });

  test("that is gone or lost may be given up, and no other", () => {
    expect(canGiveUp("running", engine("gone"))).toBe(true);
    expect(canGiveUp("lost", undefined)).toBe(true);
    expect(canGiveUp("lost", engine("unobserved"))).toBe(true);
    expect(canGiveUp("running", engine("unobserved"))).toBe(false);
    expect(canGiveUp("running", engine("silent"))).toBe(false);
    expect(canGiveUp("failed", engine("gone"))).toBe(false);
  });

  test("is spoken of only where there is something to say", () => {
    expect(engineWords("running", engine("connected"), "12:03")).toBeUndefined();
    expect(engineWords("failed", engine("gone"), "12:03")).toBeUndefined();
    expect(engineWords("running", engine("gone"), "12:03")).toMatchObject({
      text: "engine gone since 12:03",
      reason: "The engine is gone since 12:03.",
    });
    expect(engineWords("lost", undefined, undefined)?.text).toBe("engine gone");
    expect(engineWords("running", engine("unobserved"), "12:03")?.text).toBe("not observed since 12:03");
    // A silent engine may be busy: it can be asked.
    expect(engineWords("running", engine("silent"), "12:03")).toMatchObject({ text: "engine silent since 12:03" });
    expect(engineWords("running", engine("silent"), "12:03")?.reason).toBeUndefined();
  });
});
