// Which run a stream asks for, what it says of the others, and whom its commands are meant for.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { RunSummary, Runs } from "../../src/protocol/messages";
import { Store } from "../../src/state/store";
import { updated } from "../../src/stream/runs";
import { Stream } from "../../src/stream/stream";
import { FakeServer } from "../fake-server";
import {
  ADDRESS,
  approve,
  connecting,
  type Following,
  gate,
  line,
  live,
  pass,
  plain,
  running,
  START,
} from "./following";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: START });
});

afterEach(() => {
  vi.useRealTimers();
});

const FEATURES = ["engine", "lost", "runs"];
/** What the last hello says of the run. */
const asked = ({ socket }: Following) => {
  const { run, follow, last } = socket.said("hello").at(-1)!;
  return { run, follow, last };
};
const run = (run_id: string, more: Partial<RunSummary> = {}): RunSummary => ({
  run_id,
  status: "running",
  started_at: START,
  engine: "connected",
  ...more,
});
const runs = (list: RunSummary[], more: Partial<Runs> = {}): Runs => ({
  type: "runs",
  total: list.length,
  live: list.length,
  waiting: 0,
  runs: list,
  ...more,
});

/** A stream that is in step with the run `epoch`, at a server with all features. */
async function watching(epoch = "a", log?: string): Promise<Following> {
  const following = await connecting();
  answer(following, epoch, log);
  return following;
}

/** Answer a hello: with the whole run, or where the cursor fits with nothing. */
function answer({ socket }: Following, epoch: string, log?: string): void {
  if (socket.connecting) socket.accept();
  const { last } = socket.said("hello").at(-1)!;
  socket.welcome({ epoch, log, features: FEATURES });
  const fits = last?.epoch === epoch && last.log === log;
  if (fits) socket.sync({ epoch, seq: last.seq, reset: false });
  else socket.sync({ epoch, events: [running(`in ${epoch}`, 1)] });
}

describe("a cursor", () => {
  test("names the log that it is a place in", async () => {
    const following = await watching("a", "log-1");
    following.socket.end();
    (await following.retry()).accept();
    expect(asked(following).last).toEqual({ epoch: "a", seq: 1, log: "log-1" });
  });

  test("is not taken for a place in a log that the stream was welcomed to and has not read", async () => {
    const following = await watching("a", "log-1");
    following.socket.end();
    (await following.retry()).accept();
    following.socket.welcome({ epoch: "a", log: "log-2", features: FEATURES });
    following.socket.say({ type: "sync", epoch: "a", seq: 7, reset: true }, running("b", 7));
    following.socket.end();
    (await following.retry()).accept();
    expect(asked(following).last).toEqual({ epoch: "a", seq: 1, log: "log-1" });
    answer(following, "a", "log-2");
    following.socket.end();
    (await following.retry()).accept();
    expect(asked(following).last).toEqual({ epoch: "a", seq: 1, log: "log-2" });
  });

  test("has no log where the server moved the stream, and keeps it where the server only says all again", async () => {
    const following = await watching("a", "log-1");
    following.socket.sync({ epoch: "a", events: [running("a", 3)] });
    following.stream.probe();
    expect(asked(following).last).toEqual({ epoch: "a", seq: 3, log: "log-1" });
    answer(following, "a", "log-1");
    following.socket.sync({ epoch: "b", events: [running("b", 2)] });
    following.stream.probe();
    expect(asked(following).last).toEqual({ epoch: "b", seq: 2 });
  });

  test("is not shown for another run than the one that is asked for", async () => {
    const following = await watching("a");
    following.stream.watch("b");
    expect(asked(following)).toEqual({ run: "b" });
    answer(following, "b");
    following.stream.probe();
    expect(asked(following)).toEqual({ run: "b", last: { epoch: "b", seq: 1 } });
  });
});

describe("the end of a run for good", () => {
  const DELETED = { type: "bye", code: 4410, reason: "the run was deleted", retry: false } as const;

  test("ends the stream that watches it", async () => {
    const following = await watching("a");
    following.stream.watch("b");
    answer(following, "b");
    following.socket.say(DELETED);
    expect(following.connection.phase).toBe("stopped");
  });

  test("does not end a stream that asks for another run meanwhile", async () => {
    const following = await watching("a");
    following.stream.watch("b");
    following.socket.say(DELETED);
    expect(following.connection.phase).toBe("waiting");
    (await following.retry()).accept();
    expect(asked(following).run).toBe("b");
  });

  test("does not end a stream that asks for another run before its first welcome", async () => {
    const following = await connecting();
    following.stream.watch("a");
    following.socket.accept();
    following.stream.watch("b");
    following.socket.say(DELETED);
    expect(following.connection.phase).toBe("waiting");
    (await following.retry()).accept();
    expect(asked(following).run).toBe("b");
  });
});

