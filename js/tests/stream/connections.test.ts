// The connection, by the scripts that the Python client runs too: tests/connections.py says what they are.

import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Command } from "../../src/protocol/messages";
import { Store } from "../../src/state/store";
import { Stream } from "../../src/stream/stream";
import { FakeServer } from "../fake-server";
import { ADDRESS, pass, START, watchPhases } from "./following";

type Step = { do: string; then: Record<string, unknown> } & Partial<{
  code: number;
  reason: string;
  frame: unknown;
  seconds: number;
  command: Command;
  run: string;
}>;

const file = new URL("../../../tests/vectors/connections.json", import.meta.url);
const vectors = JSON.parse(readFileSync(file, "utf8")) as { name: string; steps: Step[] }[];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: START });
});

afterEach(() => {
  vi.useRealTimers();
});

/** One client, and what a script lets happen to it. */
class Run {
  readonly #server = new FakeServer();
  readonly #store = new Store();
  readonly #stream = new Stream({
    store: this.#store,
    endpoint: async () => ({ url: ADDRESS, token: "token" }),
    WebSocket: this.#server.WebSocket,
    random: () => 0.5,
  });
  readonly #answers: unknown[] = [];
  #asked = new Set<string>();
  #opened = 0;
  #sent = 0;
  #shown: Record<string, unknown>;

  constructor() {
    watchPhases(this.#stream);
    this.#shown = this.#show();
  }

  /** Let something happen. Gives what has changed, and what was said. */
  async step(step: Step): Promise<Record<string, unknown>> {
    await this.#do(step);
    await pass(0);
    const shown = this.#show();
    const changed = Object.entries(shown).filter(([name, value]) => !same(value, this.#shown[name]));
    this.#shown = shown;
    const sockets = this.#server.sockets.slice(this.#opened);
    const sent = this.#server.sockets.flatMap((socket) => socket.sent);
    const said = {
      sent: sent.slice(this.#sent),
      offers: sockets.map((socket) => socket.protocols.length > 0),
      answers: this.#answers.splice(0),
    };
    this.#opened = this.#server.sockets.length;
    this.#sent = sent.length;
    return Object.fromEntries([...changed, ...Object.entries(said).filter(([, all]) => all.length > 0)]);
  }

  async #do(step: Step): Promise<void> {
    const stream = this.#stream;
    const socket = this.#server.sockets.at(-1);
    switch (step.do) {
      case "start":
        stream.attend();
        break;
      case "open":
        if (socket?.connecting) socket.accept();
        break;
      case "refuse":
        if (socket?.connecting) socket.end(1006);
        break;
      case "close":
        if (socket?.open) socket.end(step.code, step.reason);
        break;
      case "frame":
        if (socket?.open) socket.raw(JSON.stringify(step.frame));
        break;
      case "wait":
        await pass((step.seconds ?? 0) * 1000);
        break;
      case "send":
        this.#send(step.command as Command);
        break;
      case "watch":
        stream.watch(step.run as string);
        break;
      case "begin":
        stream.begin(step.run as string);
        break;
      case "probe":
        stream.probe();
        break;
      case "stop":
        stream.close();
        break;
      default:
        throw new Error(`no such step: ${step.do}`);
    }
  }

  #send(command: Command): void {
    const answer = this.#stream.send(command);
    // The same command again is the same: it has one answer.
    if (this.#asked.has(command.id)) return;
    this.#asked.add(command.id);
    void answer.then(({ id, ok, code }) => {
      this.#asked.delete(id);
      this.#answers.push([id, ok, code ?? null]);
    });
  }

  #show(): Record<string, unknown> {
    const { connection, engine, runs, pending } = this.#stream;
    const { state } = this.#store;
    return {
      phase: connection.phase,
      resumable: connection.resumable ?? null,
      role: connection.role ?? null,
      attempt: connection.attempt,
      ignored: connection.ignored ?? 0,
      code: connection.code ?? null,
      // What a malformed frame is told to be differs.
      reason: connection.code === 4400 ? "…" : (connection.reason ?? null),
      retry_at: connection.retryAt === undefined ? null : connection.retryAt - START,
      pending: pending.map(({ command }) => command.id).sort(),
      engine: engine?.state ?? null,
      runs: (runs?.runs ?? []).map((run) => run.run_id).sort(),
      epoch: state.epoch ?? null,
      seq: state.seq,
      lines: Object.fromEntries([...state.nodes].map(([id, node]) => [id, node.logs ?? null])),
      gates: [...state.gates.keys()].sort(),
    };
  }
}

/** Whether two values are the same JSON; the keys of an object have no order. */
function same(left: unknown, right: unknown): boolean {
  return JSON.stringify(sorted(left)) === JSON.stringify(sorted(right));
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)));
}

test.each(vectors.map(({ name, steps }) => [name, steps] as const))("%s", async (_, steps) => {
  const client = new Run();
  for (const [number, { then, ...step }] of steps.entries()) {
    expect(await client.step({ ...step, then }), `step ${number}: ${JSON.stringify(step)}`).toEqual(then);
  }
});
