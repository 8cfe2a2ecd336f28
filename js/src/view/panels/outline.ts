// The graph for who can't see it: a tree of groups and nodes, that is made as far as somebody opens it.

import type { Node } from "../../state/types";
import { button, h } from "../dom/dom";
import type { Model } from "../model/model";
import { label, STATUSES } from "../model/status";
import type { Panel } from "../panel";

/** As many of a branch as can be walked through; the rest is counted. */
const MOST = 500;

interface Branch {
  name: string;
  nodes: Node[];
}

/**
 * Out of sight until it has the focus. It shows what was there when it was opened or moved in; what changes meanwhile is
 * said by the live region, as rows that move under a reader are no help.
 */
export class OutlinePanel implements Panel {
  readonly el: HTMLElement;
  readonly #model: Model;
  readonly #reveal: (nodeId: string) => void;
  readonly #tree = h("ul", { role: "tree", "aria-label": "Nodes of the graph" });
  readonly #open: HTMLButtonElement;

  constructor(model: Model, reveal: (nodeId: string) => void) {
    this.#model = model;
    this.#reveal = reveal;
    this.#open = button("List the nodes", () => this.#toggle(), { class: "dw-button", "aria-expanded": "false" });
    this.el = h("nav", { class: "dw-outline", "aria-label": "Nodes as a list" }, this.#open, this.#tree);
    this.#tree.hidden = true;
    this.#tree.addEventListener("keydown", (event) => this.#walk(event));
  }

  update(): void {
    const { size } = this.#model.state.nodes;
    this.el.hidden = size === 0;
    if (this.#open.dataset.size === String(size)) return;
    this.#open.dataset.size = String(size);
    this.#open.textContent = size === 1 ? "List the node" : `List the ${size.toLocaleString()} nodes`;
  }

  #toggle(): void {
    const open = this.#tree.hidden;
    this.#tree.hidden = !open;
    this.#open.setAttribute("aria-expanded", String(open));
    this.#tree.replaceChildren();
    if (!open) return;
    for (const branch of branches(this.#model.state.nodes.values())) this.#tree.append(...this.#items(branch));
    const first = this.#tree.querySelector<HTMLElement>('[role="treeitem"]');
    if (first) first.tabIndex = 0;
    first?.focus();
  }

  #items({ name, nodes }: Branch): HTMLElement[] {
    if (name === "") return this.#leaves(nodes);
    const item = h("li", { role: "treeitem", "aria-expanded": "false", tabindex: -1 }, `${name}: ${summary(nodes)}`);
    item.addEventListener("dw-open", () => {
      item.append(h("ul", { role: "group" }, ...this.#leaves(nodes)));
    });
    return [item];
  }

  #leaves(nodes: readonly Node[]): HTMLElement[] {
    const leaves = nodes.slice(0, MOST).map((node) => {
      const now = this.#model.state.nodes.get(node.id) ?? node;
      return h("li", { role: "treeitem", tabindex: -1, "data-node": node.id }, says(now));
    });
    if (nodes.length > MOST) {
      leaves.push(h("li", { role: "treeitem", tabindex: -1 }, `and ${(nodes.length - MOST).toLocaleString()} more`));
    }
    return leaves;
  }

  #walk(event: KeyboardEvent): void {
    const item = (event.target as HTMLElement).closest<HTMLElement>('[role="treeitem"]');
    if (!item) return;
    const shown = [...this.#tree.querySelectorAll<HTMLElement>('[role="treeitem"]')].filter(
      (each) => !each.parentElement?.closest('[aria-expanded="false"]'),
    );
    const at = shown.indexOf(item);
    const expanded = item.getAttribute("aria-expanded");
    const parent = item.parentElement?.closest<HTMLElement>('[role="treeitem"]');
    switch (event.key) {
      case "ArrowDown":
        move(item, shown[at + 1]);
        break;
      case "ArrowUp":
        move(item, shown[at - 1]);
        break;
      case "Home":
        move(item, shown[0]);
        break;
      case "End":
        move(item, shown.at(-1));
        break;
      case "ArrowRight":
        if (expanded === "false") expand(item, true);
        else if (expanded === "true") move(item, shown[at + 1]);
        break;
      case "ArrowLeft":
        if (expanded === "true") expand(item, false);
        else move(item, parent ?? undefined);
        break;
      case "Enter":
      case " ":
        if (item.dataset.node !== undefined) this.#reveal(item.dataset.node);
        else if (expanded !== null) expand(item, expanded === "false");
        break;
      case "Escape":
        this.#toggle();
        this.#open.focus();
        break;
      default:
        return;
    }
    event.preventDefault();
    event.stopPropagation();
  }
}

function move(from: HTMLElement, to: HTMLElement | undefined): void {
  if (!to) return;
  from.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
}

function expand(item: HTMLElement, open: boolean): void {
  item.setAttribute("aria-expanded", String(open));
  item.querySelector('[role="group"]')?.remove();
  if (open) item.dispatchEvent(new Event("dw-open"));
}

/** What belongs together, in the order in which it came; nodes without a group under the empty name. */
function branches(nodes: Iterable<Node>): Branch[] {
  const known = new Map<string, Branch>();
  for (const node of nodes) {
    const name = node.group ?? "";
    const branch = known.get(name) ?? { name, nodes: [] };
    branch.nodes.push(node);
    known.set(name, branch);
  }
  return [...known.values()];
}

/** `48 nodes, 1 failed, 3 running`. */
function summary(nodes: readonly Node[]): string {
  const counts = STATUSES.map((status) => [nodes.filter((node) => node.status === status).length, status] as const);
  const said = counts.filter(([count]) => count > 0).map(([count, status]) => `${count} ${status}`);
  return [nodes.length === 1 ? "1 node" : `${nodes.length} nodes`, ...said].join(", ");
}

function says(node: Node): string {
  const error = node.status === "failed" ? node.error?.split("\n", 1)[0] : undefined;
  return [label(node), node.status, error].filter(Boolean).join(", ");
}
