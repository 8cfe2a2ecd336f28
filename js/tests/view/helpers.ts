// A store and a stream that a test moves by hand, for the view's tests.

import type { Command, CommandAck, Engine } from "../../src/protocol/messages";
import type { Change, DagState, Gate, Node } from "../../src/state/types";
import type { Connection, Pending, RunList } from "../../src/stream/stream";
import { mountDetails } from "../../src/view/details";
import type { ViewOptions } from "../../src/view/shell";

export const NOW = Date.UTC(2026, 10, 23, 12, 3, 0);

export function emptyState(more: Partial<DagState> = {}): DagState {
  return {
    seq: 0,
    status: "pending",
    nodes: new Map(),
    edges: new Map(),
    gates: new Map(),
    decisions: [],
    errors: [],
    ...more,
  };
}

export function runningState(nodes: readonly Node[] = [], gates: readonly Gate[] = []): DagState {
  return emptyState({
    epoch: "e",
    seq: 9,
    status: "running",
    started_at: NOW - 60_000,
    nodes: new Map(nodes.map((node) => [node.id, node])),
    gates: new Map(gates.map((gate) => [gate.gate_id, gate])),
  });
}

/** The tree of the view in `el`: a shadow tree, into which no query from outside leads. */
export function viewIn(el: HTMLElement): ShadowRoot {
  return el.querySelector("[data-lm-suppress-shortcuts]")!.shadowRoot!;
}

export class Fake {
  state: DagState;
  connection: Connection = { phase: "live", attempt: 1, resumable: true, role: "operate", seenAt: NOW };
  pending: Pending[] = [];
  engine: Engine | undefined;
  runs: RunList | undefined;
  following = true;
  readonly sent: Command[] = [];
  readonly acks: ((ack: CommandAck) => void)[] = [];
  readonly options: ViewOptions;
  readonly #changes = new Set<(change: Change) => void>();
  readonly #streams = new Set<() => void>();

  constructor(state: DagState, more: Partial<ViewOptions> = {}) {
    this.state = state;
    const fake = this;
    this.options = {
      dagId: "my-dag",
      details: mountDetails,
      store: {
        get state() {
          return fake.state;
        },
        subscribe: (listener) => add(this.#changes, listener),
      },
      stream: {
        get connection() {
          return fake.connection;
        },
        get engine() {
          return fake.engine;
        },
        get following() {
          return fake.following;
        },
        get pending() {
          return fake.pending;
        },
        get runs() {
          return fake.runs;
        },
        subscribe: (listener) => add(this.#streams, listener),
        send: (command) => {
          this.sent.push(command);
          this.pending.push({ command, state: this.connection.phase === "live" ? "sent" : "queued", since: NOW });
          return new Promise((resolve) => this.acks.push(resolve));
        },
      },
      ...more,
    };
  }

  /** How many listen to the store or the stream. */
  get listeners(): number {
    return this.#changes.size + this.#streams.size;
  }

  change(change: Partial<Change> = {}): void {
    for (const listener of this.#changes)
      listener({ reset: false, structure: false, nodes: new Set(), edges: false, ...change });
  }

  connect(connection: Partial<Connection>): void {
    this.connection = { ...this.connection, ...connection };
    for (const listener of this.#streams) listener();
  }

  /** Answer the oldest command that waits, as the stream does: it leaves the outbox, and its sender is told. */
  async acknowledge(ack: Partial<CommandAck>): Promise<void> {
    const { command } = this.pending.shift()!;
    this.acks.shift()!({ type: "command_ack", id: command.id, ok: true, ...ack });
    await Promise.resolve();
    await Promise.resolve();
  }
}

function add<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
