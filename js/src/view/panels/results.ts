// What the run came to, once it is over: its results, how long it took, what it cost.

import { h, setHidden, setText } from "../dom";
import { duration, money } from "../format";
import type { Model, Panel } from "../model";
import { over } from "../status";
import { pretty } from "./value";

const ROWS = 100;

export class ResultsPanel implements Panel {
  readonly #model: Model;
  readonly #summary = h("summary", {});
  readonly #body = h("div", { class: "dw-results-body" });
  readonly el = h("details", { class: "dw-results", open: true, hidden: true }, this.#summary, this.#body);
  #shown: unknown;

  constructor(model: Model) {
    this.#model = model;
  }

  update(): void {
    const { state } = this.#model;
    const { status, results, cost, started_at, ended_at } = state;
    const some = results !== undefined && results !== null;
    setHidden(this.el, !over(status) || (!some && status !== "completed"));
    if (!over(status)) return;
    const facts = [
      some ? "Results" : "No results",
      started_at !== undefined && ended_at !== undefined && duration(ended_at - started_at),
      cost && cost.spent > 0 && `${cost.unpriced ? "at least " : ""}${money(cost.spent, cost.currency)}`,
    ];
    setText(this.#summary, facts.filter(Boolean).join(" · "));
    if (results === this.#shown) return;
    this.#shown = results;
    this.#body.replaceChildren(...(some ? [table(results)] : []));
  }
}

/** An object as a row a key, anything else as it is. */
function table(results: unknown): HTMLElement {
  if (typeof results !== "object" || results === null || Array.isArray(results)) return value(results);
  const entries = Object.entries(results);
  const list = h("dl", { class: "dw-table" });
  for (const [key, item] of entries.slice(0, ROWS)) list.append(h("dt", {}, key), h("dd", {}, value(item)));
  if (entries.length > ROWS) list.append(h("dt", { class: "dw-muted" }, `and ${entries.length - ROWS} more`), h("dd"));
  return list;
}

function value(item: unknown): HTMLElement {
  const nested = typeof item === "object" && item !== null;
  const text = pretty(item);
  return nested || text.includes("\n") ? h("pre", { tabindex: 0 }, text) : h("span", {}, text);
}
