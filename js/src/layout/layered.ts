// The layered layout, phase by phase: which edges run back, layers, order, positions, routes.
// Sugiyama, Tagawa & Toda, "Methods for visual understanding of hierarchical system structures", 1981.

import { adjacency } from "./adjacency";
import { backEdges } from "./cycles";
import { Blocks, framePadding, frames, tighten } from "./groups";
import { type Groups, groupTree, outermost } from "./grouptree";
import { enclose, type Recalled, recall, stay } from "./keep";
import { layers, span } from "./layers";
import { orderLayers } from "./order";
import { type Boxes, pack, packAround, parts } from "./parts";
import { positions } from "./position";
import type { Extents } from "./proper";
import { Kind, type Oriented, type Proper, proper } from "./proper";
import { addRoom, type Canvas, routes, sidesOf } from "./route";
import { squeeze } from "./squeeze";
import { type Graph, type Layout, type Previous, REFINED, type Settings } from "./types";

/** A slope adds this share of its height to the gap between its layers, up to this many gaps. */
const STEEP = 1 / 10;
const WIDEST = 2.5;
/** Places of an earlier picture are given up where edges could be shorter by this much. */
const STRAINED = 1.6;
/** Layers of an earlier picture are given up where edges could be shorter by this much. */
const STRETCHED = 1.3;
/** px of an empty band that a part keeps, where something was removed. */
const HOLE = 140;

/**
 * Lay out a graph: synchronous, and the same for the same input on every machine.
 *
 * @param previous An earlier picture: what was in it stays where it was, as far as there is room, and as long as
 *   another one would not have far fewer crossings or far shorter edges.
 */
export function layered(graph: Graph, options?: Partial<Settings>, previous?: Previous): Layout {
  const settings = { ...REFINED, ...options };
  const n = graph.n;
  const across = graph.direction === "TB";
  const edges = orient(graph);
  const groups = graph.group ? groupTree(n, graph.group) : undefined;
  const part = parts(n, edges.lo, edges.hi, groups && outermost(groups));
  const same = previous?.graph.direction === graph.direction ? previous : undefined;
  const layer = layersByPart(
    n,
    edges,
    part,
    settings,
    same && Int32Array.from(same.of, (v) => same.layout.layer[v] ?? -1),
  );
  const p = proper(n, edges, layer, part, groups, settings.bendLimit);
  const known = same && recall(p, edges, graph, groups, same);
  const fresh = known && Uint8Array.from(known.cross, (at) => (Number.isNaN(at) ? 1 : 0));
  const keeps = orderLayers(p, settings, groups && new Blocks(p, groups), known?.cross);

  const [length, breadth] = across ? [graph.height, graph.width] : [graph.width, graph.height];
  const sides = sidesOf(p, edges);
  const extents: Extents = { before: new Float64Array(p.size), after: new Float64Array(p.size) };
  for (let v = 0; v < n; v++) extents.before[v] = extents.after[v] = breadth[v]! / 2;
  for (let v = p.firstBorder; v < p.size; v++) {
    if (p.kind[v] === Kind.After) extents.before[v] = settings.groupGap;
    else extents.after[v] = settings.groupGap + (across ? 0 : settings.groupLabel);
  }
  addRoom(edges, sides, extents.before, extents.after, settings, breadth);
  const anew = () => {
    const cross = positions(p, extents, settings);
    if (groups) tighten(p, groups, cross, extents, () => true);
    for (let q = 0; q < part.count; q++) squeeze(p, q, cross, extents, settings.nodeGap);
    return cross;
  };
  if (groups && known) enclose(p, groups, known.cross, fresh!, extents);
  const kept = new Float64Array(p.size);
  for (let q = 0; q < part.count; q++) {
    if (keeps[q] && !stay(p, q, known!.cross, fresh!, extents, settings, groups, kept)) keeps[q] = 0;
    if (keeps[q]) squeeze(p, q, kept, extents, HOLE);
  }
  // A first picture of what is kept needs no other to be compared with.
  const cross = settings.exchange === 0 && keeps.every(Boolean) ? kept : anew();
  for (let q = 0; q < part.count && cross !== kept; q++) {
    if (keeps[q] && strain(p, q, kept) > STRAINED * strain(p, q, cross)) keeps[q] = 0;
    if (!keeps[q]) continue;
    for (let slot = p.start[p.firstRank[q]!]!; slot < p.start[p.firstRank[q + 1]!]!; slot++) {
      cross[p.order[slot]!] = kept[p.order[slot]!]!;
    }
  }
  const canvas: Canvas = {
    length,
    breadth,
    cross,
    main: new Float64Array(n),
    rankFirst: new Float64Array(p.ranks),
    rankLast: new Float64Array(p.ranks),
    partStart: new Float64Array(part.count),
    partLength: new Float64Array(part.count),
    partEnd: partEnds(p, cross, extents),
  };
  placeRanks(p, canvas, settings, groups, across, keeps, known);
  const drawn = routes(p, edges, sides, canvas, settings, part.of);
  const size = arrange(p, canvas, extents, drawn, edges, part, settings, across, keeps);

  const x = Float32Array.from(across ? cross.subarray(0, n) : canvas.main);
  const y = Float32Array.from(across ? canvas.main : cross.subarray(0, n));
  const { route, offset } = drawn;
  if (across) for (let i = 0; i < route.length; i += 2) [route[i], route[i + 1]] = [route[i + 1]!, route[i]!];
  return {
    x,
    y,
    ...size,
    layer,
    route,
    offset,
    back: edges.back,
    groups: groups ? frames(graph, groups, x, y, settings) : [],
  };
}

