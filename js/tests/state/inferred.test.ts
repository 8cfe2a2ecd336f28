// What the room infers never replaces what the engine said: the twin of the properties in tests/test_state.py.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Event } from "../../src/protocol/messages";
import { emptyState, noChange, reduce } from "../../src/state/reducer";
import { toJSON } from "../../src/state/store";
import type { DagState, Execution } from "../../src/state/types";

const TERMINAL = ["completed", "failed", "skipped", "cancelled"] as const;
const STATUSES = ["pending", "running", "waiting", ...TERMINAL] as const;

const said = {
  type: fc.constant("node_state" as const),
  node_id: fc.constantFrom("a", "b"),
  status: fc.constantFrom(...STATUSES),
  attempt: fc.constantFrom(undefined, undefined, 1, 2, 3),
  instance: fc.constantFrom(undefined, "i1", "i2"),
  output: fc.constantFrom(undefined, 1, 2),
  reason: fc.constantFrom(undefined, "why"),
  started_at: fc.constantFrom(undefined, 7),
  ended_at: fc.constantFrom(undefined, 9),
  ts: fc.nat(99),
};
const word = fc.record(said);
const inferredWord = fc.record({ ...said, inferred: fc.constant(true) });
const happening: fc.Arbitrary<Event> = fc.oneof(
  { weight: 5, arbitrary: word },
  inferredWord,
  fc.constant<Event>({ type: "edge_active", from: "a", to: "b" }),
  fc.constant<Event>({ type: "human_gate_waiting", node_id: "a", gate_id: "g", presentation: {} }),
  fc.constant<Event>({ type: "execution_complete", results: 1 }),
  fc.constant<Event>({ type: "execution_complete", results: null, status: "cancelled", inferred: true }),
  fc.constant<Event>({ type: "execution_state", status: "running" }),
  fc.constant<Event>({ type: "execution_state", status: "lost", inferred: true }),
);
const logs = fc
  .array(happening, { maxLength: 20 })
  .map((log): Event[] => [{ type: "execution_state", status: "running" }, ...log]);

function reduced(events: readonly Event[]): DagState {
  const state = emptyState("run");
  for (const event of events) reduce(state, event, noChange());
  return state;
}

/** Without the fields that are absent, as it would travel. */
const json = (value: unknown) => JSON.parse(JSON.stringify(value));

function executionOf(state: DagState, { node_id, instance }: { node_id: string; instance?: string }) {
  const node = state.nodes.get(node_id);
  if (instance !== undefined) return node?.instances?.[instance];
  return node?.instances ? undefined : node;
}

const isOver = (execution: Execution) => (TERMINAL as readonly string[]).includes(execution.status);

test("an inferred end changes nothing but the end of an execution that is known and open", () => {
  fc.assert(
    fc.property(logs, inferredWord, (log, event) => {
      const [before, after] = [reduced(log), reduced([...log, event])];
      const execution = executionOf(before, event);
      const named = event.attempt === undefined || event.attempt === execution?.attempt;
      const ends = (TERMINAL as readonly string[]).includes(event.status);
      if (!execution || isOver(execution) || !named || !ends) {
        expect(json(toJSON(after))).toEqual(json(toJSON(before)));
        return;
      }
      const { status, reason, ts } = event;
      const end = { status, native: undefined, reason, message: undefined, ended_at: event.ended_at ?? ts };
      expect(json(executionOf(after, event))).toEqual(json({ ...execution, ...end, inferred: true }));
      expect(json(toJSON(reduced([...log, event, event])))).toEqual(json(toJSON(after)));
    }),
  );
});

test("after a later word of the engine it is as if nothing had been inferred", () => {
  fc.assert(
    fc.property(logs, word, fc.constantFrom(...TERMINAL), (log, event, status) => {
      const execution = executionOf(reduced(log), event);
      if (!execution || isOver(execution)) return;
      const later = { ...event, attempt: event.attempt && execution.attempt };
      const inferred: Event = { ...event, status, attempt: execution.attempt, output: 9, inferred: true };
      const nodes = (events: readonly Event[]) => json([...reduced(events).nodes]);
      expect(nodes([...log, inferred, later])).toEqual(nodes([...log, later]));
    }),
  );
});

test("a run that its engine has ended is neither lost nor given up", () => {
  const end: Event = { type: "execution_complete", results: 1, status: "failed", reason: "why", ts: 7 };
  const inferred = fc.constantFrom<Event>(
    { type: "execution_complete", results: 2, status: "cancelled", reason: "given up", inferred: true },
    { type: "execution_state", status: "lost", inferred: true },
    { type: "execution_state", status: "running", inferred: true },
  );
  fc.assert(
    fc.property(logs, inferred, (log, event) => {
      expect(json(toJSON(reduced([...log, end, event])))).toEqual(json(toJSON(reduced([...log, end]))));
    }),
  );
});
