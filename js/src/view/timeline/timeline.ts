// The same run over time: one row for each node, in a list that scrolls as any other, drawn on a canvas that stands still
// in it. It draws what is in sight, when something has changed or time has moved on by a pixel.

import type { Change } from "../../state/types";
import { button, h, onResize, setHidden, setText } from "../dom/dom";
import { listen, zoomOf } from "../graph/input";
import { TextMeasure } from "../graph/text";
import type { Theme } from "../graph/theme";
import type { Durations } from "../model/estimate";
import { isFolded } from "../model/folding";
import type { Model } from "../model/model";
import { spanOf, waitingSince } from "../model/span";
import { over } from "../model/status";
import type { Panel } from "../panel";
import { AXIS, drawTimeline, INDENT, ROW } from "./draw";
import { keyOf, type Row, type Rows, rowsOf } from "./rows";
import { TimeWindow } from "./window";
import { describe, executionOf, rowLabel, standing, summary } from "./words";

const ZOOM_STEP = 1.4;
/** One press of an arrow moves time by this share of the window. */
const PAN_STEP = 0.12;
const GUTTER_MAX = 220;
const GUTTER_SHARE = 0.32;
/** Kept free for words at the right of what runs. */
const WORDS_PX = 150;
/** What is seen of a run in which nothing has started. */
const UNSTARTED_MS = 10_000;
/** Many rows are put in order again no more often than this. */
const ORDER_MS = 250;
const MANY_ROWS = 2000;
/** While time goes on, it is drawn at least and at most this often. */
const SLOWEST_MS = 1000;
const FASTEST_MS = 40;

const NO_ROWS: Rows = { rows: [], index: new Map(), from: undefined, to: undefined };

export class Timeline implements Panel {
  readonly el: HTMLElement;
  /** The line of words that goes with it. */
  readonly words = h("span", { class: "dw-words", hidden: true });
  readonly #model: Model;
  readonly #rank: () => ReadonlyMap<string, number>;
  readonly #say: (text: string) => void;
  readonly #window = new TimeWindow();
  readonly #text = new TextMeasure();
  readonly #canvas = h("canvas", { "aria-hidden": "true" });
  readonly #tall = h("div", { class: "dw-tall" }, this.#canvas);
  readonly #tooltip = h("div", { class: "dw-tooltip", hidden: true });
  readonly #told = h("p", { class: "dw-offscreen" });
  readonly #list: HTMLElement;
  readonly #stops: (() => void)[] = [];
  #theme: Theme;
  #rows: Rows = NO_ROWS;
  /** What the rows were put in order by. */
  #ranked: ReadonlyMap<string, number> | undefined;
  #starts = new Map<string, string>();
  /** The run that was asked about, and what the one before it took. */
  #learned: string | undefined;
  #earlier: Durations | undefined;
  #changed = new Set<string>();
  #unordered = true;
  #orderedAt = Number.NEGATIVE_INFINITY;
  readonly #folds = new Map<string, boolean>();
  #hovered: string | undefined;
  #cursor: string | undefined;
  #selected: string | undefined;
  /** The window keeps showing everything until the viewer moves it. */
  #follow = true;
  #onScreen = true;
  #frame = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #size = { width: 0, height: 0, ratio: 1 };

