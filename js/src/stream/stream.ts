// The connection to a stream server: backoff, resume, heartbeat, outbox. No DOM.
//
// With a server that speaks `dagwidget.v1` it keeps a cursor, and after a cut asks for what it missed. A plain server
// knows none of that: then events are applied as they come, on the state that is there. It is the same machine as
// dagwidget/client/state_machine.py: both run tests/vectors/connections.json.

import { type AnyEvent, type ControlMessage, decode, isControl, type Received } from "../protocol/decode";
import { unfitParts } from "../protocol/fits";
import {
  type ClientMessage,
  type Command,
  type CommandAck,
  type Cursor,
  type Engine,
  PROTOCOL,
  SUBPROTOCOL,
  type Sync,
  type Welcome,
} from "../protocol/messages";
import { assertNever } from "../protocol/never";
import type { Store } from "../state/store";
import { backoff } from "./backoff";
import type { CatchUp, Connection, Endpoint, Refusal, StreamOptions, Wanted } from "./connection";
import { FEATURES } from "./connection";
import { exact, late, Outbox, type Pending, refusal, tooLarge } from "./outbox";
import { type RunList, updated } from "./runs";
import { Timers } from "./timers";
import * as time from "./timing";

export type { Command } from "../protocol/messages";
export type { Connection, Endpoint, Phase, StreamOptions, Wanted } from "./connection";
export type { Pending } from "./outbox";
export type { RunList } from "./runs";
export type Ack = CommandAck;

/** What a server takes as long as it has not said otherwise. */
const FRAME_BYTES = 64 * 1024;
const NOTHING = { frames: 0, bytes: 0 };

type Timer = "answer" | "retry" | "stable" | "silence" | "ack" | "renew";

export class Stream {
  #connection: Connection = { phase: "idle", attempt: 0 };
  #seenAt: number | undefined;
  #socket: WebSocket | undefined;
  #endpoint: Endpoint | undefined;
  /** Whether this attempt offers the subprotocol. Only a server that was not offered it can be plain. */
  #offers = true;
  /** Undefined until the server's first message, or its silence, tells. */
  #dialect: "v1" | "plain" | undefined;
  /** Whether the state comes from a server that spoke v1: then silence is a fault, and no sign of a plain server. */
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
  /** What has come since the last acknowledgement, which was of `after`. */
  #unacked: { after?: number; frames: number; bytes: number } = NOTHING;
  #viewers = 0;
  #unattendedSince = Date.now();
  readonly #outbox = new Outbox();
  #pending: readonly Pending[] = [];
  readonly #timers = new Timers<Timer>();
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

