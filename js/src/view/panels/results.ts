// What the run came to, once it is over: its results, how long it took, what it cost.

import { h, setHidden, setText } from "../dom/dom";
import { duration, money } from "../model/format";
import type { Model } from "../model/model";
import { over } from "../model/status";
import type { Panel } from "../panel";
import { ValueView } from "../value/value";

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
    this.#body.replaceChildren(...(some ? [new ValueView(results).el] : []));
  }
}
