// What the node under the pointer is, beside the pointer.

import type { Cost, Node } from "../../state/types";
import { h, setHidden } from "../dom/dom";
import { label } from "../model/status";
import { caption } from "./caption";

const GAP = 8;

export class Tooltip {
  readonly el = h("div", { class: "dw-tooltip", hidden: true });

  hide(): void {
    setHidden(this.el, true);
  }

  /** Show it for a pointer at (x, y) in a room of this size, px. */
  show(
    node: Node,
    cost: Cost | undefined,
    asOf: number,
    x: number,
    y: number,
    room: { width: number; height: number },
  ) {
    const detail = caption(node, cost, asOf);
    setHidden(this.el, false);
    this.el.replaceChildren(
      h("strong", {}, label(node)),
      h("span", {}, [node.status, detail !== node.status && detail].filter(Boolean).join(" · ")),
    );
    const left = Math.max(GAP, Math.min(x + 14, room.width - this.el.offsetWidth - GAP));
    const below = y + 18 + this.el.offsetHeight < room.height;
    this.el.style.transform = `translate(${left}px, ${below ? y + 18 : y - 12 - this.el.offsetHeight}px)`;
  }
}
