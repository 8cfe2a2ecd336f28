// The line above the picture: the graph or the same run over time, whichever the viewer wants to look at.

import { button, h } from "./dom/dom";
import type { Graph } from "./graph/graph";
import type { Timeline } from "./timeline/timeline";

export class Tabs {
  readonly #graph: Graph;
  readonly #timeline: Timeline;
  readonly #buttons: readonly [graph: HTMLElement, timeline: HTMLElement];

  constructor(el: HTMLElement, graph: Graph, timeline: Timeline, ...menus: HTMLElement[]) {
    this.#graph = graph;
    this.#timeline = timeline;
    const tab = (name: string, over: boolean) =>
      button(name, () => this.show(over), { class: "dw-tab", "aria-pressed": String(!over), title: `${name} (T)` });
    this.#buttons = [tab("Graph", false), tab("Timeline", true)];
    el.replaceChildren(
      h("div", { role: "group", "aria-label": "View", class: "dw-tab-group" }, ...this.#buttons),
      timeline.words,
      ...menus,
    );
  }

  /** Show the timeline, or else the graph. */
  show(timeline: boolean): void {
    const { el } = this.#graph;
    if (el.hidden === timeline) return;
    // Who has made one of them larger wants the other as large.
    const [from, to] = timeline ? [el, this.#timeline.el] : [this.#timeline.el, el];
    if (from.style.height) to.style.height = from.style.height;
    // What is hidden can't keep the keyboard.
    const inside = from.matches(":focus-within");
    el.hidden = timeline;
    this.#timeline.show(timeline);
    for (const [i, one] of this.#buttons.entries()) one.setAttribute("aria-pressed", String(timeline === (i === 1)));
    if (inside) this.focus();
  }

  /** Give the keyboard to what is shown. */
  focus(): void {
    this.#shown.focus();
  }

  /** Act on a key; returns whether it had a meaning. */
  key(event: KeyboardEvent): boolean {
    if (event.key !== "t") return this.#shown.key(event);
    this.show(!this.#graph.el.hidden);
    return true;
  }

  get #shown(): Graph | Timeline {
    return this.#graph.el.hidden ? this.#timeline : this.#graph;
  }
}
