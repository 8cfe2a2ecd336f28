// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Endpoint, Wanted } from "../../src/stream/stream";
import { acquire, type Lease } from "../../src/widget/registry";
import { FakeServer } from "../fake-server";

const HERE: Endpoint = { url: "ws://server/api/dags/d/stream", token: "first" };
const THERE: Endpoint = { url: "ws://server/api/dags/other/stream" };

let server: FakeServer;
let leases: Lease[];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  server = new FakeServer();
  leases = [];
  vi.stubGlobal("WebSocket", server.WebSocket);
});

afterEach(() => {
  for (const lease of leases) lease.release();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

async function share(
  endpoint = HERE,
  renew: () => Promise<Endpoint> = async () => endpoint,
  wanted?: Wanted,
  kernel?: object,
): Promise<Lease> {
  const lease = acquire(endpoint, renew, wanted, kernel);
  leases.push(lease);
  await vi.advanceTimersByTimeAsync(0);
  return lease;
}

async function retry({ stream }: Lease): Promise<void> {
  expect(stream.connection.phase).toBe("waiting");
  await vi.advanceTimersByTimeAsync(stream.connection.retryAt! - Date.now() + 1);
}

describe("sharing", () => {
  test("those who watch the same DAG on the same server have one connection and one store", async () => {
    const [one, two] = [await share(), await share({ ...HERE, token: "another" })];
    expect(two.stream).toBe(one.stream);
    expect(two.store).toBe(one.store);
    expect(server.sockets).toHaveLength(1);
    server.last.greet({ events: [{ type: "node_state", node_id: "a", status: "running", seq: 1 }] });
    expect([...two.store.state.nodes.keys()]).toEqual(["a"]);
  });

  test("different DAGs share nothing", async () => {
    const [one, two] = [await share(), await share(THERE)];
    expect(two.stream).not.toBe(one.stream);
    expect(two.store).not.toBe(one.store);
    expect(server.sockets.map((socket) => socket.url)).toEqual([HERE.url, THERE.url]);
  });

  test("each evaluation of the module finds what the others opened", async () => {
    const one = await share();
    vi.resetModules();
    const again = await import("../../src/widget/registry");
    expect(again.acquire).not.toBe(acquire);
    const two = again.acquire(HERE, async () => HERE);
    leases.push(two);
    expect(two.stream).toBe(one.stream);
  });

  test("the last one closes the connection, and each counts once", async () => {
    const [one, two] = [await share(), await share()];
    server.last.greet();
    one.release();
    one.release();
    expect(two.stream.connection.phase).toBe("live");
    two.release();
    expect(two.stream.connection).toMatchObject({ phase: "stopped", code: 1000 });
    expect(server.last.closed).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("one who comes after it was refused opens it anew, with a token of its own", async () => {
    const one = await share();
    server.last.greet();
    server.last.say({ type: "bye", code: 4401, reason: "the token is wrong", retry: false });
    expect(one.stream.connection.phase).toBe("stopped");
    const two = await share();
    expect(two.stream).not.toBe(one.stream);
    one.release();
    expect((await share()).stream).toBe(two.stream);
  });

  test("one who comes later opens it anew", async () => {
    const one = await share();
    one.release();
    const two = await share();
    one.release();
    expect(two.stream).not.toBe(one.stream);
    expect(two.store).not.toBe(one.store);
    expect(server.sockets).toHaveLength(2);
    server.last.greet();
    expect(two.stream.connection.phase).toBe("live");
    expect((await share()).stream).toBe(two.stream);
  });
});

describe("sharing by run", () => {
  const watch = (wanted?: Wanted, kernel?: object) => share(HERE, undefined, wanted, kernel);

  test("those who watch the same run have one connection, and the others theirs", async () => {
    const [follows, b, again, c] = [
      await watch(),
      await watch({ run: "b" }),
      await watch({ run: "b" }),
      await watch({ run: "c" }),
    ];
    expect(again.stream).toBe(b.stream);
    expect(new Set([follows.stream, b.stream, c.stream]).size).toBe(3);
    const asked = server.sockets.map((socket) => {
      socket.accept();
      return socket.said("hello")[0]?.run;
    });
    expect(asked).toEqual([undefined, "b", "c"]);
  });

  test("one who only begins at a run is no one who watches it", async () => {
    const [pins, begins] = [await watch({ run: "b" }), await watch({ run: "b", follow: true })];
    expect(begins.stream).not.toBe(pins.stream);
    expect(begins.stream.following).toBe(true);
    expect(pins.stream.following).toBe(false);
  });

  test("followers share it within their kernel, those who watch one run with all kernels of the page", async () => {
    const [one, two] = [{}, {}];
    const followers = [await watch(undefined, one), await watch(undefined, two), await watch(undefined, one)];
    expect(followers[0]?.stream).toBe(followers[2]?.stream);
    expect(followers[0]?.stream).not.toBe(followers[1]?.stream);
    const pins = [await watch({ run: "b" }, one), await watch({ run: "b" }, two)];
    expect(pins[0]?.stream).toBe(pins[1]?.stream);
  });
});

describe("giving a share back", () => {
  const decision = { type: "human_decision", id: "c", node_id: "a", decision: "approve" } as const;

  test("leaves the connection until the server has answered what was decided", async () => {
    const lease = await share();
    server.last.greet();
    const answer = lease.stream.send(decision);
    lease.release();
    expect(server.last.closed).toBe(false);
    server.last.say({ type: "command_ack", id: "c", ok: true });
    expect(await answer).toMatchObject({ ok: true });
    expect(server.last.closed).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("also where the connection is cut: it comes back for it", async () => {
    const lease = await share();
    server.last.greet();
    server.last.end();
    const answer = lease.stream.send(decision);
    lease.release();
    await retry(lease);
    server.last.greet({ events: [{ type: "human_gate_waiting", node_id: "a", presentation: {}, seq: 1 }] });
    expect(server.last.said("human_decision")).toHaveLength(1);
    server.last.say({ type: "command_ack", id: "c", ok: true });
    expect(await answer).toMatchObject({ ok: true });
    expect(lease.stream.connection.phase).toBe("stopped");
  });

  test("is undone by one who comes meanwhile", async () => {
    const lease = await share();
    server.last.greet();
    void lease.stream.send(decision);
    lease.release();
    const next = await share();
    expect(next.stream).toBe(lease.stream);
    server.last.say({ type: "command_ack", id: "c", ok: true });
    expect(next.stream.connection.phase).toBe("live");
    next.release();
    expect(next.stream.connection.phase).toBe("stopped");
  });
});

describe("finding the server again", () => {
  test("begins with what was given, and asks whoever came last", async () => {
    const first = vi.fn(async () => HERE);
    const last = vi.fn(async () => ({ url: "ws://moved", token: "renewed" }));
    const lease = await share(HERE, first);
    await share(HERE, last);
    server.last.greet();
    expect(server.last.said("hello")[0]?.token).toBe("first");
    expect(last).not.toHaveBeenCalled();
    server.last.end();
    await retry(lease);
    expect(server.last.url).toBe("ws://moved");
    server.last.accept();
    expect(server.last.said("hello")[0]?.token).toBe("renewed");
    expect(first).not.toHaveBeenCalled();
  });

  test("does not ask one who has left", async () => {
    const stays = vi.fn(async () => HERE);
    const left = vi.fn(async () => HERE);
    const lease = await share(HERE, stays);
    (await share(HERE, left)).release();
    server.last.greet();
    server.last.end();
    await retry(lease);
    expect(stays).toHaveBeenCalledOnce();
    expect(left).not.toHaveBeenCalled();
  });

  test("counts one who comes twice with the same function as two", async () => {
    const renew = async () => HERE;
    const [one, two] = [await share(HERE, renew), await share(HERE, renew)];
    one.release();
    expect(two.stream.connection.phase).toBe("connecting");
  });
});

describe("waking", () => {
  const wakes: [string, () => void][] = [
    ["the network is back", () => window.dispatchEvent(new Event("online"))],
    ["the page comes out of the cache", () => window.dispatchEvent(new Event("pageshow"))],
    ["the tab is seen", () => document.dispatchEvent(new Event("visibilitychange"))],
  ];

  test.each(wakes)("when %s, a stream does not wait any longer", async (_, wake) => {
    await share();
    server.last.greet();
    server.last.end();
    wake();
    await vi.advanceTimersByTimeAsync(0);
    expect(server.sockets).toHaveLength(2);
  });

  test.each(wakes)("when %s, a live stream asks whether it still is", async (_, wake) => {
    await share();
    server.last.greet();
    wake();
    expect(server.last.said("hello")).toHaveLength(2);
  });

  test("a tab that is hidden asks nothing", async () => {
    const hidden = vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
    await share();
    server.last.greet();
    document.dispatchEvent(new Event("visibilitychange"));
    expect(server.last.said("hello")).toHaveLength(1);
    hidden.mockRestore();
  });

  test("a stream that was closed sleeps through it", async () => {
    const lease = await share();
    server.last.greet();
    const probe = vi.spyOn(window, "removeEventListener");
    lease.release();
    expect(probe.mock.calls.map(([name]) => name)).toEqual(["online", "pageshow"]);
    for (const [, wake] of wakes) wake();
    await vi.advanceTimersByTimeAsync(0);
    expect(server.sockets).toHaveLength(1);
    expect(server.last.said("hello")).toHaveLength(1);
    probe.mockRestore();
  });
});

describe("on this machine, before a token goes to a port", () => {
  const CHALLENGE = ["http://127.0.0.1:1/api/challenge?id=0&nonce=1", "what only the server knows"] as const;
  const asked = { ...HERE, challenge: CHALLENGE };

  function answering(...answers: (string | Error)[]) {
    const fetched = vi.fn(async (_url: string) => {
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return new Response(answer);
    });
    vi.stubGlobal("fetch", fetched);
    return fetched;
  }

  test("the server proves that it knows the token", async () => {
    const fetched = answering(JSON.stringify({ proof: CHALLENGE[1] }));
    await share(asked);
    expect(fetched.mock.calls.map(([url]) => url)).toEqual([CHALLENGE[0]]);
    expect(server.sockets).toHaveLength(1);
  });

  test.each([
    '{"proof":null}',
    '{"proof": null}',
    JSON.stringify({ proof: "a guess" }),
    "<html>",
    "",
    new Error("refused"),
  ])("what answers %s is not sent it, and is asked again later", async (answer) => {
    answering(answer, JSON.stringify({ proof: CHALLENGE[1] }));
    const lease = await share(asked);
    expect(server.sockets).toHaveLength(0);
    expect(lease.stream.connection.reason).toMatch(/does not know the token|refused/);
    await retry(lease);
    await vi.advanceTimersByTimeAsync(0);
    expect(server.sockets).toHaveLength(1);
  });

  test("each attempt asks, with what the kernel last worked out", async () => {
    const fetched = answering("none", JSON.stringify({ proof: "the second" }));
    const lease = await share(asked, async () => ({ ...HERE, challenge: ["http://127.0.0.1:2/", "the second"] }));
    await retry(lease);
    await vi.advanceTimersByTimeAsync(0);
    expect(fetched.mock.calls.map(([url]) => url)).toEqual([CHALLENGE[0], "http://127.0.0.1:2/"]);
    expect(server.sockets).toHaveLength(1);
  });
});
