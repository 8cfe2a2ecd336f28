// A node's second line: the one thing about it that matters most just now.

import type { Cost, Node } from "../../store";
import { isFolded } from "../folding/folding";
import { clock, duration, money } from "../format";
import { countsText, settled } from "../status";

/** What the caption of `node` says at the moment `asOf` (Unix ms); empty where there is nothing to tell. */
export function caption(node: Node, cost: Cost | undefined, asOf: number): string {
  if (node.counts) return countsText(node.counts);
  if (node.status === "failed") return firstLine(node.error ?? node.message ?? node.reason ?? "failed");
  if (node.status === "waiting") return node.message ?? "needs a decision";
  if (node.status === "running") {
    const elapsed = node.started_at === undefined ? undefined : clock(asOf - node.started_at);
    return [node.message ?? (elapsed === undefined ? "running" : undefined), elapsed].filter(Boolean).join(" · ");
  }
  if (!settled(node.status)) return node.message ?? node.reason ?? "";
  const parts = [took(node), spent(node, cost)].filter((part) => part !== undefined);
  return parts.length > 0 ? parts.join(" · ") : (node.message ?? node.reason ?? "");
}

/** How long a node's execution took, in words. */
export function took(execution: Pick<Node, "metrics" | "started_at" | "ended_at">): string | undefined {
  const measured = execution.metrics?.duration_ms;
  if (typeof measured === "number") return duration(measured);
  if (execution.started_at === undefined || execution.ended_at === undefined) return undefined;
  return duration(execution.ended_at - execution.started_at);
}

/** What a node, or all that it stands for, has cost; undefined where nobody said. */
export function spent(node: Node, cost: Cost | undefined): string | undefined {
  const known = cost?.by_node ?? {};
  const priced = isFolded(node) ? node.members.filter((id) => id in known) : [];
  const total =
    priced.length > 0 ? priced.reduce((sum, id) => sum + known[id]!, 0) : (known[node.id] ?? node.metrics?.cost);
  return typeof total === "number" ? money(total, cost?.currency) : undefined;
}

function firstLine(text: string): string {
  const end = text.indexOf("\n");
  return end < 0 ? text : text.slice(0, end);
}
