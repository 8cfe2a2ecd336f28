// @vitest-environment jsdom
import { act, cleanup, render, renderHook } from "@testing-library/react";
import { StrictMode, useSyncExternalStore } from "react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Event } from "../src/protocol/messages";
import { type DAGStreamOptions, useDAGStream } from "../src/react";
import { Store } from "../src/state/store";
import { FakeServer } from "./fake-server";

let server: FakeServer;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  server = new FakeServer();
  vi.stubGlobal("WebSocket", server.WebSocket);
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));

const running = (node_id: string, seq: number): Event => ({ type: "node_state", node_id, status: "running", seq });

interface Props {
  dagId: string;
  options?: DAGStreamOptions;
}

async function follow(dagId: string, options?: DAGStreamOptions) {
  const store = new Store();
  const initialProps: Props = { dagId, options };
  const hook = renderHook((props: Props) => useDAGStream(props.dagId, store, props.options), { initialProps });
  await pass(0);
  return { ...hook, store };
}

async function live(dagId = "d", options: DAGStreamOptions = { url: "ws://server" }) {
  const hook = await follow(dagId, options);
  act(() => server.last.greet({ events: [running("a", 1)] }));
  return hook;
}

/** A dashboard. */
function Panel({ store }: { store: Store }) {
  const { connection } = useDAGStream("d", store);
  const seq = useSyncExternalStore(
    (changed) => store.subscribe(changed),
    () => store.state.seq,
  );
  return `${connection.phase} at ${seq}`;
}

