import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import type { LogPage } from "../../../src/protocol/decode";
import type { Event } from "../../../src/protocol/messages";
import { emptyState, noChange, reduce } from "../../../src/state/reducer";
import { toJSON } from "../../../src/state/store";
import type { Change, DagState } from "../../../src/state/types";
import { difference } from "../../../src/view/model/replay/difference";
import { load } from "../../../src/view/model/replay/load";
import { Recording } from "../../../src/view/model/replay/recording";
import { FIT_MS, Replay } from "../../../src/view/model/replay/replay";
import { elapsedText, momentText } from "../../../src/view/model/replay/words";

const WHICH = { dagId: "dag", run: "run" };
const START = Date.UTC(2026, 10, 23, 12);

const numbered = (events: readonly object[], step = 100): Event[] =>
  events.map((event, i) => ({ ts: START + i * step, ...event, seq: i + 1 }) as Event);

const page = (events: readonly Event[], after = 0, head = after + events.length): LogPage => ({
  after,
  head,
  events,
  size: 100 * events.length,
});

function recorded(events: readonly Event[]): Recording {
  const recording = new Recording("run");
  recording.append(page(events));
  return recording;
}

/** What the first `n` events add up to, by the reducer alone. */
function reduced(events: readonly Event[], n: number): DagState {
  const state = emptyState("run");
  for (const event of events.slice(0, n)) reduce(state, event, noChange());
  return state;
}

const id = fc.constantFrom("a", "b", "c", "d");
const status = fc.constantFrom("pending", "running", "waiting", "completed", "failed", "skipped");
const happening = fc.oneof(
  fc.record({ type: fc.constant("node_state"), node_id: id, status }),
  fc.record({ type: fc.constant("node_state"), node_id: id, status, instance: fc.constantFrom("1", "2", "__proto__") }),
  fc.record({ type: fc.constant("edge_active"), from: id, to: id, active: fc.boolean() }),
  fc.record({
    type: fc.constant("dag_mutated"),
    mutation: fc.record({
      add_nodes: fc.array(fc.record({ id, label: fc.constantFrom("x", "y") }), { maxLength: 2 }),
      remove_nodes: fc.array(id, { maxLength: 1 }),
      add_edges: fc.array(fc.record({ from: id, to: id }), { maxLength: 2 }),
      remove_edges: fc.array(fc.record({ from: id, to: id }), { maxLength: 1 }),
    }),
  }),
  fc.record({ type: fc.constant("cost_update"), spent: fc.nat(9), budget: fc.constant(10), remaining: fc.nat(9) }),
  fc.record({
    type: fc.constant("human_gate_waiting"),
    node_id: id,
    gate_id: fc.constantFrom("g", "h"),
    presentation: fc.constant({}),
  }),
  fc.record({ type: fc.constant("node_log"), node_id: id, lines: fc.constant(["line"]) }),
  fc.record({ type: fc.constant("error"), message: fc.constant("no") }),
  fc.record({ type: fc.constant("execution_complete"), results: fc.constant(1) }),
  fc.record({ type: fc.constant("execution_state"), status: fc.constant("running") }),
  fc.record({ type: fc.constant("weather") }),
);

/** A log long enough for several copies on the way: what is drawn, over and over, with a change now and then. */
const logs = fc
  .tuple(fc.array(happening, { minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 120 }))
  .map(([events, times]) => numbered(Array.from({ length: times }, () => events).flat()));

