import { describe, expect, test } from "vitest";
import { decode } from "../../src/protocol/decode";

const read = (frame: unknown) => decode(JSON.stringify(frame));

describe("a frame", () => {
  test("holds one message, or an array of them", () => {
    const ping = { type: "ping", head: 3 };
    expect(read(ping)).toEqual([ping]);
    expect(read([ping, ping])).toEqual([ping, ping]);
    expect(read([])).toEqual([]);
  });

  test("that is not text is an error in words", () => {
    expect(() => decode(new ArrayBuffer(1))).toThrow("binary frame");
  });

  test("that is not JSON is an error that quotes the beginning of it", () => {
    expect(() => decode(`<html>${"x".repeat(1_000)}`)).toThrow(/invalid JSON: <html>x{194}$/);
  });

  test.each([3, null, "text", {}, { type: 7 }, [[]], [{ type: "ping", head: 1 }, 3]])("of %j is refused", (frame) => {
    expect(() => read(frame)).toThrow("without a type");
  });
});

describe("a message", () => {
  test.each([
    { type: "node_state", node_id: "a", status: "cancelled", unheard: "of" },
    { type: "edge_active", from: "a", to: "b" },
    { type: "dag_mutated", mutation: {} },
    { type: "dag_mutated", mutation: { add_nodes: [{ id: "a" }], add_edges: null, remove_nodes: ["b"] } },
    { type: "cost_update", spent: 0, budget: null, remaining: null },
    { type: "execution_complete", results: null },
    { type: "execution_complete", results: null, status: "failed" },
    { type: "human_gate_waiting", node_id: "a", presentation: {} },
    { type: "error", message: "" },
    { type: "execution_state", status: "paused" },
    { type: "node_log", node_id: "a", lines: [] },
    { type: "sync", epoch: "e", seq: 3, reset: false },
    // Before the first run.
    { type: "sync", epoch: "", seq: 0, reset: true },
    { type: "from the future", anything: [1] },
    { type: "constructor" },
  ])("passes as it is: %j", (message) => expect(read(message)).toEqual([message]));

  test.each([
    { type: "node_state", node_id: 7, status: "running" },
    { type: "node_state", node_id: "", status: "running" },
    { type: "node_state", node_id: "a", status: "sleeping" },
    { type: "edge_active", from: "a" },
    { type: "dag_mutated" },
    { type: "cost_update", spent: "1" },
    { type: "execution_complete", results: null, status: "running" },
    { type: "human_gate_waiting", node_id: "a" },
    { type: "human_gate_resolved", node_id: "a" },
    { type: "error" },
    { type: "execution_state", status: "completed" },
    { type: "node_log", node_id: "a", lines: "text" },
    { type: "welcome", text: "hi there" },
    { type: "sync" },
    { type: "synced" },
    { type: "ping" },
    { type: "command_ack", ok: true },
    { type: "bye" },
  ])("that can't be used is given a type that nobody knows: %j", (message) => {
    expect(read(message)).toEqual([{ ...message, type: `malformed ${message.type}` }]);
  });

  test("is used without the parts that can't be", () => {
    const nodes = [{ id: "a" }, {}, { id: "b" }];
    const mutation = { add_nodes: nodes, remove_nodes: [{ id: "a" }], add_edges: "none" };
    expect(read({ type: "dag_mutated", mutation })).toEqual([
      { type: "dag_mutated", mutation: { add_nodes: [{ id: "a" }, { id: "b" }], remove_nodes: [] } },
    ]);
  });

  test("names a node with text or not at all", () => {
    const nodes = [
      { id: "a", label: 7, group: ["g"], kind: null },
      { id: "b", label: "B" },
    ];
    expect(read({ type: "dag_mutated", mutation: { add_nodes: nodes } })).toEqual([
      {
        type: "dag_mutated",
        mutation: {
          add_nodes: [
            { id: "a", kind: null },
            { id: "b", label: "B" },
          ],
        },
      },
    ]);
  });
});
