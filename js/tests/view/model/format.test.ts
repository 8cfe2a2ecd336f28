import { expect, test } from "vitest";
import type { Node } from "../../../src/state/types";
import type { Connection } from "../../../src/stream/stream";
import { figures } from "../../../src/view/model/cost";
import { ago, clock, count, duration, metric, money, words } from "../../../src/view/model/format";
import { asOf, type Freshness, freshness } from "../../../src/view/model/freshness";
import { countsText, doneShare, Tally } from "../../../src/view/model/status";
import { NOW } from "../helpers";

test("small sums are not rounded to nothing", () => {
  expect(money(0.0123, "USD", "en")).toBe("$0.012");
  expect(money(0.0004, "USD", "en")).toBe("$0.0004");
  expect(money(0.00000004, "USD", "en")).toBe("<$0.0001");
  expect(money(0, "USD", "en")).toBe("$0.00");
  expect(money(1234.5, "EUR", "en")).toBe("€1,234.50");
});

test("a currency that is no ISO code is shown as the word that it is", () => {
  expect(money(2.5, "credits!", "en")).toBe("2.50 credits!");
});

test("counts are shortened only when they are large", () => {
  expect(count(1204, "en")).toBe("1,204");
  expect(count(12_400, "en")).toBe("12.4K");
});

test("durations take the unit that suits them", () => {
  expect(duration(0)).toBe("0 ms");
  expect(duration(320)).toBe("320 ms");
  expect(duration(4210)).toBe("4.2 s");
  expect(duration(59_990)).toBe("0:59");
  expect(duration(187_000)).toBe("3:07");
  expect(duration(7_387_000)).toBe("2:03:07");
  expect(duration(Number.NaN)).toBe("–");
  expect(duration(-5)).toBe("–");
});

test("a clock counts whole seconds and never below zero", () => {
  expect(clock(-4000)).toBe("0:00");
  expect(clock(4999)).toBe("0:04");
  expect(clock(3_600_000)).toBe("1:00:00");
});

test("ages are told in their coarsest honest unit", () => {
  expect([ago(1500), ago(42_900), ago(179_000), ago(7_200_000), ago(90_000_000)]).toEqual([
    "just now",
    "42 s ago",
    "2 min ago",
    "2 h ago",
    "1 d ago",
  ]);
});

test("a metric is shown by what its name says it is", () => {
  expect(metric("ttft_ms", 320)).toBe("320 ms");
  expect(metric("cost", 0.5, "USD")).toContain("0.50");
  expect(metric("model", "<b>gpt</b>")).toBe("<b>gpt</b>");
  expect(words("tokens_in")).toBe("tokens in");
});

test("a projection scales what is spent by the work that is left", () => {
  expect(figures({ spent: 1, budget: 10 }, 2, 8, false).projected).toBeCloseTo(4, 9);
});

test("nothing is projected from too little work, from no cost, or for a run that has ended", () => {
  expect(figures({ spent: 1 }, 0.5, 100, false).projected).toBeUndefined();
  expect(figures({ spent: 0 }, 5, 10, false).projected).toBeUndefined();
  expect(figures({ spent: 1 }, 5, 10, true).projected).toBeUndefined();
  expect(figures({ spent: 1 }, 0, 0, false).projected).toBeUndefined();
});

test("the bar warns from 80 % on and says so when the budget is passed", () => {
  const level = (spent: number, budget?: number) => figures({ spent, budget }, 1, 2, false).level;
  expect([level(0.79, 1), level(0.8, 1), level(1, 1), level(1.01, 1), level(5), level(0.01, 0)]).toEqual([
    "ok",
    "warn",
    "warn",
    "over",
    "ok",
    "over",
  ]);
});

test("what remains is the server's word, else budget less spent", () => {
  expect(figures({ spent: 3, budget: 10, remaining: 6.5 }, 0, 1, false).remaining).toBe(6.5);
  expect(figures({ spent: 3, budget: 10 }, 0, 1, false).remaining).toBe(7);
  expect(figures({ spent: 3 }, 0, 1, false).remaining).toBeUndefined();
});

test("the tally follows single changes to the same sums as counting anew", () => {
  const nodes = new Map<string, Node>([
    ["a", { id: "a", status: "completed" }],
    ["b", { id: "b", status: "running", progress: 0.5 }],
    ["c", { id: "c", status: "skipped" }],
  ]);
  const tally = new Tally();
  tally.reset(nodes);
  expect([tally.done, tally.total]).toEqual([1.5, 2]);
  nodes.set("b", { id: "b", status: "failed" });
  nodes.set("d", { id: "d", status: "pending", counts: { completed: 3, running: 1 } });
  nodes.delete("a");
  for (const id of ["a", "b", "d"]) tally.set(id, nodes.get(id));
  const anew = new Tally();
  anew.reset(nodes);
  expect(tally.counts).toEqual(anew.counts);
  expect([tally.done, tally.total]).toEqual([anew.done, anew.total]);
  expect(tally.done).toBe(1.75);
});

