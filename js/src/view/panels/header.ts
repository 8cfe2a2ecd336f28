// The first line: which DAG, how its run is doing, how many nodes are in which state, for how long.

import type { NodeStatus } from "../../state/types";
import { button, h, setHidden, setText, setTitle } from "../dom/dom";
import { iconElement } from "../graph/icons";
import type { Stop } from "../graph/spotlight";
import { clock, count, duration } from "../model/format";
import type { Model } from "../model/model";
import { over, RUN_LOOKS, RUN_WORDS, STATUSES } from "../model/status";
import type { Panel } from "../panel";

/** What there is a way to from its count, and its key. */
const STOPS: Readonly<Partial<Record<NodeStatus, readonly [Stop, string]>>> = {
  failed: ["failed", "f"],
  waiting: ["waiting", "g"],
  running: ["running", "r"],
};

export class HeaderPanel implements Panel {
  readonly #model: Model;
  readonly #word = h("span", { class: "dw-word" });
  readonly #elapsed = h("span", { class: "dw-elapsed", title: "Elapsed" });
  /** Why the run has ended as it has. */
  readonly #reason = h("span", { class: "dw-reason dw-muted" });
  readonly #gates: HTMLButtonElement;
  readonly #counts = h("ul", { class: "dw-counts", "aria-label": "Nodes by status" });
  readonly #chips = new Map<NodeStatus, { el: HTMLElement; number: HTMLElement }>();
  readonly el: HTMLElement;

  constructor(model: Model, jump?: (stop: Stop) => void, decide: () => void = () => {}) {
    this.#model = model;
    this.#gates = button("", decide, { class: "dw-gate-count", hidden: true });
    for (const status of STATUSES) {
      const number = h("b", {});
      const el = h("li", { title: status, hidden: true });
      const parts = [iconElement(status), number, " ", h("span", {}, status)];
      const stop = STOPS[status];
      if (jump && stop) {
        const to = button(false, () => jump(stop[0]), { class: "dw-jump", title: `Next ${status} node (${stop[1]})` });
        to.append(...parts);
        el.removeAttribute("title");
        el.append(to);
        this.#chips.set(status, { el, number });
      } else {
        el.append(...parts);
        this.#chips.set(status, { el, number });
      }
      this.#counts.append(el);
    }
    this.el = h(
      "div",
      { class: "dw-header" },
      h(
        "div",
        { class: "dw-title" },
        h("span", { class: "dw-name", title: model.dagId }, model.dagId),
        this.#word,
        this.#gates,
        this.#elapsed,
        this.#reason,
      ),
      this.#counts,
    );
  }

  update(): void {
    const { state, tally, replay } = this.#model;
    const waiting = state.status === "running" && state.gates.size > 0;
    this.#word.dataset.status = waiting ? "waiting" : RUN_LOOKS[state.status];
    setText(this.#word, waiting ? (replay ? "Waiting for a decision" : "Waiting for you") : this.#status());
    setTitle(this.#reason, (over(state.status) && state.reason) || "");
    setText(this.#reason, this.#reason.title);
    setHidden(this.#reason, this.#reason.title === "");
    const open = state.gates.size;
    setHidden(this.#gates, open === 0);
    setText(this.#gates, count(open));
    this.#gates.title = open === 1 ? "1 decision needed" : `${count(open)} decisions needed`;
    this.#gates.setAttribute("aria-label", this.#gates.title);
    for (const [status, { el, number }] of this.#chips) {
      const value = tally.counts[status];
      setHidden(el, value === 0);
      setText(number, count(value));
    }
    this.tick();
  }

  #status(): string {
    const { state, connection, awaitsRun } = this.#model;
    if (awaitsRun) return "No run yet";
    // Without a connection there may be a run.
    const unknown = state.status === "pending" && !state.epoch && connection.phase !== "live";
    return unknown ? "" : RUN_WORDS[state.status];
  }

  tick(): void {
    const { state, asOf } = this.#model;
    const { started_at } = state;
    const ended = over(state.status) ? state.ended_at : undefined;
    const ms = started_at === undefined ? undefined : (ended ?? asOf) - started_at;
    setText(this.#elapsed, ms === undefined ? "" : ended === undefined ? clock(ms) : duration(ms));
  }
}
