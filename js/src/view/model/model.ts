// What the panels and the graph read: the store and the stream side by side, the tally, and what is selected.

import type { Command, Engine } from "../../protocol/messages";
import type { Change, DagState, Node } from "../../state/types";
import type { Ack, Connection, Pending, RunList, Wanted } from "../../stream/stream";
import type { StoreSource, StreamSource } from "../../stream/switch";
import { isAway } from "./engine";
import type { Durations } from "./estimate";
import { Folding } from "./folding";
import { asOf } from "./freshness";
import { difference } from "./replay/difference";
import type { Log } from "./replay/load";
import type { Replay } from "./replay/replay";
import type { Query } from "./search";
import { restore } from "./snapshot";
import { Tally } from "./status";

export interface ModelOptions {
  store: StoreSource;
  stream: StreamSource;
  dagId: string;
  /** Gets the whole output of a node, as JSON text, where what is known of it is a preview. */
  whole?: (nodeId: string) => Promise<string>;
  /** Gets how long the last run before one took that has completed, if there is one. */
  earlier?: (run: string) => Promise<Durations | undefined>;
  /** Gets the log of a run, for a replay. */
  log?: Log;
  /** Shows another run in this view alone; false where it can't any more. */
  pick?: (wanted: Wanted) => boolean;
  /** A saved state (the store's `toJSON`), drawn while nothing live is there. */
  snapshot?: Record<string, unknown>;
}

export class Model {
  readonly dagId: string;
  readonly #whole: ModelOptions["whole"];
  readonly log: ModelOptions["log"];
  readonly earlier: ModelOptions["earlier"];
  readonly pick: ModelOptions["pick"];
  readonly tally = new Tally();
  readonly folding = new Folding(() => this.state);
  /** What was searched for last. */
  sought: Query | undefined;
  /** The node in the inspector. */
  selected: string | undefined;
  readonly #store: StoreSource;
  readonly #stream: StreamSource;
  readonly #saved: DagState | undefined;
  #replay: Replay | undefined;
  readonly #now: () => number;
  readonly #onSelect = new Set<() => void>();
  readonly #onFold = new Set<() => void>();
  #drawnSaved: boolean;

  constructor(options: ModelOptions, now: () => number = Date.now) {
    this.dagId = options.dagId;
    this.#whole = options.whole;
    this.log = options.log;
    this.earlier = options.earlier;
    this.pick = options.pick;
    this.#store = options.store;
    this.#stream = options.stream;
    const saved = options.snapshot && restore(options.snapshot);
    // One that was saved before the first run says nothing.
    this.#saved = saved && !isBlank(saved) ? saved : undefined;
    this.#now = now;
    this.tally.reset(this.state.nodes);
    this.#drawnSaved = this.saved;
  }

  /** What to draw: the moment of a replay, or else what is live. */
  get state(): DagState {
    return this.#replay?.state ?? this.live;
  }

  /** The live state, or the saved one where nothing live has come. */
  get live(): DagState {
    return this.saved ? (this.#saved as DagState) : this.#store.state;
  }

  /** What is watched in place of the live run, if anything: nothing can be asked of the past. */
  get replay(): Replay | undefined {
    return this.#replay;
  }

  /** Watch a replay in place of the live run, or that again; returns what that changes on screen. */
  watch(replay: Replay | undefined): Change {
    const before = this.state;
    this.#replay = replay;
    return difference(before, this.state);
  }

  /** Whether `state` is the saved one. */
  get saved(): boolean {
    return this.#saved !== undefined && isBlank(this.#store.state);
  }

  /** Whether there is a connection, but no run yet. */
  get awaitsRun(): boolean {
    return !this.#replay && this.connection.phase === "live" && isBlank(this.live);
  }

  /** Gets the whole output of a node; of an earlier one than the newest no more than the preview is kept. */
  get whole(): ModelOptions["whole"] {
    const whole = this.#whole;
    const outputOf = ({ nodes }: DagState, id: string) => JSON.stringify(nodes.get(id)?.output);
    return (
      whole &&
      (async (id) => {
        if (outputOf(this.state, id) === outputOf(this.live, id)) return whole(id);
        throw new Error("only the node's last output is stored in full");
      })
    );
  }

  get connection(): Connection {
    return this.#stream.connection;
  }

  get pending(): readonly Pending[] {
    return this.#stream.pending;
  }

  /** The DAG's runs, where the server lists them. */
  get runs(): RunList | undefined {
    return this.#stream.runs;
  }

  /** Whether the view is moved to the DAG's next run, once the one that it shows is over. */
  get following(): boolean {
    return this.#stream.following;
  }

  /** The engine of the run as it is now: of a moment of the past, or of a saved picture, nothing is known. */
  get engine(): Engine | undefined {
    return this.#replay || this.saved ? undefined : this.#stream.engine;
  }

  /** Whether the engine has gone, so that nothing moves until it is back. */
  get away(): boolean {
    return !this.#replay && !this.saved && isAway(this.live.status, this.engine);
  }

  get now(): number {
    return this.#now();
  }

  /** The moment that the picture shows: clocks run by this, and stand still when the connection does, or the engine. */
  get asOf(): number {
    const at = this.serverTime;
    return this.away ? Math.min(at, this.engine?.since ?? at) : at;
  }

  /** The same moment for what is the server's own, and goes on without an engine: how long a gate waits, and may wait. */
  get serverTime(): number {
    return this.#replay?.at ?? asOf(this.connection, this.now);
  }

  /** Whether time goes on in the picture. */
  get moving(): boolean {
    return this.#replay ? this.#replay.playing : !this.saved && !this.away && this.connection.phase === "live";
  }

  /** Take in what a batch changed; returns what that changes on screen. */
  changed(told: Change): Change {
    // The first live word replaces a saved picture as a whole.
    const change = this.#drawnSaved && !this.saved ? { ...told, reset: true, structure: true } : told;
    this.#drawnSaved = this.saved;
    if (change.reset) this.tally.reset(this.state.nodes);
    else for (const id of change.nodes) this.tally.set(id, this.state.nodes.get(id));
    this.folding.changed(change);
    // In a replay a node may come back.
    if (change.structure && !this.#replay) this.#checkSelected();
    return change;
  }

  select(id: string | undefined): void {
    if (id === this.selected || (id !== undefined && !this.#nodeOf(id))) return;
    this.selected = id;
    for (const listener of this.#onSelect) listener();
  }

  onSelect(listener: () => void): void {
    this.#onSelect.add(listener);
  }

  /** The selected node: one of the run, or one that stands for several. */
  get node(): Node | undefined {
    return this.selected === undefined ? undefined : this.#nodeOf(this.selected);
  }

  #nodeOf(id: string): Node | undefined {
    return this.state.nodes.get(id) ?? this.folding.shown.nodes.get(id);
  }

  /** Do to a node what `Folding.turn` says. */
  fold(change: () => void): void {
    change();
    this.#checkSelected();
    for (const listener of this.#onFold) listener();
  }

  onFold(listener: () => void): void {
    this.#onFold.add(listener);
  }

  send(command: Command): Promise<Ack> {
    return this.#stream.send(command);
  }

  #checkSelected(): void {
    if (this.selected !== undefined && !this.node) this.select(undefined);
  }
}

/** Whether nothing is known of any run; the server calls that of a DAG that has had none "". */
function isBlank({ epoch, seq, nodes, status }: DagState): boolean {
  return !epoch && seq === 0 && nodes.size === 0 && status === "pending";
}
