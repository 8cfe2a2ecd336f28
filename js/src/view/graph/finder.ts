// Finding one's way in the graph: the cursor and its keys, the search, what is bright, what is opened and folded.

import type { Model } from "../model/model";
import { label } from "../model/status";
import { caption } from "./caption";
import type { Navigation } from "./navigation";
import type { Scene } from "./scene";
import type { Sight } from "./sight";
import { type Mode, nextOf, type Spotlight, type Stop } from "./spotlight";
import { type Arrow, isArrow, step } from "./walk";

/** What is bright is computed anew this often at most, while nodes keep changing. */
const LIGHT_MS = 250;
const PANS: Readonly<Record<Arrow, readonly [dx: number, dy: number]>> = {
  ArrowLeft: [1, 0],
  ArrowRight: [-1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

/** What the finder acts on. */
export interface Ground {
  model: Model;
  scene: Scene;
  sight: Sight;
  spotlight: Spotlight;
  say(text: string): void;
  /** Other nodes are bright, or the cursor or the match is elsewhere. */
  changed(lit: boolean): void;
  /** Give the keyboard to the graph. */
  focus(): void;
}

export class Finder implements Navigation {
  cursor: string | undefined;
  readonly #ground: Ground;
  readonly #model: Model;
  readonly #scene: Scene;
  readonly #sight: Sight;
  readonly #spotlight: Spotlight;
  /** The match that the search has come to. */
  #match: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #onNavigate: (() => void) | undefined;
  readonly #keys: Readonly<Record<string, () => void>> = {
    Enter: () => this.#inspect(),
    " ": () => this.#inspect(),
    f: () => this.jump("failed"),
    g: () => this.jump("waiting"),
    r: () => this.jump("running"),
    p: () => this.toggle("path"),
    c: () => this.toggle("critical"),
    o: () => this.toggle("active"),
    w: () => this.watch(),
    s: () => this.#fitSelection(),
    e: () => this.fold(),
    E: () => this.foldAll(),
    "0": () => this.#sight.fit(),
    "+": () => this.#sight.zoom(1),
    "=": () => this.#sight.zoom(1),
    "-": () => this.#sight.zoom(-1),
  };

  constructor(ground: Ground) {
    this.#ground = ground;
    ({ model: this.#model, scene: this.#scene, sight: this.#sight, spotlight: this.#spotlight } = ground);
  }

  get mode(): Mode | undefined {
    return this.#spotlight.mode;
  }

  get following(): boolean {
    return this.#sight.following;
  }

  get searching(): boolean {
    return this.#spotlight.searching;
  }

  get found(): { at: number; of: number } {
    const { found } = this.#spotlight;
    const i = this.match;
    return { at: i === undefined ? 0 : found.indexOf(i) + 1, of: found.length };
  }

  get note(): string {
    return this.#spotlight.note;
  }

  /** The match that the search has come to. */
  get match(): number | undefined {
    return this.indexOf(this.#match);
  }

  onNavigate(listener: () => void): void {
    this.#onNavigate = listener;
  }

  /** Which node of the picture is, or shows, this one. */
  indexOf(id: string | undefined): number | undefined {
    if (id === undefined) return undefined;
    return this.#scene.index.get(id) ?? this.#scene.index.get(this.#model.folding.shows(id));
  }

  focus(): void {
    this.#ground.focus();
  }

  search(text: string): void {
    this.#spotlight.search(text);
    this.#match = undefined;
    this.light();
  }

  /** On to the next match, or back to the one before. */
  step(by: 1 | -1): void {
    const i = nextOf(this.#spotlight.found, this.match, by);
    this.#match = this.#idOf(i);
    if (i !== undefined) {
      this.cursor = this.#match;
      this.#sight.reveal(i);
      const { at, of } = this.found;
      this.#ground.say(`${label(this.#scene.nodes[i]!)}, ${at} of ${of}`);
    }
    this.navigated();
  }

  /** On to the next node that failed, waits or runs. */
  jump(stop: Stop): void {
    const stops = this.#spotlight.stops(stop);
    const i = nextOf(stops, this.indexOf(this.cursor), 1);
    if (i === undefined) {
      this.#ground.say(`No ${stop} nodes.`);
      return;
    }
    this.#goTo(i);
    this.#ground.focus();
    this.#sight.reveal(i);
    const node = this.#scene.nodes[i];
    if (node) this.#ground.say(`${label(node)}, ${stop}, ${stops.indexOf(i) + 1} of ${stops.length}`);
  }

  /** Show a part of the graph brightly, or all of it again. */
  toggle(mode: Mode): void {
    const origin = this.#model.selected ?? this.cursor;
    if (this.#spotlight.mode === mode) this.#spotlight.set(undefined);
    else if (mode === "path" && this.indexOf(origin) === undefined) {
      this.#ground.say("Select a node first.");
      return;
    } else this.#spotlight.set(mode, origin);
    this.light();
    if (this.note) this.#ground.say(this.note);
    // The longest path may lie anywhere; what is around a node is around it.
    if (this.mode === "critical") this.#fitSelection();
  }

  /** Open what a node stands for, or fold it with what is like it. */
  fold(id: string | undefined = this.#model.selected ?? this.cursor): void {
    const { folding } = this.#model;
    const turn = id === undefined ? undefined : folding.turn(id);
    if (id === undefined || !turn) {
      this.#ground.say("Nothing to expand here.");
      return;
    }
    this.#sight.hold(id, this.indexOf(id));
    this.#model.fold(() => folding.toggle(id));
    this.#ground.say(`${turn.what}, ${turn.action}ed`);
  }

  /** Show every node by itself, or what belongs together as one. */
  foldAll(): void {
    const { folding } = this.#model;
    this.#model.fold(() => folding.toggleAll());
    this.#ground.say(folding.any ? "Groups and similar nodes are collapsed" : "All nodes are shown");
  }

  /** The camera follows what runs, or no longer. */
  watch(): void {
    if (this.#sight.following) this.#sight.stop();
    else this.#sight.follow();
  }

  /** Other nodes may be what is searched for, or active. */
  changed(): void {
    if (this.#spotlight.live) this.#timer ??= setTimeout(() => this.light(), LIGHT_MS);
  }

  /** The path is that of what is selected, also when that changes. */
  selected(id: string | undefined): void {
    if (this.#spotlight.mode !== "path" || id === undefined || id === this.#spotlight.origin) return;
    this.#spotlight.set("path", id);
    this.light();
  }

  /** Compute anew what is bright. */
  light(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#spotlight.light();
    this.#ground.changed(true);
    this.navigated();
  }

  navigated(): void {
    this.#onNavigate?.();
    this.#ground.changed(false);
  }

  /** Act on a key; returns whether it had a meaning. */
  key({ key, shiftKey }: KeyboardEvent): boolean {
    if (key === "Escape") return this.#escape();
    if (!isArrow(key)) {
      const act = this.#keys[key];
      act?.();
      return act !== undefined;
    }
    if (shiftKey) this.#sight.pan(...PANS[key]);
    else this.#walk(key);
    return true;
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #inspect(): void {
    if (this.cursor !== undefined) this.#model.select(this.cursor);
  }

  /** Back out of what is shown, one thing at a time; returns whether there was one. */
  #escape(): boolean {
    if (this.#spotlight.mode !== undefined) this.toggle(this.#spotlight.mode);
    else if (this.#model.selected !== undefined) this.#model.select(undefined);
    else return false;
    return true;
  }

  /** To the next node along the edges, or beside this one. */
  #walk(key: Arrow): void {
    const i = step(this.#scene, this.indexOf(this.cursor ?? this.#model.selected), key);
    if (i === undefined) return;
    this.#goTo(i);
    const node = this.#scene.nodes[i];
    if (node) {
      const words = [label(node), node.status, caption(node, this.#model.state.cost, this.#model.asOf)];
      this.#ground.say(words.filter(Boolean).join(", "));
    }
    this.#sight.nudge(i);
    this.#ground.changed(false);
  }

  /** Put the cursor on a node; with the inspector open, it follows. */
  #goTo(i: number): void {
    this.cursor = this.#idOf(i);
    if (this.#model.selected !== undefined) this.#model.select(this.cursor);
  }

  /** Fit what is bright, or else what is selected, or else all. */
  #fitSelection(): void {
    const { lit } = this.#scene;
    const bright = lit ? [...lit.keys()].filter((i) => lit[i]) : [];
    const one = this.indexOf(this.#model.selected ?? this.cursor);
    if (!this.#sight.frame(bright.length > 0 || one === undefined ? bright : [one])) this.#sight.fit();
  }

  #idOf(i: number | undefined): string | undefined {
    return i === undefined ? undefined : this.#scene.ids[i];
  }
}
