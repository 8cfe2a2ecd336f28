// What a run costs, and will have cost, and where it went: arithmetic, no DOM.

import type { Cost, Node } from "../../state/types";
import { isFolded } from "./folding";

/** From this share of the budget on, the bar warns. */
export const WARN_AT = 0.8;
/** Below this share of work done a projection would be a guess. */
export const PROJECT_FROM = 0.1;

export type CostLevel = "ok" | "warn" | "over";

export interface CostFigures {
  spent: number;
  budget?: number;
  remaining?: number;
  /** What the whole run will cost if the rest of its work costs as much as what is done. Absent where unknown. */
  projected?: number;
  /** Of the budget; absent without one. */
  share?: number;
  level: CostLevel;
  /** Tokens that `spent` does not include. */
  unpriced: number;
}

/**
 * The figures to show for `cost`, where `done` of `total` nodes' worth of work is done.
 *
 * A run that has ended (`ended`) projects nothing: what it spent is what it cost.
 */
export function figures(cost: Cost, done: number, total: number, ended: boolean): CostFigures {
  const { spent, budget } = cost;
  const fraction = total > 0 ? done / total : 0;
  const projected = !ended && spent > 0 && fraction >= PROJECT_FROM && fraction < 1 ? spent / fraction : undefined;
  const remaining = cost.remaining ?? (budget === undefined ? undefined : budget - spent);
  const share = budget !== undefined && budget > 0 ? spent / budget : undefined;
  const level =
    budget !== undefined && spent > budget ? "over" : share !== undefined && share >= WARN_AT ? "warn" : "ok";
  return { spent, budget, remaining, projected, share, level, unpriced: cost.unpriced ?? 0 };
}

/** What a node, or all that it stands for, has cost; undefined where nobody said. */
export function costOf(node: Node, cost: Cost | undefined): number | undefined {
  const known = cost?.by_node ?? {};
  if (isFolded(node)) {
    // A saved picture has a prototype, and a node may be called as what is in it.
    const priced = node.members.filter((id) => typeof known[id] === "number");
    if (priced.length > 0) return priced.reduce((sum, id) => sum + known[id]!, 0);
  }
  const total = known[node.id] ?? node.metrics?.cost;
  return typeof total === "number" ? total : undefined;
}

/** What the nodes in each group have cost, by the group's path: `etl` holds what `etl/load` holds. */
export function groupCosts(nodes: Iterable<Node | undefined>, cost: Cost | undefined): Map<string, number> {
  const sums = new Map<string, number>();
  for (const node of nodes) {
    const amount = node?.group ? costOf(node, cost) : undefined;
    if (!amount) continue;
    let path = node?.group as string;
    for (let end = path.length; end > 0; end = path.lastIndexOf("/")) {
      path = path.slice(0, end);
      sums.set(path, (sums.get(path) ?? 0) + amount);
    }
  }
  return sums;
}

export interface Ranking<T> {
  first: readonly (readonly [T, number])[];
  /** How many came after these, and what they cost together. */
  others: number;
  rest: number;
}

/** The `most` most expensive of `items`, dearest first; what costs nothing is not among them. */
export function dearest<T>(items: Iterable<readonly [T, number | undefined]>, most: number): Ranking<T> {
  const costly = [...items].filter((item): item is [T, number] => (item[1] ?? 0) > 0).sort((a, b) => b[1] - a[1]);
  const after = costly.slice(most);
  return {
    first: costly.slice(0, most),
    others: after.length,
    rest: after.reduce((sum, [, amount]) => sum + amount, 0),
  };
}