test("a node's instances are told as done of all, and what is wrong", () => {
  expect(countsText({ completed: 47, failed: 1, running: 2 })).toBe("47/50, 1 failed");
  expect(countsText({ completed: 3 })).toBe("3/3");
  expect(doneShare({ id: "n", status: "running", counts: { completed: 1, failed: 1, pending: 2 } })).toBe(0.5);
});

const live: Connection = { phase: "live", attempt: 1, seenAt: NOW };

test("the connection is put into words", () => {
  const said = (more: Partial<Connection>) => freshness({ ...live, ...more }, NOW).text;
  expect(said({})).toBe("live");
  expect(said({ resumable: false })).toBe("live · no resume on this server");
  expect(said({ phase: "waiting", retryAt: NOW + 3200 })).toBe("reconnecting in 4 s");
  expect(said({ phase: "stopped", code: 4401, reason: "bad token" })).toBe("refused: bad token");
  expect(said({ phase: "stopped", code: 4410, reason: "not kept" })).toBe("removed by retention");
  expect(said({ phase: "stopped", code: 4409 })).toBe("refused: code 4409");
  expect(said({ phase: "stopped", code: 1000 })).toBe("disconnected");
  const stale = freshness({ ...live, phase: "waiting", retryAt: NOW + 3200, seenAt: NOW - 60_000 }, NOW);
  expect(stale.tone).toBe("stale");
  expect(stale.text).toMatch(/^stale since \d\d:\d\d · reconnecting in 4 s$/);
});

test.each<[string, Partial<Connection>, Partial<Freshness>]>([
  [
    "no address yet",
    { phase: "idle", attempt: 0 },
    {
      text: "not connected",
      happened: "Waiting for the kernel.",
      next: expect.stringContaining("run this cell again"),
    },
  ],
  [
    "a first attempt",
    { phase: "connecting" },
    { text: "connecting…", happened: "Connecting to ws://here:1…", next: "" },
  ],
  [
    "a server that was never reached",
    { phase: "waiting", attempt: 2, retryAt: NOW + 3000, code: 1006 },
    {
      tone: "stale",
      text: "server unreachable · retry in 3 s",
      happened: "Cannot reach the server at ws://here:1.",
      next: expect.stringMatching(/^Next attempt in 3 s\. Check that the server is running/),
    },
  ],
  [
    "the same, with a reason",
    { phase: "connecting", attempt: 2, reason: "no answer within 5 s" },
    {
      text: "server unreachable · retrying…",
      happened: "Cannot reach the server at ws://here:1. No answer within 5 s.",
    },
  ],
  [
    "a server that restarts",
    { phase: "waiting", attempt: 1, seenAt: NOW, retryAt: NOW + 1000, code: 4000, reason: "the server restarts" },
    {
      tone: "busy",
      text: "reconnecting in 1 s",
      happened: "The server ended the connection: the server restarts (code 4000).",
      next: "Next attempt in 1 s.",
    },
  ],
  [
    "a cut",
    { phase: "waiting", attempt: 1, seenAt: NOW, retryAt: NOW + 1000, code: 1006 },
    { happened: "The connection was lost: code 1006." },
  ],
  [
    "a wrong token",
    { phase: "stopped", seenAt: NOW, code: 4401, reason: "the token is missing or wrong" },
    {
      tone: "refused",
      text: "refused: the token is missing or wrong",
      happened: "The server refused the connection: the token is missing or wrong (code 4401).",
      next: expect.stringContaining("DAGStreamWidget(…, token=…)"),
    },
  ],
  [
    "a kernel without a server",
    { phase: "stopped", code: 4400, reason: "no server could be started" },
    {
      tone: "refused",
      text: "not connected: no server could be started",
      happened: "Not connected: no server could be started.",
      next: "Correct this, then run this cell again.",
    },
  ],
  [
    "a kernel that was restarted",
    { phase: "stopped", seenAt: NOW, code: 1000, reason: "the kernel was restarted" },
    {
      tone: "off",
      text: "the kernel was restarted",
      happened: "The kernel was restarted.",
      next: "Run this cell again to reconnect.",
    },
  ],
])("what has happened and what to do is said of %s", (_, connection, expected) => {
  const url = "ws://here:1/api/dags/d/stream";
  expect(freshness({ phase: "live", attempt: 1, url, ...connection }, NOW)).toMatchObject(expected);
});

test("time stands still when the connection does", () => {
  expect(asOf(live, NOW + 5000)).toBe(NOW + 5000);
  expect(asOf({ ...live, phase: "waiting" }, NOW + 5000)).toBe(NOW);
  expect(asOf({ ...live, phase: "syncing" }, NOW + 5000)).toBe(NOW);
});