  constructor(model: Model, theme: Theme, rank: () => ReadonlyMap<string, number>, say: (text: string) => void) {
    this.#model = model;
    this.#theme = theme;
    this.#rank = rank;
    this.#say = say;
    this.#list = h(
      "div",
      {
        class: "dw-rows",
        tabindex: 0,
        role: "application",
        "aria-roledescription": "timeline",
        "aria-label":
          "Timeline. Up and down move between rows, Enter inspects, Space expands, left and right move in time, plus and " +
          "minus zoom, F fits, T shows the graph.",
      },
      this.#tall,
    );
    // Without an id: there may be any number of these in a page.
    this.#list.ariaDescribedByElements = [this.#told];
    this.el = h(
      "div",
      { class: "dw-graph dw-timeline", hidden: true },
      this.#list,
      this.#tooltip,
      this.#told,
      h(
        "div",
        { class: "dw-zoom" },
        button("+", () => this.#zoom(ZOOM_STEP), { "aria-label": "Zoom in" }),
        button("−", () => this.#zoom(1 / ZOOM_STEP), { "aria-label": "Zoom out" }),
        button("Fit", () => this.fit(), { "aria-label": "Fit the timeline", class: "dw-fit" }),
      ),
    );
    this.#listen();
  }

  /** Take in what a batch changed; drawn in the next frame, where it is seen. */
  changed(change: Change): void {
    if (change.reset || change.structure) this.#unordered = true;
    if (change.reset) this.#follow = true;
    for (const id of change.nodes) this.#changed.add(id);
    this.#wake();
  }

  update(): void {
    const { node } = this.#model;
    // What stands for several has no row here: its first one has.
    const selected = isFolded(node) ? node.members[0] : this.#model.selected;
    if (selected !== this.#selected) {
      this.#selected = selected;
      if (selected !== undefined && this.#row(this.#cursor)?.id !== selected) this.#cursor = keyOf("node", selected);
      this.#reveal();
    }
    this.#wake();
  }

  /** Words that change many times a second can't be read. */
  tick(): void {
    this.#describe();
  }

  setTheme(theme: Theme): void {
    this.#theme = theme;
    this.#wake();
  }

  show(shown: boolean): void {
    setHidden(this.el, !shown);
    setHidden(this.words, !shown);
    if (!shown) return;
    this.#resize();
    this.#reveal();
    this.#describe();
  }

  focus(): void {
    this.#list.focus();
  }

  /** Show all of the run, and keep doing so. */
  fit(): void {
    this.#follow = true;
    this.#wake();
  }

  close(): void {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    for (const stop of this.#stops) stop();
  }

  #listen(): void {
    const shown = new IntersectionObserver(
      ([entry]) => {
        this.#onScreen = entry?.isIntersecting ?? true;
        this.#wake();
      },
      { rootMargin: "300px" },
    );
    shown.observe(this.#list);
    for (const type of ["focus", "blur"]) this.#list.addEventListener(type, () => this.#wake());
    // Another row is under the pointer now.
    this.#list.addEventListener("scroll", () => this.#hover(undefined, 0));
    this.#stops.push(
      onResize(this.#list, () => this.#resize()),
      () => shown.disconnect(),
      listen(this.#list, {
        pan: (dx, dy) => {
          this.#list.scrollTop -= dy;
          this.#look(() => this.#window.pan(dx));
        },
        zoom: (x, _, factor) => this.#look(() => this.#window.zoomAt(x - this.#gutter, factor)),
        wheel: (x, event) => this.#wheel(x, event),
        hover: (x, y) => this.#hover(x, y ?? 0),
        click: (x, y) => this.#click(x, y),
        key: (event) => this.key(event),
      }),
    );
  }

  get #gutter(): number {
    return Math.round(Math.min(GUTTER_MAX, this.#size.width * GUTTER_SHARE));
  }

  /** The moment up to which things run: a run that is over, or saved, goes on no longer. */
  get #asOf(): number {
    const { state, saved, asOf } = this.#model;
    const { to } = this.#rows;
    if (over(state.status) || saved) return Math.max(state.ended_at ?? 0, to ?? 0) || asOf;
    return asOf;
  }

  get #live(): boolean {
    const { state, moving } = this.#model;
    return moving && !over(state.status) && state.status !== "pending";
  }

  // --- Drawing

  #resize(): void {
    const { clientWidth, clientHeight } = this.#list;
    if (clientWidth === 0 || clientHeight === 0) return;
    const ratio = globalThis.devicePixelRatio || 1;
    this.#size = { width: clientWidth, height: clientHeight, ratio };
    this.#canvas.width = Math.round(clientWidth * ratio);
    this.#canvas.height = Math.round(clientHeight * ratio);
    this.#canvas.style.height = `${clientHeight}px`;
    this.#window.width = Math.max(1, clientWidth - this.#gutter);
    this.#paint();
  }

  #wake(): void {
    if (this.#frame !== 0 || this.el.hidden || !this.#onScreen) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  #later(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#wake(), ms);
  }

