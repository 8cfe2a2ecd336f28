// The state of a run, kept by the reducer and observable. No DOM, no sockets.

import type { AnyEvent } from "../protocol/decode";
import { type Changes, emptyState, noChange, reduce } from "./reducer";
import type { Change, DagState } from "./types";

/** The state of one DAG, and who wants to know when it changes. */
export class Store {
  #state = emptyState();
  readonly #listeners = new Set<(change: Change) => void>();

  /** The current state: updated in place by `apply`, another object after `replace`. */
  get state(): DagState {
    return this.#state;
  }

  /** Apply a batch in the order of its seq; listeners are told once. It is the caller who drops duplicates. */
  apply(events: readonly AnyEvent[]): void {
    this.#notify(this.#reduce(events));
  }

  /** Begin anew with what `events` add up to; listeners are told once, so the old picture stays until then. */
  replace(cursor: { epoch?: string; seq: number }, events: readonly AnyEvent[]): void {
    this.#state = emptyState(cursor.epoch);
    const changes = this.#reduce(events);
    this.#state.seq = cursor.seq;
    this.#notify({ ...changes, reset: true, structure: true });
  }

  /** Be told what each batch changed; returns how to stop. */
  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #reduce(events: readonly AnyEvent[]): Changes {
    const changes = noChange();
    for (const event of events) reduce(this.#state, event, changes);
    return changes;
  }

  #notify(change: Change): void {
    for (const listener of this.#listeners) listener(change);
  }
}

/** The state as JSON-safe values, as `DagState.to_dict` in Python gives it; what is absent has no key. */
export function toJSON(state: DagState): Record<string, unknown> {
  const edges = [...state.edges].map(([target, sources]) => [target, Object.fromEntries(sources)] as const);
  const whole = {
    ...state,
    nodes: Object.fromEntries(state.nodes),
    edges: Object.fromEntries(edges),
    gates: Object.fromEntries(state.gates),
  };
  return Object.fromEntries(Object.entries(whole).filter(([, value]) => value !== undefined));
}
