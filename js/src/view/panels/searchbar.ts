// The line above a large graph: the search with its count, and the ways to look at the graph.

import { uuid } from "../../protocol/uuid";
import { button, h, setHidden, setText } from "../dom/dom";
import type { Navigation } from "../graph/navigation";
import type { Mode } from "../graph/spotlight";
import { count } from "../model/format";
import type { Model } from "../model/model";
import { STATUSES } from "../model/status";
import type { Panel } from "../panel";

/** A smaller graph is seen at a glance: there the line comes with `/` alone. */
const NODES_FROM = 13;

const MODES: readonly (readonly [Mode, string, string])[] = [
  ["path", "Path", "What is upstream and downstream of the selected node (p)"],
  ["critical", "Critical path", "The longest path by known durations (c)"],
  ["active", "Only active", "Running, waiting and failed nodes, and their neighbours (o)"],
];

export class SearchBar implements Panel {
  readonly #model: Model;
  readonly #graph: Navigation;
  readonly #field: HTMLInputElement;
  readonly #count = h("span", { class: "dw-found", role: "status" });
  /** Said once by the graph, when a mode is turned on: as a status, it would be read out with every change of the run. */
  readonly #note = h("span", { class: "dw-found" });
  readonly #steps: HTMLButtonElement[];
  readonly #modes = new Map<Mode, HTMLButtonElement>();
  readonly #watch: HTMLButtonElement;
  readonly #fold: HTMLButtonElement;
  readonly el: HTMLElement;
  #asked = false;

  constructor(model: Model, graph: Navigation, keys: () => void) {
    this.#model = model;
    this.#graph = graph;
    const list = `dw-${uuid()}`;
    this.#field = h("input", {
      type: "search",
      class: "dw-field",
      placeholder: "Search  /",
      "aria-label": "Search nodes by name, status: or group:",
      title: "Name, status:failed, group:name (/)",
      list,
      autocomplete: "off",
      spellcheck: "false",
      "aria-keyshortcuts": "/",
    });
    this.#field.addEventListener("input", () => this.#graph.search(this.#field.value));
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    const small = (text: string, title: string, click: () => void) =>
      button(text, click, { class: "dw-button dw-small", title, "aria-label": title });
    this.#steps = [
      small("‹", "Previous match (Shift+Enter)", () => this.#graph.step(-1)),
      small("›", "Next match (Enter)", () => this.#graph.step(1)),
    ];
    const toggle = (text: string, title: string, click: () => void) =>
      button(text, click, { class: "dw-button dw-small dw-toggle", title, "aria-pressed": "false" });
    for (const [mode, text, title] of MODES)
      this.#modes.set(
        mode,
        toggle(text, title, () => graph.toggle(mode)),
      );
    this.#watch = toggle("Follow", "Keep the running nodes in view (w)", () => graph.watch());
    this.#fold = button("Expand all", () => graph.foldAll(), {
      class: "dw-button dw-small",
      title: "Show each group, and each set of similar nodes, as one node, or show all nodes (E)",
    });
    this.el = h(
      "div",
      { class: "dw-nav", role: "search", "aria-label": "Find in the graph", hidden: true },
      h(
        "span",
        { class: "dw-search" },
        this.#field,
        h("datalist", { id: list }, ...STATUSES.map((status) => h("option", { value: `status:${status}` }))),
        ...this.#steps,
        this.#count,
      ),
      h(
        "span",
        { class: "dw-ways", role: "group", "aria-label": "Show" },
        this.#note,
        this.#fold,
        ...this.#modes.values(),
        this.#watch,
        small("?", "Keys (?)", keys),
      ),
    );
  }

  /** Bring the cursor into the search. */
  focus(): void {
    this.#asked = true;
    this.update();
    this.#field.focus();
    this.#field.select();
  }

  update(): void {
    const { mode, following, searching, found, note } = this.#graph;
    const { size } = this.#model.state.nodes;
    setHidden(this.el, size < NODES_FROM && !this.#asked);
    const some = found.of > 0;
    setText(
      this.#count,
      !searching
        ? ""
        : !some
          ? "no matches"
          : found.at > 0
            ? `${count(found.at)} of ${count(found.of)}`
            : count(found.of),
    );
    for (const step of this.#steps) setHidden(step, !some);
    for (const [name, one] of this.#modes) one.setAttribute("aria-pressed", String(name === mode));
    this.#watch.setAttribute("aria-pressed", String(following));
    const { folding } = this.#model;
    setHidden(this.#fold, !folding.possible);
    setText(this.#fold, folding.any ? "Expand all" : "Collapse all");
    setText(this.#note, note);
  }

  #key(event: KeyboardEvent): void {
    if (event.key === "Enter") {
      event.preventDefault();
      this.#graph.step(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.#field.value = "";
      this.#asked = false;
      this.#graph.search("");
      this.#graph.focus();
      this.update();
    }
  }
}