  #paint(): void {
    if (this.el.hidden) return;
    const late = this.#order();
    const { width, height, ratio } = this.#size;
    const ctx = this.#canvas.getContext("2d");
    if (!ctx || width === 0) return;
    const { state } = this.#model;
    const asOf = this.#asOf;
    // A worker's clock may be behind the clock of the run's owner.
    const origin = Math.min(state.started_at ?? asOf, this.#rows.from ?? asOf);
    if (this.#follow) {
      const { to = origin + UNSTARTED_MS } = this.#rows;
      // In a replay the whole run is in sight from the beginning.
      this.#window.fit(origin, Math.max(asOf, to, this.#model.replay?.recording.to ?? 0), WORDS_PX);
    }
    drawTimeline({
      ctx,
      width,
      height,
      ratio,
      scroll: this.#list.scrollTop,
      gutter: this.#gutter,
      rows: this.#rows.rows,
      window: this.#window,
      state,
      theme: this.#theme,
      text: this.#text,
      origin,
      asOf,
      live: this.#live,
      waiting: waitingSince(state.gates.values()),
      hovered: this.#hovered,
      cursor: this.#list.matches(":focus") ? this.#cursor : undefined,
      selected: this.#selected,
    });
    const pixel = (this.#window.to - this.#window.from) / this.#window.width;
    if (late !== undefined) this.#later(late);
    else if (this.#live) this.#later(Math.min(SLOWEST_MS, Math.max(FASTEST_MS, pixel)));
  }

  /** Put the rows in order, where that may have changed; returns how long it must still wait, if it must. */
  #order(): number | undefined {
    const { state } = this.#model;
    const rank = this.#rank();
    for (const id of this.#changed) {
      if (this.#unordered) break;
      const node = state.nodes.get(id);
      this.#unordered = node === undefined || startOf(node) !== this.#starts.get(id);
    }
    this.#changed.clear();
    if (!this.#unordered && rank === this.#ranked) return undefined;
    const now = performance.now();
    const wait = this.#rows.rows.length > MANY_ROWS ? this.#orderedAt + ORDER_MS - now : 0;
    if (wait > 0) return wait;
    this.#unordered = false;
    this.#ranked = rank;
    this.#orderedAt = now;
    this.#rows = rowsOf(state, rank, this.#folds);
    this.#starts = new Map();
    for (const node of state.nodes.values()) this.#starts.set(node.id, startOf(node));
    // Room below the last row, so that no button covers it.
    this.#tall.style.height = `${AXIS + this.#rows.rows.length * ROW + 2 * ROW}px`;
    return undefined;
  }

  #describe(): void {
    if (this.el.hidden) return;
    const { state } = this.#model;
    const asOf = this.#asOf;
    const { epoch } = state;
    if (epoch !== this.#learned) void this.#learn(epoch);
    setText(this.words, summary(state, asOf, this.#earlier));
    setText(this.#told, describe(state, asOf));
  }

  /** What the run before took tells what this one may take. */
  async #learn(epoch: string | undefined): Promise<void> {
    this.#learned = epoch;
    this.#earlier = undefined;
    // Without an answer there is no estimate.
    const earlier = epoch ? await this.#model.earlier?.(epoch).catch(() => undefined) : undefined;
    if (this.#learned === epoch) this.#earlier = earlier;
  }

  // --- Gestures

  #row(key: string | undefined): Row | undefined {
    const i = key === undefined ? undefined : this.#rows.index.get(key);
    return i === undefined ? undefined : this.#rows.rows[i];
  }

  #at(y: number): Row | undefined {
    return y < AXIS ? undefined : this.#rows.rows[Math.floor((y - AXIS + this.#list.scrollTop) / ROW)];
  }

  #look(move: () => void): void {
    move();
    this.#follow = false;
    setHidden(this.#tooltip, true);
    this.#wake();
  }

  #zoom(factor: number): void {
    this.#look(() => this.#window.zoomAt(this.#window.width / 2, factor));
  }

  /** Rows scroll as any list does; with Ctrl the wheel zooms, with Shift it moves in time. */
  #wheel(x: number, event: WheelEvent): boolean {
    const across = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.ctrlKey || event.metaKey) this.#look(() => this.#window.zoomAt(x - this.#gutter, zoomOf(event)));
    else if (event.shiftKey || Math.abs(across) > Math.abs(event.deltaY)) this.#look(() => this.#window.pan(-across));
    else return false;
    return true;
  }

  #fold(row: Row): void {
    this.#folds.set(row.id, !row.open);
    this.#unordered = true;
    this.#orderedAt = Number.NEGATIVE_INFINITY;
    this.#cursor = row.key;
    this.#wake();
  }

