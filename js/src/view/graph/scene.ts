// What is drawn: a layout and the state that it shows, as arrays by index. Updated for what changed alone.

import type { NamedGraph, NamedLayout } from "../../layout/layouter";
import type { Edge, Node, NodeStatus } from "../../state/types";
import type { Shown } from "../model/folding";
import { label, STATUSES } from "../model/status";
import { type Box, ease } from "./camera";
import { Grid } from "./grid";

/** Bits of an edge's flags. */
export const ACTIVE = 1;
export const TAKEN = 2;
export const CONDITIONAL = 4;
export const BACK = 8;

/** A node's box: what stands beside the label, and the bounds of its width, in px. */
export const NODE_HEIGHT = 48;
const NODE_PADDING = 48;
export const NODE_MIN = 168;
export const NODE_MAX = 240;

const NONE = new Float32Array(0);

export class Scene {
  ids: readonly string[] = [];
  readonly index = new Map<string, number>();
  nodes: (Node | undefined)[] = [];
  /** Centres as they are now, on their way to where the layout wants them. */
  x: Float32Array = NONE;
  y: Float32Array = NONE;
  width: Float32Array = NONE;
  height: Float32Array = NONE;
  /** Index into STATUSES, by node. */
  status = new Uint8Array(0);
  edges: Uint32Array = new Uint32Array(0);
  flags = new Uint8Array(0);
  labels: (string | undefined)[] = [];
  route: Float32Array = NONE;
  offset: Uint32Array = new Uint32Array(0);
  /** Left, top, right, bottom of each edge's final route. */
  edgeBox: Float32Array = NONE;
  groups: readonly { path: string; x: number; y: number; width: number; height: number }[] = [];
  bounds: Box = { x: 0, y: 0, width: 0, height: 0 };
  direction: "LR" | "TB" = "LR";
  /** How far the move to this layout has come, 0 to 1. */
  progress = 1;
  #toX: Float32Array = NONE;
  #toY: Float32Array = NONE;
  #fromX: Float32Array = NONE;
  #fromY: Float32Array = NONE;
  /** 1 = was not in the picture before, and fades in. */
  fresh = new Uint8Array(0);
  /** 1 = bright, by node and by edge, while the viewer looks for something; undefined while all are. */
  lit: Uint8Array | undefined;
  litEdges: Uint8Array | undefined;
  /** The paths of the groups that hold something bright. */
  litGroups: ReadonlySet<string> | undefined;
  /** How visible the others are then. */
  dim = 1;
  #grid = new Grid(0, NONE, NONE, NONE, NONE);

  get n(): number {
    return this.ids.length;
  }

