// The graph as it is shown: a group that is collapsed, and a fan of nodes that are alike, are one node each.

import type { Change, DagState, Edge, Node, NodeStatus } from "../../state/types";
import { label, STATUSES, settled, Tally } from "./status";
import { twins } from "./twins";

/** So many nodes that are alike are shown as one, until somebody opens it. */
export const FAN = 16;
/** Begins the ids of what stands for several; no engine gives a node such an id. */
const MARK = "\0";

/** What a graph is drawn from. */
export type Shown = Pick<DagState, "nodes" | "edges">;

/** A node that stands for several. */
export interface Folded extends Node {
  label: string;
  members: readonly string[];
  counts: NonNullable<Node["counts"]>;
  /** The path of a group; a fan has none. */
  path?: string;
}

export function isFolded(node: Node | undefined): node is Folded {
  return node !== undefined && "members" in node;
}

interface Fold {
  id: string;
  label: string;
  group: string | undefined;
  path?: string;
  members: string[];
  tally: Tally;
}

/** What could be done to a node that is looked at. */
export type Turn = { action: "expand" | "collapse"; what: string };

export class Folding {
  readonly #state: () => DagState;
  readonly #collapsed = new Set<string>();
  /** Nodes whose fan somebody opened: it stays open, whichever of them leave it. And fans that there are, folded or not. */
  readonly #opened = new Set<string>();
  #fanOf = new Map<string, string>();
  #fanSize = new Map<string, number>();
  #folds = new Map<string, Fold>();
  /** The fold that a node is in; and was in, before the structure changed last. */
  #foldOf = new Map<string, Fold>();
  #was = new Map<string, Fold>();
  #nodes = new Map<string, Node>();
  #edges = new Map<string, Map<string, Edge>>();
  #possible = false;
  #stale = true;
  #staleEdges = true;
  readonly #staleNodes = new Set<string>();

  /** @param state Gives what there is to fold, whenever it is asked. */
  constructor(state: () => DagState) {
    this.#state = state;
  }

