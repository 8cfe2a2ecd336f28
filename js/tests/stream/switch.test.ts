import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Store } from "../../src/state/store";
import type { Change } from "../../src/state/types";
import { Stream } from "../../src/stream/stream";
import { nothing, type Source, Switch } from "../../src/stream/switch";
import { FakeServer, type FakeSocket } from "../fake-server";
import { ADDRESS, pass, running, START } from "./following";

let server: FakeServer;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: START });
  server = new FakeServer();
});

afterEach(() => {
  vi.useRealTimers();
});

interface Opened extends Source {
  stream: Stream;
  socket: FakeSocket;
  released: number;
  release(): void;
}

/** A stream that connects. */
async function open(run: string): Promise<Opened> {
  const store = new Store();
  const stream = new Stream({
    store,
    endpoint: async () => ({ url: ADDRESS }),
    WebSocket: server.WebSocket,
    wanted: { run },
  });
  stream.start();
  await pass(0);
  const source = { store, stream, socket: server.last, released: 0, release: () => void source.released++ };
  return source;
}

/** One that is in step. */
async function live(run: string): Promise<Opened> {
  const source = await open(run);
  source.socket.greet({ epoch: run, events: [running(`in ${run}`, 1)] });
  return source;
}

class Looking {
  readonly switch = new Switch(nothing());
  readonly changes: Change[] = [];
  notified = 0;

  constructor() {
    this.switch.store.subscribe((change) => this.changes.push(change));
    this.switch.stream.subscribe(() => this.notified++);
  }

  get nodes(): string[] {
    return [...this.switch.store.state.nodes.keys()];
  }

  get phase(): string {
    return this.switch.stream.connection.phase;
  }
}

describe("a switch", () => {
  test("shows at once what comes first, and what it then says", async () => {
    const looking = new Looking();
    expect(looking.phase).toBe("idle");
    const a = await open("a");
    looking.switch.show(a);
    expect(looking.phase).toBe("connecting");
    a.socket.greet({ epoch: "a", events: [running("x", 1)] });
    expect(looking.nodes).toEqual(["x"]);
    a.socket.say({ type: "engine", state: "gone" });
    expect(looking.switch.stream.engine).toMatchObject({ state: "gone" });
    expect(looking.notified).toBeGreaterThan(3);
  });

  test("keeps the old picture until the next one is whole", async () => {
    const looking = new Looking();
    const [a, b] = [await live("a"), await open("b")];
    looking.switch.show(a);
    looking.switch.show(b);
    b.socket.accept();
    b.socket.welcome({ epoch: "b" });
    b.socket.say({ type: "sync", epoch: "b", seq: 1, reset: true }, running("in b", 1));
    expect([looking.nodes, looking.phase, a.released]).toEqual([["in a"], "live", 0]);
    looking.changes.length = 0;
    b.socket.say({ type: "synced", seq: 1 });
    expect([looking.nodes, looking.phase, a.released]).toEqual([["in b"], "live", 1]);
    expect(looking.changes).toEqual([{ reset: true, structure: true, nodes: new Set(["in b"]), edges: true }]);
    a.socket.say(running("late", 2));
    expect(looking.changes).toHaveLength(1);
  });

  test("shows at once what others have opened, and a run that has not begun", async () => {
    const looking = new Looking();
    const [a, b, c] = [await live("a"), await live("b"), await open("c")];
    looking.switch.show(a);
    looking.switch.show(b);
    expect(looking.nodes).toEqual(["in b"]);
    looking.switch.show(c);
    c.socket.greet({ epoch: "" });
    expect(looking.nodes).toEqual([]);
    expect([a.released, b.released, c.released]).toEqual([1, 1, 0]);
  });

  test("shows why the next one can't be shown, beside the runs that were known before", async () => {
    const looking = new Looking();
    const [a, b] = [await live("a"), await open("b")];
    a.socket.say({ type: "runs", total: 7, live: 0, waiting: 0, runs: [] });
    looking.switch.show(a);
    looking.switch.show(b);
    b.socket.accept();
    b.socket.say({ type: "bye", code: 4410, reason: "the run was deleted", retry: false });
    expect(looking.switch.stream.connection).toMatchObject({ phase: "stopped", code: 4410 });
    expect(looking.switch.stream.runs?.total).toBe(7);
  });

  test("shows the last of those that it was told, and gives the others back", async () => {
    const looking = new Looking();
    const [a, b, c] = [await live("a"), await open("b"), await open("c")];
    looking.switch.show(a);
    looking.switch.show(b);
    looking.switch.show(c);
    expect(b.released).toBe(1);
    b.socket.greet({ epoch: "b", events: [running("in b", 1)] });
    expect(looking.nodes).toEqual(["in a"]);
    looking.switch.show(a);
    expect([c.released, a.released]).toEqual([1, 1]);
    c.socket.greet({ epoch: "c", events: [running("in c", 1)] });
    expect(looking.nodes).toEqual(["in a"]);
  });

  test("attends to what it shows or will show, and to nothing once it is closed", async () => {
    const looking = new Looking();
    const [a, b] = [await live("a"), await open("b")];
    const [attend, leave] = [vi.spyOn(a.stream, "attend"), vi.fn()];
    attend.mockReturnValue(leave);
    looking.switch.show(a);
    looking.switch.show(b);
    expect(leave).not.toHaveBeenCalled();
    looking.switch.close();
    expect([leave.mock.calls.length, a.released, b.released]).toEqual([1, 1, 1]);
    a.socket.say(running("late", 2));
    expect(looking.changes.at(-1)?.nodes).toEqual(new Set(["in a"]));
  });

  test("without a server says so, and takes nothing", async () => {
    const { stream } = new Switch(nothing({ fault: "no server could be started" }));
    expect(stream.connection).toMatchObject({ phase: "stopped", reason: "no server could be started" });
    expect(await stream.send({ type: "pause_execution", id: "c" })).toMatchObject({ ok: false, code: "not_connected" });
  });
});