describe("a stream that follows", () => {
  test("names no run", async () => {
    const following = await watching("a");
    expect(following.socket.said("hello")[0]).not.toHaveProperty("run");
    following.socket.end();
    (await following.retry()).accept();
    expect(asked(following)).toEqual({ last: { epoch: "a", seq: 1 } });
  });

  test("stands at no run where the DAG has none, and says so no more than once", async () => {
    const following = await connecting();
    following.socket.accept();
    following.socket.welcome({ epoch: "", features: FEATURES });
    following.socket.sync({ epoch: "" });
    expect(following.connection.phase).toBe("live");
    expect(following.store.state.epoch).toBeUndefined();
    following.stream.probe();
    expect(asked(following).last).toBeUndefined();
    following.socket.welcome({ epoch: "", features: FEATURES });
    following.socket.sync({ epoch: "" });
    following.socket.sync({ epoch: "a", events: [running("x", 1)] });
    expect(following.store.state.epoch).toBe("a");
    expect(following.socket.said("hello")).toHaveLength(2);
  });

  test("begins at a run on the same connection, and the old picture stays until the new one is whole", async () => {
    const following = await watching("a");
    following.stream.begin("b");
    expect(asked(following)).toEqual({ run: "b", follow: true });
    expect(following.store.state.epoch).toBe("a");
    answer(following, "b");
    expect(following.store.state.epoch).toBe("b");
    expect(following.server.sockets).toHaveLength(1);
    following.socket.end();
    (await following.retry()).accept();
    expect(asked(following)).toEqual({ last: { epoch: "b", seq: 1 } });
  });

  test("goes on asking for the run to begin at until it is there", async () => {
    const following = await watching("a");
    following.stream.begin("b");
    following.socket.welcome({ epoch: "b", features: FEATURES });
    following.socket.say({ type: "sync", epoch: "b", seq: 1, reset: true });
    following.socket.end();
    (await following.retry()).accept();
    expect(asked(following)).toEqual({ run: "b", follow: true });
    answer(following, "b");
    following.socket.sync({ epoch: "c", events: [running("c", 1)] });
    following.stream.probe();
    expect(asked(following)).toEqual({ last: { epoch: "c", seq: 1 } });
  });

  test("waits for a run that has not begun", async () => {
    const following = await watching("a");
    following.stream.begin("b");
    following.socket.welcome({ epoch: "", features: FEATURES });
    following.socket.sync({ epoch: "" });
    expect(following.connection.phase).toBe("live");
    following.stream.probe();
    expect(asked(following)).toEqual({ run: "b", follow: true });
    following.socket.welcome({ epoch: "", features: FEATURES });
    following.socket.sync({ epoch: "" });
    following.socket.sync({ epoch: "b", events: [running("b", 1)] });
    following.stream.probe();
    expect(asked(following)).toEqual({ last: { epoch: "b", seq: 1 } });
  });

  test("waits no more for a run that will not begin", async () => {
    const following = await watching("a");
    following.stream.begin("b");
    following.socket.welcome({ epoch: "", features: FEATURES });
    following.socket.sync({ epoch: "" });
    following.stream.forget("other");
    expect(asked(following)).toEqual({ run: "b", follow: true });
    following.stream.forget("b");
    expect(asked(following).run).toBeUndefined();
  });

  test("has nothing to do for the run that it is at", async () => {
    const following = await watching("a");
    following.stream.begin("a");
    following.stream.watch(null);
    expect(following.socket.said("hello")).toHaveLength(1);
  });

  test("asks for the last of several runs, one hello at a time", async () => {
    const following = await watching("a");
    for (const id of ["b", "c", "d", "e"]) following.stream.begin(id);
    expect(following.socket.said("hello").map((hello) => hello.run)).toEqual([undefined, "b"]);
    following.socket.welcome({ epoch: "b", features: FEATURES });
    expect(following.socket.said("hello").map((hello) => hello.run)).toEqual([undefined, "b", "e"]);
    following.socket.sync({ epoch: "b", events: [running("b", 1)] });
    expect(following.store.state.epoch).toBe("a");
    answer(following, "e");
    expect(following.store.state.epoch).toBe("e");
    expect(following.connection.phase).toBe("live");
  });
});

