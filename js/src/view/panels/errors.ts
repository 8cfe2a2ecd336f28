// The errors that the run reported, newest first.

import type { Fault } from "../../state/types";
import { button, h, setHidden, setText } from "../dom/dom";
import { timeOfDay } from "../model/format";
import type { Model } from "../model/model";
import { label } from "../model/status";
import type { Panel } from "../panel";
import { pretty } from "../value/text";
import { ValueView } from "../value/value";

const SHOWN = 20;
const DETAIL_LIMIT = 4000;

export class ErrorsPanel implements Panel {
  readonly #model: Model;
  readonly #find: (nodeId: string) => void;
  readonly #summary = h("summary", {});
  readonly #rest = h("li", { class: "dw-muted" });
  readonly #list = h("ul", { class: "dw-error-list" }, this.#rest);
  #items = new Map<Fault, HTMLElement>();
  readonly el = h("details", { class: "dw-errors", hidden: true }, this.#summary, this.#list);
  #shown: readonly Fault[] = [];

  constructor(model: Model, find: (nodeId: string) => void) {
    this.#model = model;
    this.#find = find;
  }

  update(): void {
    const { errors } = this.#model.state;
    if (errors === this.#shown) return;
    // The first error opens the list; from then on it is as the reader left it.
    if (this.#shown.length === 0 && errors.length > 0) this.el.open = true;
    this.#shown = errors;
    setHidden(this.el, errors.length === 0);
    setText(this.#summary, errors.length === 1 ? "1 error" : `${errors.length} errors`);
    const rest = errors.length - SHOWN;
    setHidden(this.#rest, rest <= 0);
    setText(this.#rest, `and ${rest} earlier`);
    const before = this.#items;
    this.#items = new Map(errors.slice(-SHOWN).map((fault) => [fault, before.get(fault) ?? this.#item(fault)]));
    for (const [fault, item] of before) if (!this.#items.has(fault)) item.remove();
    // What stays is not touched: it may have the keyboard.
    let next: Element = this.#rest;
    for (const item of this.#items.values()) {
      if (item.nextElementSibling !== next) next.before(item);
      next = item;
    }
  }

  #item({ message, node_id, code, detail, at }: Fault): HTMLElement {
    const name = node_id === undefined ? undefined : label(this.#model.state.nodes.get(node_id) ?? { id: node_id });
    return h(
      "li",
      {},
      at !== undefined && h("time", { class: "dw-muted" }, timeOfDay(at, this.#model.now)),
      name !== undefined && node_id !== undefined && button(name, () => this.#find(node_id), { class: "dw-link" }),
      code && h("span", { class: "dw-badge" }, code),
      h("span", { class: "dw-error-text" }, pretty(message, 2000)),
      detail !== undefined && detail !== null && new ValueView(detail, DETAIL_LIMIT).el,
    );
  }
}
