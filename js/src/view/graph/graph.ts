// The canvas component: three layers, one animation loop that sleeps while nothing changes, and the gestures on it.

import { Layouter, type NamedLayout } from "../../layout/layouter";
import type { Change } from "../../store";
import { button, h, setHidden } from "../dom";
import { isFolded } from "../folding/folding";
import type { Model, Panel } from "../model";
import { label } from "../status";
import { Camera } from "./camera";
import { caption } from "./caption";
import { chooseDirection } from "./direction";
import { drawEdges } from "./edges";
import { boxOf, viewOf } from "./follow";
import { DETAILS_FROM, type Drawing, type Frame, GROUP_NAME_HEIGHT, LABELS_FROM } from "./frame";
import { listen } from "./input";
import { type Layer, Layers } from "./layers";
import { Minimap } from "./minimap";
import { drawMoving, type Marks } from "./moving";
import { drawNodes } from "./nodes";
import { graphOf, Scene } from "./scene";
import { type Mode, nextOf, Spotlight, type Stop } from "./spotlight";
import { LABEL_SIZE, TextMeasure } from "./text";
import type { Theme } from "./theme";
import { Tooltip } from "./tooltip";
import { type Arrow, isArrow, step } from "./walk";

const TRANSITION_MS = 360;
const ZOOM_STEP = 1.3;
/** Two clicks on a node within this time and distance open what it stands for. */
const DOUBLE_MS = 350;
const DOUBLE_PX = 8;
/** A larger picture jumps to its new layout: moving ten thousand routes tells nothing that the eye can follow. */
const TRANSITION_NODES = 3000;
const HINT_MS = 1400;
const RESHAPED = 1.2;
/** Of a graph that has not been on screen yet, px. */
const UNSEEN_HEIGHT = 360;
/** What is bright is computed anew this often at most, while nodes keep changing. */
const LIGHT_MS = 250;
/** What runs is looked for this often at most, and flown to this slowly. */
const WATCH_MS = 1500;
const WATCH_FLIGHT_MS = 900;
const PAN_PX = 80;
const PANS: Readonly<Record<Arrow, readonly [dx: number, dy: number]>> = {
  ArrowLeft: [1, 0],
  ArrowRight: [-1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

export class Graph implements Panel {
  readonly el: HTMLElement;
  readonly #model: Model;
  readonly #say: (text: string) => void;
  readonly #camera = new Camera();
  readonly #scene = new Scene();
  readonly #text = new TextMeasure();
  readonly #layouter = new Layouter();
  readonly #spotlight: Spotlight;
  readonly #minimap: Minimap;
  readonly #layers = new Layers((time) => this.#paint(time));
  readonly #surface: HTMLElement;
  readonly #tooltip = new Tooltip();
  readonly #empty = h("div", { class: "dw-empty" }, "No nodes yet. They appear here as soon as the run names them.");
  readonly #hint = h(
    "div",
    { class: "dw-hint", hidden: true },
    "Click the graph, or hold Ctrl, to zoom with the wheel",
  );
  readonly #stops: (() => void)[] = [];
  readonly #marks: Marks = { hovered: undefined, selected: undefined, cursor: undefined };
  #theme: Theme;
  /** Width by height of the window that the direction was chosen for; undefined until there is one. */
  #shape: number | undefined;
  #still = false;
  /** What the next frame must take in from the state. */
  #changedNodes = new Set<string>();
  #edgesChanged = false;
  #structureChanged = true;
  #version = 0;
  /** The version of the refined layout that is shown. */
  #arranged = 0;
  #ranks: ReadonlyMap<string, number> | undefined;
  #direction: "LR" | "TB" | undefined;
  /** The picture keeps fitting the window until the viewer moves it. */
  #follow = true;
  #cursor: string | undefined;
  #clicked: { id: string; at: number; x: number; y: number } | undefined;
  /** A node that stays where it is on screen when what it stands for is opened, or it is folded. */
  #anchor: { id: string; x: number; y: number } | undefined;
  /** The match that the search has come to. */
  #found: string | undefined;
  #watching = false;
  #watched = 0;
  #watchTimer: ReturnType<typeof setTimeout> | undefined;
  #lightTimer: ReturnType<typeof setTimeout> | undefined;
  #onNavigate: (() => void) | undefined;
  #transition: number | undefined;
  #hintTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(model: Model, theme: Theme, say: (text: string) => void) {
    this.#model = model;
    this.#theme = theme;
    this.#say = say;
    this.#spotlight = new Spotlight(this.#scene, model);
    this.#minimap = new Minimap(this.#scene, this.#camera, (x, y) => this.#look(() => this.#camera.setState({ x, y })));
    this.#surface = h(
      "div",
      {
        class: "dw-surface",
        tabindex: 0,
        role: "application",
        "aria-roledescription": "graph",
        "aria-label":
          "Graph. Arrow keys walk along the edges, Enter inspects a node, 0 fits, plus and minus zoom, ? lists all keys.",
      },
      ...this.#layers.elements,
    );
    this.el = h(
      "div",
      { class: "dw-graph" },
      this.#surface,
      this.#empty,
      this.#hint,
      this.#minimap.el,
      this.#tooltip.el,
      h(
        "div",
        { class: "dw-zoom" },
        button("+", () => this.#zoom(ZOOM_STEP), { "aria-label": "Zoom in", title: "Zoom in (+)" }),
        button("−", () => this.#zoom(1 / ZOOM_STEP), { "aria-label": "Zoom out", title: "Zoom out (-)" }),
        button("Fit", () => this.fit(), { "aria-label": "Fit the graph", title: "Fit the graph (0)", class: "dw-fit" }),
      ),
    );
    this.#listen();
  }

  /** Take in what a batch changed; drawn in the next frame. */
  changed(change: Change): void {
    if (change.reset || change.structure) this.#structureChanged = true;
    if (change.reset) this.#follow = true;
    if (change.edges || change.reset) this.#edgesChanged = true;
    for (const id of change.nodes) this.#changedNodes.add(id);
    this.#layers.wake();
  }

  update(): void {
    const { selected } = this.#model;
    this.#marks.selected = this.#indexOf(selected);
    // The path is that of what is selected, also when that changes.
    if (this.#spotlight.mode === "path" && selected !== undefined && selected !== this.#spotlight.origin) {
      this.#spotlight.set("path", selected);
      this.#light();
    }
    this.#layers.redraw("nodes", "moving");
  }

  /** Only the clocks of running nodes have moved. */
  tick(): void {
    if (this.#model.tally.counts.running > 0 && this.#camera.getState().k >= DETAILS_FROM) this.#layers.redraw("nodes");
  }

  setTheme(theme: Theme): void {
    // Labels may be wider in another font.
    if (theme.font !== this.#theme.font) this.#structureChanged = true;
    this.#theme = theme;
    this.#minimap.changed();
    this.#layers.redraw();
  }

  /** Show the whole graph, and keep doing so. */
  fit(): void {
    this.#endWatch();
    this.#follow = true;
    this.#fly(this.#camera.fitted(this.#scene.bounds));
  }

  /** Bring a node on screen. */
  reveal(id: string): void {
    const i = this.#indexOf(id);
    if (i === undefined) return;
    const target = this.#camera.revealing(this.#scene.box(i));
    // A dot says nothing: come close enough to read it.
    if (target.k < DETAILS_FROM) Object.assign(target, { x: this.#scene.x[i]!, y: this.#scene.y[i]!, k: 0.8 });
    this.#follow = false;
    this.#endWatch();
    this.#fly(target);
  }

  // --- Finding one's way: what the line above the graph, the counts and the keys ask for

  get mode(): Mode | undefined {
    return this.#spotlight.mode;
  }

  get following(): boolean {
    return this.#watching;
  }

  get searching(): boolean {
    return this.#spotlight.searching;
  }

  get found(): { at: number; of: number } {
    const { found } = this.#spotlight;
    const i = this.#indexOf(this.#found);
    return { at: i === undefined ? 0 : found.indexOf(i) + 1, of: found.length };
  }

  get note(): string {
    return this.#spotlight.note;
  }

  onNavigate(listener: () => void): void {
    this.#onNavigate = listener;
  }

  focus(): void {
    this.#surface.focus();
  }

  /** The place of each node in the layout; another map after each. */
  ranks(): ReadonlyMap<string, number> {
    if (this.#ranks) return this.#ranks;
    const ranks = this.#scene.ranks();
    for (const node of this.#scene.nodes) {
      if (isFolded(node)) for (const id of node.members) ranks.set(id, ranks.get(node.id)!);
    }
    this.#ranks = ranks;
    return ranks;
  }

  /** What a file of the whole graph is drawn from: as it is now, also where it is out of sight. */
  async drawing(): Promise<Drawing> {
    if (this.#structureChanged) this.#requestLayout();
    const wanted = this.#version;
    if (this.#arranged < wanted) {
      await new Promise<void>((resolve) => {
        const stop = this.#layouter.onLayout(({ version, stage }) => {
          // While nodes keep coming, there may be no refined one for long.
          if (stage === "refined" ? version < wanted : version <= wanted) return;
          stop();
          resolve();
        });
      });
    }
    this.#scene.refreshAll(this.#model.folding.shown);
    this.#scene.move(1);
    this.#transition = undefined;
    this.#layers.redraw();
    const { asOf, state } = this.#model;
    return { scene: this.#scene, theme: this.#theme, text: this.#text, asOf, cost: state.cost };
  }

  search(text: string): void {
    this.#spotlight.search(text);
    this.#found = undefined;
    this.#light();
  }

  /** On to the next match, or back to the one before. */
  step(by: 1 | -1): void {
    this.#found = this.#idOf(nextOf(this.#spotlight.found, this.#indexOf(this.#found), by));
    if (this.#found !== undefined) {
      this.#cursor = this.#found;
      this.reveal(this.#found);
      const { at, of } = this.found;
      this.#say(`${label(this.#model.folding.shown.nodes.get(this.#found)!)}, ${at} of ${of}`);
    }
    this.#navigated();
  }

  /** On to the next node that failed, waits or runs. */
  jump(stop: Stop): void {
    const stops = this.#spotlight.stops(stop);
    const i = nextOf(stops, this.#indexOf(this.#cursor), 1);
    if (i === undefined) {
      this.#say(`No node is ${stop}.`);
      return;
    }
    this.#cursor = this.#idOf(i);
    if (this.#model.selected !== undefined) this.#model.select(this.#cursor);
    this.#surface.focus({ preventScroll: true });
    this.reveal(this.#cursor!);
    const node = this.#scene.nodes[i];
    if (node) this.#say(`${label(node)}, ${stop}, ${stops.indexOf(i) + 1} of ${stops.length}`);
  }

  /** Show a part of the graph brightly, or all of it again. */
  toggle(mode: Mode): void {
    const origin = this.#model.selected ?? this.#cursor;
    if (this.#spotlight.mode === mode) this.#spotlight.set(undefined);
    else if (mode === "path" && this.#indexOf(origin) === undefined) {
      this.#say("Select a node first.");
      return;
    } else this.#spotlight.set(mode, origin);
    this.#light();
    if (this.note) this.#say(this.note);
    // The longest path may lie anywhere; what is around a node is around it.
    if (this.mode === "critical") this.#fitSelection();
  }

  /** Open what a node stands for, or fold it with what is like it. */
  fold(id: string | undefined = this.#model.selected ?? this.#cursor): void {
    const { folding } = this.#model;
    const turn = id === undefined ? undefined : folding.turn(id);
    if (id === undefined || !turn) {
      this.#say("This node stands for itself alone.");
      return;
    }
    this.#hold(id);
    this.#model.fold(() => folding.toggle(id));
    this.#say(`${turn.what}, ${turn.action}ed`);
  }

  /** Show every node by itself, or what belongs together as one. */
  foldAll(): void {
    const { folding } = this.#model;
    this.#model.fold(() => folding.toggleAll());
    this.#say(folding.any ? "Groups and fans are collapsed" : "Every node is shown");
  }

  #refold(): void {
    const node = this.#scene.nodes[this.#indexOf(this.#cursor) ?? -1];
    // Of what was opened, the cursor is on the first.
    const at = isFolded(node) ? node.members[0] : this.#cursor;
    if (at !== undefined) this.#cursor = this.#model.folding.shows(at);
    this.#structureChanged = true;
    this.#layers.wake();
  }

  #hold(id: string): void {
    const i = this.#indexOf(id);
    if (i !== undefined && !this.#follow) this.#anchor = { id, x: this.#scene.x[i]!, y: this.#scene.y[i]! };
  }

  /** The camera follows what runs, or no longer. */
  watch(): void {
    if (this.#watching) this.#endWatch();
    else {
      this.#watching = true;
      this.#follow = false;
      this.#moveToAction(true);
      this.#navigated();
    }
  }

  #endWatch(): void {
    if (!this.#watching) return;
    this.#watching = false;
    clearTimeout(this.#watchTimer);
    this.#watchTimer = undefined;
    this.#navigated();
  }

  #moveToAction(near = false): void {
    this.#watchTimer = undefined;
    this.#watched = performance.now();
    const box = boxOf(this.#scene, this.#spotlight.stops("running"));
    const view = box && viewOf(this.#camera, box, near);
    if (!view) return;
    if (this.#still) this.#camera.setState(view);
    else this.#camera.animate(view, performance.now(), WATCH_FLIGHT_MS);
    this.#layers.redraw();
  }

  #light(): void {
    clearTimeout(this.#lightTimer);
    this.#lightTimer = undefined;
    this.#spotlight.light();
    this.#minimap.changed();
    this.#layers.redraw();
    this.#navigated();
  }

  #navigated(): void {
    this.#onNavigate?.();
    this.#layers.redraw("moving");
  }

  /** Fit what is selected, or else what is bright. */
  #fitSelection(): void {
    const { lit } = this.#scene;
    const one = this.#indexOf(this.#model.selected ?? this.#cursor);
    const bright = lit ? [...lit.keys()].filter((i) => lit[i]) : [];
    const box = boxOf(this.#scene, bright.length > 0 ? bright : one === undefined ? [] : [one]);
    if (!box) {
      this.fit();
      return;
    }
    this.#follow = false;
    this.#endWatch();
    this.#fly(this.#camera.fitted(box, 36));
  }

  close(): void {
    this.#layers.close();
    clearTimeout(this.#hintTimer);
    clearTimeout(this.#lightTimer);
    clearTimeout(this.#watchTimer);
    this.#minimap.close();
    for (const stop of this.#stops) stop();
    this.#layouter.close();
  }

  #listen(): void {
    const motion = globalThis.matchMedia?.("(prefers-reduced-motion: reduce)");
    const calm = () => {
      this.#still = motion?.matches ?? false;
      this.#layers.redraw("moving");
    };
    calm();
    motion?.addEventListener("change", calm);
    this.#stops.push(() => motion?.removeEventListener("change", calm));
    this.#stops.push(this.#layouter.onLayout((result) => this.#arrange(result)));
    this.#model.onFold(() => this.#refold());
    const resized = new ResizeObserver(() => this.#resize());
    resized.observe(this.#surface);
    const shown = new IntersectionObserver(
      ([entry]) => {
        this.#layers.asleep = !(entry?.isIntersecting ?? true);
      },
      // Awake before it scrolls into sight.
      { rootMargin: "300px" },
    );
    shown.observe(this.#surface);
    this.#stops.push(
      () => resized.disconnect(),
      () => shown.disconnect(),
    );
    this.#stops.push(
      listen(this.#surface, {
        pan: (dx, dy) => this.#look(() => this.#camera.pan(dx, dy)),
        zoom: (x, y, factor) => this.#look(() => this.#camera.zoomAt(x, y, factor)),
        hover: (x, y) => this.#hover(x, y ?? 0),
        click: (x, y, touch) => this.#click(x, y, touch),
        key: (event) => this.#key(event),
        passed: () => this.#hintAtZoom(),
      }),
    );
    for (const type of ["focus", "blur"] as const) {
      const listener = () => this.#layers.redraw("moving");
      this.#surface.addEventListener(type, listener);
      this.#stops.push(() => this.#surface.removeEventListener(type, listener));
    }
  }

  // --- Taking in the state and its layout

  #absorb(): void {
    const { folding } = this.#model;
    // Which way the graph flows depends on the window, so the first layout waits until it has a size.
    if (this.#structureChanged && this.#shape !== undefined) this.#requestLayout();
    if (this.#changedNodes.size > 0) {
      const shown = new Set<string>();
      for (const id of this.#changedNodes) shown.add(folding.shows(id));
      this.#scene.refreshNodes(folding.shown, shown);
      this.#changedNodes = new Set();
      this.#minimap.changed();
      if (this.#spotlight.live) this.#lightTimer ??= setTimeout(() => this.#light(), LIGHT_MS);
      if (this.#watching) {
        const wait = Math.max(0, this.#watched + WATCH_MS - performance.now());
        this.#watchTimer ??= setTimeout(() => this.#moveToAction(), wait);
      }
      this.#layers.mark("nodes", "moving");
    }
    if (this.#edgesChanged) {
      this.#scene.refreshEdges(folding.shown);
      this.#edgesChanged = false;
      this.#layers.mark("edges", "moving");
    }
  }

  #requestLayout(): void {
    this.#structureChanged = false;
    const { state, folding } = this.#model;
    const font = `600 ${LABEL_SIZE}px ${this.#theme.font}`;
    const measure = (text: string) => this.#text.width(text, font);
    setHidden(this.#empty, state.nodes.size > 0);
    const input = graphOf(folding.shown, measure, ++this.#version);
    input.origin = (id) => folding.origin(id);
    this.#direction = chooseDirection(input.graph, this.#window, this.#direction);
    input.graph.direction = this.#direction;
    this.#layouter.request(input);
  }

  /** The room that there is with the inspector closed: opening it must not turn the graph round. */
  get #window(): { width: number; height: number } {
    const { width, height } = this.#camera;
    return { width: this.el.parentElement?.clientWidth || width, height: height > 1 ? height : UNSEEN_HEIGHT };
  }

  #arrange(result: NamedLayout): void {
    // Also one that is out of date already: while nodes keep coming, there may be no other for long.
    const animate = !this.#still && result.ids.length <= TRANSITION_NODES;
    const first = this.#scene.n === 0;
    this.#scene.arrange(result, this.#model.folding.shown, animate);
    if (result.stage === "refined") this.#arranged = result.version;
    this.#ranks = undefined;
    this.#transition = this.#scene.progress < 1 ? performance.now() : undefined;
    this.#marks.selected = this.#indexOf(this.#model.selected);
    this.#light();
    if (this.#follow) {
      const view = this.#camera.fitted(this.#scene.bounds);
      if (first || !animate) this.#camera.setState(view);
      else this.#camera.animate(view, performance.now());
    }
    this.#stay(result);
    this.#layers.redraw();
    // Out of sight nothing is redrawn, but a page that is printed or captured shows every part of itself.
    if (this.#layers.asleep) this.#layers.paint();
  }

  /** Move the camera along with the node that is held. */
  #stay({ ids, layout }: NamedLayout): void {
    const held = this.#anchor;
    this.#anchor = undefined;
    if (!held || this.#follow) return;
    const { folding } = this.#model;
    const near = (id: string) => id === held.id || folding.shows(held.id) === id || folding.origin(id) === held.id;
    const i = this.#indexOf(held.id) ?? ids.findIndex(near);
    if (i < 0) return;
    const { x, y } = this.#camera.getState();
    this.#fly({ ...this.#camera.getState(), x: x + layout.x[i]! - held.x, y: y + layout.y[i]! - held.y });
  }

  #resize(): void {
    const { clientWidth, clientHeight } = this.#surface;
    if (clientWidth === 0 || clientHeight === 0) return;
    this.#camera.resize(clientWidth, clientHeight);
    this.#layers.resize(clientWidth, clientHeight);
    // Another shape of window may call for another direction.
    const shape = this.#window.width / this.#window.height;
    if (this.#shape !== undefined && Math.max(shape / this.#shape, this.#shape / shape) > RESHAPED) {
      this.#structureChanged = true;
    }
    if (this.#structureChanged || this.#shape === undefined) this.#shape = shape;
    if (this.#follow) this.#camera.setState(this.#camera.fitted(this.#scene.bounds));
    this.#layers.redraw();
    // A resized canvas is blank until it is drawn, so don't wait for the next frame.
    this.#layers.paint();
  }

  // --- The picture

  /** Draw what is dirty; whether another frame is needed for what moves by itself. */
  #paint(time: number): boolean {
    this.#absorb();
    if (this.#transition !== undefined) {
      const t = Math.min(1, Math.max(0, (time - this.#transition) / TRANSITION_MS));
      this.#scene.move(t);
      if (t === 1) this.#transition = undefined;
      this.#layers.mark();
    }
    if (this.#camera.moving) {
      this.#camera.step(time);
      this.#layers.mark();
    }
    if (this.#layers.isDirty("edges")) this.#draw("edges", time, drawEdges);
    if (this.#layers.isDirty("nodes")) this.#draw("nodes", time, drawNodes);
    let moving = false;
    this.#draw("moving", time, (frame) => {
      const focused = document.activeElement === this.#surface || this.#surface.matches(":focus");
      const cursor = focused ? this.#indexOf(this.#cursor) : undefined;
      moving = drawMoving(frame, { ...this.#marks, cursor, found: this.#indexOf(this.#found) });
    });
    this.#minimap.update(this.#theme);
    return moving || this.#camera.moving || this.#transition !== undefined;
  }

  #draw(layer: Layer, time: number, draw: (frame: Frame) => void): void {
    const ctx = this.#layers.context(layer);
    if (!ctx) return;
    const { asOf, state } = this.#model;
    draw({
      ctx,
      scene: this.#scene,
      theme: this.#theme,
      text: this.#text,
      view: this.#camera.getState(),
      visible: this.#camera.visible(),
      width: this.#camera.width,
      height: this.#camera.height,
      ratio: this.#layers.ratio,
      asOf,
      time,
      // A clock that stands still and a spinner that turns would contradict each other.
      still: this.#still || !this.#model.moving,
      cost: state.cost,
    });
  }

  // --- Gestures

  #look(move: () => void): void {
    move();
    this.#follow = false;
    this.#endWatch();
    this.#tooltip.hide();
    this.#layers.redraw();
  }

  #fly(view: ReturnType<Camera["getState"]>): void {
    if (this.#still) this.#camera.setState(view);
    else this.#camera.animate(view, performance.now());
    this.#layers.redraw();
  }

  #zoom(factor: number): void {
    this.#look(() => this.#camera.zoomAt(this.#camera.width / 2, this.#camera.height / 2, factor));
  }

  #click(x: number, y: number, touch: boolean): void {
    const [now, before] = [performance.now(), this.#clicked];
    this.#clicked = undefined;
    // The first click may open the inspector, and the node then no longer be where it was.
    if (before && now - before.at < DOUBLE_MS && Math.hypot(x - before.x, y - before.y) < DOUBLE_PX) {
      if (this.#model.folding.turn(before.id)?.action === "expand") this.fold(before.id);
      return;
    }
    const id = this.#idOf(this.#hit(x, y, touch ? 12 : 3));
    const path = id === undefined ? this.#groupAt(x, y) : undefined;
    if (path !== undefined) {
      this.#model.fold(() => this.#model.folding.collapse(path));
      this.#say(`${path.replaceAll("/", " / ")}, collapsed`);
      return;
    }
    if (id !== undefined) this.#clicked = { id, at: now, x, y };
    this.#cursor = id ?? this.#cursor;
    this.#model.select(id);
  }

  /** The group whose name is there. */
  #groupAt(x: number, y: number): string | undefined {
    if (this.#camera.getState().k < LABELS_FROM) return undefined;
    return this.#scene.groupAt(...this.#camera.toWorld(x, y), GROUP_NAME_HEIGHT);
  }

  #hit(x: number, y: number, slack: number): number | undefined {
    const { k } = this.#camera.getState();
    return this.#scene.hit(...this.#camera.toWorld(x, y), slack / k);
  }

  #hover(x: number | undefined, y: number): void {
    const hovered = x === undefined ? undefined : this.#hit(x, y, 2);
    if (hovered !== this.#marks.hovered) {
      this.#marks.hovered = hovered;
      this.#layers.redraw("moving");
    }
    const group = hovered === undefined && x !== undefined ? this.#groupAt(x, y) : undefined;
    this.#surface.classList.toggle("dw-over", hovered !== undefined || group !== undefined);
    const node = hovered === undefined ? undefined : this.#scene.nodes[hovered];
    if (!node || x === undefined) this.#tooltip.hide();
    else this.#tooltip.show(node, this.#model.state.cost, this.#model.asOf, x, y, this.#camera);
  }

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
    "0": () => this.fit(),
    "+": () => this.#zoom(ZOOM_STEP),
    "=": () => this.#zoom(ZOOM_STEP),
    "-": () => this.#zoom(1 / ZOOM_STEP),
  };

  #key({ key, shiftKey }: KeyboardEvent): boolean {
    if (key === "Escape") return this.#escape();
    if (!isArrow(key)) {
      const act = this.#keys[key];
      act?.();
      return act !== undefined;
    }
    if (shiftKey) {
      const [dx, dy] = PANS[key];
      this.#look(() => this.#camera.pan(dx * PAN_PX, dy * PAN_PX));
    } else this.#walk(key);
    return true;
  }

  #inspect(): void {
    if (this.#cursor !== undefined) this.#model.select(this.#cursor);
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
    const i = step(this.#scene, this.#indexOf(this.#cursor ?? this.#model.selected), key);
    if (i === undefined) return;
    this.#cursor = this.#scene.ids[i];
    // With the inspector open, it follows.
    if (this.#model.selected !== undefined) this.#model.select(this.#cursor);
    const node = this.#scene.nodes[i];
    if (node) {
      const words = [label(node), node.status, caption(node, this.#model.state.cost, this.#model.asOf)];
      this.#say(words.filter(Boolean).join(", "));
    }
    const view = this.#camera.revealing(this.#scene.box(i));
    const now = this.#camera.getState();
    if (view.x !== now.x || view.y !== now.y) {
      this.#follow = false;
      this.#endWatch();
      this.#fly(view);
    }
    this.#layers.redraw("moving");
  }

  #hintAtZoom(): void {
    setHidden(this.#hint, false);
    clearTimeout(this.#hintTimer);
    this.#hintTimer = setTimeout(() => setHidden(this.#hint, true), HINT_MS);
  }

  #indexOf(id: string | undefined): number | undefined {
    if (id === undefined) return undefined;
    return this.#scene.index.get(id) ?? this.#scene.index.get(this.#model.folding.shows(id));
  }

  #idOf(i: number | undefined): string | undefined {
    return i === undefined ? undefined : this.#scene.ids[i];
  }
}
