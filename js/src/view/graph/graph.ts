// The canvas component: three layers, one animation loop that sleeps while nothing changes, and the gestures on it.

import { Layouter, type NamedLayout } from "../../layout/layouter";
import type { Change } from "../../state/types";
import { button, focusedNear, h, onResize, setHidden } from "../dom/dom";
import { isFolded } from "../model/folding";
import type { Model } from "../model/model";
import type { Panel } from "../panel";
import { Camera } from "./camera";
import { chooseDirection } from "./direction";
import { drawEdges } from "./edges";
import { Finder } from "./finder";
import { DETAILS_FROM, type Drawing, type Frame, GROUP_NAME_HEIGHT, LABELS_FROM } from "./frame";
import { listen } from "./input";
import { type Layer, Layers } from "./layers";
import { Minimap } from "./minimap";
import { drawMoving, type Marks } from "./moving";
import { drawNodes } from "./nodes";
import { graphOf, Scene } from "./scene";
import { Sight } from "./sight";
import { Spotlight } from "./spotlight";
import { LABEL_SIZE, TextMeasure } from "./text";
import type { Theme } from "./theme";
import { Tooltip } from "./tooltip";

const TRANSITION_MS = 360;
/** Two clicks on a node within this time and distance open what it stands for. */
const DOUBLE_MS = 350;
const DOUBLE_PX = 8;
/** A larger picture jumps to its new layout: moving ten thousand routes tells nothing that the eye can follow. */
const TRANSITION_NODES = 3000;
const HINT_MS = 1400;
const RESHAPED = 1.2;
/** Of a graph that has not been on screen yet, px. */
const UNSEEN_HEIGHT = 360;