describe("useDAGStream", () => {
  test.each([
    ["wss://example.org/team", "etl", "wss://example.org/team/api/dags/etl/stream"],
    ["https://example.org/team//", "etl", "wss://example.org/team/api/dags/etl/stream"],
    ["http://example.org", "a b/c?ü#", "ws://example.org/api/dags/a%20b%2Fc%3F%C3%BC%23/stream"],
    [undefined, "etl", `${window.location.origin.replace("http", "ws")}/api/dags/etl/stream`],
  ])("at %s follows the DAG %s", async (url, dagId, expected) => {
    await follow(dagId, { url });
    expect(server.sockets.map((socket) => socket.url)).toEqual([expected]);
  });

  test("reduces what comes into the store", async () => {
    const { store } = await live();
    act(() => server.last.say(running("b", 2)));
    expect(store.state).toMatchObject({ epoch: "e1", seq: 2 });
    expect([...store.state.nodes.keys()]).toEqual(["a", "b"]);
  });

  test("pins a run, and another one over the same connection", async () => {
    const { rerender } = await follow("d", { url: "ws://server", run: "b" });
    act(() => server.last.greet({ epoch: "b" }));
    rerender({ dagId: "d", options: { url: "ws://server", run: "c" } });
    act(() => {
      server.last.welcome({ epoch: "c" });
      server.last.sync({ epoch: "c" });
    });
    rerender({ dagId: "d", options: { url: "ws://server" } });
    expect(server.last.said("hello").map(({ run }) => run)).toEqual(["b", "c", undefined]);
    expect(server.sockets).toHaveLength(1);
  });

  test("says what the server says of the engine and of the DAG's runs", async () => {
    const { result } = await live();
    expect([result.current.engine, result.current.runs]).toEqual([undefined, undefined]);
    act(() => {
      server.last.say({ type: "engine", state: "gone", since: 7 });
      server.last.say({ type: "runs", total: 3, live: 0, waiting: 0, runs: [] });
    });
    expect(result.current.engine).toMatchObject({ state: "gone", since: 7 });
    expect(result.current.runs).toMatchObject({ total: 3 });
  });

  test("says how the connection is, whenever that changes", async () => {
    const { result } = await follow("d");
    expect(result.current.connection).toMatchObject({ phase: "connecting", attempt: 1 });
    act(() => server.last.greet());
    expect(result.current.connection).toMatchObject({ phase: "live", role: "operate" });
    act(() => server.last.end(1006));
    expect(result.current.connection).toMatchObject({ phase: "waiting", code: 1006 });
    await pass(result.current.connection.retryAt! - Date.now() + 1);
    expect(result.current.connection).toMatchObject({ phase: "connecting", attempt: 2 });
  });

  test("draws a component anew when the connection changes, and when the store does", async () => {
    const { container } = render(<Panel store={new Store()} />);
    await pass(0);
    expect(container.textContent).toBe("connecting at 0");
    act(() => server.last.greet({ events: [running("a", 3)] }));
    expect(container.textContent).toBe("live at 3");
  });

  test("gives a command an id, and hands back the server's answer", async () => {
    const { result } = await live();
    const answer = result.current.send({ type: "human_decision", node_id: "a", decision: "approve" });
    await pass(0);
    const [command] = server.last.said("human_decision");
    expect(command?.id).toMatch(/^[0-9a-f-]{36}$/);
    act(() => server.last.say({ type: "command_ack", id: command!.id, ok: true }));
    expect(await answer).toEqual({ type: "command_ack", id: command!.id, ok: true });
  });

  test("keeps an id that a command has, and makes one where it is undefined", async () => {
    const { result } = await live();
    void result.current.send({ type: "pause_execution", id: "mine" });
    void result.current.send({ type: "resume_execution", id: undefined });
    await pass(0);
    expect(server.last.said("pause_execution")[0]?.id).toBe("mine");
    expect(server.last.said("resume_execution")[0]?.id).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("keeps `send` from one drawing to the next", async () => {
    const { result, rerender } = await live();
    const { send } = result.current;
    rerender({ dagId: "d", options: { url: "ws://server" } });
    expect(result.current.send).toBe(send);
    expect(server.sockets).toHaveLength(1);
  });

  test("asks for the token before each attempt", async () => {
    const token = vi.fn().mockResolvedValueOnce("one").mockResolvedValueOnce("two");
    const { result } = await live("d", { url: "ws://server", token });
    expect(server.last.said("hello")[0]?.token).toBe("one");
    act(() => server.last.end());
    await pass(result.current.connection.retryAt! - Date.now() + 1);
    act(() => server.last.accept());
    expect(server.last.said("hello")[0]?.token).toBe("two");
  });

  test("takes a token that is new when it next connects, without connecting for it", async () => {
    const { result, rerender } = await live("d", { url: "ws://server", token: "one" });
    rerender({ dagId: "d", options: { url: "ws://server", token: "two" } });
    expect(server.sockets).toHaveLength(1);
    act(() => server.last.end());
    await pass(result.current.connection.retryAt! - Date.now() + 1);
    act(() => server.last.accept());
    expect(server.last.said("hello")[0]?.token).toBe("two");
  });

  test("moves to another DAG when it is given one", async () => {
    const { result, rerender } = await live("one");
    const [first] = server.sockets;
    rerender({ dagId: "two", options: { url: "ws://server" } });
    await pass(0);
    expect(first?.closed).toBe(true);
    expect(server.last.url).toBe("ws://server/api/dags/two/stream");
    expect(result.current.connection).toMatchObject({ phase: "connecting", attempt: 1 });
  });

  test("when unmounted closes, and does not come back", async () => {
    const { unmount } = await live();
    unmount();
    expect(server.last.closed).toBe(true);
    await pass(10 * 60_000);
    window.dispatchEvent(new window.Event("online"));
    await pass(0);
    expect(server.sockets).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("goes on trying for as long as it is mounted", async () => {
    const { result } = await follow("d");
    const until = Date.now() + 10 * 60_000;
    while (Date.now() < until) {
      act(() => server.refuse());
      expect(result.current.connection.phase).toBe("waiting");
      await pass(result.current.connection.retryAt! - Date.now() + 1);
    }
    act(() => server.last.greet());
    expect(result.current.connection.phase).toBe("live");
  });

  test("in strict mode has one connection that counts", async () => {
    const { container, unmount } = render(<Panel store={new Store()} />, { wrapper: StrictMode });
    await pass(0);
    expect(server.sockets.filter((socket) => !socket.closed)).toHaveLength(1);
    act(() => server.last.greet());
    expect(container.textContent).toBe("live at 0");
    unmount();
    expect(server.sockets.every((socket) => socket.closed)).toBe(true);
  });
});
