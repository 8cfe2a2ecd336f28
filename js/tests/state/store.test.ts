// Both reducers run ../tests/vectors/*.jsonl: what a v1 connection receives, and the state that it adds up to.
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Event, ServerMessage } from "../../src/protocol/messages";
import { Store, toJSON } from "../../src/state/store";
import type { Change } from "../../src/state/types";

const VECTORS = new URL("../../../tests/vectors/", import.meta.url);
const names = readdirSync(VECTORS)
  .filter((name) => name.endsWith(".jsonl"))
  .sort();

type Expectation = { type: "expect"; state: unknown };

function read(name: string): { messages: ServerMessage[]; expected: unknown } {
  const text = readFileSync(new URL(name, VECTORS), "utf8").replace(/\n+$/, "");
  const lines = text.split("\n").map((line) => JSON.parse(line) as ServerMessage | Expectation);
  const last = lines.pop() as Expectation;
  expect(last.type).toBe("expect");
  const messages = lines.flat() as ServerMessage[];
  return { messages, expected: last.state };
}

function replay(messages: readonly ServerMessage[]): Store {
  const store = new Store();
  let reset: { epoch: string; events: Event[] } | undefined;
  for (const message of messages) {
    if (message.type === "sync") reset = message.reset ? { epoch: message.epoch, events: [] } : undefined;
    else if (message.type === "synced") {
      if (reset) store.replace({ epoch: reset.epoch, seq: message.seq }, reset.events);
      reset = undefined;
    } else if (reset) reset.events.push(message as Event);
    else store.apply([message as Event]);
  }
  return store;
}

/** RFC 8785: keys in the order of their UTF-16 code units, numbers and strings as JavaScript prints them. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  fields.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`).join(",")}}`;
}

describe("the vectors", () => {
  test.each(names)("%s ends in its state, to the byte", (name) => {
    const { messages, expected } = read(name);
    expect(canonical(toJSON(replay(messages).state))).toBe(canonical(expected));
  });

  test("are all there", () => expect(names.length).toBeGreaterThanOrEqual(24));
});

describe("a store", () => {
  const running = (node_id: string): Event => ({ type: "node_state", node_id, status: "running" });

  function watched(): { store: Store; changes: Change[] } {
    const store = new Store();
    const changes: Change[] = [];
    store.subscribe((change) => changes.push(change));
    return { store, changes };
  }

  test("tells of a batch once, naming the nodes that it changed", () => {
    const { store, changes } = watched();
    store.apply([running("a"), running("b"), { type: "node_log", node_id: "a", lines: ["x"] }]);
    expect(changes).toEqual([{ reset: false, structure: true, nodes: new Set(["a", "b"]), edges: false }]);
  });

  test("says that the structure changed only when it did", () => {
    const { store, changes } = watched();
    store.apply([{ type: "dag_mutated", mutation: { add_nodes: [{ id: "a", label: "A" }] } }]);
    store.apply([running("a")]);
    store.apply([{ type: "dag_mutated", mutation: { update_nodes: [{ id: "a", label: "A", description: "new" }] } }]);
    store.apply([{ type: "dag_mutated", mutation: { update_nodes: [{ id: "a", label: "B" }] } }]);
    store.apply([{ type: "dag_mutated", mutation: { remove_nodes: ["a"] } }]);
    expect(changes.map((change) => change.structure)).toEqual([true, false, false, true, true]);
  });

  test("says that an edge's activity changed, also where its target settling ended it", () => {
    const { store, changes } = watched();
    store.apply([{ type: "edge_active", from: "a", to: "b" }]);
    store.apply([running("b")]);
    store.apply([{ type: "node_state", node_id: "b", status: "completed" }]);
    expect(changes.map((change) => change.edges)).toEqual([true, false, true]);
  });

  test("tells of a replacement once, when the new picture is whole", () => {
    const { store, changes } = watched();
    store.apply([running("old")]);
    const before = store.state;
    store.replace({ epoch: "e", seq: 7 }, [running("a"), running("b")]);
    expect(changes).toHaveLength(2);
    expect(changes[1]).toMatchObject({ reset: true, structure: true });
    expect(store.state).not.toBe(before);
    expect([...store.state.nodes.keys()]).toEqual(["a", "b"]);
    expect(store.state).toMatchObject({ epoch: "e", seq: 7 });
  });

  test("moves on over types that it does not know", () => {
    const store = new Store();
    store.apply([{ type: "weather", seq: 4 } as unknown as Event]);
    expect(store.state.seq).toBe(4);
  });

  test("stops telling who no longer wants to know", () => {
    const store = new Store();
    const heard: Change[] = [];
    const stop = store.subscribe((change) => heard.push(change));
    stop();
    store.apply([running("a")]);
    expect(heard).toEqual([]);
  });

  test("replaces a node that changed, so that a reader may compare", () => {
    const store = new Store();
    store.apply([running("a"), running("b")]);
    const [a, b] = [store.state.nodes.get("a"), store.state.nodes.get("b")];
    store.apply([{ type: "node_state", node_id: "a", status: "completed" }]);
    expect(store.state.nodes.get("a")).not.toBe(a);
    expect(store.state.nodes.get("b")).toBe(b);
  });
});

test("a node may be named like what every object has", () => {
  const store = new Store();
  store.apply([{ type: "cost_update", spent: 1, budget: null, remaining: null, by_node: { a: 1 } }]);
  expect(store.state.cost?.by_node?.constructor).toBeUndefined();
  expect(store.state.cost?.by_node?.a).toBe(1);
});