export class Graph implements Panel {
  readonly el: HTMLElement;
  readonly #model: Model;
  readonly #say: (text: string) => void;
  readonly #camera = new Camera();
  readonly #scene = new Scene();
  readonly #text = new TextMeasure();
  readonly #layouter = new Layouter();
  readonly #sight: Sight;
  /** Moves the cursor, searches, lights and folds. */
  readonly finder: Finder;
  readonly #minimap: Minimap;
  readonly #layers = new Layers((time) => this.#paint(time));
  readonly #surface: HTMLElement;
  readonly #tooltip = new Tooltip();
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
  /** What the next frame must take in from the state. */
  #changedNodes = new Set<string>();
  #edgesChanged = false;
  #structureChanged = true;
  #version = 0;
  /** The version of the refined layout that is shown. */
  #arranged = 0;
  #ranks: ReadonlyMap<string, number> | undefined;
  #direction: "LR" | "TB" | undefined;
  #clicked: { id: string; at: number; x: number; y: number } | undefined;
  #transition: number | undefined;
  /** Where the pointer is, while it is over the picture. */
  #pointer: readonly [x: number, y: number] | undefined;
  #hintTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(model: Model, theme: Theme, say: (text: string) => void) {
    this.#model = model;
    this.#theme = theme;
    this.#say = say;
    const spotlight = new Spotlight(this.#scene, model);
    this.#sight = new Sight(this.#scene, this.#camera, {
      running: () => spotlight.stops("running"),
      covered: () => this.#minimap.covers,
      moved: () => {
        this.#tooltip.hide();
        this.#layers.redraw();
      },
      turned: () => this.finder.navigated(),
    });
    this.finder = new Finder({
      model,
      scene: this.#scene,
      sight: this.#sight,
      spotlight,
      say,
      changed: (lit) => {
        if (lit) this.#minimap.changed();
        this.#layers.redraw(...(lit ? [] : (["moving"] as const)));
      },
      focus: () => this.#surface.focus({ preventScroll: true }),
    });
    this.#minimap = new Minimap(this.#scene, this.#camera, (x, y) =>
      this.#sight.move((camera) => camera.setState({ x, y })),
    );
    this.#surface = h(
      "div",
      {
        class: "dw-surface",
        tabindex: 0,
        role: "application",
        "aria-roledescription": "graph",
        "aria-label":
          "Graph. Arrow keys move along the edges, Enter inspects a node, 0 fits, plus and minus zoom, ? lists all keys.",
      },
      ...this.#layers.elements,
    );
    this.el = h(
      "div",
      { class: "dw-graph" },
      this.#surface,
      this.#hint,
      this.#minimap.el,
      this.#tooltip.el,
      h(
        "div",
        { class: "dw-zoom" },
        button("+", () => this.#sight.zoom(1), { "aria-label": "Zoom in", title: "Zoom in (+)" }),
        button("−", () => this.#sight.zoom(-1), { "aria-label": "Zoom out", title: "Zoom out (-)" }),
        button("Fit", () => this.#sight.fit(), {
          "aria-label": "Fit the graph",
          title: "Fit the graph (0)",
          class: "dw-fit",
        }),
      ),
    );
    this.#listen();
  }

  /** Take in what a batch changed; drawn in the next frame. */
  changed(change: Change): void {
    if (change.reset || change.structure) this.#structureChanged = true;
    if (change.reset) this.#sight.fitNext();
    if (change.edges || change.reset) this.#edgesChanged = true;
    for (const id of change.nodes) this.#changedNodes.add(id);
    this.#layers.wake();
  }

  update(): void {
    const { selected } = this.#model;
    this.#marks.selected = this.finder.indexOf(selected);
    this.finder.selected(selected);
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

  /** Bring a node on screen. */
  reveal(id: string): void {
    const i = this.finder.indexOf(id);
    if (i !== undefined) this.#sight.reveal(i);
  }

  focus(): void {
    this.#surface.focus();
  }

  /** Act on a key; returns whether it had a meaning. */
  key(event: KeyboardEvent): boolean {
    return this.finder.key(event);
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

  #refold(): void {
    const { finder } = this;
    const node = this.#scene.nodes[finder.indexOf(finder.cursor) ?? -1];
    // Of what was opened, the cursor is on the first.
    const at = isFolded(node) ? node.members[0] : finder.cursor;
    if (at !== undefined) finder.cursor = this.#model.folding.shows(at);
    this.#structureChanged = true;
    this.#layers.wake();
  }

  close(): void {
    this.#layers.close();
    clearTimeout(this.#hintTimer);
    this.finder.close();
    this.#sight.close();
    this.#minimap.close();
    for (const stop of this.#stops) stop();
    this.#layouter.close();
  }

  #listen(): void {
    const motion = globalThis.matchMedia?.("(prefers-reduced-motion: reduce)");
    const calm = () => {
      this.#sight.still = motion?.matches ?? false;
      this.#layers.redraw("moving");
    };
    calm();
    motion?.addEventListener("change", calm);
    this.#stops.push(() => motion?.removeEventListener("change", calm));
    this.#stops.push(this.#layouter.onLayout((result) => this.#arrange(result)));
    this.#model.onFold(() => this.#refold());
    const shown = new IntersectionObserver(
      ([entry]) => {
        this.#layers.asleep = !(entry?.isIntersecting ?? true);
      },
      // Awake before it scrolls into sight.
      { rootMargin: "300px" },
    );
    shown.observe(this.#surface);
    this.#stops.push(
      onResize(this.#surface, () => this.#resize()),
      () => shown.disconnect(),
    );
    this.#stops.push(
      listen(this.#surface, {
        pan: (dx, dy) => this.#sight.move((camera) => camera.pan(dx, dy)),
        zoom: (x, y, factor) => this.#sight.move((camera) => camera.zoomAt(x, y, factor)),
        hover: (x, y) => this.#hover(x, y ?? 0),
        click: (x, y, touch) => this.#click(x, y, touch),
        key: (event) => this.key(event),
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
      this.finder.changed();
      this.#sight.changed();
      this.#hoverAgain();
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
    const { folding } = this.#model;
    const font = `600 ${LABEL_SIZE}px ${this.#theme.font}`;
    const measure = (text: string) => this.#text.width(text, font);
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
    const animate = !this.#sight.still && result.ids.length <= TRANSITION_NODES;
    const first = this.#scene.n === 0;
    this.#scene.arrange(result, this.#model.folding.shown, animate);
    if (result.stage === "refined") this.#arranged = result.version;
    this.#ranks = undefined;
    this.#transition = this.#scene.progress < 1 ? performance.now() : undefined;
    this.#marks.selected = this.finder.indexOf(this.#model.selected);
    this.finder.light();
    this.#sight.refit(first || !animate);
    this.#sight.stay((id) => this.#placeOf(id, result));
    this.#hoverAgain();
    this.#layers.redraw();
    // Out of sight nothing is redrawn, but a page that is printed or captured shows every part of itself.
    if (this.#layers.asleep) this.#layers.paint();
  }

  /** Where a node is in a layout, or what it became when it was opened or folded. */
  #placeOf(id: string, { ids, layout }: NamedLayout): [x: number, y: number] | undefined {
    const { folding } = this.#model;
    const near = (other: string) => other === id || folding.shows(id) === other || folding.origin(other) === id;
    const i = this.finder.indexOf(id) ?? ids.findIndex(near);
    return i < 0 ? undefined : [layout.x[i]!, layout.y[i]!];
  }

  #resize(): void {
    const { clientWidth, clientHeight } = this.#surface;
    if (clientWidth === 0 || clientHeight === 0) return;
    const selected = this.finder.indexOf(this.#model.selected);
    const seen = selected !== undefined && this.#inSight(selected);
    this.#camera.resize(clientWidth, clientHeight);
    this.#layers.resize(clientWidth, clientHeight);
    // Another shape of window may call for another direction.
    const shape = this.#window.width / this.#window.height;
    if (this.#shape !== undefined && Math.max(shape / this.#shape, this.#shape / shape) > RESHAPED) {
      this.#structureChanged = true;
    }
    if (this.#structureChanged || this.#shape === undefined) this.#shape = shape;
    this.#sight.refit(true);
    // The inspector takes its place from the graph, but not from the node that it shows.
    if (seen && !this.#sight.fits) this.#sight.nudge(selected);
    this.#layers.redraw();
    // A resized canvas is blank until it is drawn, so don't wait for the next frame.
    this.#layers.paint();
  }

  #inSight(i: number): boolean {
    const { x, y, width, height } = this.#camera.visible();
    const [across, down] = [this.#scene.x[i]! - x, this.#scene.y[i]! - y];
    return across >= 0 && across <= width && down >= 0 && down <= height;
  }

  // --- The picture

  /** Draw what is dirty; whether another frame is needed for what moves by itself. */
  #paint(time: number): boolean {
    this.#absorb();
    if (this.#transition !== undefined) {
      const t = Math.min(1, Math.max(0, (time - this.#transition) / TRANSITION_MS));
      this.#scene.move(t);
      if (t === 1) {
        this.#transition = undefined;
        this.#hoverAgain();
      }
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
      const focused = focusedNear(this.#surface) === this.#surface;
      const cursor = focused ? this.finder.indexOf(this.finder.cursor) : undefined;
      moving = drawMoving(frame, { ...this.#marks, cursor, found: this.finder.match });
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
      still: this.#sight.still || !this.#model.moving,
      cost: state.cost,
    });
  }

  // --- Gestures

  #click(x: number, y: number, touch: boolean): void {
    const [now, before] = [performance.now(), this.#clicked];
    this.#clicked = undefined;
    // The first click may open the inspector, and the node then no longer be where it was.
    if (before && now - before.at < DOUBLE_MS && Math.hypot(x - before.x, y - before.y) < DOUBLE_PX) {
      if (this.#model.folding.turn(before.id)?.action === "expand") this.finder.fold(before.id);
      return;
    }
    const i = this.#hit(x, y, touch ? 12 : 3);
    const id = i === undefined ? undefined : this.#scene.ids[i];
    const path = id === undefined ? this.#groupAt(x, y) : undefined;
    if (path !== undefined) {
      this.#model.fold(() => this.#model.folding.collapse(path));
      this.#say(`${path.replaceAll("/", " / ")}, collapsed`);
      return;
    }
    if (id !== undefined) this.#clicked = { id, at: now, x, y };
    this.finder.cursor = id ?? this.finder.cursor;
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
    this.#pointer = x === undefined ? undefined : [x, y];
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

  /** What is under the pointer, which has not moved, may be another node by now, or another state of it. */
  #hoverAgain(): void {
    if (this.#pointer && !this.#tooltip.el.hidden) this.#hover(...this.#pointer);
    // Since the camera has moved nothing is told of what was there.
    else this.#marks.hovered = undefined;
  }

  #hintAtZoom(): void {
    setHidden(this.#hint, false);
    clearTimeout(this.#hintTimer);
    this.#hintTimer = setTimeout(() => setHidden(this.#hint, true), HINT_MS);
  }
}
