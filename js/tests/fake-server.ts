// A WebSocket and the server behind it, and a widget model and its kernel, moved by hand: nothing happens until the test
// says so.

import type { ClientMessage, Event, ServerMessage, Welcome } from "../src/protocol/messages";
import type { Model } from "../src/widget/anywidget";

type Said<T extends ClientMessage["type"]> = Extract<ClientMessage, { type: T }>;

const [CONNECTING, OPEN, CLOSED] = [0, 1, 3];

export interface CatchUp {
  epoch?: string;
  seq?: number;
  reset?: boolean;
  events?: readonly Event[];
}

/** One connection. What the client uses comes first; the rest is the server's side of it. */
export class FakeSocket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  readyState = CONNECTING;
  readonly protocols: readonly string[];
  /** What the client said, oldest first. */
  readonly sent: ClientMessage[] = [];
  /** Told of each message of the client. */
  heard: (message: ClientMessage) => void = () => {};

  constructor(
    readonly url: string,
    protocols: string | string[] = [],
  ) {
    this.protocols = [protocols].flat();
  }

  send(text: string): void {
    // As a browser does: too early is an error, too late is lost.
    if (this.readyState === CONNECTING) throw new Error("InvalidStateError: still in CONNECTING state");
    if (this.readyState === CLOSED) return;
    const message = JSON.parse(text) as ClientMessage;
    this.sent.push(message);
    this.heard(message);
  }

  close(): void {
    this.readyState = CLOSED;
  }

  get connecting(): boolean {
    return this.readyState === CONNECTING;
  }

  get open(): boolean {
    return this.readyState === OPEN;
  }

  get closed(): boolean {
    return this.readyState === CLOSED;
  }

  /** What the client said of this type. */
  said<T extends ClientMessage["type"]>(type: T): Said<T>[] {
    return this.sent.filter((message): message is Said<T> => message.type === type);
  }

  accept(): void {
    this.readyState = OPEN;
    this.onopen?.();
  }

  /** End it as the client sees it: a server that can't be reached, or does not take what it was offered, is a 1006. */
  end(code = 1006, reason = ""): void {
    this.readyState = CLOSED;
    this.onclose?.({ code, reason });
  }

  raw(data: unknown): void {
    this.onmessage?.({ data });
  }

  /** One frame a message. */
  say(...messages: readonly ServerMessage[]): void {
    for (const message of messages) this.raw(JSON.stringify(message));
  }

  /** All messages in one frame. */
  batch(...messages: readonly ServerMessage[]): void {
    this.raw(JSON.stringify(messages));
  }

  welcome(more: Partial<Welcome> = {}): void {
    this.say({
      type: "welcome",
      protocol: 1,
      dag_id: "d",
      epoch: "e1",
      head: 0,
      role: "operate",
      heartbeat_ms: 15_000,
      window: 1 << 20,
      limits: {},
      ...more,
    });
  }

  /** A whole catch-up; by default a reset to what `events` add up to. */
  sync({ epoch = "e1", events = [], seq = events.at(-1)?.seq ?? 0, reset = true }: CatchUp = {}): void {
    this.say({ type: "sync", epoch, seq, reset }, ...events, { type: "synced", seq });
  }

  /** All that a server says to a client that comes: take it, welcome it, bring it up to date. */
  greet(catchUp: CatchUp = {}): void {
    this.accept();
    this.welcome({ epoch: catchUp.epoch ?? "e1" });
    this.sync(catchUp);
  }
}

export class FakeServer {
  /** All connections that were ever asked for. */
  readonly sockets: FakeSocket[] = [];
  readonly WebSocket: typeof WebSocket;

  constructor() {
    const { sockets } = this;
    class Socket extends FakeSocket {
      constructor(url: string, protocols?: string | string[]) {
        super(url, protocols);
        sockets.push(this);
      }
    }
    this.WebSocket = Socket as unknown as typeof WebSocket;
  }

  /** The latest connection. */
  get last(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (!socket) throw new Error("nobody has connected");
    return socket;
  }

  /** Be unreachable: refuse whoever asks, also when they ask again at once. */
  refuse(): void {
    for (let asked = this.sockets.at(-1); asked?.connecting; asked = this.sockets.at(-1)) asked.end(1006);
  }
}

/** A widget model whose kernel is the test. */
export class FakeModel implements Model {
  widget_manager: object | undefined;
  /** What the kernel was told. */
  readonly sent: Record<string, unknown>[] = [];
  /** The bytes that went with each. */
  readonly buffers: ArrayBuffer[][] = [];
  readonly #listeners = new Map<string, Set<(...values: never[]) => void>>();

  constructor(private readonly traits: Readonly<Record<string, unknown>> = {}) {}

  get(name: string): unknown {
    return this.traits[name];
  }

  send(content: unknown, _callbacks?: unknown, buffers: ArrayBuffer[] = []): void {
    this.buffers.push(buffers);
    this.sent.push(structuredClone(content) as Record<string, unknown>);
  }

  on(event: string, listener: (...values: never[]) => void): void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
  }

  off(event: string, listener: (...values: never[]) => void): void {
    this.#listeners.get(event)?.delete(listener);
  }

  /** How many listen. */
  get listeners(): number {
    return [...this.#listeners.values()].reduce((sum, listeners) => sum + listeners.size, 0);
  }

  emit(event: string, ...values: unknown[]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) listener(...(values as never[]));
  }

  /** The kernel says something. */
  tell(message: unknown, buffers?: DataView[]): void {
    this.emit("msg:custom", message, buffers);
  }
}
