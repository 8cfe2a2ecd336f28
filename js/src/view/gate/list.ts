// All gates that wait for a person, above the graph where they can't be missed. Keyed by gate_id: a gate that is opened
// again is the same card.

import type { Gate } from "../../state/types";
import { button, focusedNear, h, setHidden, setText } from "../dom/dom";
import type { Model } from "../model/model";
import type { Panel } from "../panel";
import { GateCard } from "./card";
import { GateIndex } from "./index";

/** More cards than this are counted, not drawn; the next one comes up as soon as one is answered. */
const CARDS = 12;

export class GatesPanel implements Panel {
  readonly #model: Model;
  readonly #find: (nodeId: string) => void;
  readonly #leave: () => void;
  #cards = new Map<string, GateCard>();
  /** The live cards while a replay is watched, with what was typed in them. */
  #aside: Map<string, GateCard> | undefined;
  readonly #list = h("div", { class: "dw-gate-list" });
  readonly #more = h("p", { class: "dw-muted", hidden: true });
  readonly #notices = h("div", { class: "dw-notices", role: "status" });
  readonly #index: GateIndex;
  readonly el: HTMLElement;

  /** `leave` takes the keyboard when the last card goes that had it. */
  constructor(model: Model, find: (nodeId: string) => void, leave: () => void) {
    this.#model = model;
    this.#find = find;
    this.#leave = leave;
    this.#index = new GateIndex(model, (id) => this.#open(id));
    this.el = h(
      "section",
      { class: "dw-gates", "aria-label": "Decisions needed", hidden: true },
      this.#notices,
      this.#index.el,
      this.#list,
      this.#more,
    );
  }

  /** Go to what has waited longest. */
  focus(): void {
    this.el.scrollIntoView?.({ block: "nearest" });
    [...this.#cards.values()][0]?.focus();
  }

  update(): void {
    const { gates, epoch } = this.#model.state;
    this.#turn();
    let left = false;
    for (const [id, card] of this.#cards) {
      const now = gates.get(id);
      // Opened at another time it is another question, though nobody saw it closed in between.
      if (now && now.opened_at === card.gate.opened_at && card.epoch === epoch) continue;
      // Who is still typing must not press keys of something else.
      left ||= card.el.contains(focusedNear(card.el)) && !(card.touched && card.el.dataset.standing === "idle");
      this.#cards.delete(id);
      card.el.remove();
      if (this.#aside) continue;
      card.forget();
      this.#farewell(id, card);
    }
    for (const gate of gates.values()) {
      const card = this.#cards.get(gate.gate_id);
      if (card) card.update(gate);
      else if (this.#cards.size < CARDS) this.#list.append(this.#make(gate).el);
    }
    this.#index.update();
    const hidden = gates.size - this.#cards.size;
    setHidden(this.#more, hidden === 0);
    setText(this.#more, `${hidden} more open gates.`);
    this.#show();
    if (left) this.#goOn();
  }

  #goOn(): void {
    if (this.#cards.size > 0) this.focus();
    else this.#leave();
  }

  /** A gate of the past is another card than the live one. */
  #turn(): void {
    const { replay } = this.#model;
    if ((replay === undefined) === (this.#aside === undefined)) return;
    const back = this.#aside;
    this.#aside = back ? undefined : this.#cards;
    this.#cards = back ?? new Map();
    this.#list.replaceChildren(...[...this.#cards.values()].map((card) => card.el));
  }

  tick(): void {
    for (const card of this.#cards.values()) card.tick();
    this.#index.tick();
  }

  #make(gate: Gate): GateCard {
    const card: GateCard = new GateCard(this.#model, gate, this.#find, () => this.#answered(card));
    this.#cards.set(gate.gate_id, card);
    return card;
  }

  /** Go to a gate's card, which is made if it was only counted. */
  #open(id: string): void {
    const gate = this.#model.state.gates.get(id);
    if (!gate) return;
    if (!this.#cards.has(id)) this.#list.prepend(this.#make(gate).el);
    this.#cards.get(id)?.focus();
    this.update();
  }

  /** What a person would miss with the card: that their decision was refused, or that someone else was faster. */
  #farewell(id: string, card: GateCard): void {
    const made = this.#model.state.decisions.findLast((decision) => decision.gate_id === id);
    if (card.refusal) this.#notice(`${card.title}: ${card.refusal}`);
    else if (card.touched && made && card.el.dataset.standing === "idle") {
      this.#notice(`${card.title}: ${made.by} has decided (${made.decision}) before you sent yours.`);
    }
  }

  /** What was refused after its card had gone: another run is shown since, or somebody else was faster. */
  #answered(card: GateCard): void {
    const there = [...this.#cards.values(), ...(this.#aside?.values() ?? [])].includes(card);
    if (there || !card.refusal) return;
    this.#notice(`${card.title}: ${card.refusal}`);
    this.#show();
  }

  #notice(text: string): void {
    const notice = h("p", {}, h("span", {}, text));
    notice.append(
      button(
        "Dismiss",
        () => {
          notice.remove();
          this.#show();
          this.#goOn();
        },
        { class: "dw-link" },
      ),
    );
    this.#notices.append(notice);
  }

  #show(): void {
    setHidden(this.el, this.#cards.size === 0 && this.#notices.childElementCount === 0);
  }
}