describe("at any event a replay has the state that the log up to there gives", () => {
  test("wherever it is sought, in whatever order", () => {
    const sought = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(logs, sought, (events, places) => {
        const replay = new Replay(recorded(events), events.length);
        for (const place of places) {
          const n = Math.round(place * events.length);
          replay.seek(n);
          expect(replay.position).toBe(n);
          expect(toJSON(replay.state)).toEqual(toJSON(reduced(events, n)));
        }
      }),
      { numRuns: 60 },
    );
  });

  const vectors = new URL("../../../../tests/vectors/", import.meta.url);
  test.each(readdirSync(vectors).filter((name) => name.endsWith(".jsonl")))("in %s", (name) => {
    const lines = readFileSync(new URL(name, vectors), "utf8").trim().split("\n");
    const events = numbered(
      lines
        .slice(0, -1)
        .flatMap((line) => JSON.parse(line))
        .filter(({ type }) => !/^(welcome|sync|synced|ping|bye|command_ack)$/.test(type)),
    );
    const replay = new Replay(recorded(events), 0);
    for (const n of [...events.keys(), ...[...events.keys()].reverse()]) {
      replay.seek(n);
      expect(toJSON(replay.state)).toEqual(toJSON(reduced(events, n)));
    }
  });

  test("and what it says has changed is all that a view must redraw", () => {
    fc.assert(
      fc.property(logs, fc.array(fc.nat(), { minLength: 1, maxLength: 8 }), (events, places) => {
        const replay = new Replay(recorded(events), 0);
        // As a view has it: only what it was told of is looked at again.
        const nodes = new Map(replay.state.nodes);
        let drawn = edgesOf(replay.state);
        replay.subscribe((change) => {
          for (const name of change.nodes) {
            const node = replay.state.nodes.get(name);
            if (node) nodes.set(name, node);
            else nodes.delete(name);
          }
          if (change.edges || change.structure) drawn = edgesOf(replay.state);
        });
        for (const place of places) {
          replay.seek(place % (events.length + 1));
          expect(Object.fromEntries(nodes)).toEqual(Object.fromEntries(replay.state.nodes));
          expect(drawn).toEqual(edgesOf(replay.state));
        }
      }),
      { numRuns: 60 },
    );
  });

  function edgesOf(state: DagState): unknown {
    return [...state.edges].map(([target, sources]) => [target, [...sources]]);
  }
});

const RUN = numbered(
  [
    { type: "execution_state", status: "running" },
    { type: "dag_mutated", mutation: { add_nodes: [{ id: "a" }, { id: "b" }] } },
    { type: "node_state", node_id: "a", status: "running" },
    { type: "human_gate_waiting", node_id: "b", gate_id: "g", presentation: {} },
    { type: "human_gate_waiting", node_id: "b", gate_id: "g", presentation: {}, approvals: [{ by: "ana", at: 1 }] },
    { type: "node_state", node_id: "a", status: "failed" },
    { type: "execution_complete", status: "failed" },
  ],
  1000,
);

test("time passes at the speed that was chosen", () => {
  const replay = new Replay(recorded(RUN), 0);
  expect([replay.speed, replay.at, replay.position]).toEqual([1, START, 0]);
  replay.advance(2500);
  expect([replay.at, replay.position]).toEqual([START + 2500, 3]);
  replay.speed = 10;
  replay.advance(200);
  expect([replay.at, replay.position]).toEqual([START + 4500, 5]);
  replay.speed = 100;
  replay.advance(1000);
  expect([replay.at, replay.position, replay.ended]).toEqual([START + 6000, 7, true]);
});

test("a run of hours fits in twenty seconds, and a short one is not drawn out", () => {
  const hours = numbered(
    [
      { type: "error", message: "1" },
      { type: "error", message: "2" },
    ],
    7_200_000,
  );
  const replay = new Replay(recorded(hours), 0);
  expect(replay.speed).toBe("fit");
  replay.advance(FIT_MS / 2);
  expect(replay.at).toBe(START + 3_600_000);
  replay.advance(FIT_MS / 2);
  expect(replay.ended).toBe(true);

  const short = new Replay(recorded(RUN), 0);
  short.speed = "fit";
  short.advance(1000);
  expect(short.at).toBe(START + 1000);
});

test("times never go back, and an event without one has that of the event before", () => {
  const events = numbered([
    { type: "error", message: "1", ts: START + 500 },
    { type: "error", message: "2", ts: START },
    { type: "error", message: "3", ts: undefined },
    { type: "error", message: "4", ts: START + 900 },
  ]);
  const recording = recorded(events);
  expect([1, 2, 3, 4].map((n) => recording.timeAt(n) - START)).toEqual([500, 500, 500, 900]);
  expect([499, 500, 899, 900].map((ms) => recording.positionAt(START + ms))).toEqual([0, 3, 3, 4]);
});

test("failures and gates are marked, each gate once, and can be gone to", () => {
  const recording = recorded(RUN);
  expect(recording.marks.map(({ kind, position }) => [kind, position])).toEqual([
    ["gate", 4],
    ["failure", 6],
  ]);
  const replay = new Replay(recording, 0);
  const visited = ([1, 1, 1, -1, -1, -1] as const).map((way) => {
    replay.seekMark(way);
    return replay.position;
  });
  expect(visited).toEqual([4, 6, 7, 6, 4, 0]);
});

