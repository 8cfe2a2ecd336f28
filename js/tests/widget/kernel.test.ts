import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Event, NodeState } from "../../src/protocol/messages";
import { Store } from "../../src/state/store";
import { type Endpoint, Stream } from "../../src/stream/stream";
import { KernelLink } from "../../src/widget/kernel";
import { FakeModel, FakeServer } from "../fake-server";

const HERE: Endpoint = { url: "ws://server/api/dags/d/stream", token: "first" };

const running = (node_id: string, seq?: number): NodeState => ({ type: "node_state", node_id, status: "running", seq });

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
});

afterEach(() => {
  vi.useRealTimers();
});

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** A link whose streams are its own; `renew` is what it would be asked when the server has moved. */
class Linked {
  readonly server = new FakeServer();
  readonly model = new FakeModel();
  readonly acquired: Endpoint[] = [];
  released = 0;
  renew: () => Promise<Endpoint> = async () => {
    throw new Error("nothing was acquired");
  };
  readonly link = new KernelLink(this.model, (endpoint, renew) => {
    this.acquired.push(endpoint);
    this.renew = renew;
    const store = new Store();
    const stream = new Stream({ store, endpoint: async () => endpoint, WebSocket: this.server.WebSocket });
    stream.start();
    const release = () => {
      this.released++;
      stream.close();
    };
    return { store, stream, release };
  });

  /** What the kernel was told of this type, without what came before the last `forget`. */
  told(type: string): Record<string, unknown>[] {
    return this.model.sent.filter((message) => message.type === type);
  }

  forget(): void {
    this.model.sent.length = 0;
  }

  get types(): unknown[] {
    return this.model.sent.map((message) => message.type);
  }
}

async function located(): Promise<Linked> {
  const linked = new Linked();
  linked.model.tell({ type: "endpoint", ...HERE });
  await pass(0);
  return linked;
}

/** A link whose stream is live, and what it said so far forgotten. */
async function live(events: readonly Event[] = []): Promise<Linked> {
  const linked = await located();
  linked.server.last.greet({ events });
  await pass(100);
  linked.forget();
  return linked;
}

async function plain(): Promise<Linked> {
  const linked = await located();
  linked.server.last.end(1006);
  linked.server.last.accept();
  await pass(100);
  linked.forget();
  return linked;
}

