// What a node stands for, where it stands for several: how to open it, and a list that begins with what needs attention.

import type { Node } from "../../state/types";
import { button, h } from "../dom/dom";
import { keyed } from "../dom/patch";
import { took } from "../graph/caption";
import { iconElement } from "../graph/icons";
import type { Folded } from "../model/folding";
import type { Model } from "../model/model";
import { matches } from "../model/search";
import { label, STATUSES } from "../model/status";

const MOST = 50;
const NAME_LIMIT = 60;

/** Opens what a node stands for, or folds it with what is like it; nothing where neither can be done. */
export function foldButton(model: Model, id: string): HTMLElement | undefined {
  const turn = model.folding.turn(id);
  if (!turn) return undefined;
  const text = turn.action === "expand" ? "Expand" : `Collapse ${turn.what.slice(0, NAME_LIMIT)}`;
  return button(text, () => model.fold(() => model.folding.toggle(id)), {
    class: "dw-button dw-small dw-turn",
    title: `${text} (e)`,
  });
}

/** The members by name, each a way to its own details: what was searched for first, then what needs attention. */
export function memberList({ members }: Folded, model: Model): HTMLElement {
  const list = h("ul", { class: "dw-instances" });
  const { sought, state } = model;
  const ranked: Node[][] = Array.from({ length: 2 * STATUSES.length }, () => []);
  for (const id of members) {
    const node = state.nodes.get(id)!;
    const asked = sought !== undefined && matches(node, sought);
    ranked[STATUSES.indexOf(node.status) + (asked ? 0 : STATUSES.length)]!.push(node);
  }
  for (const node of ranked.flat().slice(0, MOST)) {
    const aside = node.error?.split("\n", 1)[0] ?? node.message ?? took(node);
    list.append(
      keyed(
        h(
          "li",
          {},
          iconElement(node.status, node.reason),
          button(label(node), () => model.select(node.id), { class: "dw-link", title: node.id }),
          h("small", { title: aside }, aside),
        ),
        node.id,
      ),
    );
  }
  const more = members.length - MOST;
  if (more > 0) list.append(h("li", { class: "dw-muted" }, `and ${more.toLocaleString()} more`));
  return list;
}
