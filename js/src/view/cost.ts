// What a run costs, and will have cost: arithmetic, no DOM.

import type { Cost } from "../store";

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
