// All open gates in a list, where there is more than one: what is asked, where, since when, until when, and of whom.

import type { Gate } from "../../state/types";
import { button, h, setHidden, setText } from "../dom/dom";
import { clock } from "../model/format";
import type { Model } from "../model/model";
import { label } from "../model/status";
import { deadlineOf } from "./deadline";

const ROWS = 200;

interface Row {
  el: HTMLElement;
  cells: readonly [title: HTMLElement, node: HTMLElement, since: HTMLElement, deadline: HTMLElement, who: HTMLElement];
}

export class GateIndex {
  readonly #model: Model;
  readonly #go: (gateId: string) => void;
  readonly #rows = new Map<string, Row>();
  readonly el = h("ol", { class: "dw-gate-index", "aria-label": "Open gates", hidden: true });

  constructor(model: Model, go: (gateId: string) => void) {
    this.#model = model;
    this.#go = go;
  }

  update(): void {
    const { gates } = this.#model.state;
    setHidden(this.el, gates.size < 2);
    const shown = gates.size < 2 ? [] : [...gates.values()].slice(0, ROWS);
    for (const [id, row] of this.#rows) {
      if (gates.has(id) && shown.length > 0) continue;
      this.#rows.delete(id);
      row.el.remove();
    }
    for (const gate of shown) if (!this.#rows.has(gate.gate_id)) this.#add(gate.gate_id);
    this.tick();
  }

  tick(): void {
    const { state, serverTime } = this.#model;
    for (const [id, { cells }] of this.#rows) {
      const gate = state.gates.get(id);
      if (!gate) continue;
      const { presentation, opened_at } = gate;
      const where = this.#where(gate);
      const deadline = deadlineOf(presentation, serverTime);
      const words = [
        presentation.title ?? `${where} needs a decision`,
        where,
        opened_at === undefined ? "" : `waiting ${clock(serverTime - opened_at)}`,
        deadline?.text ?? "",
        presentation.assignees?.length ? `for ${presentation.assignees.join(", ")}` : "",
      ];
      for (const [i, cell] of cells.entries()) setText(cell, words[i]!);
      cells[3].classList.toggle("dw-urgent", deadline?.urgent === true);
    }
  }

  #add(id: string): void {
    const part = () => h("span", { class: "dw-muted" });
    const cells = [h("b", {}), part(), part(), part(), part()] as const;
    const go = button(false, () => this.#go(id), { class: "dw-gate-row" });
    // Readers hear the parts as one name: something must stand between them.
    for (const cell of cells) go.append(cell, " ");
    const el = h("li", {}, go);
    this.#rows.set(id, { el, cells });
    this.el.append(el);
  }

  #where({ node_id, instance }: Gate): string {
    const name = label(this.#model.state.nodes.get(node_id) ?? { id: node_id });
    return instance ? `${name} · ${instance}` : name;
  }
}
