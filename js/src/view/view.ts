// The view: a shell with a graph and panels around it, all of one store and stream. Nothing here opens a socket.

import type { Change } from "../state/types";
import { focusedNear, h, isTyping } from "./dom/dom";
import { attachShadow, type ShadowTree } from "./dom/shadow";
import { Graph } from "./graph/graph";
import type { Stop } from "./graph/spotlight";
import { applyTheme, makeTheme, readHost, type Theme, watchHost } from "./graph/theme";
import { Model } from "./model/model";
import { Announcer } from "./panels/announcer";
import { ConnectionPanel } from "./panels/connection";
import { ControlsPanel } from "./panels/controls";
import { CostPanel } from "./panels/costbar";
import { EnginePanel } from "./panels/engine";
import { HeaderPanel } from "./panels/header";
import { OutlinePanel } from "./panels/outline";
import { PlaceholderPanel } from "./panels/placeholder";
import { SearchBar } from "./panels/searchbar";
import type { Details, MountDetails, Shell, ViewOptions } from "./shell";
import styles from "./styles.css";
import { contained, Updates } from "./updates";

/** Draw a live view of a DAG into `el`; returns how to take it down. */
export function mountView(el: HTMLElement, options: ViewOptions): () => void {
  const view = new View(el, options);
  return () => view.close();
}

class View {
  readonly #options: ViewOptions;
  readonly #model: Model;
  readonly #updates: Updates;
  readonly #tree: ShadowTree;
  readonly #announcer: Announcer;
  readonly #graph: Graph;
  readonly #search: SearchBar;
  /** Where the details go. */
  readonly #places: Shell["places"];
  readonly #unsubscribe: readonly (() => void)[];
  #theme: Theme;
  /** Undefined until their bundle is there. */
  #details: Details | undefined;
  #withdrawOffer: (() => void) | undefined;
  #closed = false;

  constructor(el: HTMLElement, options: ViewOptions) {
    this.#options = options;
    this.#model = new Model(options);
    this.#updates = new Updates(this.#model);
    this.#tree = attachShadow(el, styles);
    this.#theme = makeTheme(readHost(this.#root));
    applyTheme(this.#root, this.#theme);

    this.#announcer = new Announcer(this.#model);
    this.#graph = new Graph(this.#model, this.#theme, this.#say);
    this.#search = this.#makeSearch();
    this.#places = this.#arrange();
    this.#unsubscribe = this.#follow();
    this.#root.addEventListener("keydown", (event) => this.#onKey(event));
    this.#loadDetails();
  }

  close(): void {
    this.#closed = true;
    this.#withdrawOffer?.();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#updates.close();
    this.#tree.remove();
  }

  get #root(): HTMLElement {
    return this.#tree.root;
  }

  readonly #say = (text: string): void => this.#announcer.say(text);

  /** Select a node, and bring it into the viewport. */
  readonly #find = (id: string): void => {
    this.#model.select(id);
    this.#graph.reveal(id);
  };

  /** Show what has changed on screen. */
  readonly #show = (change: Change): void => {
    const changed = this.#model.changed(change);
    this.#graph.changed(changed);
    this.#details?.changed(changed);
    this.#updates.request();
  };

  readonly #jump = (stop: Stop): void => {
    this.#details?.showGraph();
    this.#graph.finder.jump(stop);
  };

  #makeSearch(): SearchBar {
    const search = new SearchBar(this.#model, this.#graph.finder, () => this.#details?.toggleKeys());
    // A search is a search in the graph, so it brings the graph to the front.
    for (const type of ["click", "input"]) {
      search.el.addEventListener(type, () => this.#details?.showGraph(), { capture: true });
    }
    this.#graph.finder.onNavigate(() => search.update());
    return search;
  }

  /** Make the panels, and put them and the graph in their places. */
  #arrange(): Shell["places"] {
    const header = new HeaderPanel(this.#model, this.#jump, () => this.#details?.toGates());
    const connection = new ConnectionPanel(this.#model, this.#root);
    const engine = new EnginePanel(this.#model);
    const controls = new ControlsPanel(this.#model);
    const cost = new CostPanel(this.#model);
    const outline = new OutlinePanel(this.#model, this.#find);
    const [search, graph, announcer] = [this.#search, this.#graph, this.#announcer];
    const placeholder = new PlaceholderPanel(this.#model);
    const tabs = h("div", { class: "dw-tabs" });
    const main = h("div", { class: "dw-main" }, graph.el, placeholder.el);

    const bar = h("div", { class: "dw-bar" }, connection.el, engine.el, controls.el);
    const top = h("div", { class: "dw-top" }, header.el, bar);
    const parts = [top, connection.notice, cost.el, outline.el, tabs, search.el, main, announcer.el];
    const shell = h("div", { class: "dw-shell" }, ...parts);
    this.#root.append(shell);
    this.#updates.add([header, connection, engine, controls, cost, outline, search, graph, placeholder, announcer]);
    return { cost: cost.el, tabs, main };
  }

  /** Update with the store, the stream, the model and the host's theme; returns how to stop. */
  #follow(): readonly (() => void)[] {
    const { store, stream } = this.#options;
    const look = () => contained(() => this.#details?.look());
    this.#model.onSelect(this.#updates.request);
    this.#model.onFold(this.#updates.request);
    return [
      store.subscribe((change) => {
        look();
        // During a replay the live run is noted, but not shown.
        if (this.#model.replay) this.#updates.request();
        else this.#show(change);
      }),
      stream.subscribe(this.#updates.request),
      stream.subscribe(look),
      watchHost(this.#root, () => this.#retheme()),
    ];
  }

  #retheme(): void {
    const next = makeTheme(readHost(this.#root));
    if (JSON.stringify(next) === JSON.stringify(this.#theme)) return;
    this.#theme = next;
    applyTheme(this.#root, next);
    this.#graph.setTheme(next);
    this.#details?.setTheme(next);
  }

  #onKey(event: KeyboardEvent): void {
    if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!this.#key(event)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Act on a key; returns whether it had a meaning. */
  #key(event: KeyboardEvent): boolean {
    const { key, target } = event;
    const details = this.#details;
    if (key === "/" || key === "?") {
      details?.showGraph();
      if (key === "/") this.#search.focus();
      else details?.toggleKeys();
      return true;
    }
    // A button or a list has its own use for Enter, Space and the arrows. After a click beside them the graph has.
    if (target !== this.#root && (key.length > 1 || key === " ")) return false;
    const picture = details ?? this.#graph;
    const acted = picture.key(event);
    if (acted && focusedNear(this.#root) === this.#root) picture.focus();
    return acted;
  }

  #loadDetails(): void {
    const { details } = this.#options;
    if (typeof details === "function") this.#mountDetails(details);
    else
      details
        .then((mount) => this.#mountDetails(mount))
        .catch((error) => {
          const text = `Could not load the panels around the graph: ${error}. Reload the page.`;
          this.#places.tabs.replaceChildren(h("p", { role: "alert", class: "dw-refusal" }, text));
        });
  }

  #mountDetails(mount: MountDetails): void {
    if (this.#closed) return;
    this.#details = mount({
      model: this.#model,
      root: this.#root,
      graph: this.#graph,
      theme: this.#theme,
      places: this.#places,
      say: this.#say,
      find: this.#find,
      show: this.#show,
    });
    this.#withdrawOffer = this.#options.offer?.(this.#details.draw);
    this.#updates.add(this.#details.panels);
  }
}
