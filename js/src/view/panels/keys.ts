// The list of keys, over the graph: opened and closed by `?`.

import { button, focusedNear, h, setHidden } from "../dom/dom";

const KEYS: readonly (readonly [string, string])[] = [
  ["/", "search"],
  ["Enter, Shift+Enter", "in the search: next, previous"],
  ["f", "next failed node"],
  ["g", "next waiting gate"],
  ["r", "next running node"],
  ["p", "path of the selected node"],
  ["c", "critical path"],
  ["o", "only what is active"],
  ["w", "watch what runs"],
  ["s", "fit the selection"],
  ["e, E", "expand or collapse: this node, all"],
  ["0", "fit all"],
  ["n", "another run of this DAG"],
  ["d", "decide: to the gate that waits longest"],
  ["a, m, r", "in a gate: to approve, modify, reject"],
  ["t", "timeline, and graph again"],
  ["l", "replay the run, and live again"],
  ["k", "in a replay: play, pause"],
  [", .", "in a replay: one event back, on"],
  ["+ −", "zoom"],
  ["z", "full screen"],
  ["Arrows", "walk along the edges"],
  ["Shift+arrows", "move the picture"],
  ["Enter", "inspect the node"],
  ["Escape", "back out"],
  ["?", "this list"],
];

export class KeysPanel {
  readonly #close = button("Close", () => this.toggle(), { class: "dw-link" });
  readonly el = h(
    "div",
    { class: "dw-keys", role: "dialog", "aria-label": "Keys", hidden: true },
    h("dl", {}, ...KEYS.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)))),
    this.#close,
  );
  #before: HTMLElement | null = null;

  constructor() {
    this.el.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        this.toggle();
      }
    });
  }

  toggle(): void {
    const opens = this.el.hidden;
    if (opens) this.#before = focusedNear(this.el);
    setHidden(this.el, !opens);
    if (opens) this.#close.focus();
    else this.#before?.focus();
  }
}
