// What a screen reader hears: gates that open and close, and the end of the run. One sentence at a time, each once.

import { h } from "../dom/dom";
import type { Model } from "../model/model";
import { label, over } from "../model/status";
import { visible } from "../model/visible";
import type { Panel } from "../panel";

export class Announcer implements Panel {
  readonly el = h("div", { class: "dw-offscreen", "aria-live": "polite", "aria-atomic": "true" });
  readonly #model: Model;
  /** Gates that were announced; one that is opened again is no news. */
  readonly #known = new Set<string>();
  #decided = 0;
  #epoch: string | undefined;
  #status: string;

  constructor(model: Model) {
    this.#model = model;
    this.#status = model.state.status;
    this.#decided = model.state.decisions.length;
  }

  say(text: string): void {
    this.el.textContent = visible(text);
  }

  update(): void {
    // Also while a replay is watched.
    const { live: state } = this.#model;
    if (state.epoch !== this.#epoch) {
      this.#epoch = state.epoch;
      this.#known.clear();
      this.#decided = state.decisions.length;
    }
    const news: string[] = [];
    for (const { gate_id, presentation, node_id } of state.gates.values()) {
      if (this.#known.has(gate_id)) continue;
      this.#known.add(gate_id);
      news.push(presentation.title ?? `${this.#label(node_id)} needs a decision`);
    }
    const said =
      news.length > 3 ? [`${news.length} decisions needed`] : news.map((title) => `Decision needed: ${title}`);
    for (const { node_id, decision, by } of state.decisions.slice(this.#decided).slice(-3)) {
      said.push(`${this.#label(node_id)}: ${decision}, by ${by}`);
    }
    this.#decided = state.decisions.length;
    if (state.status !== this.#status) {
      this.#status = state.status;
      if (over(state.status))
        said.push(`The run has ${state.status === "cancelled" ? "been cancelled" : state.status}`);
    }
    if (said.length > 0) this.say(said.map((text) => (/[.?!]$/.test(text) ? text : `${text}.`)).join(" "));
  }

  #label(nodeId: string): string {
    return label(this.#model.live.nodes.get(nodeId) ?? { id: nodeId });
  }
}
