// The log of a run, and the state at any of its events. No DOM, no clock.
//
// A *position* is a number of events: at 0 nothing has happened, at `length` everything. On the way through the log the
// state is copied now and then, so that no position is far from a copy.

import { type AnyEvent, isEvent, type LogPage } from "../../../protocol/decode";
import { emptyState, noChange, reduce } from "../../../state/reducer";
import type { DagState, Node } from "../../../state/types";

/** So many events are applied in no time. */
const STRIDE = 1000;

/** What is worth finding on the way through a run. */
export interface Mark {
  kind: "failure" | "gate";
  /** Right after it happened. */
  position: number;
  at: number;
}

interface Keyframe {
  position: number;
  state: DagState;
}

export class Recording {
  readonly marks: Mark[] = [];
  readonly #events: AnyEvent[] = [];
  /** When each happened, Unix ms: never earlier than the one before it. */
  readonly #times: number[] = [];
  readonly #keyframes: Keyframe[];
  /** The state at the end, and how many events there were since it was last copied. */
  readonly #tip: DagState;
  #since = 0;
  #size = 0;
  #first: number | undefined;
  readonly #gates = new Set<string>();

  constructor(epoch: string) {
    this.#tip = emptyState(epoch);
    this.#keyframes = [{ position: 0, state: emptyState(epoch) }];
  }

  get length(): number {
    return this.#events.length;
  }

  /** The seq of the last event. */
  get head(): number {
    return (this.#first ?? 0) + this.length;
  }

  /** Characters of all pages. */
  get size(): number {
    return this.#size;
  }

  get from(): number {
    return this.#times[0] ?? 0;
  }

  get to(): number {
    return this.#times.at(-1) ?? 0;
  }

  /**
   * Add a page that follows what is here.
   *
   * @throws Error where it does not.
   */
  append({ after, events, size }: LogPage): void {
    this.#first ??= after;
    if (after !== this.head) throw new Error(`the log has a gap: events ${this.head + 1} to ${after} did not come`);
    this.#size += size;
    const changes = noChange();
    let at = this.#times.at(-1) ?? events.find(({ ts }) => ts != null)?.ts ?? 0;
    for (const event of events) {
      at = Math.max(at, event.ts ?? at);
      this.#events.push(event);
      this.#times.push(at);
      reduce(this.#tip, event, changes);
      this.#mark(event, at);
      // A copy then costs no more than the events since the last one, in time as in memory.
      if (++this.#since % STRIDE === 0 && this.#since >= sizeOf(this.#tip)) {
        this.#since = 0;
        this.#keyframes.push({ position: this.length, state: copy(this.#tip) });
      }
    }
  }

  event(position: number): AnyEvent {
    return this.#events[position - 1]!;
  }

  /** When the last event before `position` happened. */
  timeAt(position: number): number {
    return this.#times[position - 1] ?? this.from;
  }

  /** How many events had happened at `at`. */
  positionAt(at: number): number {
    let [low, high] = [0, this.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#times[middle]! <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Where the last copy is that is not after `position`. */
  nearest(position: number): number {
    return this.#keyframe(position).position;
  }

  /** The state there, to go on from. */
  stateNear(position: number): DagState {
    return copy(this.#keyframe(position).state);
  }

  #keyframe(position: number): Keyframe {
    return this.#keyframes.findLast((keyframe) => keyframe.position <= position)!;
  }

  #mark(event: AnyEvent, at: number): void {
    if (!isEvent(event)) return;
    const mark = (kind: Mark["kind"]) => this.marks.push({ kind, position: this.length, at });
    if (event.type === "error" || (event.type === "node_state" && event.status === "failed")) mark("failure");
    if (event.type !== "human_gate_waiting") return;
    // Each approval tells of it again.
    const id = event.gate_id ?? event.node_id;
    if (!this.#gates.has(id)) mark("gate");
    this.#gates.add(id);
  }
}

/** A state that is changed apart from `state`: what the reducer writes to is its own, its records are shared. */
function copy(state: DagState): DagState {
  const nodes = new Map<string, Node>();
  for (const [id, node] of state.nodes) {
    const { instances } = node;
    nodes.set(id, instances ? { ...node, instances: Object.assign(Object.create(null), instances) } : node);
  }
  const edges = new Map([...state.edges].map(([target, sources]) => [target, new Map(sources)] as const));
  return { ...state, nodes, edges, gates: new Map(state.gates) };
}

function sizeOf({ nodes, edges }: DagState): number {
  let size = nodes.size + edges.size;
  for (const { counts } of nodes.values()) for (const status in counts) size += counts[status as keyof typeof counts]!;
  return size;
}
