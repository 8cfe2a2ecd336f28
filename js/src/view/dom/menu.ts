// A small menu in the line above the picture: it closes with Escape, and when the keyboard goes elsewhere.

import { type Child, h } from "./dom";

export function menu(name: string, ...items: Child[]): HTMLDetailsElement {
  const summary = h("summary", { class: "dw-tab" }, name);
  const el: HTMLDetailsElement = h(
    "details",
    {
      class: "dw-menu",
      onkeydown: (event: KeyboardEvent) => {
        if (event.key !== "Escape" || !el.open) return;
        el.open = false;
        summary.focus();
      },
      onfocusout: (event: FocusEvent) => {
        if (event.relatedTarget && !el.contains(event.relatedTarget as Element)) el.open = false;
      },
    },
    summary,
    h("div", {}, ...items),
  );
  return el;
}
