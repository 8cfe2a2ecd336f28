// The list of keys, over the graph: opened and closed by `?`.

import { button, focusedNear, h, setHidden } from "../dom/dom";

const KEYS: readonly (readonly [string, string])[] = [
  ["/", "search"],
  ["Enter", "in the search: next match; with Shift: previous"],
  ["f", "next failed node"],
  ["g", "next waiting node"],
  ["r", "next running node"],
  ["p", "path of the selected node"],
  ["c", "critical path"],
  ["o", "active nodes only"],
  ["w", "follow the running nodes"],
  ["s", "fit the selection"],
  ["e, E", "expand or collapse: the node, all"],
  ["0", "fit the graph"],
  ["n", "another run of this DAG"],
  ["d", "go to the oldest open gate"],
  ["a, m, r", "in a gate: go to Approve, Modify, Reject"],
  ["t", "timeline, or back to the graph"],
  ["l", "replay, or back to the live run"],
  ["k", "in a replay: play, pause"],
  [", .", "in a replay: previous, next event"],
  ["+ −", "zoom"],
  ["z", "full screen"],
  ["Arrows", "move along the edges"],
  ["Shift+arrows", "pan"],
  ["Enter", "inspect the node"],
  ["Escape", "close, or clear"],
  ["?", "this list"],
];

export class KeysPanel {
  readonly #close = button("×", () => this.toggle(), { class: "dw-close", "aria-label": "Close the list of keys" });
  readonly el = h(
    "div",
    { class: "dw-keys", role: "dialog", "aria-label": "Keys", hidden: true },
    h("header", {}, h("h3", {}, "Keys"), this.#close),
    h("dl", {}, ...KEYS.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)))),
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
