// A stream and the server that it talks to, and what the server says of a run.

import { readFileSync } from "node:fs";
import { expect, vi } from "vitest";
import type {
  Command,
  Event,
  HumanGateResolved,
  HumanGateWaiting,
  NodeLog,
  NodeState,
} from "../../src/protocol/messages";
import { Store } from "../../src/state/store";
import type { Change } from "../../src/state/types";
import { type Connection, Stream, type StreamOptions } from "../../src/stream/stream";
import { FakeServer, type FakeSocket } from "../fake-server";

export const START = Date.UTC(2026, 10, 23, 12);
export const ADDRESS = "ws://server/api/dags/d/stream";
export const MINUTE = 60_000;
export const HELLO = { type: "hello", protocol: 1, token: "secret", features: ["runs", "engine", "lost"] };

export const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** A log line shows in the state how often it came, and in which order. */
export const line = (seq?: number): NodeLog => ({ type: "node_log", node_id: "a", lines: [`line ${seq}`], seq });
export const running = (node_id: string, seq?: number): NodeState => ({
  type: "node_state",
  node_id,
  status: "running",
  seq,
});
export const gate = (gate_id: string, seq: number): HumanGateWaiting => ({
  type: "human_gate_waiting",
  node_id: "review",
  gate_id,
  presentation: {},
  seq,
});
export const resolved = (gate_id: string, seq: number): HumanGateResolved => ({
  type: "human_gate_resolved",
  node_id: "review",
  gate_id,
  decision: "reject",
  by: "ann",
  at: START,
  source: "widget",
  seq,
});
export const approve = (id: string, more: object = {}): Command => ({
  type: "human_decision",
  id,
  node_id: "review",
  decision: "approve",
  ...more,
});

/** Which phase may follow which, in both languages. */
export const TRANSITIONS: Readonly<Record<Connection["phase"], readonly Connection["phase"][]>> = JSON.parse(
  readFileSync(new URL("../../../tests/vectors/phases.json", import.meta.url), "utf8"),
);

/** Fail where a stream goes from a phase to one that may not follow it. */
export function watchPhases(stream: Stream, told: (from: string, to: string) => void = () => {}): void {
  let { phase } = stream.connection;
  stream.subscribe(() => {
    const next = stream.connection.phase;
    if (next !== phase && !TRANSITIONS[phase].includes(next)) throw new Error(`a stream went from ${phase} to ${next}`);
    told(phase, next);
    phase = next;
  });
}

export class Following {
  readonly server = new FakeServer();
  readonly store = new Store();
  readonly changes: Change[] = [];
  readonly phases: Connection["phase"][] = [];
  readonly stream: Stream;

  constructor(more: Partial<StreamOptions> = {}) {
    this.stream = new Stream({
      store: this.store,
      endpoint: async () => ({ url: ADDRESS, token: "secret" }),
      WebSocket: this.server.WebSocket,
      random: () => 0.5,
      ...more,
    });
    this.store.subscribe((change) => this.changes.push(change));
    watchPhases(this.stream);
    this.stream.subscribe(() => {
      const { phase } = this.connection;
      if (phase !== this.phases.at(-1)) this.phases.push(phase);
    });
  }

  get connection(): Connection {
    return this.stream.connection;
  }

  get socket(): FakeSocket {
    return this.server.last;
  }

  /** How long until the next attempt. */
  get delay(): number {
    return (this.connection.retryAt ?? Number.NaN) - Date.now();
  }

  get lines(): string[] | undefined {
    return this.store.state.nodes.get("a")?.logs;
  }

  /** Wait for the next attempt, which asks the server for a connection. */
  async retry(): Promise<FakeSocket> {
    expect(this.connection.phase).toBe("waiting");
    await pass(this.delay);
    expect(this.connection.phase).toBe("connecting");
    return this.socket;
  }
}

/** A stream on its way to a server that has not yet taken it. */
export async function connecting(more: Partial<StreamOptions> = {}): Promise<Following> {
  const following = new Following(more);
  following.stream.attend();
  await pass(0);
  return following;
}

/** A stream that is live, at the end of `events`. */
export async function live(events: readonly Event[] = [], more: Partial<StreamOptions> = {}): Promise<Following> {
  const following = await connecting(more);
  following.socket.greet({ events });
  expect(following.connection.phase).toBe("live");
  return following;
}

/** A stream that is live at a plain server, which refused the subprotocol, and knew no hello. */
export async function plain(): Promise<Following> {
  const following = await connecting();
  following.socket.end(1006);
  following.socket.accept();
  await pass(5_000);
  expect(following.connection).toMatchObject({ phase: "live", resumable: false });
  return following;
}

export const seqs = (count: number, from = 1) => Array.from({ length: count }, (_, index) => from + index);