  #click(x: number, y: number): void {
    const row = this.#at(y);
    if (row?.kind === "group") return;
    if (row?.open !== undefined && x < this.#gutter && x < (row.depth + 2) * INDENT) {
      this.#fold(row);
      return;
    }
    this.#cursor = row?.key ?? this.#cursor;
    this.#model.select(row?.id);
    this.#wake();
  }

  #hover(x: number | undefined, y: number): void {
    const row = x === undefined ? undefined : this.#at(y);
    this.#hovered = row?.key;
    this.#wake();
    const execution = row && executionOf(row, this.#model.state);
    setHidden(this.#tooltip, !execution);
    if (!row || !execution || x === undefined) return;
    const said = standing(row, this.#model.state, this.#asOf);
    this.#tooltip.replaceChildren(
      h("strong", {}, rowLabel(row, this.#model.state)),
      h("span", {}, [execution.status, said !== execution.status && said].filter(Boolean).join(" · ")),
    );
    const { offsetWidth, offsetHeight } = this.#tooltip;
    const left = Math.max(8, Math.min(x + 14, this.#size.width - offsetWidth - 8));
    const top = y + 18 + offsetHeight < this.#size.height ? y + 18 : y - 12 - offsetHeight;
    this.#tooltip.style.transform = `translate(${left}px, ${top}px)`;
  }

  /** Act on a key; returns whether it had a meaning. */
  key({ key }: KeyboardEvent): boolean {
    const page = Math.max(1, Math.floor((this.#size.height - AXIS) / ROW) - 1);
    const steps: Record<string, number> = {
      ArrowUp: -1,
      ArrowDown: 1,
      PageUp: -page,
      PageDown: page,
      Home: Number.NEGATIVE_INFINITY,
      End: Number.POSITIVE_INFINITY,
    };
    const by = steps[key];
    if (by !== undefined) {
      this.#step(by);
      return true;
    }
    const row = this.#row(this.#cursor);
    switch (key) {
      case "Enter":
        if (row) this.#model.select(row.id);
        return true;
      case " ":
        if (row?.open !== undefined) this.#fold(row);
        return true;
      case "ArrowLeft":
      case "ArrowRight":
        this.#look(() => this.#window.pan((key === "ArrowLeft" ? PAN_STEP : -PAN_STEP) * this.#window.width));
        return true;
      case "Escape":
        if (this.#selected === undefined) return false;
        this.#model.select(undefined);
        return true;
      case "f":
      case "0":
        this.fit();
        return true;
      case "+":
      case "=":
        this.#zoom(ZOOM_STEP);
        return true;
      case "-":
        this.#zoom(1 / ZOOM_STEP);
        return true;
      default:
        return false;
    }
  }

  /** Move the cursor by rows, past the names of groups. */
  #step(by: number): void {
    const { rows, index } = this.#rows;
    const from = index.get(this.#cursor ?? "") ?? -1;
    let i = Math.min(rows.length - 1, Math.max(0, from + by));
    while (by < 0 && rows[i]?.kind === "group") i--;
    // Above the first node, too, there may be the names of its groups; below the last there are none.
    i = Math.max(0, i);
    while (rows[i]?.kind === "group") i++;
    const row = rows[i];
    if (!row) return;
    this.#cursor = row.key;
    // With the inspector open, it follows.
    if (this.#selected !== undefined) this.#model.select(row.id);
    const { state } = this.#model;
    const said = [rowLabel(row, state), executionOf(row, state)?.status, standing(row, state, this.#asOf)];
    this.#say(said.filter(Boolean).join(", "));
    this.#reveal();
    this.#wake();
  }

  /** Scroll to where the cursor is. */
  #reveal(): void {
    if (this.el.hidden) return;
    this.#order();
    const i = this.#rows.index.get(this.#cursor ?? "");
    if (i === undefined) return;
    const { scrollTop } = this.#list;
    const room = this.#size.height - AXIS - ROW;
    this.#list.scrollTop = Math.min(i * ROW, Math.max(scrollTop, i * ROW - room));
    // The name of the group above the first row is worth seeing too.
    if (i <= 1) this.#list.scrollTop = 0;
  }
}

/** What the place of a node's rows depends on. */
function startOf(node: Parameters<typeof spanOf>[0] & { instances?: Record<string, unknown> }): string {
  return `${spanOf(node).start} ${node.instances ? Object.keys(node.instances).length : ""}`;
}
