// The connection to a stream server: backoff, resume, heartbeat, outbox. No DOM.
//
// With a server that speaks `dagwidget.v1` it keeps a cursor, and after a cut asks for what it missed. A plain server
// knows none of that: then events are applied as they come, on the state that is there.

import { type AnyEvent, type ControlMessage, decode, isControl, type Received } from "../protocol/decode";
import {
  CLOSE_CODES,
  type ClientMessage,
  type Command,
  type CommandAck,
  type HumanDecision,
  PROTOCOL,
  SUBPROTOCOL,
  type Welcome,
} from "../protocol/messages";
import { assertNever } from "../protocol/never";
import type { Store } from "../state/store";
import { backoff } from "./backoff";
import { Outbox, type Pending, refusal } from "./outbox";

export type { Command } from "../protocol/messages";
export type { Pending } from "./outbox";
export type Ack = CommandAck;

/** Where a DAG's stream is: `ws(s)://…/api/dags/{id}/stream`. */
export interface Endpoint {
  url: string;
  token?: string | null;
}

export type Phase = "idle" | "connecting" | "syncing" | "live" | "waiting" | "stopped";

/** Which phase may follow which. A plain server is `live` at once. */
export const TRANSITIONS: Readonly<Record<Phase, readonly Phase[]>> = {
  idle: ["connecting", "stopped"],
  connecting: ["syncing", "live", "waiting", "stopped"],
  syncing: ["live", "waiting", "stopped"],
  live: ["syncing", "waiting", "stopped"],
  waiting: ["connecting", "idle", "stopped"],
  stopped: [],
};

export interface Connection {
  /** `waiting`: until `retryAt`. `idle`: not asked for, or given up as nobody looks. `stopped`: for good. */
  phase: Phase;
  /** False on a plain server: what happens during a cut is lost. Undefined until known. */
  resumable?: boolean;
  role?: Welcome["role"];
  url?: string;
  /** When the next attempt starts, Unix ms. */
  retryAt?: number;
  /** How many attempts there were. */
  attempt: number;
  /** Why the last connection ended. */
  code?: number;
  reason?: string;
  /** When the last frame came, Unix ms: how old what you see is. */
  seenAt?: number;
  /** How far the server's clock is ahead of ours, in ms, where that is more than the way here. */
  ahead?: number;
}

/** Events that were applied; after a `reset`, to an empty state. `after` and `seq` are the cursor before and after. */
export interface Batch {
  epoch?: string;
  after: number;
  seq: number;
  reset: boolean;
  events: readonly AnyEvent[];
}

export interface StreamOptions {
  /** Asked before each attempt, as the server may have moved, and for another token before the old one expires. */
  endpoint: () => Promise<Endpoint>;
  store: Store;
  WebSocket?: typeof WebSocket;
  random?: () => number;
}

/** Times in ms. */
const CONNECT_TIMEOUT = 5_000;
const WELCOME_TIMEOUT = 5_000;
const DEAD_AFTER = 25_000;
/** Clocks that differ by less are taken to agree: the way here takes its time. */
const CLOCKS_AGREE = 2000;
const PROBE_TIMEOUT = 5_000;
/** A token is renewed so long before it expires, or when half of its time is over where it has less. */
const RENEW_BEFORE = 60_000;
const RENEW_AT_ALL = 1_000;
/** Timers can't be set for longer. */
const LONGEST_TIMER = 2 ** 31 - 1;
const STABLE_AFTER = 5_000;
const ACK_AFTER = 1_000;
const UNATTENDED_FOR = 60_000;
/** A timer this late means that the machine slept, and that the silence says nothing. */
const CLOCK_JUMP = 5_000;

const ACK_FRAMES = 64;
const ACK_BYTES = 256 * 1024;
/** What a server takes as long as it has not said otherwise. */
const FRAME_BYTES = 64 * 1024;

type Timer = "connect" | "retry" | "stable" | "silence" | "probe" | "ack" | "renew";

/** Catching up: what arrives between `sync` and `synced` is held until it is whole. */
interface CatchUp {
  epoch: string;
  reset: boolean;
  events: AnyEvent[];
}

