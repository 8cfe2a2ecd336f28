// A page that follows a DAG with the widget's own stream, for tests/chaos: `window.chaos`.

import type { AnyEvent } from "../../js/src/protocol/decode";
import { uuid } from "../../js/src/protocol/uuid";
import { Store, toJSON } from "../../js/src/state/store";
import { type Ack, Stream } from "../../js/src/stream/stream";

/** Counts the numbers that an engine says, as `Ledger` in tests/chaos/ledger.py does. */
class Ledger extends Store {
  last = -1;
  lost = 0;
  doubled = 0;
  resets = 0;

  override apply(events: readonly AnyEvent[]): void {
    for (const number of numbers(events)) {
      this.lost += Math.max(0, number - this.last - 1);
      if (number <= this.last) this.doubled++;
      this.last = Math.max(this.last, number);
    }
    super.apply(events);
  }

  override replace(cursor: { epoch?: string; seq: number }, events: readonly AnyEvent[]): void {
    this.resets++;
    const newest = Math.max(...numbers(events));
    if (newest >= 0) {
      // What was seen is part of every later state.
      this.lost += Math.max(0, this.last - newest);
      this.last = newest;
    }
    super.replace(cursor, events);
  }
}

const numbers = (events: readonly AnyEvent[]): number[] =>
  events.flatMap((event) => (event.type === "node_state" && event.message != null ? [Number(event.message)] : []));

const store = new Ledger();
const now = Date.now;
let stream: Stream | undefined;

const chaos = {
  open(url: string, run: string | undefined): void {
    stream = new Stream({ store, endpoint: async () => ({ url }), wanted: run === undefined ? undefined : { run } });
    stream.attend();
  },

  /** How it stands, in short. */
  get standing() {
    const { phase, resumable, code, reason } = stream!.connection;
    const { epoch, seq, status, gates } = store.state;
    const { last, lost, doubled, resets } = store;
    return {
      ...{ phase, resumable, code, reason, epoch, seq, status, gates: [...gates.keys()] },
      ...{ last, lost, doubled, resets },
    };
  },

  get state() {
    return toJSON(store.state);
  },

  decide(gate_id: string, decision: "approve" | "reject"): Promise<Ack> {
    return stream!.send({ type: "human_decision", id: uuid(), node_id: gate_id, gate_id, decision });
  },

  /** The page's own clock jumps. */
  jump(ms: number): void {
    Date.now = () => now() + ms;
  },

  probe(): void {
    stream!.probe();
  },
};

Object.assign(window, { chaos });