test("from a moment to the live state only what differs is told", () => {
  const replay = new Replay(recorded(RUN), 3);
  const live = reduced(RUN, 6);
  expect(difference(replay.state, live)).toMatchObject({ reset: false, structure: false, nodes: new Set(["a", "b"]) });
  expect(difference(replay.state, emptyState("another"))).toMatchObject({ reset: true, structure: true });
});

test("a step forward in a long run tells of what that event changed, and of nothing else", () => {
  const many = numbered(
    Array.from({ length: 5000 }, (_, i) => ({ type: "node_log", node_id: `n${i % 50}`, lines: [] })),
  );
  const replay = new Replay(recorded(many), 2500);
  const told: Change[] = [];
  replay.subscribe((change) => told.push(change));
  replay.seek(2501);
  expect(told.map(({ nodes }) => [...nodes])).toEqual([["n0"]]);
});

describe("getting the log", () => {
  const log = (events: readonly Event[], most: number) =>
    vi.fn(async (_run: string, after: number) => page(events.slice(after, after + most), after, events.length));

  test("goes page by page, and tells how far it has come", async () => {
    const get = log(RUN, 3);
    const recording = new Recording("run");
    const told: number[][] = [];
    await load(recording, WHICH, get, (have, of) => told.push([have, of]) > 0);
    expect(told).toEqual([
      [3, 7],
      [6, 7],
      [7, 7],
    ]);
    expect(get.mock.calls).toEqual([
      ["run", 0],
      ["run", 3],
      ["run", 6],
    ]);
    expect(toJSON(new Replay(recording, 7).state)).toEqual(toJSON(reduced(RUN, 7)));
  });

  test("goes on where the last time ended", async () => {
    const recording = new Recording("run");
    await load(recording, WHICH, log(RUN.slice(0, 5), 3), () => true);
    const replay = new Replay(recording, 2);
    await load(recording, WHICH, log(RUN, 3), () => true);
    expect([replay.position, recording.length]).toEqual([2, 7]);
    replay.seek(7);
    expect(toJSON(replay.state)).toEqual(toJSON(reduced(RUN, 7)));
  });

  test("ends when nobody wants it any more", async () => {
    const get = log(RUN, 1);
    await load(new Recording("run"), WHICH, get, (have) => have < 2);
    expect(get).toHaveBeenCalledTimes(2);
  });

  test("takes a log that begins later than at 1 as it is", async () => {
    const recording = new Recording("run");
    const late = RUN.map((event) => ({ ...event, seq: (event.seq ?? 0) + 1000 }));
    await load(
      recording,
      WHICH,
      async () => page(late, 1000),
      () => true,
    );
    expect([recording.length, recording.head]).toEqual([7, 1007]);
  });

  test.each<[string, LogPage, string]>([
    [
      "too many events",
      page(RUN, 0, 1_000_000),
      'the run has 1M events, a replay holds at most 200K. In Python, dagwidget.run_state("dag", "run", seq=…)',
    ],
    ["too large outputs", { ...page(RUN), size: 3e8 }, "outputs are too large"],
    ["no events where there should be", page([], 0, 7), "the server sent no events after 0"],
  ])("%s are refused with the reason", async (_, one, reason) => {
    await expect(
      load(
        new Recording("run"),
        WHICH,
        async () => one,
        () => true,
      ),
    ).rejects.toThrow(reason);
  });

  test("a gap is refused with the reason", async () => {
    const pages = [page(RUN.slice(0, 2), 0, 7), page(RUN.slice(3), 3, 7)];
    const gap = load(
      new Recording("run"),
      WHICH,
      async () => pages.shift()!,
      () => true,
    );
    await expect(gap).rejects.toThrow("the log has a gap: events 3 to 3 did not come");
  });
});

test("a moment is told to the second, with its date where that is not today", () => {
  const replay = new Replay(recorded(RUN), 3);
  const at = replay.at;
  expect(momentText(replay, at, "en-US")).toMatch(/^\d\d:\d\d:02, event 3 of 7$/);
  expect(momentText(replay, at + 3 * 86_400_000, "en-US")).toMatch(/^Nov 23, \d\d:\d\d:02, event 3 of 7$/);
  expect(elapsedText(replay)).toBe("2.0 s of 6.0 s");
  const long = numbered(
    [
      { type: "error", message: "1" },
      { type: "error", message: "2" },
    ],
    7_387_000,
  );
  expect(elapsedText(new Replay(recorded(long), 2))).toBe("2:03:07 of 2:03:07");
});
