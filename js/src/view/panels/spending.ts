// Where the money went: the nodes and the groups that cost the most. Takes no room, and costs nothing, while it is folded.

import { button, type Child, focusedNear, h, setHidden } from "../dom/dom";
import { keyed, patch } from "../dom/patch";
import { costOf, dearest, groupCosts, type Ranking } from "../model/cost";
import { count, money, percent } from "../model/format";
import type { Model } from "../model/model";
import { label } from "../model/status";

const MOST = 5;

export class Spending {
  readonly #model: Model;
  readonly #find: (nodeId: string) => void;
  readonly #body = h("div", {});
  readonly el = h("details", { class: "dw-spending" }, h("summary", {}, "Costs by node"), this.#body);
  #shown: unknown;

  constructor(model: Model, find: (nodeId: string) => void) {
    this.#model = model;
    this.#find = find;
    this.el.addEventListener("toggle", () => this.update());
  }

  update(): void {
    const { state } = this.#model;
    setHidden(this.el, !state.cost?.spent);
    if (!this.el.open || state.cost === this.#shown) return;
    this.#shown = state.cost;
    const nodes = [...state.nodes.values()];
    const of = dearest(
      nodes.map((node) => [node, costOf(node, state.cost)] as const),
      MOST,
    );
    const groups = dearest(groupCosts(nodes, state.cost), MOST);
    const at = focusedNear(this.el)?.dataset.node;
    const tables = [
      this.#table("Nodes", of, (node) =>
        keyed(
          button(label(node), () => this.#find(node.id), { class: "dw-link", "data-node": node.id }),
          node.id,
        ),
      ),
    ];
    if (groups.first.length > 0) tables.push(this.#table("Groups", groups, (path) => path.replaceAll("/", " / ")));
    patch(this.#body, tables);
    // Who goes through the list with the keyboard stays at the node while its place changes.
    if (at !== undefined) [...this.#body.querySelectorAll("button")].find((it) => it.dataset.node === at)?.focus();
  }

  #table<T>(name: string, { first, others, rest }: Ranking<T>, named: (item: T) => Child): HTMLElement {
    return h(
      "table",
      {},
      h("caption", {}, first.length === 0 ? "No costs by node are known." : name),
      h(
        "tbody",
        {},
        ...first.map(([item, amount]) => this.#row(named(item), amount)),
        others > 0 && this.#row(h("span", { class: "dw-muted" }, `${count(others)} more`), rest),
      ),
    );
  }

  #row(what: Child, amount: number): HTMLElement {
    const { spent = 0, currency } = this.#model.state.cost ?? {};
    const share = spent > 0 ? amount / spent : 0;
    const bar = h("i", { class: "dw-share" });
    bar.style.inlineSize = `${Math.min(1, share) * 100}%`;
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, what),
      h("td", { "aria-hidden": true }, bar),
      h("td", {}, money(amount, currency)),
      h("td", { class: "dw-muted" }, share < 0.005 ? `<${percent(0.01)}` : percent(share)),
    );
  }
}
