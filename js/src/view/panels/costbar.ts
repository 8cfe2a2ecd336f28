// What the run costs: spent, of which budget, what is left, and what it will come to. Shown once a cost is known.

import { h, setHidden, setText } from "../dom/dom";
import { figures } from "../model/cost";
import { count, money, percent } from "../model/format";
import type { Model } from "../model/model";
import { over } from "../model/status";
import type { Panel } from "../panel";

export class CostPanel implements Panel {
  readonly #model: Model;
  readonly #spent = h("b", {});
  readonly #of = h("span", { class: "dw-muted" });
  readonly #left = h("span", {});
  readonly #projected = h("span", { class: "dw-muted" });
  readonly #tokens = h("span", { class: "dw-muted" });
  readonly #unpriced = h("span", { class: "dw-unpriced" });
  readonly #fill = h("i", { class: "dw-fill" });
  readonly #ghost = h("i", { class: "dw-ghost" });
  readonly #track = h(
    "div",
    { class: "dw-track", role: "meter", "aria-label": "Budget spent", "aria-valuemin": 0, "aria-valuemax": 100 },
    this.#ghost,
    this.#fill,
  );
  readonly el: HTMLElement;

  constructor(model: Model) {
    this.#model = model;
    this.el = h(
      "div",
      { class: "dw-cost", hidden: true },
      h("div", { class: "dw-cost-main" }, h("span", {}, this.#spent, " ", this.#of), this.#left),
      this.#track,
      h("div", { class: "dw-cost-more" }, this.#projected, this.#tokens, this.#unpriced),
    );
  }

  update(): void {
    const { state, tally } = this.#model;
    const { cost } = state;
    const empty = !cost || (cost.spent === 0 && cost.budget === undefined && !cost.tokens && !cost.unpriced);
    setHidden(this.el, empty);
    if (empty) return;
    const { spent, budget, remaining, projected, share, level, unpriced } = figures(
      cost,
      tally.done,
      tally.total,
      over(state.status),
    );
    const inWords = (amount: number) => money(amount, cost.currency);
    // What has no price is not in any of these sums, so they are bounds, not totals.
    const least = unpriced > 0;
    this.el.dataset.level = level;
    // With a budget of 0 nothing may be spent, which leaves a share undefined.
    const shown = share ?? (level === "over" ? 1 : 0);
    setText(this.#spent, `${least ? "At least " : ""}${inWords(spent)}`);
    setText(this.#of, budget === undefined ? "spent" : `of ${inWords(budget)} spent`);
    const left =
      remaining === undefined
        ? ""
        : remaining < 0
          ? `${inWords(-remaining)} over budget`
          : `${inWords(remaining)} left`;
    const mark = level === "over" ? "Over budget · " : level === "warn" ? `${percent(shown)} used · ` : "";
    setText(this.#left, level === "over" ? left : mark + left);
    const beyond = projected !== undefined && budget !== undefined && projected > budget;
    setText(
      this.#projected,
      projected === undefined
        ? ""
        : `${least ? "At least" : "≈"} ${inWords(projected)} projected at completion${beyond ? ", over budget" : ""}`,
    );
    this.#projected.classList.toggle("dw-beyond", beyond);
    setText(this.#tokens, cost.tokens ? `${count(cost.tokens)} tokens` : "");
    setText(this.#unpriced, unpriced > 0 ? `${count(unpriced)} tokens have no known price` : "");
    setHidden(this.#track, budget === undefined);
    this.#fill.style.inlineSize = `${Math.min(1, shown) * 100}%`;
    this.#ghost.style.inlineSize =
      projected !== undefined && budget ? `${Math.min(1, projected / budget) * 100}%` : "0";
    this.#track.setAttribute("aria-valuenow", String(Math.round(Math.min(1, shown) * 100)));
    this.#track.setAttribute("aria-valuetext", `${percent(shown)} of the budget spent`);
  }
}
