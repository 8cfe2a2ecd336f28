// A run as it was at a moment, and the moment moving: played at a speed, stepped, sought. No DOM; whoever has a clock
// says how much of it has passed.

import { noChange, reduce } from "../../../state/reducer";
import type { Change, DagState } from "../../../state/types";
import { difference } from "./difference";
import type { Mark, Recording } from "./recording";

/** How many times as fast as it was, or so that all of it takes `FIT_MS`. */
export type Speed = number | "fit";

export const FIT_MS = 20_000;
/** One that goes on for an hour without an event must not end at once. */
const SLOWEST = 1;

export class Replay {
  readonly recording: Recording;
  playing = false;
  speed: Speed;
  #state: DagState;
  #position: number;
  #at: number;
  readonly #listeners = new Set<(change: Change) => void>();

  /** Begins at `position`. */
  constructor(recording: Recording, position: number) {
    this.recording = recording;
    this.speed = recording.to - recording.from > FIT_MS ? "fit" : 1;
    this.#state = recording.stateNear(position);
    this.#position = recording.nearest(position);
    this.#apply(position);
    this.#at = recording.timeAt(position);
  }

  /** The state at the moment: changed in place as time goes on, another object where it went back. */
  get state(): DagState {
    return this.#state;
  }

  /** How many events have happened. */
  get position(): number {
    return this.#position;
  }

  /** The moment, Unix ms. */
  get at(): number {
    return this.#at;
  }

  get ended(): boolean {
    return this.#position === this.recording.length;
  }

  /** Be told of each move, and what it changed; returns how to stop. */
  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** To the moment right after the event that makes it `position`. */
  seek(position: number): void {
    const target = Math.min(this.recording.length, Math.max(0, position));
    this.#at = this.recording.timeAt(target);
    this.#move(target);
  }

  /** To a moment of the run. */
  seekTime(at: number): void {
    const { from, to } = this.recording;
    this.#at = Math.min(to, Math.max(from, at));
    this.#move(this.recording.positionAt(this.#at));
  }

  /** To the next failure or gate, or back to the one before; where there is none, to that end. */
  seekMark(way: 1 | -1): void {
    const { marks, length } = this.recording;
    const ahead = ({ position }: Mark) => position > this.#position;
    const behind = ({ position }: Mark) => position < this.#position;
    const mark = way > 0 ? marks.find(ahead) : marks.findLast(behind);
    this.seek(mark?.position ?? (way > 0 ? length : 0));
  }

  /** Let `ms` of the viewer's time pass. */
  advance(ms: number): void {
    const { from, to } = this.recording;
    const rate = this.speed === "fit" ? Math.max(SLOWEST, (to - from) / FIT_MS) : this.speed;
    this.seekTime(this.#at + ms * rate);
  }

  #move(target: number): void {
    const nearest = this.recording.nearest(target);
    if (nearest <= this.#position && this.#position <= target) {
      this.#notify(this.#apply(target));
      return;
    }
    const before = this.#state;
    this.#state = this.recording.stateNear(target);
    this.#position = nearest;
    this.#apply(target);
    this.#notify(difference(before, this.#state));
  }

  #apply(target: number): Change {
    const changes = noChange();
    while (this.#position < target) reduce(this.#state, this.recording.event(++this.#position), changes);
    return changes;
  }

  #notify(change: Change): void {
    for (const listener of this.#listeners) listener(change);
  }
}