  /** That run will not begin: if it is waited for, follow the DAG without it. */
  forget(run: string | undefined): void {
    if (this.#wanted?.follow && this.#wanted.run === run) this.#want(undefined);
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
    const known = this.#outbox.answer(command.id);
    if (known) return known;
    const meant = exact(command, this.#store.state);
    const large = tooLarge(meant, this.#frameLimit);
    if (large) return Promise.resolve(large);
    const answer = this.#outbox.add(meant);
    if (this.#mayCommand) this.#transmit(meant);
    else this.start();
    this.#notify();
    return answer;
  }

  /** The network or the page has come back: look at once whether the connection still stands. */
  readonly probe = (): void => {
    if (this.#connection.phase === "waiting") void this.#connect();
    else if (this.#isInStep) this.#greet();
  };

  /** Close on purpose: nothing reconnects. */
  close(reason?: string): void {
    this.#stop({ code: 1000, reason });
  }

  // --- Connecting

  async #connect(): Promise<void> {
    const turn = ++this.#turn;
    this.#timers.clear("retry");
    this.#set({ phase: "connecting", retryAt: undefined, attempt: this.#connection.attempt + 1 });
    try {
      const endpoint = await this.#options.endpoint();
      if (turn !== this.#turn) return;
      this.#open(endpoint, true);
    } catch (error) {
      if (turn !== this.#turn) return;
      const { code, message: reason = String(error) } = error as Partial<Refusal>;
      if (code) this.#stop({ code, reason });
      else this.#lose({ reason });
    }
  }

  #open(endpoint: Endpoint, offer: boolean): void {
    this.#drop();
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
    this.#endpoint = endpoint;
    this.#socket = socket;
    this.#offers = offer;
    this.#dialect = undefined;
    this.#set({ phase: "connecting", url: endpoint.url });
    this.#awaitAnswer();
    socket.onopen = () => this.#greet();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => {
      // A browser refuses a server that does not take the subprotocol it was offered. Whatever the code, only a `bye`
      // can say that an end is for good.
      if (offer && this.#connection.phase === "connecting") this.#open(endpoint, false);
      else this.#lose({ code, reason: reason || undefined });
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
    this.#timers.clear("ack", "silence");
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
    const due = Date.now() + time.ANSWER;
    this.#timers.set("answer", time.ANSWER, () => {
      const { phase } = this.#connection;
      const dialect = this.#dialect;
      // The answer may lie in the socket.
      if (Date.now() - due > time.LATE) this.#awaitAnswer();
      else if (dialect === "plain") this.#flush();
      else if (phase === "greeting" && !dialect && !this.#spokeV1) this.#noWelcome();
      else this.#lose({ reason: `${phase === "greeting" ? "no welcome" : "the server did not answer"} in 5 s` });
    });
  }

  /**
   * A server that was offered the subprotocol may have taken it without knowing it, as some libraries do: it is tried
   * without. One that was not is plain.
   */
  #noWelcome(): void {
    if (this.#offers && this.#endpoint) {
      this.#open(this.#endpoint, false);
      return;
    }
    this.#dialect = "plain";
    if (this.#spokeV1) {
      // Another server has taken the place of the one that the state comes from.
      this.#spokeV1 = false;
      this.#log = this.#engine = this.#runs = undefined;
      this.#store.replace({ seq: 0 }, []);
    }
    this.#set({ resumable: false, role: undefined });
    this.#becomeLive();
  }

  #becomeLive(): void {
    if (this.#dialect === "v1") this.#timers.clear("answer");
    this.#set({ phase: "live", code: undefined, reason: undefined });
    if (!this.#timers.has("stable")) {
      this.#timers.set("stable", time.STABLE_AFTER, () => {
        this.#failures = 0;
      });
    }
    this.#flush();
  }

  get #isInStep(): boolean {
    return this.#connection.phase === "live" && this.#dialect === "v1";
  }

  /** Whether commands can go out. To a plain server not before its time for a `welcome` is over. */
  get #mayCommand(): boolean {
    return this.#isInStep || (this.#connection.phase === "live" && !this.#timers.has("answer"));
  }

  #flush(): void {
    if (!this.#mayCommand) return;
    for (const pending of this.#outbox.pending) {
      const refused = late(pending, this.#store.state, this.#dialect === "plain");
      if (refused) this.#outbox.settle(refused);
      else this.#transmit(pending.command);
    }
    if (this.#isInStep) for (const command of this.#outbox.unsafe.values()) this.#say(command);
    this.#notify();
  }

  // --- Receiving

  #receive(data: unknown): void {
    this.#seenAt = Date.now();
    // What was said before the hello may take long to come, before its answer.
    if (this.#dialect === "v1" && this.#connection.phase === "greeting") this.#awaitAnswer();
    const before = unfitParts();
    let messages: Received[];
    try {
      messages = decode(data);
    } catch (error) {
      if (this.#dialect === "v1") {
        this.#lose({ code: 4400, reason: (error as Error).message });
        return;
      }
      // A plain server may say what it likes.
      messages = decode('{"type":"malformed"}');
    }
    const unfit = unfitParts() - before;
    if (unfit > 0) this.#set({ ignored: (this.#connection.ignored ?? 0) + unfit });
    const socket = this.#socket;
    const first = messages[0]?.type ?? "bye";
    // A server that turns us away says so before any welcome.
    if (!this.#dialect && first !== "welcome" && first !== "bye") this.#noWelcome();
    if (this.#socket !== socket) return;
    for (const message of messages) {
      if (isControl(message)) this.#take(message);
      else this.#event(message);
      if (this.#socket !== socket) return;
    }
    this.#apply();
    if (this.#dialect === "v1") this.#acknowledge((data as string).length);
  }

  #welcomed(welcome: Welcome): void {
    this.#apply();
    // It may come so late that the server was already taken for a plain one. The state that was made of its plain events
    // is no place to go on from.
    const wasPlain = this.#dialect === "plain";
    this.#dialect = "v1";
    this.#spokeV1 = true;
    this.#frameLimit = welcome.limits.frame_bytes ?? FRAME_BYTES;
    this.#welcomedLog = { epoch: welcome.epoch, log: welcome.log ?? undefined };
    this.#runsAreWhole = true;
    const { features } = welcome;
    if (!features?.includes("runs")) this.#runs = undefined;
    if (!features?.includes("engine")) this.#engine = undefined;
    this.#timers.clear("answer", "renew");
    this.#watchSilence();
    if (welcome.expires_at != null) {
      this.#renewBefore(welcome.expires_at - (welcome.now ?? Date.now()) + Date.now());
    }
    this.#catchUp = undefined;
    this.#set({ phase: "syncing", resumable: true, role: welcome.role, ahead: time.ahead(welcome.now) });
    // Or meanwhile another run is asked for.
    if (wasPlain || this.#asked !== this.#wanted) this.#greet(wasPlain);
  }

  /** Show another token over the open connection, before the one that it began with expires. */
  #renewBefore(expiresAt: number): void {
    const delay = time.renewIn(expiresAt - Date.now());
    if (delay === undefined) return;
    this.#timers.set("renew", delay, () => void this.#renew(expiresAt));
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
        if (message.head !== this.#store.state.seq && this.#isInStep) this.#greet();
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
        if (message.retry || this.#isOutdated) this.#lose(message);
        else this.#stop(message);
        break;
      default:
        assertNever(message);
    }
  }

  /** Whether the end that the server says may be that of the run before the hello that it has not answered. */
  get #isOutdated(): boolean {
    return this.#connection.phase === "greeting" && (this.#dialect === "v1" || this.#asked !== this.#wanted);
  }

  #sync({ epoch, reset, log }: Sync): void {
    this.#apply();
    if (!reset && epoch !== this.#store.state.epoch) {
      // A tail of another run than ours leads nowhere.
      this.#greet(true);
      return;
    }
    // A server of before names the log in `welcome` only.
    const known = this.#welcomedLog;
    this.#catchUp = { epoch, reset, log: log ?? (known?.epoch === epoch ? known.log : undefined), events: [] };
    this.#set({ phase: "syncing" });
  }

  #event(event: AnyEvent): void {
    if (this.#catchUp) this.#catchUp.events.push(event);
    else if (this.#dialect === "plain") this.#fresh.push({ ...event, seq: undefined });
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
    if (catchUp.log || epoch !== before) this.#log = catchUp.log ?? undefined;
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
    const unacked = this.#unacked;
    if (this.#connection.phase !== "live" || unacked.after === this.#store.state.seq) return;
    this.#unacked = { ...unacked, frames: unacked.frames + 1, bytes: unacked.bytes + bytes };
    if (this.#unacked.frames >= time.ACK_FRAMES || this.#unacked.bytes >= time.ACK_BYTES) this.#sendAck();
    else if (!this.#timers.has("ack")) this.#timers.set("ack", time.ACK_AFTER, () => this.#sendAck());
  }

  #sendAck(): void {
    const { seq } = this.#store.state;
    this.#timers.clear("ack");
    this.#unacked = { ...NOTHING, after: seq };
    this.#say({ type: "ack", seq });
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

  // --- Silence and ends

  #watchSilence(): void {
    const due = (this.#seenAt ?? Date.now()) + time.DEAD_AFTER;
    this.#timers.set("silence", Math.max(0, due - Date.now()), () => {
      const silent = Date.now() - (this.#seenAt ?? 0);
      // Less than nothing: the clock was set back, and says nothing either.
      if (silent < 0 || silent > time.DEAD_AFTER + time.LATE) this.#greet();
      else if (silent < time.DEAD_AFTER) this.#watchSilence();
      else this.#lose({ reason: "the server was silent for 25 s" });
    });
  }

  /** The connection is gone, and comes back; `after_ms` later than otherwise, where the server asked for it. */
  #lose({ code, reason, after_ms }: { code?: number; reason?: string; after_ms?: number | null }): void {
    this.#drop();
    // Added, so that not everybody who was told the same comes back at the same moment.
    const delay = (after_ms ?? 0) + backoff(++this.#failures, this.#options.random ?? Math.random);
    this.#set({ phase: "waiting", retryAt: Date.now() + delay, code, reason });
    this.#timers.set("retry", delay, () => {
      const unattended = this.#viewers === 0 && Date.now() - this.#unattendedSince > time.UNATTENDED_FOR;
      if (unattended && this.#pending.length === 0) this.#set({ phase: "idle", retryAt: undefined });
      else void this.#connect();
    });
  }

  #stop({ code, reason }: { code: number; reason: string | undefined }): void {
    if (this.#connection.phase === "stopped") return;
    this.#turn++;
    this.#drop();
    this.#set({ phase: "stopped", retryAt: undefined, code, reason });
    const why = `the connection ended: ${reason ?? "it was closed before the server answered"}`;
    for (const { command, state } of this.#outbox.pending) {
      this.#outbox.settle(refusal(command, state === "sent" ? "unconfirmed" : "not_connected", why));
    }
    this.#notify();
  }

  /** Let go of the socket: what it still says is nobody's. */
  #drop(): void {
    this.#timers.clearAll();
    const socket = this.#socket;
    this.#socket = undefined;
    this.#catchUp = undefined;
    this.#fresh = [];
    this.#unacked = NOTHING;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  // --- Telling, and timers

  #set(change: Partial<Connection>): void {
    this.#connection = { ...this.#connection, ...change };
    this.#notify();
  }

  #notify(): void {
    this.#pending = this.#outbox.pending;
    for (const listener of this.#listeners) listener();
  }
}