describe("a link to the kernel", () => {
  test("asks where the server is, and opens nothing until it is told", () => {
    const { model, link, acquired } = new Linked();
    expect(model.sent).toEqual([{ type: "endpoint?" }]);
    expect(link.lease).toBeUndefined();
    expect(acquired).toEqual([]);
  });

  test("takes its share once told, and says how the connection and the state are", async () => {
    const linked = new Linked();
    const changed = vi.fn();
    linked.link.subscribe(changed);
    linked.model.tell({ type: "endpoint", ...HERE });
    expect(linked.acquired).toEqual([HERE]);
    expect(linked.link.lease?.store.state.seq).toBe(0);
    expect(changed).toHaveBeenCalledOnce();
    expect(linked.types).toEqual(["endpoint?", "connection", "state"]);
    expect(linked.told("connection")[0]).toMatchObject({ connection: { phase: "connecting" } });
    expect(linked.told("state")[0]).toMatchObject({ state: { seq: 0, status: "pending", nodes: {} } });
  });

  test("takes one share, however often it is told", async () => {
    const linked = await located();
    linked.model.tell({ type: "endpoint", url: "ws://moved" });
    expect(linked.acquired).toHaveLength(1);
  });

  test("no longer tells who has stopped listening", () => {
    const linked = new Linked();
    const changed = vi.fn();
    linked.link.subscribe(changed)();
    linked.model.tell({ type: "endpoint", ...HERE });
    expect(changed).not.toHaveBeenCalled();
  });

  test("passes on each change of the connection", async () => {
    const linked = await located();
    linked.forget();
    linked.server.last.greet();
    expect(linked.told("connection").map(({ connection }) => (connection as { phase: string }).phase)).toContain(
      "syncing",
    );
    expect(linked.told("connection").at(-1)).toMatchObject({ connection: { phase: "live", role: "operate" } });
  });

  test("passes on a state that was replaced as a whole", async () => {
    const linked = await live();
    linked.server.last.sync({ epoch: "e2", events: [running("a", 4)] });
    await pass(100);
    expect(linked.told("state")).toMatchObject([{ state: { epoch: "e2", seq: 4, nodes: { a: { id: "a" } } } }]);
    expect(linked.told("events")).toEqual([]);
  });

  test("gathers what comes within 16 ms", async () => {
    const linked = await live([running("a", 1)]);
    linked.server.last.say(running("b", 2));
    await pass(10);
    linked.server.last.batch(running("c", 3), running("d", 4));
    await pass(5);
    expect(linked.told("events")).toEqual([]);
    await pass(1);
    linked.server.last.say(running("e", 5));
    await pass(16);
    const events = linked.told("events");
    expect(events.map(({ epoch, after, seq }) => ({ epoch, after, seq }))).toEqual([
      { epoch: "e1", after: 1, seq: 4 },
      { epoch: "e1", after: 4, seq: 5 },
    ]);
    expect(events[0]?.events).toEqual([running("b", 2), running("c", 3), running("d", 4)]);
    expect(events[0]).not.toHaveProperty("reset");
  });

  test("gathers also what a plain server sends, one event a frame", async () => {
    const linked = await plain();
    linked.server.last.say(running("a"), running("b"), running("c"));
    await pass(16);
    expect(linked.told("events")).toMatchObject([{ after: 0, seq: 0, events: [{}, {}, {}] }]);
  });

  test("says once what a state already holds", async () => {
    const linked = await live();
    linked.server.last.say(running("a", 1));
    linked.model.tell({ type: "state?" });
    expect(linked.told("state")).toMatchObject([{ state: { seq: 1, nodes: { a: { status: "running" } } } }]);
    await pass(100);
    expect(linked.told("events")).toEqual([]);
    linked.server.last.say(running("b", 2));
    await pass(100);
    expect(linked.told("events")).toMatchObject([{ after: 1, seq: 2 }]);
  });

  test("has nothing to say of a state before there is one", () => {
    const linked = new Linked();
    linked.forget();
    linked.model.tell({ type: "state?" });
    expect(linked.model.sent).toEqual([]);
  });

  test("names itself, so that one page's messages are told from another's", async () => {
    const [one, two] = [await live(), await live()];
    for (const linked of [one, two]) {
      linked.server.last.say(running("a", 1));
      await pass(16);
      linked.model.tell({ type: "state?" });
    }
    const sources = (linked: Linked) =>
      linked.model.sent.flatMap(({ source }) => (source === undefined ? [] : [source]));
    expect(sources(one)).toHaveLength(2);
    expect(new Set(sources(one)).size).toBe(1);
    expect(sources(one)[0]).not.toBe(sources(two)[0]);
  });

  test("carries a command to the server, and its answer back", async () => {
    const linked = await live();
    linked.model.tell({ type: "command", command: { type: "pause_execution", id: "c" } });
    expect(linked.server.last.said("pause_execution")).toEqual([{ type: "pause_execution", id: "c" }]);
    expect(linked.told("ack")).toEqual([]);
    const ack = { type: "command_ack", id: "c", ok: false, code: "forbidden", message: "you may only watch" } as const;
    linked.server.last.say(ack);
    await pass(0);
    expect(linked.told("ack")).toEqual([{ type: "ack", ack }]);
  });

  test("keeps why there is no stream, until there is one", () => {
    const linked = new Linked();
    const changed = vi.fn();
    linked.link.subscribe(changed);
    linked.model.tell({ type: "fault", reason: "no server could be started" });
    expect(linked.link.fault).toBe("no server could be started");
    expect(linked.link.lease).toBeUndefined();
    expect(changed).toHaveBeenCalledOnce();
    linked.model.tell({ type: "endpoint", ...HERE });
    expect(linked.link.fault).toBeUndefined();
  });

  test("ignores what it does not know", async () => {
    const linked = await live();
    linked.model.tell({ type: "from the future" });
    expect(linked.model.sent).toEqual([]);
  });
});

