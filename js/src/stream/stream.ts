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
  type Cursor,
  type Engine,
  type HumanDecision,
  PROTOCOL,
  SUBPROTOCOL,
  type Sync,
  type Welcome,
} from "../protocol/messages";
import { assertNever } from "../protocol/never";
import type { Store } from "../state/store";
import { backoff } from "./backoff";
import { Outbox, type Pending, refusal } from "./outbox";
import { type RunList, updated } from "./runs";

export type { Command } from "../protocol/messages";
export type { Pending } from "./outbox";
export type { RunList } from "./runs";
export type Ack = CommandAck;

/** The run that the server is asked for; `follow`: only to begin at. A stream that asks for none follows the DAG. */
export interface Wanted {
  run: string;
  follow?: true;
}

/** Where a DAG's stream is: `ws(s)://…/api/dags/{id}/stream`. */
export interface Endpoint {
  url: string;
  token?: string | null;
}

export type Phase = "idle" | "connecting" | "greeting" | "syncing" | "live" | "waiting" | "stopped";

/** Which phase may follow which. A plain server is `live` at once; `greeting` comes again after a gap. */
export const TRANSITIONS: Readonly<Record<Phase, readonly Phase[]>> = {
  idle: ["connecting", "stopped"],
  connecting: ["greeting", "waiting", "stopped"],
  greeting: ["syncing", "live", "waiting", "stopped"],
  syncing: ["greeting", "live", "waiting", "stopped"],
  live: ["greeting", "syncing", "waiting", "stopped"],
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

export interface StreamOptions {
  /** Asked before each attempt, as the server may have moved, and for another token before the old one expires. */
  endpoint: () => Promise<Endpoint>;
  store: Store;
  /** What it watches at first. */
  wanted?: Wanted;
  WebSocket?: typeof WebSocket;
  random?: () => number;
}

/** What is new in the protocol goes only to clients that ask for it. */
const FEATURES = ["runs", "engine", "lost"];

/** Times in ms. */
const ANSWER = 5_000;
const DEAD_AFTER = 25_000;
/** Clocks that differ by less are taken to agree: the way here takes its time. */
const CLOCKS_AGREE = 2000;
/** A token is renewed so long before it expires, or when half of its time is over where it has less. */
const RENEW_BEFORE = 60_000;
const RENEW_AT_ALL = 1_000;
/** Timers can't be set for longer. */
const LONGEST_TIMER = 2 ** 31 - 1;
const STABLE_AFTER = 5_000;
const ACK_AFTER = 1_000;
const UNATTENDED_FOR = 60_000;
/** A timer this late means that the machine slept, or the page was kept from running: the silence says nothing. */
const LATE = 1_000;

const ACK_FRAMES = 64;
const ACK_BYTES = 256 * 1024;
/** What a server takes as long as it has not said otherwise. */
const FRAME_BYTES = 64 * 1024;

type Timer = "answer" | "retry" | "stable" | "silence" | "ack" | "renew";

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
  #wanted: Wanted | undefined;
  /** What the last `hello` asked for. */
  #asked: Wanted | undefined;
  /** The log that `welcome` named, and that of the state: a cursor fits no other. */
  #welcomedLog: { epoch: string; log: string | undefined } | undefined;
  #log: string | undefined;
  #engine: Engine | undefined;
  #runs: RunList | undefined;
  /** Of the runs that come after a `welcome`, the first are the whole list. */
  #runsAreWhole = true;
  #fresh: AnyEvent[] = [];
  #frameLimit = FRAME_BYTES;
  #unacked = { frames: 0, bytes: 0 };
  #viewers = 0;
  #unattendedSince = Date.now();
  readonly #outbox = new Outbox();
  #pending: readonly Pending[] = [];
  readonly #timers = new Map<Timer, ReturnType<typeof setTimeout>>();
  readonly #listeners = new Set<() => void>();
  readonly #store: Store;
  readonly #options: StreamOptions;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#store = options.store;
    this.#wanted = options.wanted;
  }

  /** How it stands; another object whenever it changes. */
  get connection(): Connection {
    return { ...this.#connection, seenAt: this.#seenAt };
  }

  /** Whether the engine of the run is there, by the server's last word; undefined where the server does not say. */
  get engine(): Engine | undefined {
    return this.#engine;
  }

  /** The DAG's runs; another object whenever they change, undefined where the server does not list them. */
  get runs(): RunList | undefined {
    return this.#runs;
  }

  /** Whether the server moves this stream to the DAG's next run, once the one that it is at is over. */
  get following(): boolean {
    return !this.#wanted || this.#wanted.follow === true;
  }

  /** The outbox: commands that the server has not answered. */
  get pending(): readonly Pending[] {
    return this.#pending;
  }

  /** Be told when the connection, the outbox, the engine or the runs changed. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Pin a run: the server never moves this stream from it, and waits for it where it has not begun. Null: follow. */
  watch(run: string | null): void {
    this.#want(run === null ? undefined : { run });
  }

  /** Begin at a run, and follow the DAG once it is over. */
  begin(run: string): void {
    const there = this.#store.state.epoch === run && (this.#wanted === undefined || this.#wanted.follow);
    this.#want(there ? undefined : { run, follow: true });
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
    else if (this.#connection.phase === "live" && this.#dialect === "v1") this.#greet();
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
      if (turn === this.#turn) this.#lose({ reason: String(error instanceof Error ? error.message : error) });
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
    this.#awaitAnswer();
    socket.onopen = () => {
      opened = true;
      this.#greet();
      if (!offer) this.#becomePlain();
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => {
      // A browser refuses a server that does not take the subprotocol it was offered.
      if (!opened && offer && !this.#spokeV1) this.#open(endpoint, false);
      else this.#ended(code, reason);
    };
  }

  #want(wanted: Wanted | undefined): void {
    if (wanted?.run === this.#wanted?.run && wanted?.follow === this.#wanted?.follow) return;
    this.#wanted = wanted;
    // Where a hello is not answered yet, another one follows once it is.
    const { phase } = this.#connection;
    if (this.#dialect === "v1" && (phase === "live" || phase === "syncing")) this.#greet();
  }

  /** Say hello; until the welcome, what comes belongs to the old position. */
  #greet(fromScratch = false): void {
    this.#apply();
    this.#catchUp = undefined;
    this.#clear("ack");
    this.#clear("silence");
    this.#awaitAnswer();
    this.#set({ phase: "greeting" });
    this.#asked = this.#wanted;
    this.#say({
      type: "hello",
      protocol: PROTOCOL,
      token: this.#endpoint?.token ?? undefined,
      features: FEATURES,
      ...this.#asked,
      last: fromScratch ? undefined : this.#cursor,
    });
  }

  /** Where the stream stands in the run that it asks for. */
  get #cursor(): Cursor | undefined {
    const { epoch, seq } = this.#store.state;
    if (epoch === undefined || (this.#wanted && this.#wanted.run !== epoch)) return undefined;
    return { epoch, seq, log: this.#log };
  }

  #awaitAnswer(): void {
    const due = Date.now() + ANSWER;
    this.#after("answer", ANSWER, () => {
      const { phase } = this.#connection;
      // The answer may lie in the socket.
      if (Date.now() - due > LATE) this.#awaitAnswer();
      // A plain server may have taken the subprotocol without knowing it, as some libraries do; then it says nothing.
      else if (phase === "greeting" && this.#dialect === undefined && !this.#spokeV1) this.#becomePlain();
      else this.#lose({ reason: `${phase === "greeting" ? "no welcome" : "the server did not answer"} in 5 s` });
    });
  }

  #becomePlain(): void {
    this.#dialect = "plain";
    this.#set({ resumable: false, role: undefined });
    this.#becomeLive();
  }

  #becomeLive(): void {
    this.#clear("answer");
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
    // What was said before the hello may take long to come, before its answer.
    if (this.#dialect === "v1" && this.#connection.phase === "greeting") this.#awaitAnswer();
    let messages: Received[];
    try {
      messages = decode(data);
    } catch (error) {
      this.#lose({ code: 4400, reason: (error as Error).message });
      return;
    }
    if (this.#dialect === undefined) {
      const first = messages[0]?.type;
      // A server that turns us away says so before any welcome, and must not be handed the outbox as a plain one is.
      if (first !== "welcome" && first !== "bye") {
        if (this.#spokeV1) {
          this.#lose({ reason: "the server sent no welcome" });
          return;
        }
        this.#becomePlain();
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

  #welcomed(welcome: Welcome): void {
    // It may come so late that the server was already taken for a plain one.
    this.#dialect = "v1";
    this.#spokeV1 = true;
    this.#apply();
    this.#frameLimit = welcome.limits.frame_bytes ?? FRAME_BYTES;
    this.#welcomedLog = { epoch: welcome.epoch, log: welcome.log ?? undefined };
    this.#runsAreWhole = true;
    if (!welcome.features?.includes("runs")) this.#runs = undefined;
    if (!welcome.features?.includes("engine")) this.#engine = undefined;
    this.#clear("answer");
    this.#clear("renew");
    this.#watchSilence();
    if (welcome.expires_at != null) {
      this.#renewBefore(welcome.expires_at - (welcome.now ?? Date.now()) + Date.now());
    }
    this.#catchUp = undefined;
    this.#set({ phase: "syncing", resumable: true, role: welcome.role, ahead: ahead(welcome.now) });
    // Meanwhile another run is asked for.
    if (this.#asked !== this.#wanted) this.#greet();
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
    this.#greet();
  }

  #take(message: ControlMessage): void {
    switch (message.type) {
      case "welcome":
        this.#welcomed(message);
        break;
      case "sync":
        if (this.#connection.phase !== "greeting") this.#sync(message);
        break;
      case "synced":
        this.#synced(message.seq);
        break;
      case "ping":
        this.#apply();
        this.#say({ type: "pong", seq: this.#store.state.seq });
        if (message.head !== this.#store.state.seq && this.#connection.phase === "live") this.#greet();
        break;
      case "command_ack":
        this.#outbox.settle(message);
        this.#notify();
        break;
      case "engine":
        this.#engine = message;
        this.#notify();
        break;
      case "runs":
        this.#runs = updated(this.#runsAreWhole ? undefined : this.#runs, message);
        this.#runsAreWhole = false;
        this.#notify();
        break;
      case "bye":
        this.#apply();
        if (message.retry || this.#isOutdated) {
          this.#lose({ code: message.code, reason: message.reason, after: message.after_ms ?? 0 });
        } else this.#stop({ code: message.code, reason: message.reason });
        break;
      default:
        assertNever(message);
    }
  }

  /** Whether the end that the server says may be that of the run before the hello that it has not answered. */
  get #isOutdated(): boolean {
    return this.#connection.phase === "greeting" && (this.#dialect === "v1" || this.#asked !== this.#wanted);
  }

  #sync({ epoch, reset }: Sync): void {
    this.#apply();
    if (!reset && epoch !== this.#store.state.epoch) {
      // A tail of another run than ours leads nowhere.
      this.#greet(true);
      return;
    }
    this.#catchUp = { epoch, reset, events: [] };
    this.#set({ phase: "syncing" });
  }

  #event(event: AnyEvent): void {
    if (this.#catchUp) this.#catchUp.events.push(event);
    else if (this.#dialect === "plain") this.#fresh.push(event);
    else if (this.#connection.phase === "live" && this.#inOrder(event)) this.#fresh.push(event);
  }

  /** The seq of the last event that was taken. */
  get #seen(): number {
    return this.#fresh.at(-1)?.seq ?? this.#store.state.seq;
  }

  /** Whether an event comes next. One that was seen is dropped; after a gap the server is asked for what is missing. */
  #inOrder(event: AnyEvent): boolean {
    if (event.seq == null || event.seq <= this.#seen) return false;
    if (event.seq === this.#seen + 1) return true;
    this.#greet();
    return false;
  }

  #synced(seq: number): void {
    const catchUp = this.#catchUp;
    if (!catchUp) return;
    this.#catchUp = undefined;
    const { reset, events } = catchUp;
    const before = this.#store.state.epoch;
    // A run that has not begun has no name yet.
    const epoch = catchUp.epoch || undefined;
    if (reset) {
      if (epoch !== before) this.#engine = undefined;
      this.#store.replace({ epoch, seq }, events);
    } else {
      for (const event of events) if (event.seq === this.#seen + 1) this.#fresh.push(event);
      this.#apply();
      if (this.#store.state.seq !== seq) {
        // The tail does not lead to where it should: only the whole state helps.
        this.#greet(true);
        return;
      }
    }
    // Moved to another run by the server, the stream does not know the log.
    if (this.#welcomedLog?.epoch === catchUp.epoch) this.#log = this.#welcomedLog.log;
    else if (epoch !== before) this.#log = undefined;
    // It has got there: after a cut it goes on from where it then is.
    if (this.#wanted?.follow && this.#wanted.run === epoch) this.#wanted = this.#asked = undefined;
    this.#sendAck();
    this.#becomeLive();
  }

  #apply(): void {
    const events = this.#fresh;
    if (events.length === 0) return;
    this.#fresh = [];
    this.#store.apply(events);
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

  /** A command names the run, and the gate, that was there when it was given: it can't hit one that came later. */
  #exact(command: Command): Command {
    const { epoch, gates } = this.#store.state;
    const run_id = command.run_id ?? epoch;
    if (command.type !== "human_decision" || command.gate_id != null || run_id !== epoch) return { ...command, run_id };
    const open = [...gates.values()].filter((gate) => gate.node_id === command.node_id);
    return { ...command, run_id, gate_id: open.length === 1 ? open[0]?.gate_id : undefined };
  }

  /** Why a decision that had to wait is not sent any more. Of the gates of another run than this the server judges. */
  #late(command: Command): Ack | undefined {
    const { epoch } = this.#store.state;
    if (command.type !== "human_decision" || (command.run_id ?? epoch) !== epoch) return undefined;
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
      else if (silent > DEAD_AFTER + LATE) this.#greet();
      else this.#lose({ reason: "the server was silent for 25 s" });
    });
  }

  #ended(code: number, reason: string): void {
    if (CLOSE_CODES[code]?.retry === false) this.#stop({ code, reason: reason || undefined });
    else this.#lose({ code, reason: reason || undefined });
  }

  /** The connection is gone, and comes back; `after` ms later than otherwise, where the server asked for it. */
  #lose({ code, reason, after = 0 }: { code?: number; reason?: string; after?: number }): void {
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