describe("a stream that watches one run", () => {
  test("asks for it each time it comes", async () => {
    const following = new Pinned("b");
    await pass(0);
    following.greet();
    following.server.last.end();
    await pass(2_000);
    following.server.last.accept();
    expect(following.server.last.said("hello")[0]).toMatchObject({ run: "b", last: { epoch: "b", seq: 1 } });
    expect(following.server.last.said("hello")[0]).not.toHaveProperty("follow");
  });

  test("is let go from where it stands", async () => {
    const following = await watching("a");
    following.stream.watch("b");
    answer(following, "b");
    following.stream.watch(null);
    expect(asked(following)).toEqual({ last: { epoch: "b", seq: 1 } });
  });

  test("may begin at the run that it has watched so far", async () => {
    const following = await watching("a");
    following.stream.watch("b");
    answer(following, "b");
    following.stream.begin("b");
    expect(asked(following)).toEqual({ run: "b", follow: true, last: { epoch: "b", seq: 1 } });
  });

  test("is asked for once the connection is back", async () => {
    const following = await watching("a");
    following.socket.end();
    following.stream.watch("b");
    expect(following.connection.phase).toBe("waiting");
    (await following.retry()).accept();
    expect(asked(following)).toEqual({ run: "b" });
  });

  class Pinned {
    readonly server = new FakeServer();
    readonly store = new Store();
    readonly stream = new Stream({
      store: this.store,
      endpoint: async () => ({ url: ADDRESS }),
      WebSocket: this.server.WebSocket,
    });

    constructor(id: string) {
      this.stream.watch(id);
      this.stream.start();
    }

    greet(): void {
      this.server.last.accept();
      this.server.last.welcome({ epoch: "b", features: FEATURES });
      this.server.last.sync({ epoch: "b", events: [running("b", 1)] });
    }
  }
});

describe("the engine", () => {
  test("is told of, and of every change", async () => {
    const following = await watching("a");
    const told = vi.fn();
    following.stream.subscribe(told);
    expect(following.stream.engine).toBeUndefined();
    following.socket.say({ type: "engine", state: "gone", since: START - 9_000 });
    expect(following.stream.engine).toMatchObject({ state: "gone", since: START - 9_000 });
    expect(told).toHaveBeenCalledOnce();
    following.socket.say({ type: "engine", state: "connected", since: START });
    expect(following.stream.engine).toMatchObject({ state: "connected" });
  });

  test("is that of the run: of another one nothing is known until the server says it", async () => {
    const following = await watching("a");
    following.socket.say({ type: "engine", state: "gone" });
    following.socket.say({ type: "sync", epoch: "b", seq: 0, reset: true });
    expect(following.stream.engine).toMatchObject({ state: "gone" });
    following.socket.say({ type: "synced", seq: 0 });
    expect(following.stream.engine).toBeUndefined();
  });

  test("stays as it was last known over a cut, and over a state that is said again", async () => {
    const following = await watching("a");
    following.socket.say({ type: "engine", state: "gone" });
    following.socket.end();
    expect(following.stream.engine).toMatchObject({ state: "gone" });
    await following.retry();
    answer(following, "a");
    following.socket.sync({ epoch: "a", events: [running("x", 2)] });
    expect(following.stream.engine).toMatchObject({ state: "gone" });
  });

  test("in a state that this version does not know changes nothing", async () => {
    const following = await watching("a");
    following.socket.raw(JSON.stringify({ type: "engine", state: "hibernating" }));
    expect(following.stream.engine).toBeUndefined();
    expect(following.connection.phase).toBe("live");
  });

  test("and the runs are unknown to a server that was set back to an older version", async () => {
    const following = await watching("a");
    following.socket.say({ type: "engine", state: "gone" }, runs([run("a")]));
    following.socket.end();
    (await following.retry()).greet({ epoch: "a", reset: false, seq: 1 });
    expect([following.stream.engine, following.stream.runs]).toEqual([undefined, undefined]);
  });
});

