// What a node stands for, where it stands for several: how to open it, and a list that begins with what needs attention.

import { button, h } from "../dom";
import type { Folded } from "../folding/folding";
import { took } from "../graph/caption";
import { iconElement } from "../graph/icons";
import type { Model } from "../model";
import { label, STATUSES } from "../status";

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

/** The members by name, each a way to its own details. */
export function memberList({ members }: Folded, model: Model): HTMLElement {
  const list = h("ul", { class: "dw-instances" });
  const { nodes } = model.state;
  let left = MOST;
  for (const status of STATUSES) {
    for (const id of members) {
      if (left === 0) break;
      const node = nodes.get(id);
      if (node?.status !== status) continue;
      left--;
      const aside = node.error?.split("\n", 1)[0] ?? node.message ?? took(node);
      list.append(
        h(
          "li",
          {},
          iconElement(status, node.reason),
          button(label(node), () => model.select(id), { class: "dw-link", title: id }),
          h("small", { title: aside }, aside),
        ),
      );
    }
  }
  const more = members.length - MOST;
  if (more > 0) list.append(h("li", { class: "dw-muted" }, `and ${more.toLocaleString()} more`));
  return list;
}
