// What is asked for in the search box, and whether a node is it: `train state:failed group:"data prep"`.

import type { Node } from "../../state/types";

export interface Query {
  /** All of them are in the node's id or label. */
  words: readonly string[];
  /** Beginnings of statuses: any of them. */
  states: readonly string[];
  /** Parts of the group's path: any of them. */
  groups: readonly string[];
}

const TERM = /(?:(state|status|group):)?("[^"]*"?|\S+)/g;

/** Take what was typed apart; undefined where nothing is asked for. */
export function parseQuery(text: string): Query | undefined {
  const query = { words: [] as string[], states: [] as string[], groups: [] as string[] };
  for (const [, kind, raw] of text.toLowerCase().matchAll(TERM)) {
    const term = raw!.replaceAll('"', "");
    // `state:` alone is somebody who is still typing.
    if (term === "" || /^(state|status|group):$/.test(term)) continue;
    (kind === undefined ? query.words : kind === "group" ? query.groups : query.states).push(term);
  }
  return query.words.length + query.states.length + query.groups.length > 0 ? query : undefined;
}

export function matches(node: Node, { words, states, groups }: Query): boolean {
  if (states.length > 0 && !states.some((state) => node.status.startsWith(state))) return false;
  const group = node.group?.toLowerCase() ?? "";
  if (groups.length > 0 && !groups.some((part) => group.includes(part))) return false;
  if (words.length === 0) return true;
  const name = `${node.id}\n${node.label ?? ""}`.toLowerCase();
  return words.every((word) => name.includes(word));
}