describe("asking again where the server is", () => {
  test("takes the kernel's answer", async () => {
    const linked = await live();
    const timers = vi.getTimerCount();
    const renewed = linked.renew();
    expect(linked.types).toEqual(["endpoint?"]);
    linked.model.tell({ type: "endpoint", url: "ws://moved", token: "second" });
    expect(await renewed).toEqual({ url: "ws://moved", token: "second" });
    expect(vi.getTimerCount()).toBe(timers);
  });

  test("waits 1.5 s for a busy kernel, and then goes by its last word", async () => {
    const linked = await live();
    linked.model.tell({ type: "endpoint", url: "ws://moved", token: "second" });
    const done = vi.fn();
    void linked.renew().then(done);
    await pass(1_499);
    expect(done).not.toHaveBeenCalled();
    await pass(1);
    expect(done).toHaveBeenCalledWith({ url: "ws://moved", token: "second" });
  });

  test("answers all who asked", async () => {
    const linked = await live();
    const asked = [linked.renew(), linked.renew()];
    linked.model.tell({ type: "endpoint", ...HERE });
    expect(await Promise.all(asked)).toEqual([HERE, HERE]);
  });
});

describe("the end of a link", () => {
  test("refuses at once what the kernel would be asked, when that is gone", async () => {
    const linked = await live();
    linked.model.emit("comm_live_update");
    linked.forget();
    await expect(linked.link.output("a")).rejects.toThrow("the kernel was restarted: run this cell again");
    expect(linked.model.sent).toEqual([]);
  });

  test.each<[string, (linked: Linked) => void]>([
    ["the model is closed", (linked) => linked.link.close()],
    ["the kernel is gone", (linked) => linked.model.emit("comm_live_update")],
  ])("gives its share back when %s, once", async (_, end) => {
    const linked = await live();
    linked.server.last.say(running("a", 1));
    end(linked);
    linked.link.close();
    expect(linked.released).toBe(1);
    expect(linked.server.last.closed).toBe(true);
    expect(linked.model.listeners).toBe(0);
    linked.forget();
    await pass(100);
    linked.model.tell({ type: "endpoint", ...HERE });
    expect(linked.model.sent).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("may come before there was a share", () => {
    const linked = new Linked();
    linked.link.close();
    expect(linked.released).toBe(0);
    expect(linked.model.listeners).toBe(0);
  });

  test("leaves answers that come later unsaid", async () => {
    const linked = await live();
    linked.model.tell({ type: "command", command: { type: "pause_execution", id: "c" } });
    linked.forget();
    linked.link.close();
    await pass(0);
    expect(linked.model.sent).toEqual([]);
  });
});

describe("a whole output", () => {
  test("is asked of the kernel, and given to whoever asked for it", async () => {
    const { model, link } = await live();
    const timers = vi.getTimerCount();
    const [a, again, b] = [link.output("a"), link.output("a"), link.output("b")];
    expect(model.sent).toEqual(["a", "a", "b"].map((node_id) => ({ type: "output?", node_id })));
    model.tell({ type: "output", node_id: "b", text: "2" });
    model.tell({ type: "output", node_id: "a", text: "1" });
    expect(await Promise.all([a, again, b])).toEqual(["1", "1", "2"]);
    expect(vi.getTimerCount()).toBe(timers);
  });

  test("that is not there, or does not come, is refused with a sentence", async () => {
    const { model, link } = await live();
    const missing = link.output("a");
    model.tell({ type: "output", node_id: "a", fault: "it is not kept" });
    await expect(missing).rejects.toThrow("it is not kept");
    const late = expect(link.output("a")).rejects.toThrow("the kernel is busy");
    await pass(60_000);
    await late;
  });
});

describe("a run's log", () => {
  const page = { dag_id: "d", epoch: "run", after: 2, head: 3, events: [{ type: "node_log", node_id: "a", seq: 3 }] };
  const packed = (value: unknown) => new DataView(new Uint8Array(gzipSync(JSON.stringify(value))).buffer);

  test("comes from the kernel page by page, unpacked and checked", async () => {
    const { model, link } = await live();
    const timers = vi.getTimerCount();
    const asked = link.log("run", 2);
    expect(model.sent).toEqual([{ type: "log?", run: "run", after: 2 }]);
    model.tell({ type: "log", run: "run", after: 0 }, [packed({})]);
    model.tell({ type: "log", run: "run", after: 2 }, [packed(page)]);
    const { events, ...rest } = await asked;
    expect(rest).toEqual({ after: 2, head: 3, size: JSON.stringify(page).length });
    expect(events).toEqual([{ type: "malformed node_log", node_id: "a", seq: 3 }]);
    expect(vi.getTimerCount()).toBe(timers);
  });

  test("that is not there, or is none, is refused with a sentence", async () => {
    const { model, link } = await live();
    const missing = link.log("run", 0);
    model.tell({ type: "log", run: "run", after: 0, fault: "it is not kept" });
    await expect(missing).rejects.toThrow("it is not kept");
    const none = link.log("run", 0);
    model.tell({ type: "log", run: "run", after: 0 }, [packed({ events: 7 })]);
    await expect(none).rejects.toThrow('an invalid log page: {"events":7}');
    const late = expect(link.log("run", 0)).rejects.toThrow("the kernel is busy");
    await pass(60_000);
    await late;
  });
});

describe("what the run before took", () => {
  test("is asked of the kernel; where there is none, there is no estimate", async () => {
    const { model, link } = await live();
    const asked = [link.earlier("run"), link.earlier("first")];
    expect(model.sent).toEqual(["run", "first"].map((run) => ({ type: "earlier?", run })));
    const durations = { ms: 9, nodes: { a: 4 } };
    model.tell({ type: "earlier", run: "first", durations: null });
    model.tell({ type: "earlier", run: "run", durations });
    expect(await Promise.all(asked)).toEqual([durations, undefined]);
  });
});

describe("a picture", () => {
  const svg = async () => new Blob(["<svg/>"]);

  test("is drawn by a view that offers it, and sent with its bytes", async () => {
    const linked = await live([running("a", 1)]);
    linked.link.offer(svg);
    linked.model.tell({ type: "picture?", id: "p", format: "svg" });
    await pass(0);
    await vi.waitFor(() => expect(linked.told("picture")).toEqual([{ type: "picture", id: "p" }]));
    expect(new TextDecoder().decode(linked.model.buffers.at(-1)?.[0])).toBe("<svg/>");
  });

  test("waits for a view, and for something to draw, and is drawn once", async () => {
    const linked = await live();
    linked.model.tell({ type: "picture?", id: "p", format: "png" });
    const draw = vi.fn(svg);
    linked.link.offer(draw);
    await pass(0);
    expect(linked.told("picture")).toEqual([]);
    linked.server.last.say(running("a", 1));
    await pass(100);
    await vi.waitFor(() => expect(linked.told("picture")).toHaveLength(1));
    linked.server.last.say(running("b", 2));
    await pass(100);
    expect(draw.mock.calls).toEqual([["png"]]);
  });

  test("is left to other pages by one whose views are gone", async () => {
    const linked = await live([running("a", 1)]);
    linked.link.offer(svg)();
    linked.model.tell({ type: "picture?", id: "p", format: "svg" });
    await pass(100);
    expect(linked.told("picture")).toEqual([]);
  });

  test("that can't be drawn or sent is refused with a sentence", async () => {
    const linked = await live([running("a", 1)]);
    const withdraw = linked.link.offer(() => Promise.reject(new Error("no canvas")));
    linked.model.tell({ type: "picture?", id: "p", format: "png" });
    await vi.waitFor(() => expect(linked.told("picture").at(-1)).toMatchObject({ id: "p", fault: "no canvas" }));
    withdraw();
    linked.link.offer(async () => new Blob([new Uint8Array(10_000_000)]));
    linked.model.tell({ type: "picture?", id: "q", format: "png" });
    await vi.waitFor(() => expect(linked.told("picture").at(-1)?.fault).toContain("too large to send"));
  });
});