  /** Take in what a batch changed. */
  changed(change: Change): void {
    if (change.reset || change.structure) this.#stale = true;
    if (this.#stale) return;
    if (change.edges) this.#staleEdges = true;
    if (this.#folds.size > 0) for (const id of change.nodes) this.#staleNodes.add(id);
  }

  /** The nodes and edges that are shown. */
  get shown(): Shown {
    this.#fold();
    const state = this.#state();
    if (this.#folds.size === 0) return state;
    this.#update(state);
    return { nodes: this.#nodes, edges: this.#edges };
  }

  /** The id of the node that shows `id`. */
  shows(id: string): string {
    this.#fold();
    return this.#foldOf.get(id)?.id ?? id;
  }

  /** What showed a node, or one of those that it shows, before the structure changed last. */
  origin(id: string): string | undefined {
    const first = this.#folds.get(id)?.members[0];
    return this.#was.get(first ?? id)?.id ?? first;
  }

  /** Whether there is anything that could be shown as one node, or is. */
  get possible(): boolean {
    this.#fold();
    return this.#possible;
  }

  /** Whether anything is shown as one node. */
  get any(): boolean {
    this.#fold();
    return this.#folds.size > 0;
  }

  /** What `toggle` would do; undefined where that is nothing. */
  turn(id: string): Turn | undefined {
    this.#fold();
    const fold = this.#folds.get(id) ?? this.#foldOf.get(id);
    if (fold) return { action: "expand", what: fold.label };
    const fan = this.#fanOf.get(id);
    if (fan !== undefined)
      return { action: "collapse", what: `${(this.#fanSize.get(fan) ?? 0).toLocaleString()} similar nodes` };
    const group = this.#state().nodes.get(id)?.group;
    return group ? { action: "collapse", what: group.replaceAll("/", " / ") } : undefined;
  }

  /** Open what `id` is or is shown by; or fold what is like this node again, or else collapse its group. */
  toggle(id: string): void {
    this.#fold();
    const fold = this.#folds.get(id) ?? this.#foldOf.get(id);
    const fan = this.#fanOf.get(id);
    if (fold?.path !== undefined) this.#collapsed.delete(fold.path);
    else if (fold) for (const member of fold.members) this.#opened.add(member);
    else if (fan !== undefined) {
      for (const [member, its] of this.#fanOf) if (its === fan) this.#opened.delete(member);
    } else this.collapse(this.#state().nodes.get(id)?.group);
    this.#stale = true;
  }

  /** Show a group as one node. */
  collapse(path: string | undefined): void {
    if (path) this.#collapsed.add(path);
    this.#stale = true;
  }

  /** Show every node by itself, or fans and groups as one each. */
  toggleAll(): void {
    if (this.any) {
      this.#collapsed.clear();
      // Fans inside of groups, too.
      for (const id of this.#state().nodes.keys()) this.#opened.add(id);
    } else {
      this.#opened.clear();
      for (const { group } of this.#state().nodes.values()) if (group) this.#collapsed.add(/^.[^/]*/.exec(group)![0]);
    }
    this.#stale = true;
  }

  // --- Which nodes are shown as one

  #fold(): void {
    if (!this.#stale) return;
    this.#stale = false;
    this.#staleEdges = true;
    this.#staleNodes.clear();
    const state = this.#state();
    this.#was = this.#foldOf;
    this.#folds = new Map();
    this.#foldOf = new Map();
    this.#foldGroups(state);
    this.#foldFans(state);
    this.#nodes = new Map();
    this.#possible = this.#fanSize.size > 0 || some(state.nodes, (node) => Boolean(node.group));
    if (this.#folds.size === 0) return;
    for (const node of state.nodes.values()) {
      const fold = this.#foldOf.get(node.id);
      if (!fold) this.#nodes.set(node.id, node);
      else {
        fold.tally.set(node.id, node);
        // Where its first member was, so that the order in which nodes came is kept.
        if (fold.members[0] === node.id) this.#nodes.set(fold.id, { id: fold.id, status: "pending" });
      }
    }
    for (const fold of this.#folds.values()) this.#nodes.set(fold.id, nodeOf(fold, state.nodes));
  }

  #foldGroups({ nodes }: DagState): void {
    if (this.#collapsed.size === 0) return;
    for (const { id, group } of nodes.values()) {
      const path = group && outermost(group, this.#collapsed);
      if (!path) continue;
      const cut = path.lastIndexOf("/");
      this.#put(id, `${MARK}group:${path}`, () => ({
        label: path.slice(cut + 1),
        group: cut > 0 ? path.slice(0, cut) : undefined,
        path,
      }));
    }
  }

  #foldFans({ nodes, edges }: DagState): void {
    this.#fanOf = new Map();
    this.#fanSize = new Map();
    // What is in a collapsed group is looked at as the group that it is in.
    const index = new Map<string, number>();
    const ids: string[] = [];
    const kinds = new Map<string, number>();
    const kind: number[] = [];
    for (const node of nodes.values()) {
      const id = this.#foldOf.get(node.id)?.id ?? node.id;
      let at = index.get(id);
      if (at === undefined) {
        at = ids.push(id) - 1;
        const what = id === node.id ? `${task(label(node))}\n${node.kind ?? ""}\n${node.group ?? ""}` : id;
        kinds.set(what, kinds.get(what) ?? kinds.size);
        kind.push(kinds.get(what)!);
        index.set(id, at);
      }
      index.set(node.id, at);
    }
    if (ids.length < FAN) return;
    const pairs: number[] = [];
    for (const [target, sources] of edges) {
      const to = index.get(target);
      if (to === undefined) continue;
      for (const source of sources.keys()) {
        const from = index.get(source);
        if (from !== undefined) pairs.push(from, to);
      }
    }
    const alike = twins(ids.length, Uint32Array.from(pairs), kind, FAN);
    const fans = new Map<number, string[]>();
    for (const [i, group] of alike.entries()) {
      if (group < 0) continue;
      const fan = fans.get(group);
      if (fan) fan.push(ids[i]!);
      else fans.set(group, [ids[i]!]);
    }
    for (const members of fans.values()) {
      const id = `${MARK}fan:${members[0]}`;
      this.#fanSize.set(id, members.length);
      const open = members.some((member) => this.#opened.has(member));
      for (const member of members) {
        if (open) this.#fanOf.set(member, id);
        else
          this.#put(member, id, () => ({
            label: `${common(members.map((each) => label(nodes.get(each)!)))} ×\u00a0${members.length.toLocaleString()}`,
            group: nodes.get(members[0]!)!.group,
          }));
      }
    }
  }

  #put(member: string, id: string, make: () => Pick<Fold, "label" | "group" | "path">): void {
    let fold = this.#folds.get(id);
    if (!fold) {
      fold = { ...make(), id, members: [], tally: new Tally() };
      this.#folds.set(id, fold);
    }
    fold.members.push(member);
    this.#foldOf.set(member, fold);
  }

  // --- What they add up to

  #update(state: DagState): void {
    const changed = new Set<Fold>();
    for (const id of this.#staleNodes) {
      const node = state.nodes.get(id);
      const fold = this.#foldOf.get(id);
      if (!node) continue;
      if (fold) {
        fold.tally.set(id, node);
        changed.add(fold);
      } else this.#nodes.set(id, node);
    }
    this.#staleNodes.clear();
    for (const fold of changed) this.#nodes.set(fold.id, nodeOf(fold, state.nodes));
    if (!this.#staleEdges) return;
    this.#staleEdges = false;
    this.#edges = new Map();
    for (const [to, sources] of state.edges) {
      const target = this.#foldOf.get(to)?.id ?? to;
      for (const [from, edge] of sources) {
        const source = this.#foldOf.get(from)?.id ?? from;
        if (source === target && (source !== from || target !== to)) continue;
        let into = this.#edges.get(target);
        if (!into) {
          into = new Map();
          this.#edges.set(target, into);
        }
        const known = into.get(source);
        into.set(source, known ? merged(known, edge) : edge);
      }
    }
  }
}

function nodeOf({ id, label, group, path, members, tally }: Fold, nodes: ReadonlyMap<string, Node>): Folded {
  let [started, ended, cost] = [Infinity, -Infinity, 0];
  for (const member of members) {
    const { started_at, ended_at, metrics } = nodes.get(member)!;
    started = Math.min(started, started_at ?? Infinity);
    ended = Math.max(ended, ended_at ?? -Infinity);
    cost += typeof metrics?.cost === "number" ? metrics.cost : 0;
  }
  const present = STATUSES.filter((status) => tally.counts[status] > 0);
  const counts = Object.fromEntries(present.map((status) => [status, tally.counts[status]])) as Folded["counts"];
  const done = present.every(settled);
  return {
    id,
    label,
    status: statusOf(present),
    members,
    counts,
    ...(group !== undefined && { group }),
    ...(path !== undefined && { path }),
    ...(started < Infinity && { started_at: started }),
    ...(done && ended > -Infinity && { ended_at: ended }),
    ...(cost > 0 && { metrics: { cost } }),
  };
}

/** What a person should know first; some that are done and some that are not yet begun are a task under way. */
function statusOf(present: readonly NodeStatus[]): NodeStatus {
  const first = present[0] ?? "pending";
  return first === "pending" && present.includes("completed") ? "running" : first;
}

function merged(one: Edge, other: Edge): Edge {
  return {
    active: one.active || other.active,
    taken: one.taken || other.taken,
    ...(one.conditional && other.conditional && { conditional: true }),
    ...(one.label !== undefined && one.label === other.label && { label: one.label }),
  };
}

/** What is done, by the name of a node: `shard 12` and `shard 13` are one task. */
function task(name: string): string {
  return name.replace(/\d+/g, "#");
}

/** The beginning that all names share, without the number that they are about to differ in. */
function common(names: readonly string[]): string {
  let shared = names[0] ?? "";
  for (const name of names) while (!name.startsWith(shared)) shared = shared.slice(0, -1);
  return shared.replace(/[\d\s\-_.:/#([{'"]+$/, "") || task(names[0] ?? "");
}

/** The outermost of `paths` that `group` is, or lies in. */
function outermost(group: string, paths: ReadonlySet<string>): string | undefined {
  for (let cut = group.indexOf("/"); cut >= 0; cut = group.indexOf("/", cut + 1)) {
    if (paths.has(group.slice(0, cut))) return group.slice(0, cut);
  }
  return paths.has(group) ? group : undefined;
}

function some<T>(map: ReadonlyMap<string, T>, holds: (value: T) => boolean): boolean {
  for (const value of map.values()) if (holds(value)) return true;
  return false;
}
