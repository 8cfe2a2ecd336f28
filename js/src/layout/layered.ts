// The layered layout, phase by phase: which edges run back, layers, order, positions, routes.
// Sugiyama, Tagawa & Toda, "Methods for visual understanding of hierarchical system structures", 1981.

import { adjacency } from "./adjacency";
import { backEdges } from "./cycles";
import { Blocks, framePadding, frames, type Groups, groupTree, outermost, tighten } from "./groups";
import { layers } from "./layers";
import { orderLayers } from "./order";
import { pack, parts } from "./parts";
import { type Extents, positions } from "./position";
import { Kind, type Oriented, type Proper, proper } from "./proper";
import { addRoom, type Canvas, routes, sidesOf } from "./route";
import { squeeze } from "./squeeze";
import { type Graph, type Layout, type Previous, REFINED, type Settings } from "./types";

/** A slope adds this share of its height to the gap between its layers, up to this many gaps. */
const STEEP = 1 / 10;
const WIDEST = 2.5;

/**
 * Lay out a graph: synchronous, and the same for the same input on every machine.
 *
 * @param previous Where the nodes were, to keep their order as far as that costs few crossings.
 */
export function layered(graph: Graph, options?: Partial<Settings>, previous?: Previous): Layout {
  const settings = { ...REFINED, ...options };
  const n = graph.n;
  const across = graph.direction === "TB";
  const edges = orient(graph);
  const groups = graph.group ? groupTree(n, graph.group) : undefined;
  const part = parts(n, edges.lo, edges.hi, groups && outermost(groups));
  const layer = layersByPart(n, edges, part);
  const p = proper(n, edges, layer, part, groups, settings.bendLimit);
  const seed = previous && Float64Array.from(across ? previous.x : previous.y);
  orderLayers(p, settings, groups && new Blocks(p, groups), seed);

  const [length, breadth] = across ? [graph.height, graph.width] : [graph.width, graph.height];
  const sides = sidesOf(p, edges);
  const extents: Extents = { before: new Float64Array(p.size), after: new Float64Array(p.size) };
  for (let v = 0; v < n; v++) extents.before[v] = extents.after[v] = breadth[v]! / 2;
  for (let v = p.firstBorder; v < p.size; v++) {
    if (p.kind[v] === Kind.After) extents.before[v] = settings.groupGap;
    else extents.after[v] = settings.groupGap + (across ? 0 : settings.groupLabel);
  }
  addRoom(edges, sides, extents.before, extents.after, settings, breadth);
  const cross = positions(p, extents, settings);
  if (groups) {
    tighten(p, groups, cross, extents);
    squeeze(p, cross, extents, settings.nodeGap);
  }
  const canvas: Canvas = {
    length,
    breadth,
    cross,
    main: new Float64Array(n),
    rankFirst: new Float64Array(p.ranks),
    rankLast: new Float64Array(p.ranks),
    partLength: new Float64Array(part.count),
    partEnd: partEnds(p, cross, extents),
  };
  placeRanks(p, canvas, settings, groups, across);
  const drawn = routes(p, edges, sides, canvas, settings, part.of);
  const size = arrange(p, canvas, extents, drawn, edges, part, settings, across);

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

/** Layers from 0 in every part. Back edges have no say: a path forward leads from their lower end to their higher. */
function layersByPart(n: number, { lo, hi, back }: Oriented, part: { of: Int32Array; count: number }): Int32Array {
  const forward = (_: number, e: number) => back[e] === 0;
  const layer = layers(n, lo.filter(forward), hi.filter(forward));
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

/** Put the ranks of each part one after the other: as long as their longest box, further apart where edges are steep. */
function placeRanks(p: Proper, canvas: Canvas, settings: Settings, groups: Groups | undefined, across: boolean): void {
  const { rankFirst, rankLast, partLength, cross, length, main } = canvas;
  const padding = groups && framePadding(p, groups, settings, across);
  for (let part = 0; part + 1 < p.firstRank.length; part++) {
    let at = 0;
    for (let r = p.firstRank[part]!; r < p.firstRank[part + 1]!; r++) {
      let longest = 0;
      let steepest = 0;
      for (let slot = p.start[r]!; slot < p.start[r + 1]!; slot++) {
        const v = p.order[slot]!;
        if (v < p.n) longest = Math.max(longest, length[v]!);
        for (let i = p.downStart[v]!; i < p.downStart[v + 1]!; i++) {
          steepest = Math.max(steepest, Math.abs(cross[v]! - cross[p.down[i]!]!));
        }
      }
      at += padding ? padding.before[r]! : 0;
      rankFirst[r] = at;
      rankLast[r] = at + longest;
      at += longest + (padding ? padding.after[r]! : 0);
      partLength[part] = at;
      at += Math.min(WIDEST, 1 + Math.max(0, steepest / settings.layerGap - 2) * STEEP) * settings.layerGap;
    }
  }
  for (let v = 0; v < p.n; v++) main[v] = (rankFirst[p.rank[v]!]! + rankLast[p.rank[v]!]!) / 2;
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
): { width: number; height: number } {
  const { main, cross, partLength } = canvas;
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
  const [width, height] = across ? [breadth, partLength] : [partLength, breadth];
  const corners = pack(width, height, settings.partGap, settings.aspect);
  const size = { width: 0, height: 0 };
  for (let q = 0; q < part.count; q++) {
    size.width = Math.max(size.width, corners.x[q]! + width[q]!);
    size.height = Math.max(size.height, corners.y[q]! + height[q]!);
  }
  const [toMain, toCross] = across ? [corners.y, corners.x] : [corners.x, corners.y];
  for (let q = 0; q < part.count; q++) toCross[q]! -= low[q]!;
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
  return size;
}