export class Stream {
  #connection: Connection = { phase: "idle", attempt: 0 };
  #seenAt: number | undefined;
  #socket: WebSocket | undefined;
  #endpoint: Endpoint | undefined;
  /** Undefined until the server has said something that tells. */
  #dialect: "v1" | "plain" | undefined;
  /** A server that spoke v1 once is not taken for a plain one when it fails to answer. */
  #spokeV1 = false;
  #failures = 0;
  /** Rises with every attempt, so that an answer to an abandoned one is not taken for its successor's. */
  #turn = 0;
  #catchUp: CatchUp | undefined;
  /** From a second `hello` to its `sync`, what comes belongs to the old position. */
  #outOfStep = false;
  #fresh: AnyEvent[] = [];
  #frameLimit = FRAME_BYTES;
  #unacked = { frames: 0, bytes: 0 };
  #viewers = 0;
  #unattendedSince = Date.now();
  readonly #outbox = new Outbox();
  #pending: readonly Pending[] = [];
  readonly #timers = new Map<Timer, ReturnType<typeof setTimeout>>();
  readonly #listeners = new Set<() => void>();
  readonly #batchListeners = new Set<(batch: Batch) => void>();
  readonly #store: Store;
  readonly #options: StreamOptions;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#store = options.store;
  }

  /** How it stands; another object whenever it changes. */
  get connection(): Connection {
    return { ...this.#connection, seenAt: this.#seenAt };
  }

  /** The outbox: commands that the server has not answered. */
  get pending(): readonly Pending[] {
    return this.#pending;
  }

  /** Be told when the connection or the outbox changed. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Be handed what was applied to the store, after it was. */
  onBatch(listener: (batch: Batch) => void): () => void {
    this.#batchListeners.add(listener);
    return () => this.#batchListeners.delete(listener);
  }

  start(): void {
    if (this.#connection.phase === "idle") void this.#connect();
  }

  /** Somebody looks at it. A stream that nobody looks at does not try for ever. Returns how to say that they left. */
  attend(): () => void {
    this.#viewers++;
    this.start();
    let here = true;
    return () => {
      if (here && --this.#viewers === 0) this.#unattendedSince = Date.now();
      here = false;
    };
  }

  /**
   * Send a command, now or as soon as the connection is in step. Resolves with the server's answer, and never rejects;
   * a plain server gives none, so there the answer is `unconfirmed` once it is on its way.
   */
  send(command: Command): Promise<Ack> {
    if (this.#connection.phase === "stopped") {
      const why = this.#connection.reason ?? "it was closed";
      return Promise.resolve(refusal(command, "not_connected", `not connected: ${why}`));
    }
    const exact = this.#exact(command);
    const bytes = new TextEncoder().encode(JSON.stringify(exact)).length;
    if (bytes > this.#frameLimit) {
      const limit = `${bytes.toLocaleString("en")} bytes, the server accepts at most ${this.#frameLimit.toLocaleString("en")}`;
      return Promise.resolve(refusal(command, "too_large", `too large to send: ${limit}`));
    }
    const answer = this.#outbox.add(exact);
    if (this.#connection.phase === "live") this.#transmit(exact);
    else this.start();
    this.#notify();
    return answer;
  }

  /** The network or the page has come back: look at once whether the connection still stands. */
  readonly probe = (): void => {
    if (this.#connection.phase === "waiting") void this.#connect();
    else if (this.#connection.phase === "live" && this.#dialect === "v1") {
      this.#hello();
      this.#after("probe", PROBE_TIMEOUT, () => this.#lost({ reason: "the server no longer answers" }));
    }
  };

  /** Close on purpose: nothing reconnects. */
  close(reason?: string): void {
    this.#stop({ code: 1000, reason });
  }

  // --- Connecting

  async #connect(): Promise<void> {
    const turn = ++this.#turn;
    this.#clear("retry");
    this.#set({ phase: "connecting", retryAt: undefined, attempt: this.#connection.attempt + 1 });
    try {
      const endpoint = await this.#options.endpoint();
      if (turn !== this.#turn) return;
      this.#endpoint = endpoint;
      this.#open(endpoint, true);
    } catch (error) {
      if (turn === this.#turn) this.#lost({ reason: String(error instanceof Error ? error.message : error) });
    }
  }

  #open(endpoint: Endpoint, offer: boolean): void {
    const Socket = this.#options.WebSocket ?? WebSocket;
    let socket: WebSocket;
    try {
      socket = new Socket(endpoint.url, offer ? [SUBPROTOCOL] : []);
    } catch (error) {
      // No later attempt could do better: the address is malformed, or this page may not open it.
      this.#stop({
        code: 4400,
        reason: `cannot open ${endpoint.url}: ${error instanceof Error ? error.message : error}`,
      });
      return;
    }
    this.#socket = socket;
    this.#dialect = undefined;
    this.#set({ url: endpoint.url });
    let opened = false;
    this.#after("connect", CONNECT_TIMEOUT, () => this.#lost({ reason: "no answer within 5 s" }));
    socket.onopen = () => {
      opened = true;
      this.#clear("connect");
      this.#hello();
      if (!offer) this.#plain();
      // A plain server may have taken the subprotocol without knowing it, as some libraries do; then it says nothing.
      else
        this.#after("connect", WELCOME_TIMEOUT, () =>
          this.#spokeV1 ? this.#lost({ reason: "the server sent no welcome" }) : this.#plain(),
        );
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => {
      // A browser refuses a server that does not take the subprotocol it was offered.
      if (!opened && offer && !this.#spokeV1) this.#open(endpoint, false);
      else this.#ended(code, reason);
    };
  }

  #hello(fromScratch = false): void {
    const { epoch, seq } = this.#store.state;
    const last = epoch === undefined || fromScratch ? undefined : { epoch, seq };
    this.#outOfStep = this.#dialect === "v1";
    this.#catchUp = undefined;
    this.#say({ type: "hello", protocol: PROTOCOL, token: this.#endpoint?.token ?? undefined, last });
  }

  #plain(): void {
    this.#dialect = "plain";
    this.#set({ resumable: false, role: undefined });
    this.#live();
  }

  #live(): void {
    this.#clear("connect");
    this.#set({ phase: "live", code: undefined, reason: undefined });
    this.#after("stable", STABLE_AFTER, () => {
      this.#failures = 0;
    });
    for (const { command, state } of this.#outbox.pending) {
      const late = state === "queued" ? this.#late(command) : undefined;
      if (late) this.#outbox.settle(late);
      else this.#transmit(command);
    }
    this.#notify();
  }

  // --- Receiving

  #receive(data: unknown): void {
    this.#seenAt = Date.now();
    this.#clear("probe");
    let messages: Received[];
    try {
      messages = decode(data);
    } catch (error) {
      this.#lost({ code: 4400, reason: (error as Error).message });
      return;
    }
    if (this.#dialect === undefined) {
      const first = messages[0]?.type;
      // A server that turns us away says so before any welcome, and must not be handed the outbox as a plain one is.
      if (first !== "welcome" && first !== "bye") {
        if (this.#spokeV1) {
          this.#lost({ reason: "the server sent no welcome" });
          return;
        }
        this.#plain();
      }
    }
    const socket = this.#socket;
    for (const message of messages) {
      if (isControl(message)) this.#take(message);
      else this.#event(message);
      if (this.#socket !== socket) return;
    }
    this.#apply();
    if (this.#dialect === "v1") this.#acknowledge((data as string).length);
  }

  #welcomed(): void {
    this.#dialect = "v1";
    this.#spokeV1 = true;
    this.#clear("connect");
    this.#watchSilence();
  }

  /** Show another token over the open connection, before the one that it began with expires. */
  #renewBefore(expiresAt: number): void {
    const left = expiresAt - Date.now();
    // Without another one it goes on until the server ends it, and then begins anew.
    if (left < RENEW_AT_ALL) return;
    const delay = Math.min(Math.max(left - RENEW_BEFORE, left / 2), LONGEST_TIMER);
    this.#after("renew", delay, () => void this.#renew(expiresAt));
  }

  async #renew(expiresAt: number): Promise<void> {
    const turn = this.#turn;
    const endpoint = await this.#options.endpoint().catch(() => this.#endpoint);
    if (turn !== this.#turn || !this.#socket) return;
    if (endpoint?.token === this.#endpoint?.token) {
      this.#renewBefore(expiresAt);
      return;
    }
    this.#endpoint = endpoint;
    this.#hello();
  }

  #take(message: ControlMessage): void {
    switch (message.type) {
      case "welcome":
        // It may come so late that the server was already taken for a plain one.
        this.#welcomed();
        this.#clear("renew");
        if (message.expires_at != null) {
          this.#renewBefore(message.expires_at - (message.now ?? Date.now()) + Date.now());
        }
        this.#frameLimit = message.limits.frame_bytes ?? FRAME_BYTES;
        this.#set({ phase: "syncing", resumable: true, role: message.role, ahead: ahead(message.now) });
        break;
      case "sync":
        this.#apply();
        this.#outOfStep = false;
        this.#catchUp = { epoch: message.epoch, reset: message.reset, events: [] };
        // A tail of another run than ours leads nowhere.
        if (!message.reset && message.epoch !== this.#store.state.epoch) this.#hello(true);
        this.#set({ phase: "syncing" });
        break;
      case "synced":
        this.#synced(message.seq);
        break;
      case "ping":
        this.#apply();
        this.#say({ type: "pong", seq: this.#store.state.seq });
        if (message.head !== this.#store.state.seq && !this.#catchUp && !this.#outOfStep) this.#hello();
        break;
      case "command_ack":
        this.#outbox.settle(message);
        this.#notify();
        break;
      case "bye":
        this.#apply();
        if (message.retry) this.#lost({ code: message.code, reason: message.reason, after: message.after_ms ?? 0 });
        else this.#stop({ code: message.code, reason: message.reason });
        break;
      default:
        assertNever(message);
    }
  }

  #event(event: AnyEvent): void {
    if (this.#catchUp) this.#catchUp.events.push(event);
    else if (this.#dialect === "plain") this.#fresh.push(event);
    else if (!this.#outOfStep && this.#inOrder(event)) this.#fresh.push(event);
  }

  /** The seq of the last event that was taken. */
  get #seen(): number {
    return this.#fresh.at(-1)?.seq ?? this.#store.state.seq;
  }

  /** Whether an event comes next. One that was seen is dropped; after a gap the server is asked for what is missing. */
  #inOrder(event: AnyEvent): boolean {
    if (event.seq == null || event.seq <= this.#seen) return false;
    if (event.seq === this.#seen + 1) return true;
    this.#apply();
    this.#hello();
    return false;
  }

  #synced(seq: number): void {
    const catchUp = this.#catchUp;
    if (!catchUp) return;
    this.#catchUp = undefined;
    const { epoch, reset, events } = catchUp;
    if (reset) {
      this.#store.replace({ epoch, seq }, events);
      this.#emit({ epoch, after: 0, seq, reset, events });
    } else {
      for (const event of events) if (event.seq === this.#seen + 1) this.#fresh.push(event);
      this.#apply();
      if (this.#store.state.seq !== seq) {
        // The tail does not lead to where it should: only the whole state helps.
        this.#hello(true);
        return;
      }
    }
    this.#sendAck();
    this.#live();
  }

  #apply(): void {
    const events = this.#fresh;
    if (events.length === 0) return;
    this.#fresh = [];
    const after = this.#store.state.seq;
    this.#store.apply(events);
    const { epoch, seq } = this.#store.state;
    this.#emit({ epoch, after, seq, reset: false, events });
  }

  #emit(batch: Batch): void {
    for (const listener of this.#batchListeners) listener(batch);
  }

  #acknowledge(bytes: number): void {
    if (this.#connection.phase !== "live") return;
    this.#unacked.frames++;
    this.#unacked.bytes += bytes;
    if (this.#unacked.frames >= ACK_FRAMES || this.#unacked.bytes >= ACK_BYTES) this.#sendAck();
    else if (!this.#timers.has("ack")) this.#after("ack", ACK_AFTER, () => this.#sendAck());
  }

  #sendAck(): void {
    this.#clear("ack");
    this.#unacked = { frames: 0, bytes: 0 };
    this.#say({ type: "ack", seq: this.#store.state.seq });
  }

  // --- Sending

  #say(message: ClientMessage): void {
    this.#socket?.send(JSON.stringify(message));
  }

  #transmit(command: Command): void {
    this.#outbox.sent(command.id);
    this.#say(command);
    if (this.#dialect === "plain") {
      this.#outbox.settle({ type: "command_ack", id: command.id, ok: true, code: "unconfirmed" });
    }
  }

  /** A decision names the gate that was open when it was made, so that it can't hit one that opened later. */
  #exact(command: Command): Command {
    if (command.type !== "human_decision" || command.gate_id != null) return command;
    const gates = [...this.#store.state.gates.values()].filter((gate) => gate.node_id === command.node_id);
    return gates.length === 1 ? { ...command, gate_id: gates[0]?.gate_id } : command;
  }

  /** Why a decision that had to wait is not sent any more. */
  #late(command: Command): Ack | undefined {
    if (command.type !== "human_decision") return undefined;
    const about = (other: { node_id: string; gate_id: string }) =>
      other.node_id === command.node_id && (command.gate_id == null || other.gate_id === command.gate_id);
    if ([...this.#store.state.gates.values()].some(about)) return undefined;
    const made = this.#store.state.decisions.findLast(about);
    return made ? overtaken(command, made) : refusal(command, "no_such_gate", "this gate is closed");
  }

  // --- Silence and ends

  #watchSilence(): void {
    const due = (this.#seenAt ?? Date.now()) + DEAD_AFTER;
    this.#after("silence", Math.max(0, due - Date.now()), () => {
      const silent = Date.now() - (this.#seenAt ?? 0);
      if (silent < DEAD_AFTER) this.#watchSilence();
      else if (silent > DEAD_AFTER + CLOCK_JUMP && this.#connection.phase === "live") {
        this.probe();
        this.#after("silence", DEAD_AFTER, () => this.#watchSilence());
      } else this.#lost({ reason: "the server was silent for 25 s" });
    });
  }

  #ended(code: number, reason: string): void {
    if (CLOSE_CODES[code]?.retry === false) this.#stop({ code, reason: reason || undefined });
    else this.#lost({ code, reason: reason || undefined });
  }

  /** The connection is gone, and comes back; `after` ms later than otherwise, where the server asked for it. */
  #lost({ code, reason, after = 0 }: { code?: number; reason?: string; after?: number }): void {
    this.#drop();
    // Added, so that not everybody who was told the same comes back at the same moment.
    const delay = after + backoff(++this.#failures, this.#options.random ?? Math.random);
    this.#set({ phase: "waiting", retryAt: Date.now() + delay, code, reason });
    this.#after("retry", delay, () => {
      const unattended = this.#viewers === 0 && Date.now() - this.#unattendedSince > UNATTENDED_FOR;
      if (unattended && this.#pending.length === 0) this.#set({ phase: "idle", retryAt: undefined });
      else void this.#connect();
    });
  }

  #stop({ code, reason }: { code: number; reason: string | undefined }): void {
    if (this.#connection.phase === "stopped") return;
    this.#turn++;
    this.#drop();
    this.#set({ phase: "stopped", retryAt: undefined, code, reason });
    for (const { command } of this.#outbox.pending) {
      const why = reason ?? "it was closed before the server answered";
      this.#outbox.settle(refusal(command, "not_connected", `the connection ended: ${why}`));
    }
    this.#notify();
  }

  /** Let go of the socket: what it still says is nobody's. */
  #drop(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    const socket = this.#socket;
    this.#socket = undefined;
    this.#catchUp = undefined;
    this.#outOfStep = false;
    this.#fresh = [];
    this.#unacked = { frames: 0, bytes: 0 };
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  // --- Telling, and timers

  #set(change: Partial<Connection>): void {
    const { phase } = this.#connection;
    const next = change.phase ?? phase;
    if (next !== phase && !TRANSITIONS[phase].includes(next)) throw new Error(`a stream went from ${phase} to ${next}`);
    this.#connection = { ...this.#connection, ...change };
    this.#notify();
  }

  #notify(): void {
    this.#pending = this.#outbox.pending;
    for (const listener of this.#listeners) listener();
  }

  #after(name: Timer, ms: number, then: () => void): void {
    this.#clear(name);
    const timer = setTimeout(() => {
      this.#timers.delete(name);
      then();
    }, ms);
    this.#timers.set(name, timer);
  }

  #clear(name: Timer): void {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}

function overtaken(command: HumanDecision, made: { by: string; decision: string }): Ack {
  return refusal(command, "already_decided", `${made.by} has already decided: ${made.decision}`);
}

/** How far the server's clock is ahead of ours, where that is more than the way here can explain. */
function ahead(now: number | null | undefined): number {
  const difference = (now ?? Date.now()) - Date.now();
  return Math.abs(difference) > CLOCKS_AGREE ? difference : 0;
}
