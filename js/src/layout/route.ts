// The way each edge takes: level through layers, curved between them, back edges and loops around their boxes.

import { Kind, type Oriented, type Proper } from "./proper";
import type { Settings } from "./types";

/** px between parallel edges of the same two nodes. */
const PARALLEL = 12;
/** px that a self-loop rises above its box. */
const LOOP = 26;
/** How far a control point lies along a quarter of a circle. */
const ROUND = 0.5523;

/** The picture while it is made: layers follow each other along the main axis, nodes of a layer along the cross axis. */
export interface Canvas {
  /** Sizes and centres of boxes along both axes; `cross` knows bends and borders too. */
  length: Float32Array;
  breadth: Float32Array;
  main: Float64Array;
  cross: Float64Array;
  /** Where each rank begins and ends. */
  rankFirst: Float64Array;
  rankLast: Float64Array;
  /** Where each part begins along the main axis, and how long it is. */
  partStart: Float64Array;
  partLength: Float64Array;
  /** Where the boxes of each part end, across: edges without bends run there. */
  partEnd: Float64Array;
}

/** On which side back edges leave (`high`) and reach (`low`) their boxes: -1 before, 1 after, 0 = not around a box. */
export interface Sides {
  low: Int8Array;
  high: Int8Array;
}

/** Back edges leave and arrive on the side on which their bends already are, so that they cross little. */
export function sidesOf(p: Proper, { lo, hi, back }: Oriented): Sides {
  const m = lo.length;
  const low = new Int8Array(m);
  const high = new Int8Array(m);
  for (let e = 0; e < m; e++) {
    if (!back[e] || p.chain[e]! < 0) continue;
    const bends = p.rank[hi[e]!]! - p.rank[lo[e]!]! - 1;
    low[e] = sideOf(p, p.chain[e]!, p.down, p.downStart, lo[e]!);
    high[e] = sideOf(p, p.chain[e]! + bends - 1, p.up, p.upStart, hi[e]!);
  }
  return { low, high };
}

function sideOf(p: Proper, bend: number, list: Int32Array, listStart: Int32Array, v: number): -1 | 1 {
  let [sum, count] = [0, 0];
  for (let i = listStart[v]!; i < listStart[v + 1]!; i++) {
    if (p.kind[list[i]!] === Kind.BackBend) continue;
    sum += p.pos[list[i]!]!;
    count++;
  }
  return count > 0 && p.pos[bend]! < sum / count ? -1 : 1;
}

/** Room for loops and for back edges that turn around beside a box is added to what boxes need across. */
export function addRoom(
  { lo, hi }: Oriented,
  sides: Sides,
  before: Float64Array,
  after: Float64Array,
  settings: Settings,
  breadth: Float32Array,
): void {
  for (let e = 0; e < lo.length; e++) {
    const [v, w] = [lo[e]!, hi[e]!];
    if (v === w) before[v] = Math.max(before[v]!, breadth[v]! / 2 + LOOP);
    for (const [node, side] of [
      [v, sides.low[e]],
      [w, sides.high[e]],
    ] as const) {
      if (!side) continue;
      const room = side < 0 ? before : after;
      room[node] = Math.max(room[node]!, breadth[node]! / 2 + settings.edgeGap);
    }
  }
}

/** Routes of all edges, see `Layout.route`, as pairs main, cross. */
export function routes(
  p: Proper,
  edges: Oriented,
  sides: Sides,
  canvas: Canvas,
  settings: Settings,
  partOf: Int32Array,
): { route: Float32Array; offset: Uint32Array } {
  const { lo, hi, back } = edges;
  const m = lo.length;
  const offset = new Uint32Array(m + 1);
  const pen = new Pen();
  const shift = parallels(p, edges, canvas.breadth);
  for (let e = 0; e < m; e++) {
    const [v, w] = [lo[e]!, hi[e]!];
    const begin = pen.length;
    if (v === w) loop(pen, canvas, v, shift[e]!);
    else {
      along(pen, p, edges, sides, canvas, settings, partOf, e, shift[e]!);
      if (back[e]) pen.reverse(begin);
    }
    offset[e + 1] = pen.length / 2;
  }
  return { route: pen.points(), offset };
}

/** From the lower box to the higher: level runs, joined by curves. */
function along(
  pen: Pen,
  p: Proper,
  { lo, hi }: Oriented,
  sides: Sides,
  canvas: Canvas,
  settings: Settings,
  partOf: Int32Array,
  e: number,
  shift: number,
): void {
  const [v, w] = [lo[e]!, hi[e]!];
  const { main, cross, length, breadth, rankFirst, rankLast } = canvas;
  const [first, last] = [p.rank[v]!, p.rank[w]!];
  const chain = p.chain[e]!;
  const bends = chain >= 0 ? last - first - 1 : 0;

  if (sides.low[e]) {
    const lane = laneBeside(v, sides.low[e]!, cross[chain]!, canvas, settings);
    const edge = cross[v]! + (sides.low[e]! * breadth[v]!) / 2;
    const turn = Math.abs(lane - edge);
    const port = main[v]! + Math.max(0, length[v]! / 2 - 2 * turn);
    pen.move(port, edge);
    pen.curve(port, edge + ROUND * (lane - edge), port + (1 - ROUND) * turn, lane, port + turn, lane);
  } else pen.move(main[v]! + length[v]! / 2, cross[v]! + shift);
  pen.level(rankLast[first]!);
  for (let i = 0; i < bends; i++) {
    pen.slope(rankFirst[first + 1 + i]!, cross[chain + i]!);
    pen.level(rankLast[first + 1 + i]!);
  }
  if (p.cut[e]) {
    const lane = canvas.partEnd[partOf[v]!]! + settings.nodeGap;
    pen.slope(rankFirst[first + 1]!, lane);
    pen.level(rankLast[last - 1]!);
  }
  if (sides.high[e]) {
    const lane = laneBeside(w, sides.high[e]!, cross[chain + bends - 1]!, canvas, settings);
    const edge = cross[w]! + (sides.high[e]! * breadth[w]!) / 2;
    const turn = Math.abs(lane - edge);
    const port = main[w]! - Math.max(0, length[w]! / 2 - 2 * turn);
    pen.slope(rankFirst[last]!, lane);
    pen.level(port - turn);
    pen.curve(port - (1 - ROUND) * turn, lane, port, edge + ROUND * (lane - edge), port, edge);
  } else {
    pen.slope(rankFirst[last]!, cross[w]! + shift);
    pen.level(main[w]! - length[w]! / 2);
  }
  pen.flush();
}