describe("the run list", () => {
  test("is whole after the welcome; what changes later is merged into it", async () => {
    const following = await watching("a");
    expect(following.stream.runs).toBeUndefined();
    following.socket.say(runs([run("a")], { total: 12, live: 2, waiting: 1 }));
    const first = following.stream.runs;
    expect(first).toEqual({ total: 12, live: 2, waiting: 1, runs: [run("a")] });
    following.socket.say(runs([run("b", { started_at: START + 5 })], { total: 13, live: 3, waiting: 1 }));
    expect(following.stream.runs).not.toBe(first);
    expect(following.stream.runs).toMatchObject({ total: 13, live: 3 });
    expect(following.stream.runs?.runs.map(({ run_id }) => run_id)).toEqual(["b", "a"]);
    following.socket.say(runs([run("a", { status: "completed" })], { removed: ["b"], total: 12 }));
    expect(following.stream.runs?.runs).toEqual([run("a", { status: "completed" })]);
  });

  test("is whole again after each hello, and not where the server moved the stream", async () => {
    const following = await watching("a");
    following.socket.say(runs([run("a"), run("old")]));
    following.socket.sync({ epoch: "b", events: [running("b", 1)] });
    following.socket.say(runs([run("b")], { total: 3 }));
    expect(following.stream.runs?.runs).toHaveLength(3);
    following.stream.probe();
    following.socket.say(runs([run("c")], { total: 4 }));
    expect(following.stream.runs?.runs).toHaveLength(4);
    answer(following, "b");
    following.socket.say(runs([run("b")], { total: 1 }));
    expect(following.stream.runs?.runs).toEqual([run("b")]);
  });

  test("that is malformed changes nothing", async () => {
    const following = await watching("a");
    following.socket.say(runs([run("a")]));
    for (const wrong of [{ runs: [{ status: "running" }] }, { total: "12" }, { runs: null }]) {
      following.socket.raw(JSON.stringify({ ...runs([run("b")]), ...wrong }));
    }
    expect(following.stream.runs?.runs).toEqual([run("a")]);
  });

  test("is newest first by each run's own start, ties by id", () => {
    const list = updated(undefined, runs([run("a"), run("c"), run("z", { started_at: START - 1 }), run("b")]));
    expect(list.runs.map(({ run_id }) => run_id)).toEqual(["c", "b", "a", "z"]);
  });

  test("holds the 50 newest and those with open gates, however many come", () => {
    let list = updated(undefined, runs([]));
    for (let i = 0; i < 300; i++) {
      const gates = i === 3 ? 1 : 0;
      list = updated(list, runs([run(`run-${i}`, { started_at: START + i, gates })], { total: i + 1, waiting: 1 }));
    }
    expect(list.total).toBe(300);
    expect(list.runs).toHaveLength(51);
    expect(list.runs[0]?.run_id).toBe("run-299");
    expect(list.runs.at(-1)?.run_id).toBe("run-3");
  });
});

describe("a command", () => {
  test("names the run that was there when it was given, also where it had to wait", async () => {
    const following = await watching("a");
    following.socket.sync({ epoch: "a", events: [gate("g", 2)] });
    following.socket.end();
    void following.stream.send(approve("c"));
    void following.stream.send({ type: "pause_execution", id: "p" });
    await following.retry();
    answer(following, "b");
    expect(following.socket.said("human_decision")).toEqual([approve("c", { run_id: "a", gate_id: "g" })]);
    expect(following.socket.said("pause_execution")).toEqual([{ type: "pause_execution", id: "p", run_id: "a" }]);
  });

  test("for another run is judged by the server, even where this one has decided the gate of that name", async () => {
    const following = await live([gate("g", 1)]);
    const answered = following.stream.send(approve("c", { run_id: "other", gate_id: "g" }));
    following.socket.end();
    (await following.retry()).greet({ reset: false, events: [line(2)] });
    expect(following.socket.said("human_decision").at(-1)).toMatchObject({ id: "c", run_id: "other" });
    following.socket.say({ type: "command_ack", id: "c", ok: false, code: "already_decided" });
    expect(await answered).toMatchObject({ code: "already_decided" });
  });

  test("for another run does not take its gate from this one", async () => {
    const { stream, socket } = await live([gate("g", 1)]);
    void stream.send(approve("c", { run_id: "other" }));
    expect(socket.said("human_decision")).toEqual([approve("c", { run_id: "other" })]);
  });

  test("names no run where there is none to name", async () => {
    const { stream, socket } = await plain();
    await stream.send({ type: "cancel_execution", id: "c" });
    expect(socket.said("cancel_execution")).toEqual([{ type: "cancel_execution", id: "c" }]);
  });
});
