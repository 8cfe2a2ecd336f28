// Which nodes are bright while the viewer looks for something: computed when what it depends on changes, never per frame.

import type { Node } from "../../state/types";
import { isFolded } from "../model/folding";
import { duration } from "../model/format";
import type { Model } from "../model/model";
import { matches, parseQuery, type Query } from "../model/search";
import { around, kin, longest } from "./paths";
import { BACK, type Scene } from "./scene";

/** What a search, and then a mode, leaves of the brightness of everything else. */
const DIM = 0.2;
const NEARLY_NOTHING = 0.07;

export type Mode = "path" | "critical" | "active";
export type Stop = "failed" | "waiting" | "running";

export class Spotlight {
  mode: Mode | undefined;
  /** What was found, in reading order. */
  found: readonly number[] = [];
  /** What there is to say of the mode. */
  note = "";
  /** The node whose path it is. */
  origin: string | undefined;
  #query: Query | undefined;
  readonly #scene: Scene;
  readonly #model: Model;

  constructor(scene: Scene, model: Model) {
    this.#scene = scene;
    this.#model = model;
  }

  get searching(): boolean {
    return this.#query !== undefined;
  }

  /** Whether nodes that change may change what is bright. */
  get live(): boolean {
    return this.searching || this.mode === "active" || this.mode === "critical";
  }

  search(text: string): void {
    this.#query = parseQuery(text);
    this.#model.sought = this.#query ?? this.#model.sought;
  }

  set(mode: Mode | undefined, origin?: string): void {
    this.mode = mode;
    this.origin = origin;
  }

  /** Compute anew what is bright. A search comes before a mode, as it was asked last. */
  light(): void {
    const scene = this.#scene;
    const { n, edges, flags } = scene;
    const back = (e: number) => (flags[e]! & BACK) !== 0;
    this.found = [];
    this.note = "";
    let lit: Uint8Array | undefined;
    let order: readonly number[] | undefined;
    if (this.#query) {
      const query = this.#query;
      this.found = this.#where((node) => matches(node, query));
      lit = mark(n, this.found);
    } else if (this.mode === "path") {
      const asked = this.origin ?? "";
      const origin = scene.index.get(asked) ?? scene.index.get(this.#model.folding.shows(asked));
      if (origin === undefined) this.mode = undefined;
      else {
        lit = kin(n, edges, origin, back);
        this.note = `${count(lit) - 1} upstream and downstream`;
      }
    } else if (this.mode === "critical") {
      const weight = Float64Array.from({ length: n }, (_, i) => lasted(scene.nodes[i], this.#model.asOf));
      order = longest(n, edges, weight, back);
      lit = mark(n, order);
      this.note = `${order.length} nodes, ${duration(order.reduce((sum, i) => sum + weight[i]!, 0))}`;
    } else if (this.mode === "active") {
      const seeds = new Uint8Array(n);
      for (const stop of ["failed", "waiting", "running"] as const) for (const i of this.stops(stop)) seeds[i] = 1;
      lit = around(edges, seeds);
      this.note = `${count(seeds)} active`;
    }
    scene.lit = lit;
    scene.litEdges = lit && this.#edges(lit, order);
    scene.litGroups = lit && this.#groups(lit);
    scene.dim = this.mode === "active" && !this.#query ? NEARLY_NOTHING : DIM;
  }

  /** The nodes in that state, in reading order; one with an open gate waits, whatever else it does. */
  stops(stop: Stop): readonly number[] {
    const gated = new Set<string>();
    if (stop === "waiting") for (const gate of this.#model.state.gates.values()) gated.add(gate.node_id);
    return this.#where((node) => node.status === stop || gated.has(node.id));
  }

  #where(holds: (node: Node) => boolean): number[] {
    const { nodes, n, x, y, direction } = this.#scene;
    const all = this.#model.state.nodes;
    const within = (id: string) => {
      const node = all.get(id);
      return node !== undefined && holds(node);
    };
    const found: number[] = [];
    for (let i = 0; i < n; i++) {
      const node = nodes[i];
      if (node && (isFolded(node) ? node.members.some((id) => within(id)) : holds(node))) found.push(i);
    }
    const [main, cross] = direction === "LR" ? [x, y] : [y, x];
    return found.sort((a, b) => main[a]! - main[b]! || cross[a]! - cross[b]!);
  }

  #groups(lit: Uint8Array): ReadonlySet<string> {
    const groups = new Set<string>();
    for (const [i, node] of this.#scene.nodes.entries()) {
      let path = lit[i] ? (node?.group ?? "") : "";
      while (path && !groups.has(path)) {
        groups.add(path);
        path = path.slice(0, Math.max(0, path.lastIndexOf("/")));
      }
    }
    return groups;
  }

  /** Edges between bright nodes; of a path (`order`) those alone that it goes along. */
  #edges(lit: Uint8Array, order: readonly number[] | undefined): Uint8Array {
    const { edges } = this.#scene;
    const next = order && new Map(order.map((i, at) => [i, order[at + 1]]));
    return Uint8Array.from({ length: edges.length / 2 }, (_, e) => {
      const [from, to] = [edges[2 * e]!, edges[2 * e + 1]!];
      return lit[from] && lit[to] && (!next || next.get(from) === to) ? 1 : 0;
    });
  }
}

/** The one after (`by` 1) or before (-1) `at` in a list that goes round. */
export function nextOf(list: readonly number[], at: number | undefined, by: 1 | -1): number | undefined {
  const here = at === undefined ? -1 : list.indexOf(at);
  if (here < 0) return by === 1 ? list[0] : list.at(-1);
  return list[(here + by + list.length) % list.length];
}

/** How long a node took, or has been running; 0 where that is not known. */
function lasted(node: Node | undefined, asOf: number): number {
  if (!node) return 0;
  const { metrics, started_at, ended_at, status } = node;
  if (typeof metrics?.duration_ms === "number") return metrics.duration_ms;
  const end = ended_at ?? (status === "running" ? asOf : undefined);
  return started_at === undefined || end === undefined ? 0 : Math.max(0, end - started_at);
}

function mark(n: number, indices: readonly number[]): Uint8Array {
  const lit = new Uint8Array(n);
  for (const i of indices) lit[i] = 1;
  return lit;
}

function count(lit: Uint8Array): number {
  let sum = 0;
  for (const one of lit) sum += one;
  return sum;
}
