// A node's second line: the one thing about it that matters most just now.

import type { Cost, Node } from "../../state/types";
import { costOf, groupCosts } from "../model/cost";
import { clock, duration, money } from "../model/format";
import { countsText, settled } from "../model/status";

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

/** What a node, or all that it stands for, has cost, in words; undefined where nobody said. */
export function spent(node: Node, cost: Cost | undefined): string | undefined {
  const total = costOf(node, cost);
  return total === undefined ? undefined : money(total, cost?.currency);
}

/** The sums, for as long as what the run costs is the same: a picture is drawn more often than money is spent. */
const sums = new WeakMap<Cost, Map<string, number>>();

/** A group's name, with what its nodes have cost. */
export function groupCaption(path: string, nodes: Iterable<Node | undefined>, cost: Cost | undefined): string {
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (!cost) return name;
  if (!sums.has(cost)) sums.set(cost, groupCosts(nodes, cost));
  const total = sums.get(cost)?.get(path);
  return total === undefined ? name : `${name} · ${money(total, cost.currency)}`;
}

function firstLine(text: string): string {
  const end = text.indexOf("\n");
  return end < 0 ? text : text.slice(0, end);
}