/** Where a back edge runs beside a box: in line with its next bend, within the room that the box has for it. */
function laneBeside(v: number, side: number, bend: number, { cross, breadth }: Canvas, { edgeGap }: Settings): number {
  const half = breadth[v]! / 2;
  const away = Math.min(half + 1.75 * edgeGap, Math.max(half + 0.75 * edgeGap, side * (bend - cross[v]!)));
  return cross[v]! + side * away;
}

function loop(pen: Pen, { main, cross, length, breadth }: Canvas, v: number, shift: number): void {
  const base = cross[v]! - breadth[v]! / 2;
  // Loops of the same node lie within each other.
  const size = 1 / (1 + shift / PARALLEL / 2);
  const half = Math.min(10, length[v]! / 7) * size;
  // A cubic rises to three quarters of the height of its control points.
  const top = base - (LOOP * size) / 0.75;
  pen.move(main[v]! + half, base);
  pen.curve(main[v]! + 3 * half, top, main[v]! - 3 * half, top, main[v]! - half, base);
}

/** How far each of several edges between the same two boxes is moved aside, px; for loops, their number · PARALLEL. */
function parallels(p: Proper, { lo, hi, back }: Oriented, breadth: Float32Array): Float64Array {
  const m = lo.length;
  const shift = new Float64Array(m);
  const head = new Int32Array(p.n).fill(-1);
  const next = new Int32Array(m);
  for (let e = m - 1; e >= 0; e--) {
    if (p.rank[hi[e]!]! - p.rank[lo[e]!]! > 1) continue;
    next[e] = head[lo[e]!]!;
    head[lo[e]!] = e;
  }
  const count = new Int32Array(p.n);
  const seen = new Int32Array(p.n);
  for (let v = 0; v < p.n; v++) {
    if (head[v]! < 0 || next[head[v]!]! < 0) continue;
    for (let e = head[v]!; e >= 0; e = next[e]!) count[hi[e]!]!++;
    // What runs forward lies before what runs back, as on a road.
    for (const turn of [0, 1]) {
      for (let e = head[v]!; e >= 0; e = next[e]!) {
        const w = hi[e]!;
        if (v === w ? turn : back[e] !== turn) continue;
        const at = seen[w]!++;
        const apart = Math.min(PARALLEL, (Math.min(breadth[v]!, breadth[w]!) * 0.8) / count[w]!);
        shift[e] = v === w ? at * PARALLEL : (at - (count[w]! - 1) / 2) * apart;
      }
    }
    for (let e = head[v]!; e >= 0; e = next[e]!) seen[hi[e]!] = count[hi[e]!] = 0;
  }
  return shift;
}

/** Writes chains of Béziers; level lines wait, so that those in one line become one. */
class Pen {
  length = 0;
  #to = new Float32Array(4096);
  #x = 0;
  #y = 0;
  /** Where the level line that is not yet written leads. */
  #level = 0;

  move(x: number, y: number): void {
    this.#put(x, y);
  }

  level(x: number): void {
    if (x > this.#level) this.#level = x;
  }

  /** A curve to (x, y) that sets out and arrives level. */
  slope(x: number, y: number): void {
    if (Math.abs(y - this.#y) < 0.5) {
      this.level(x);
      return;
    }
    this.flush();
    const middle = (this.#x + x) / 2;
    this.curve(middle, this.#y, middle, y, x, y);
  }

  curve(ax: number, ay: number, bx: number, by: number, x: number, y: number): void {
    this.flush();
    this.#put(ax, ay);
    this.#put(bx, by);
    this.#put(x, y);
  }

  flush(): void {
    const [from, to] = [this.#x, this.#level];
    if (to - from < 0.01) return;
    const y = this.#y;
    this.#put(from + (to - from) / 3, y);
    this.#put(to - (to - from) / 3, y);
    this.#put(to, y);
  }

  /** Turn around what was written since `begin`. */
  reverse(begin: number): void {
    const to = this.#to;
    for (let i = begin, j = this.length - 2; i < j; i += 2, j -= 2) {
      [to[i], to[i + 1], to[j], to[j + 1]] = [to[j]!, to[j + 1]!, to[i]!, to[i + 1]!];
    }
  }

  points(): Float32Array {
    return this.#to.slice(0, this.length);
  }

  #put(x: number, y: number): void {
    if (this.length + 2 > this.#to.length) {
      const larger = new Float32Array(2 * this.#to.length);
      larger.set(this.#to);
      this.#to = larger;
    }
    this.#to[this.length++] = x;
    this.#to[this.length++] = y;
    this.#x = this.#level = x;
    this.#y = y;
  }
}
