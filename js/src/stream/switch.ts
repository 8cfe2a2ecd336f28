// A stream and its store that are exchanged for others under those who look at them. What was there before stays until there
// is something to look at in its place.

import { Store } from "../state/store";
import type { Change } from "../state/types";
import { refusal } from "./outbox";
import type { RunList, Stream } from "./stream";

/** What is looked at of a store and of a stream; the real ones fit, and so does a placeholder. */
export type StoreSource = Pick<Store, "state" | "subscribe">;
export type StreamSource = Pick<
  Stream,
  "connection" | "engine" | "following" | "pending" | "runs" | "send" | "subscribe"
>;

export interface Source {
  readonly store: StoreSource;
  readonly stream: StreamSource & Partial<Pick<Stream, "attend">>;
  /** Give it back, where it is a share; a placeholder is none, and gives way at once. */
  release?(): void;
}

export class Switch {
  readonly store: StoreSource;
  readonly stream: StreamSource;
  #source: Source;
  /** The runs are the DAG's: what one stream says of them holds for the next, until that says it itself. */
  #runs: RunList | undefined;
  #end = () => {};
  /** Ends what was to be shown next. */
  #endNext = () => {};
  readonly #onStore = new Set<(change: Change) => void>();
  readonly #onStream = new Set<() => void>();

  constructor(first: Source) {
    this.#source = first;
    const source = () => this.#source;
    const runs = () => source().stream.runs ?? this.#runs;
    this.store = {
      get state() {
        return source().store.state;
      },
      subscribe: (listener) => subscribe(this.#onStore, listener),
    };
    this.stream = {
      get connection() {
        return source().stream.connection;
      },
      get engine() {
        return source().stream.engine;
      },
      get following() {
        return source().stream.following;
      },
      get pending() {
        return source().stream.pending;
      },
      get runs() {
        return runs();
      },
      send: (command) => source().stream.send(command),
      subscribe: (listener) => subscribe(this.#onStream, listener),
    };
  }

  /** Show `next` as soon as it has something to show, or has failed; what it takes the place of is given back then. */
  show(next: Source): void {
    this.#endNext();
    this.#endNext = () => {};
    const { store, stream } = next;
    if (stream === this.#source.stream) {
      next.release?.();
      return;
    }
    const leave = stream.attend?.();
    const unsubscribe = [
      store.subscribe((change) => this.#source === next && notify(this.#onStore, change)),
      stream.subscribe(() => (this.#source === next ? notify(this.#onStream) : look())),
    ];
    const end = () => {
      for (const each of unsubscribe) each();
      leave?.();
      next.release?.();
    };
    const look = () => {
      const { phase } = stream.connection;
      const shows = store.state.epoch !== undefined || phase === "live" || phase === "stopped";
      if (!shows && this.#source.release) return;
      this.#runs = this.stream.runs;
      this.#end();
      [this.#end, this.#endNext] = [end, () => {}];
      this.#source = next;
      notify(this.#onStore, { reset: true, structure: true, nodes: new Set(store.state.nodes.keys()), edges: true });
      notify(this.#onStream);
    };
    this.#endNext = end;
    look();
  }

  close(): void {
    this.#endNext();
    this.#end();
  }
}

/** A source that never has anything: there is no server yet or, where there is a `fault`, there will be none. */
export function nothing({ fault, ended }: { fault?: string; ended?: string } = {}): Source {
  const stopped = (code: number, reason: string) => ({ phase: "stopped", attempt: 0, code, reason }) as const;
  return {
    store: new Store(),
    stream: {
      // 1000: it is no server's refusal that the kernel is gone.
      connection: ended ? stopped(1000, ended) : fault ? stopped(4400, fault) : { phase: "idle", attempt: 0 },
      engine: undefined,
      following: true,
      pending: [],
      runs: undefined,
      send: async (command) =>
        refusal(command, "not_connected", ended ?? fault ?? "the kernel has not said where the server is"),
      subscribe: () => () => {},
    },
  };
}

function subscribe<L>(listeners: Set<L>, listener: L): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function notify<T extends unknown[]>(listeners: Set<(...said: T) => void>, ...said: T): void {
  for (const listener of listeners) listener(...said);
}
