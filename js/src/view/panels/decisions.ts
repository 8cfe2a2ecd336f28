// The audit trail: who decided what, when, from where, and with which words and changes. Newest first.

import type { Decision } from "../../state/types";
import { h, setHidden, setText } from "../dom/dom";
import { timeOfDay } from "../model/format";
import type { Model } from "../model/model";
import { label } from "../model/status";
import type { Panel } from "../panel";
import { copyButton } from "../value/copy";
import { table } from "../value/table";
import { brief } from "../value/text";

const COLUMNS = ["when", "node", "decision", "by", "source", "feedback", "value"] as const;

export class DecisionsPanel implements Panel {
  readonly #model: Model;
  readonly #summary = h("summary", {});
  readonly #body = h("div", {});
  readonly el = h("details", { class: "dw-decisions", hidden: true }, this.#summary, this.#body);
  #shown: readonly Decision[] | undefined;

  constructor(model: Model) {
    this.#model = model;
    this.el.addEventListener("toggle", () => this.update());
  }

  update(): void {
    const { decisions } = this.#model.state;
    setHidden(this.el, decisions.length === 0);
    setText(this.#summary, decisions.length === 1 ? "1 decision" : `${decisions.length} decisions`);
    if (!this.el.open || decisions === this.#shown) return;
    this.#shown = decisions;
    const rows = [...decisions].reverse().map((decision) => this.#row(decision));
    this.#body.replaceChildren(
      table({ columns: COLUMNS, rows }),
      copyButton(() => JSON.stringify(decisions, null, 2), "Copy as JSON"),
    );
  }

  #row({ node_id, decision, by, at, source, feedback, value, approvals }: Decision): Record<string, string> {
    const { state, now } = this.#model;
    return {
      when: timeOfDay(at, now),
      node: label(state.nodes.get(node_id) ?? { id: node_id }),
      decision,
      by: approvals && approvals.length > 1 ? approvals.map((one) => one.by).join(", ") : by,
      source,
      feedback: feedback ?? "",
      value: value === undefined || value === null ? "" : brief(value),
    };
  }
}