function orient({ n, edges }: Graph): Oriented {
  const m = edges.length / 2;
  const from = new Int32Array(m);
  const to = new Int32Array(m);
  for (let e = 0; e < m; e++) {
    from[e] = edges[2 * e]!;
    to[e] = edges[2 * e + 1]!;
  }
  const back = backEdges(n, adjacency(n, from, to), adjacency(n, to, from));
  for (let e = 0; e < m; e++) if (back[e]) [from[e], to[e]] = [to[e]!, from[e]!];
  return { lo: from, hi: to, back };
}

/**
 * Layers from 0 in every part. Back edges have no say: a path forward leads from their lower end to their higher.
 *
 * @param before The layers in an earlier picture, -1 = it was not there: they are kept unless edges are far longer then.
 */
function layersByPart(
  n: number,
  { lo, hi, back }: Oriented,
  part: { of: Int32Array; count: number },
  settings: Settings,
  before: Int32Array | undefined,
): Int32Array {
  const forward = (_: number, e: number) => back[e] === 0;
  const [from, to] = [lo.filter(forward), hi.filter(forward)];
  const kept = before && layers(n, from, to, 0, before);
  const quick = settings.layering === 0;
  const anew = kept && quick ? kept : layers(n, from, to, settings.layering * (n + from.length));
  const layer = kept && (quick || span(kept, from, to) <= STRETCHED * span(anew, from, to) + 1) ? kept : anew;
  const least = new Int32Array(part.count).fill(0x7fffffff);
  for (let v = 0; v < n; v++) least[part.of[v]!] = Math.min(least[part.of[v]!]!, layer[v]!);
  for (let v = 0; v < n; v++) layer[v]! -= least[part.of[v]!]!;
  return layer;
}

function partEnds(p: Proper, cross: Float64Array, { after }: Extents): Float64Array {
  const ends = new Float64Array(p.firstRank.length - 1).fill(-Infinity);
  for (let part = 0; part < ends.length; part++) {
    for (let slot = p.start[p.firstRank[part]!]!; slot < p.start[p.firstRank[part + 1]!]!; slot++) {
      ends[part] = Math.max(ends[part]!, cross[p.order[slot]!]! + after[p.order[slot]!]!);
    }
  }
  return ends;
}

/** How far edges lead across the layers, all in all; and some for each layer, so that hairs are not split. */
function strain(p: Proper, part: number, cross: Float64Array): number {
  const [first, last] = [p.firstRank[part]!, p.firstRank[part + 1]!];
  let sum = 48 * (last - first);
  for (let slot = p.start[first]!; slot < p.start[last]!; slot++) {
    const v = p.order[slot]!;
    for (let i = p.downStart[v]!; i < p.downStart[v + 1]!; i++) sum += Math.abs(cross[v]! - cross[p.down[i]!]!);
  }
  return sum;
}

/**
 * Put the ranks of each part one after the other: as long as their longest box, further apart where edges are steep. A
 * part that is kept has its ranks where they were, as far as they are neither too close nor too far apart.
 */
