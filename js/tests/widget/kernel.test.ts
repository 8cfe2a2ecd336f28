import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Event, NodeState } from "../../src/protocol/messages";
import { Store } from "../../src/state/store";
import { type Endpoint, Stream, type Wanted } from "../../src/stream/stream";
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
  readonly wanted: (Wanted | undefined)[] = [];
  released = 0;
  renew: () => Promise<Endpoint> = async () => {
    throw new Error("nothing was acquired");
  };
  readonly link = new KernelLink(this.model, (endpoint, renew, wanted) => {
    this.acquired.push(endpoint);
    this.wanted.push(wanted);
    this.renew = renew;
    const store = new Store();
    const stream = new Stream({ store, endpoint: async () => endpoint, WebSocket: this.server.WebSocket, wanted });
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

describe("a link to the kernel", () => {
  test("asks where the server is, and opens nothing until it is told", () => {
    const { model, link, acquired } = new Linked();
    expect(model.sent).toEqual([{ type: "endpoint?" }]);
    expect(link.lease).toBeUndefined();
    expect(acquired).toEqual([]);
  });

  test("takes its share once told, and says how its connection stands", async () => {
    const linked = new Linked();
    const changed = vi.fn();
    linked.link.subscribe(changed);
    linked.model.tell({ type: "endpoint", ...HERE });
    expect(linked.acquired).toEqual([HERE]);
    expect(linked.link.lease?.store.state.seq).toBe(0);
    expect(changed).toHaveBeenCalledOnce();
    expect(linked.types).toEqual(["endpoint?", "page"]);
    expect(linked.told("page")[0]).toMatchObject({ phase: "connecting", role: null, run: null });
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

  test("sends what Python decides over the page's own connection, and leaves the answer to the server", async () => {
    const linked = await live();
    const command = {
      type: "human_decision",
      id: "c",
      run_id: "e0",
      node_id: "a",
      decision: "approve",
      source: "python",
    };
    linked.model.tell({ type: "command", command });
    expect(linked.server.last.said("human_decision")).toEqual([command]);
    linked.server.last.say({ type: "command_ack", id: "c", ok: true });
    await pass(0);
    expect(linked.model.sent).toEqual([{ type: "sent", id: "c" }]);
  });

  test("leaves what Python decides to the kernel's own connection where this one is not live", async () => {
    const linked = await live();
    linked.server.last.end();
    linked.model.tell({ type: "command", command: { type: "pause_execution", id: "c" } });
    expect(linked.link.lease?.stream.pending).toEqual([]);
    new Linked().model.tell({ type: "command", command: { type: "pause_execution", id: "c" } });
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

describe("a page's report", () => {
  const phases = (linked: Linked) => linked.told("page").map(({ phase }) => phase);

  test("comes with each change of what it says, and only then", async () => {
    const linked = await located();
    linked.server.last.accept();
    linked.server.last.welcome({ role: "operate" });
    linked.server.last.sync({ events: [running("a", 1)] });
    expect(phases(linked)).toEqual(["connecting", "greeting", "syncing", "live"]);
    const { id, ...last } = linked.told("page").at(-1)!;
    expect(last).toEqual({ type: "page", phase: "live", role: "operate", run: "e1", dialect: "v1" });
    linked.forget();
    linked.server.last.say(running("b", 2), { type: "engine", state: "gone" });
    expect(linked.model.sent).toEqual([]);
    linked.server.last.sync({ epoch: "e2", events: [running("a", 4)] });
    expect(linked.told("page").at(-1)).toMatchObject({ id, run: "e2", phase: "live" });
  });

  test("does not come again while nothing changes: each message makes the kernel busy", async () => {
    const linked = await live();
    await pass(10_000);
    expect(phases(linked)).toEqual([]);
  });

  test("tells a server that keeps no log", async () => {
    const linked = await located();
    linked.server.last.end(1006);
    linked.server.last.accept();
    linked.server.last.say({ type: "node_state", node_id: "a", status: "running" });
    expect(linked.told("page").at(-1)).toMatchObject({ phase: "live", role: null, run: null, dialect: "plain" });
  });

  test("names its page, so that one is told from another", async () => {
    const [one, two] = [await live(), await live()];
    for (const linked of [one, two]) linked.server.last.end();
    const ids = [one, two].map((linked) => new Set(linked.told("page").map(({ id }) => id)));
    expect(ids.map((set) => set.size)).toEqual([1, 1]);
    expect(ids[0]).not.toEqual(ids[1]);
  });
});

describe("the run that the kernel follows", () => {
  const hellos = (linked: Linked) => linked.server.last.said("hello").map(({ run, follow }) => ({ run, follow }));

  test("is followed from a run that it begins, over the same connection", async () => {
    const linked = await live();
    const told = vi.fn();
    linked.link.subscribe(told);
    linked.model.tell({ type: "follow", run: "e2", pin: false });
    expect(hellos(linked)).toEqual([{}, { run: "e2", follow: true }]);
    expect(linked.acquired).toHaveLength(1);
    linked.server.last.welcome({ epoch: "e2" });
    linked.server.last.sync({ epoch: "e2" });
    linked.server.last.sync({ epoch: "e3" });
    // It is said again, each time that the kernel has looked for the server.
    linked.model.tell({ type: "follow", run: "e2", pin: false });
    linked.model.tell({ type: "follow", run: null, pin: false });
    expect(hellos(linked)).toHaveLength(2);
    expect(told).not.toHaveBeenCalled();
  });

  test("is followed no more where it will not begin", async () => {
    const linked = await live();
    linked.model.tell({ type: "follow", run: "e2", pin: false });
    linked.server.last.welcome({ epoch: "" });
    linked.server.last.sync({ epoch: "" });
    linked.model.tell({ type: "follow", run: null, pin: false });
    expect(hellos(linked)).toEqual([{}, { run: "e2", follow: true }, {}]);
  });

  test("is not moved back to a run that is over", async () => {
    const linked = await live();
    linked.server.last.say({
      type: "runs",
      total: 1,
      live: 0,
      waiting: 0,
      runs: [{ run_id: "e0", status: "completed", started_at: 1, ended_at: 2 }],
    });
    linked.model.tell({ type: "follow", run: "e0", pin: false });
    expect(hellos(linked)).toHaveLength(1);
  });

  test("is pressed upon all views where Python has picked it", async () => {
    const linked = await live();
    const told = vi.fn();
    linked.link.subscribe(told);
    linked.model.tell({ type: "follow", run: null, pin: false, all: true });
    expect(told.mock.calls).toEqual([[true]]);
    expect(linked.acquired).toHaveLength(1);
  });

  test("is pinned in a stream of its own, and the other one is given back", async () => {
    const linked = await live();
    const told = vi.fn();
    const before = linked.link.lease;
    linked.link.subscribe(told);
    linked.model.tell({ type: "follow", run: "e0", pin: true, all: true });
    linked.model.tell({ type: "follow", run: "e0", pin: true });
    expect(linked.wanted).toEqual([undefined, { run: "e0" }]);
    expect(linked.link.lease).not.toBe(before);
    expect(linked.released).toBe(1);
    expect(told).toHaveBeenLastCalledWith(true);
    await pass(0);
    linked.server.last.greet({ epoch: "e0" });
    expect(hellos(linked)).toEqual([{ run: "e0" }]);
    expect(linked.told("page").at(-1)).toMatchObject({ run: "e0", phase: "live" });
    linked.model.tell({ type: "follow", run: null, pin: false });
    expect(linked.wanted).toEqual([undefined, { run: "e0" }, undefined]);
    expect(linked.released).toBe(2);
  });

  test("may be named before it is known where the server is", async () => {
    for (const pin of [true, false]) {
      const linked = new Linked();
      linked.model.tell({ type: "follow", run: "e7", pin });
      linked.model.tell({ type: "endpoint", ...HERE });
      await pass(0);
      linked.server.last.accept();
      expect(hellos(linked)).toEqual([pin ? { run: "e7" } : { run: "e7", follow: true }]);
      expect(linked.acquired).toHaveLength(1);
      expect(linked.wanted).toEqual([pin ? { run: "e7" } : undefined]);
    }
  });

  test("is what others get a share in, unless they want another one", async () => {
    const linked = await live();
    linked.model.tell({ type: "follow", run: "e0", pin: true });
    const [same, other] = [linked.link.open(), linked.link.open({ run: "e1" })];
    expect(linked.wanted.slice(2)).toEqual([{ run: "e0" }, { run: "e1" }]);
    other?.release();
    expect(linked.released).toBe(2);
    linked.link.close();
    expect(linked.released).toBe(4);
    same?.release();
    expect(linked.released).toBe(4);
    expect(linked.link.open()).toBeUndefined();
  });
});

describe("the end of a link", () => {
  test("refuses at once what the kernel would be asked, when that is gone", async () => {
    const linked = await live();
    linked.model.emit("comm_live_update");
    linked.forget();
    await expect(linked.link.output("a", "run")).rejects.toThrow("the kernel was restarted: run this cell again");
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

  test("says no more how the connection stands", async () => {
    const linked = await live();
    linked.link.close();
    await pass(5_000);
    expect(linked.model.sent).toEqual([]);
  });
});

describe("a whole output", () => {
  test("is asked of the kernel, and given to whoever asked for it", async () => {
    const { model, link } = await live();
    const timers = vi.getTimerCount();
    const asked = [link.output("a", "e1"), link.output("a", "e1"), link.output("b", "e1"), link.output("a", "e0")];
    expect(model.sent).toEqual(
      ["a", "a", "b", "a"].map((node_id, i) => ({ type: "output?", node_id, run: i < 3 ? "e1" : "e0" })),
    );
    model.tell({ type: "output", node_id: "b", run: "e1", text: "2" });
    model.tell({ type: "output", node_id: "a", run: "e0", text: "0" });
    model.tell({ type: "output", node_id: "a", run: "e1", text: "1" });
    expect(await Promise.all(asked)).toEqual(["1", "1", "2", "0"]);
    expect(vi.getTimerCount()).toBe(timers);
  });

  test("that is not there, or does not come, is refused with a sentence", async () => {
    const { model, link } = await live();
    const missing = link.output("a", undefined);
    model.tell({ type: "output", node_id: "a", fault: "it is not kept" });
    await expect(missing).rejects.toThrow("it is not kept");
    const late = expect(link.output("a", "e1")).rejects.toThrow("the kernel is busy");
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
    linked.link.offer(svg, () => true);
    linked.model.tell({ type: "picture?", id: "p", format: "svg" });
    await pass(0);
    await vi.waitFor(() => expect(linked.told("picture")).toEqual([{ type: "picture", id: "p" }]));
    expect(new TextDecoder().decode(linked.model.buffers.at(-1)?.[0])).toBe("<svg/>");
  });

  test("waits for a view, and for something to draw, and is drawn once", async () => {
    const linked = await live();
    linked.model.tell({ type: "picture?", id: "p", format: "png" });
    const draw = vi.fn(svg);
    linked.link.offer(draw, () => true);
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
    linked.link.offer(svg, () => true)();
    linked.model.tell({ type: "picture?", id: "p", format: "svg" });
    await pass(100);
    expect(linked.told("picture")).toEqual([]);
  });

  test("is not of a view that shows another run than the kernel watches", async () => {
    const linked = await live([running("a", 1)]);
    const [other, right] = [vi.fn(svg), vi.fn(svg)];
    linked.link.offer(other, () => false);
    linked.model.tell({ type: "picture?", id: "p", format: "svg" });
    await pass(100);
    linked.link.offer(right, () => true);
    expect([other.mock.calls, right.mock.calls]).toEqual([[], [["svg"]]]);
  });

  test("that can't be drawn or sent is refused with a sentence", async () => {
    const linked = await live([running("a", 1)]);
    const withdraw = linked.link.offer(
      () => Promise.reject(new Error("no canvas")),
      () => true,
    );
    linked.model.tell({ type: "picture?", id: "p", format: "png" });
    await vi.waitFor(() => expect(linked.told("picture").at(-1)).toMatchObject({ id: "p", fault: "no canvas" }));
    withdraw();
    linked.link.offer(
      async () => new Blob([new Uint8Array(10_000_000)]),
      () => true,
    );
    linked.model.tell({ type: "picture?", id: "q", format: "png" });
    await vi.waitFor(() => expect(linked.told("picture").at(-1)?.fault).toContain("too large to send"));
  });
});