  /**
   * Show another layout. With `animate`, nodes that were in the picture set out from where they are, and others from
   * where their `origin` is.
   */
  arrange(result: NamedLayout, shown: Shown, animate: boolean): void {
    const { ids, layout, graph, origin } = result;
    const n = ids.length;
    const [fromX, fromY, fresh] = [layout.x.slice(), layout.y.slice(), new Uint8Array(n)];
    const before = this.n;
    if (animate && before > 0) {
      for (let i = 0; i < n; i++) {
        const known = this.index.get(ids[i]!);
        if (known === undefined) fresh[i] = 1;
        const old = known ?? this.index.get(origin?.(ids[i]!) ?? "");
        if (old !== undefined) [fromX[i], fromY[i]] = [this.x[old]!, this.y[old]!];
      }
    }
    this.ids = ids;
    this.lit = this.litEdges = this.litGroups = undefined;
    this.index.clear();
    for (let i = 0; i < n; i++) this.index.set(ids[i]!, i);
    [this.#fromX, this.#fromY, this.#toX, this.#toY, this.fresh] = [fromX, fromY, layout.x, layout.y, fresh];
    [this.width, this.height, this.direction] = [graph.width, graph.height, graph.direction];
    [this.edges, this.route, this.offset, this.groups] = [graph.edges, layout.route, layout.offset, layout.groups];
    this.bounds = { x: layout.left, y: layout.top, width: layout.width, height: layout.height };
    this.x = fromX.slice();
    this.y = fromY.slice();
    this.#grid = new Grid(n, layout.x, layout.y, graph.width, graph.height);
    this.#boxEdges();
    this.flags = new Uint8Array(layout.back.length);
    this.labels = new Array(layout.back.length);
    for (let e = 0; e < this.flags.length; e++) this.flags[e] = layout.back[e] ? BACK : 0;
    this.status = new Uint8Array(n);
    this.nodes = new Array(n);
    this.refreshAll(shown);
    this.move(animate && before > 0 ? 0 : 1);
  }

  /** Take all nodes and edges from `shown` again. */
  refreshAll(shown: Shown): void {
    for (let i = 0; i < this.n; i++) this.#set(i, shown.nodes.get(this.ids[i]!));
    this.refreshEdges(shown);
  }

  /** What is no longer there stays as it was until there is another layout. */
  refreshNodes(shown: Shown, ids: Iterable<string>): void {
    for (const id of ids) {
      const i = this.index.get(id);
      const node = shown.nodes.get(id);
      if (i !== undefined && node) this.#set(i, node);
    }
  }

  refreshEdges(shown: Shown): void {
    let target = -1;
    let sources: ReadonlyMap<string, Edge> | undefined;
    for (let e = 0; e < this.flags.length; e++) {
      const to = this.edges[2 * e + 1]!;
      if (to !== target) {
        target = to;
        sources = shown.edges.get(this.ids[to]!);
      }
      const edge = sources?.get(this.ids[this.edges[2 * e]!]!);
      const bits = (edge?.active ? ACTIVE : 0) | (edge?.taken ? TAKEN : 0) | (edge?.conditional ? CONDITIONAL : 0);
      this.flags[e] = (this.flags[e]! & BACK) | bits;
      this.labels[e] = edge?.label;
    }
  }

  /** Put the nodes where they are `t` (0 to 1) of the way to this layout. */
  move(t: number): void {
    this.progress = t;
    const eased = ease(t);
    for (let i = 0; i < this.n; i++) {
      this.x[i] = this.#fromX[i]! + (this.#toX[i]! - this.#fromX[i]!) * eased;
      this.y[i] = this.#fromY[i]! + (this.#toY[i]! - this.#fromY[i]!) * eased;
    }
  }

  /**
   * Write the points of an edge's route as it is now into `into`, and return how many numbers that is. On the way to a
   * new layout, the final route is bent by as much as its two ends are still away from their places.
   */
  routeOf(e: number, into: number[]): number {
    const start = this.offset[e]! * 2;
    const length = this.offset[e + 1]! * 2 - start;
    if (this.progress === 1) {
      for (let i = 0; i < length; i++) into[i] = this.route[start + i]!;
      return length;
    }
    const [from, to] = [this.edges[2 * e]!, this.edges[2 * e + 1]!];
    const [fromX, fromY] = [this.x[from]! - this.#toX[from]!, this.y[from]! - this.#toY[from]!];
    const [toX, toY] = [this.x[to]! - this.#toX[to]!, this.y[to]! - this.#toY[to]!];
    for (let i = 0; i < length; i += 2) {
      const t = i / Math.max(1, length - 2);
      into[i] = this.route[start + i]! + fromX + (toX - fromX) * t;
      into[i + 1] = this.route[start + i + 1]! + fromY + (toY - fromY) * t;
    }
    return length;
  }

  statusOf(i: number): NodeStatus {
    return STATUSES[this.status[i]!]!;
  }

  box(i: number): Box {
    const [width, height] = [this.width[i]!, this.height[i]!];
    return { x: this.x[i]! - width / 2, y: this.y[i]! - height / 2, width, height };
  }

  /** Visit the nodes that may be in `box`. */
  query(box: Box, visit: (i: number) => void): void {
    if (this.progress < 1) for (let i = 0; i < this.n; i++) visit(i);
    else this.#grid.query(box, visit);
  }

  /** The place of each node as laid out: along the flow, and then across it. */
  ranks(): Map<string, number> {
    const [along, across] = this.direction === "LR" ? [this.#toX, this.#toY] : [this.#toY, this.#toX];
    const order = Array.from(this.ids, (_, i) => i).sort((a, b) => along[a]! - along[b]! || across[a]! - across[b]!);
    return new Map(order.map((i, place) => [this.ids[i]!, place]));
  }

  /** The node at a world point, within `slack` world px of its box. */
  hit(x: number, y: number, slack: number): number | undefined {
    let found: number | undefined;
    let nearest = slack;
    this.query({ x: x - slack, y: y - slack, width: 2 * slack, height: 2 * slack }, (i) => {
      const away = Math.max(
        Math.abs(x - this.x[i]!) - this.width[i]! / 2,
        Math.abs(y - this.y[i]!) - this.height[i]! / 2,
      );
      if (away <= nearest) [nearest, found] = [away, i];
    });
    return found;
  }

  /** The innermost group whose name is at a world point. */
  groupAt(x: number, y: number, nameHeight: number): string | undefined {
    let path: string | undefined;
    // Inner frames come after those around them.
    for (const group of this.groups) {
      if (x >= group.x && x <= group.x + group.width && y >= group.y && y <= group.y + nameHeight) path = group.path;
    }
    return path;
  }

  #set(i: number, node: Node | undefined): void {
    this.nodes[i] = node;
    this.status[i] = STATUSES.indexOf(node?.status ?? "pending");
  }

  #boxEdges(): void {
    const m = this.edges.length / 2;
    this.edgeBox = new Float32Array(4 * m);
    for (let e = 0; e < m; e++) {
      let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
      for (let at = this.offset[e]! * 2; at < this.offset[e + 1]! * 2; at += 2) {
        const [x, y] = [this.route[at]!, this.route[at + 1]!];
        [left, right] = [Math.min(left, x), Math.max(right, x)];
        [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
      }
      this.edgeBox.set([left, top, right, bottom], 4 * e);
    }
  }
}

/** The graph to lay out for what is shown, each node as wide as its label (`measure` gives px) within bounds. */
export function graphOf(shown: Shown, measure: (text: string) => number, version: number): NamedGraph {
  const ids = [...shown.nodes.keys()];
  const index = new Map(ids.map((id, i) => [id, i]));
  const width = new Float32Array(ids.length);
  const of = new Int32Array(ids.length).fill(-1);
  const paths: string[] = [];
  const pathIndex = new Map<string, number>();
  let i = 0;
  for (const node of shown.nodes.values()) {
    width[i] = Math.min(NODE_MAX, Math.max(NODE_MIN, Math.ceil(measure(label(node))) + NODE_PADDING));
    if (node.group) {
      let at = pathIndex.get(node.group);
      if (at === undefined) {
        at = paths.push(node.group) - 1;
        pathIndex.set(node.group, at);
      }
      of[i] = at;
    }
    i++;
  }
  const edges: number[] = [];
  for (const [target, sources] of shown.edges) {
    const to = index.get(target);
    if (to === undefined) continue;
    for (const source of sources.keys()) {
      const from = index.get(source);
      if (from !== undefined) edges.push(from, to);
    }
  }
  const graph = {
    n: ids.length,
    width,
    height: new Float32Array(ids.length).fill(NODE_HEIGHT),
    edges: Uint32Array.from(edges),
    direction: "LR" as const,
    ...(paths.length > 0 ? { group: { paths, of } } : {}),
  };
  return { ids, graph, version };
}