function placeRanks(
  p: Proper,
  canvas: Canvas,
  settings: Settings,
  groups: Groups | undefined,
  across: boolean,
  keeps: Uint8Array,
  known: Recalled | undefined,
): void {
  const { rankFirst, rankLast, partStart, partLength, cross, length, main } = canvas;
  const padding = groups && framePadding(p, groups, settings, across);
  const longest = new Float64Array(p.ranks);
  for (let v = 0; v < p.n; v++) longest[p.rank[v]!] = Math.max(longest[p.rank[v]!]!, length[v]!);
  /** From the end of a rank, with its frames, to the beginning of the next. */
  const between = (r: number) => (padding ? padding.after[r]! + padding.before[r + 1]! : 0);
  for (let part = 0; part + 1 < p.firstRank.length; part++) {
    const [first, last] = [p.firstRank[part]!, p.firstRank[part + 1]! - 1];
    /** Where a rank was; NaN where that is not known, or not asked for. */
    const was = (r: number) => (keeps[part] ? known!.rank[r]! - longest[r]! / 2 : NaN);
    let anchor = first;
    while (anchor < last && Number.isNaN(was(anchor))) anchor++;
    if (Number.isNaN(was(anchor))) anchor = first;
    rankFirst[anchor] = Number.isNaN(was(anchor)) ? (padding?.before[first] ?? 0) : was(anchor);
    for (let r = anchor + 1; r <= last; r++) {
      const least = rankFirst[r - 1]! + longest[r - 1]! + between(r - 1) + settings.layerGap;
      const most = least + (WIDEST - 1) * settings.layerGap;
      const wide = () =>
        (Math.min(WIDEST, 1 + Math.max(0, steepest(p, r - 1, cross) / settings.layerGap - 2) * STEEP) - 1) *
        settings.layerGap;
      rankFirst[r] = Number.isNaN(was(r))
        ? least + (keeps[part] ? 0 : wide())
        : Math.max(least, Math.min(most, was(r)));
    }
    for (let r = anchor - 1; r >= first; r--) {
      rankFirst[r] = rankFirst[r + 1]! - between(r) - settings.layerGap - longest[r]!;
    }
    for (let r = first; r <= last; r++) rankLast[r] = rankFirst[r]! + longest[r]!;
    partStart[part] = rankFirst[first]! - (padding?.before[first] ?? 0);
    partLength[part] = rankLast[last]! + (padding?.after[last] ?? 0) - partStart[part]!;
  }
  for (let v = 0; v < p.n; v++) main[v] = (rankFirst[p.rank[v]!]! + rankLast[p.rank[v]!]!) / 2;
}

function steepest(p: Proper, r: number, cross: Float64Array): number {
  let most = 0;
  for (let slot = p.start[r]!; slot < p.start[r + 1]!; slot++) {
    const v = p.order[slot]!;
    for (let i = p.downStart[v]!; i < p.downStart[v + 1]!; i++)
      most = Math.max(most, Math.abs(cross[v]! - cross[p.down[i]!]!));
  }
  return most;
}

/** Pack the parts, move everything to its final place, and tell the size of the picture. */
function arrange(
  p: Proper,
  canvas: Canvas,
  { before, after }: Extents,
  { route, offset }: { route: Float32Array; offset: Uint32Array },
  { lo }: Oriented,
  part: { of: Int32Array; count: number },
  settings: Settings,
  across: boolean,
  keeps: Uint8Array,
): { left: number; top: number; width: number; height: number } {
  const { main, cross, partStart, partLength } = canvas;
  const low = new Float64Array(part.count).fill(Infinity);
  const high = new Float64Array(part.count).fill(-Infinity);
  for (let q = 0; q < part.count; q++) {
    for (let slot = p.start[p.firstRank[q]!]!; slot < p.start[p.firstRank[q + 1]!]!; slot++) {
      const v = p.order[slot]!;
      low[q] = Math.min(low[q]!, cross[v]! - before[v]!);
      high[q] = Math.max(high[q]!, cross[v]! + after[v]!);
    }
  }
  for (let e = 0; e < lo.length; e++) {
    const q = part.of[lo[e]!]!;
    for (let i = 2 * offset[e]! + 1; i < 2 * offset[e + 1]!; i += 2) {
      low[q] = Math.min(low[q]!, route[i]!);
      high[q] = Math.max(high[q]!, route[i]!);
    }
  }
  const breadth = Float64Array.from(high, (end, q) => end - low[q]!);
  const boxes: Boxes = across
    ? { x: low, y: partStart, width: breadth, height: partLength }
    : { x: partStart, y: low, width: partLength, height: breadth };
  const corners =
    packAround(boxes, keeps, settings.partGap, settings.aspect) ??
    pack(boxes.width, boxes.height, settings.partGap, settings.aspect);
  const move = { x: corners.x.map((x, q) => x - boxes.x[q]!), y: corners.y.map((y, q) => y - boxes.y[q]!) };
  const [toMain, toCross] = across ? [move.y, move.x] : [move.x, move.y];
  for (let v = 0; v < p.n; v++) {
    main[v]! += toMain[part.of[v]!]!;
    cross[v]! += toCross[part.of[v]!]!;
  }
  for (let e = 0; e < lo.length; e++) {
    const q = part.of[lo[e]!]!;
    for (let i = 2 * offset[e]!; i < 2 * offset[e + 1]!; i += 2) {
      route[i]! += toMain[q]!;
      route[i + 1]! += toCross[q]!;
    }
  }
  let [left, top, right, bottom] = part.count > 0 ? [Infinity, Infinity, -Infinity, -Infinity] : [0, 0, 0, 0];
  for (let q = 0; q < part.count; q++) {
    [left, top] = [Math.min(left, corners.x[q]!), Math.min(top, corners.y[q]!)];
    [right, bottom] = [
      Math.max(right, corners.x[q]! + boxes.width[q]!),
      Math.max(bottom, corners.y[q]! + boxes.height[q]!),
    ];
  }
  return { left, top, width: right - left, height: bottom - top };
}
