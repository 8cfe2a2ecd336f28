/** @module-tag slow */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CrossingCounter } from "../../src/layout/crossings";
import { layered } from "../../src/layout/layered";
import { orderLayers } from "../../src/layout/order";
import { proper } from "../../src/layout/proper";
import { FIRST, type Graph, type Layout, REFINED } from "../../src/layout/types";

const EPSILON = 0.01;

function graphOf(
  n: number,
  edges: readonly (readonly [number, number])[],
  options: { width?: (v: number) => number; direction?: "LR" | "TB"; groups?: readonly (string | undefined)[] } = {},
): Graph {
  const paths = [...new Set((options.groups ?? []).filter((path) => path !== undefined))];
  const of = Int32Array.from({ length: n }, (_, v) => paths.indexOf(options.groups?.[v] ?? ""));
  return {
    n,
    width: Float32Array.from({ length: n }, (_, v) => options.width?.(v) ?? 120),
    height: new Float32Array(n).fill(48),
    edges: Uint32Array.from(edges.flat()),
    direction: options.direction ?? "LR",
    ...(paths.length > 0 ? { group: { paths, of } } : {}),
  };
}

function overlaps(graph: Graph, layout: Layout): string[] {
  const found: string[] = [];
  for (let v = 0; v < graph.n; v++) {
    for (let w = v + 1; w < graph.n; w++) {
      const x = (graph.width[v]! + graph.width[w]!) / 2 - Math.abs(layout.x[v]! - layout.x[w]!);
      const y = (graph.height[v]! + graph.height[w]!) / 2 - Math.abs(layout.y[v]! - layout.y[w]!);
      if (x > EPSILON && y > EPSILON) found.push(`${v} and ${w}`);
    }
  }
  return found;
}

const pointsOf = (layout: Layout, e: number) => {
  const points: [number, number][] = [];
  for (let i = layout.offset[e]!; i < layout.offset[e + 1]!; i++) {
    points.push([layout.route[2 * i]!, layout.route[2 * i + 1]!]);
  }
  return points;
};

/** Whether a point lies on the border of a node's box. */
function onBorder(graph: Graph, layout: Layout, v: number, [x, y]: [number, number]): boolean {
  const [dx, dy] = [
    Math.abs(x - layout.x[v]!) - graph.width[v]! / 2,
    Math.abs(y - layout.y[v]!) - graph.height[v]! / 2,
  ];
  return Math.abs(Math.max(dx, dy)) < 0.1;
}

function check(graph: Graph, layout: Layout): void {
  const along = graph.direction === "LR" ? layout.x : layout.y;
  const size = graph.direction === "LR" ? graph.width : graph.height;
  expect(overlaps(graph, layout)).toEqual([]);
  for (let v = 0; v < graph.n; v++) {
    const [x, y, w, h] = [layout.x[v]!, layout.y[v]!, graph.width[v]! / 2, graph.height[v]! / 2];
    expect(Number.isFinite(x) && Number.isFinite(y)).toBe(true);
    expect(x - w).toBeGreaterThan(layout.left - EPSILON);
    expect(y - h).toBeGreaterThan(layout.top - EPSILON);
    expect(x + w).toBeLessThan(layout.left + layout.width + EPSILON);
    expect(y + h).toBeLessThan(layout.top + layout.height + EPSILON);
  }
  for (let e = 0; e < graph.edges.length / 2; e++) {
    const [from, to] = [graph.edges[2 * e]!, graph.edges[2 * e + 1]!];
    if (layout.back[e]) expect(layout.layer[from]!).toBeGreaterThanOrEqual(layout.layer[to]!);
    else {
      expect(layout.layer[from]!).toBeLessThan(layout.layer[to]!);
      expect(along[from]! + size[from]! / 2).toBeLessThan(along[to]! - size[to]! / 2);
    }
    const points = pointsOf(layout, e);
    expect(points.length % 3).toBe(1);
    expect(points.length).toBeGreaterThan(3);
    expect(onBorder(graph, layout, from, points[0]!)).toBe(true);
    expect(onBorder(graph, layout, to, points.at(-1)!)).toBe(true);
    for (const [x, y] of points) {
      expect(x).toBeGreaterThan(layout.left - EPSILON);
      expect(y).toBeGreaterThan(layout.top - EPSILON);
      expect(x).toBeLessThan(layout.left + layout.width + EPSILON);
      expect(y).toBeLessThan(layout.top + layout.height + EPSILON);
    }
  }
}

/** A frame holds its members, and nobody else. */
function checkFrames(graph: Graph, layout: Layout): void {
  for (const frame of layout.groups) {
    for (let v = 0; v < graph.n; v++) {
      const path = graph.group?.paths[graph.group.of[v]!] ?? "";
      const member = path === frame.path || path.startsWith(`${frame.path}/`);
      const outside = Math.max(
        Math.abs(layout.x[v]! - frame.x - frame.width / 2) - (frame.width + graph.width[v]!) / 2,
        Math.abs(layout.y[v]! - frame.y - frame.height / 2) - (frame.height + graph.height[v]!) / 2,
      );
      if (member) expect(outside).toBeLessThan(-Math.min(graph.width[v]!, graph.height[v]!) + EPSILON);
      else expect(outside).toBeGreaterThan(-EPSILON);
    }
  }
}

function expectSame(layout: Layout, before: Layout): void {
  for (const axis of ["x", "y"] as const) {
    for (const [v, at] of layout[axis].entries()) expect(at).toBeCloseTo(before[axis][v]!, 1);
  }
}

/** The connected part of each node, by its first node. */
function partsOf(graph: Graph): number[] {
  const part = Array.from(graph.width.keys());
  for (let again = true; again; ) {
    again = false;
    for (const [a, b] of pairsOf(graph)) {
      const least = Math.min(part[a]!, part[b]!);
      if (part[a] !== least || part[b] !== least) [part[a], part[b], again] = [least, least, true];
    }
  }
  return part;
}

type Rect = [left: number, top: number, right: number, bottom: number];

/** Around the boxes and routes of a part. */
function boxOf(graph: Graph, layout: Layout, part: readonly number[], q: number): Rect {
  const rect: Rect = [Infinity, Infinity, -Infinity, -Infinity];
  const cover = (l: number, t: number, r: number, b: number) => {
    [rect[0], rect[1]] = [Math.min(rect[0], l), Math.min(rect[1], t)];
    [rect[2], rect[3]] = [Math.max(rect[2], r), Math.max(rect[3], b)];
  };
  for (const [v, p] of part.entries()) {
    if (p !== q || v >= graph.n) continue;
    const [x, y, w, h] = [layout.x[v]!, layout.y[v]!, graph.width[v]! / 2, graph.height[v]! / 2];
    cover(x - w, y - h, x + w, y + h);
  }
  for (let e = 0; e < layout.back.length; e++) {
    if (part[graph.edges[2 * e]!] === q) for (const [x, y] of pointsOf(layout, e)) cover(x, y, x, y);
  }
  return rect;
}

function overlap(a: Rect, b: Rect, within: number): boolean {
  return a[0] < b[2] + within && b[0] < a[2] + within && a[1] < b[3] + within && b[1] < a[3] + within;
}

type Change =
  | { add: number; group: string | undefined }
  | { connect: [number, number] }
  | { remove: number }
  | { cut: number };

/** The graph after a change, and which of the nodes before each of its nodes was. */
function changed(graph: Graph, change: Change): [Graph, Int32Array] {
  let nodes: number[] = Array.from(graph.width.keys());
  let pairs = pairsOf(graph);
  const groups = nodes.map((v) => graph.group?.paths[graph.group.of[v]!]);
  if ("add" in change) {
    nodes.push(-1);
    groups.push(change.group);
    if (graph.n > 0) pairs = [...pairs, [change.add % graph.n, graph.n]];
  } else if ("connect" in change && graph.n > 0) {
    pairs = [...pairs, [change.connect[0] % graph.n, change.connect[1] % graph.n]];
  } else if ("remove" in change && graph.n > 0) {
    const gone = change.remove % graph.n;
    nodes = nodes.filter((v) => v !== gone);
    groups.splice(gone, 1);
    const now = (v: number) => (v > gone ? v - 1 : v);
    pairs = pairs.filter((pair) => !pair.includes(gone)).map(([a, b]) => [now(a), now(b)]);
  } else if ("cut" in change && pairs.length > 0) {
    pairs = pairs.filter((_, e) => e !== change.cut % pairs.length);
  }
  const width = (i: number) => graph.width[nodes[i]!] ?? 120;
  return [graphOf(nodes.length, pairs, { width, direction: graph.direction, groups }), Int32Array.from(nodes)];
}

const anyGraph = fc
  .record({
    n: fc.integer({ min: 1, max: 30 }),
    pairs: fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 60 }),
    widths: fc.array(fc.integer({ min: 20, max: 260 }), { minLength: 1, maxLength: 30 }),
    direction: fc.constantFrom("LR" as const, "TB" as const),
    groups: fc.array(fc.constantFrom(undefined, undefined, "a", "a/b", "a/b/c", "d", "e/f"), { maxLength: 30 }),
  })
  .map(({ n, pairs, widths, direction, groups }) =>
    graphOf(
      n,
      pairs.map(([a, b]) => [a % n, b % n] as const),
      { width: (v) => widths[v % widths.length]!, direction, groups },
    ),
  );

describe("any graph", () => {
  it("has all its boxes apart, its edges forward but for back edges, and everything within the picture", () => {
    fc.assert(
      fc.property(anyGraph, (graph) => {
        check(graph, layered(graph));
        check(graph, layered(graph, FIRST));
      }),
      { numRuns: 150 },
    );
  });

  it("gives the same picture each time", () => {
    fc.assert(
      fc.property(anyGraph, (graph) => {
        expect(layered(graph)).toEqual(layered(graph));
      }),
      { numRuns: 40 },
    );
  });

  it("is valid when it starts from the picture of any other", () => {
    const mapping = fc.array(fc.integer({ min: -1, max: 29 }), { minLength: 30, maxLength: 30 });
    fc.assert(
      fc.property(anyGraph, anyGraph, mapping, (before, graph, which) => {
        const of = Int32Array.from({ length: graph.n }, (_, v) => (which[v]! < before.n ? which[v]! : -1));
        check(graph, layered(graph, REFINED, { of, graph: before, layout: layered(before) }));
      }),
      { numRuns: 200 },
    );
  });

  it("stays as it is where nothing has changed", () => {
    fc.assert(
      fc.property(anyGraph, (graph) => {
        const layout = layered(graph);
        expectSame(layered(graph, FIRST, { of: Int32Array.from(layout.x.keys()), graph, layout }), layout);
      }),
      { numRuns: 200 },
    );
  });

  it("stays as it is with many groups within groups", () => {
    const n = 120;
    const all = Array.from(
      { length: 2 * n },
      (_, e) => [e % n, Math.min(n - 1, (e % n) + 1 + ((7 * e) % 30))] as const,
    );
    const edges = all.filter(([v, w]) => v !== w);
    const path = (v: number) => `a${Math.floor(v / 30)}/b${Math.floor(v / 10)}/c${Math.floor(v / 2)}`;
    const groups = Array.from({ length: n }, (_, v) => path(v));
    const graph = graphOf(n, edges, { groups });
    const layout = layered(graph);
    expectSame(layered(graph, REFINED, { of: Int32Array.from(layout.x.keys()), graph, layout }), layout);
  });

  it("is valid after any changes, one after the other", () => {
    const change = fc.oneof(
      fc.record({ add: fc.nat(), group: fc.constantFrom(undefined, undefined, "a", "a/b", "d") }),
      fc.record({ connect: fc.tuple(fc.nat(), fc.nat()) }),
      fc.record({ remove: fc.nat() }),
      fc.record({ cut: fc.nat() }),
    );
    fc.assert(
      fc.property(anyGraph, fc.array(change, { maxLength: 12 }), (start, changes) => {
        let graph = start;
        let layout = layered(graph);
        for (const each of changes) {
          const [next, of] = changed(graph, each);
          layout = layered(next, FIRST, { of, graph, layout });
          graph = next;
          check(graph, layout);
          checkFrames(graph, layout);
        }
      }),
      { numRuns: 150 },
    );
  });

  it("moves no other part when one grows, but one that is in its way", () => {
    fc.assert(
      fc.property(anyGraph, fc.nat(), ({ group: _, ...graph }, at) => {
        const [grown, of] = changed(graph, { add: at, group: undefined });
        const before = layered(graph);
        const after = layered(grown, FIRST, { of, graph, layout: before });
        const part = partsOf(grown);
        const others = [...new Set(part)].filter((q) => q !== part[graph.n]);
        const moved = (q: number) =>
          part.some((p, v) => p === q && Math.hypot(after.x[v]! - before.x[v]!, after.y[v]! - before.y[v]!) > 0.1);
        for (const q of others.filter(moved)) {
          const was = boxOf(graph, before, part, q);
          const inTheWay = [...new Set(part)].some(
            (other) => other !== q && overlap(boxOf(grown, after, part, other), was, 120),
          );
          expect(inTheWay).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("has frames that hold their members and nobody else", () => {
    fc.assert(
      fc.property(anyGraph, (graph) => {
        checkFrames(graph, layered(graph));
      }),
      { numRuns: 150 },
    );
  });

  it("keeps its order when a node is added at its end", () => {
    const graph = graphOf(
      9,
      [0, 1, 2, 3, 4, 5, 6].flatMap(
        (v) =>
          [
            [7, v],
            [v, 8],
          ] as [number, number][],
      ),
    );
    const before = layered(graph);
    const larger = graphOf(10, [...pairsOf(graph), [8, 9]]);
    const of = Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, -1);
    expect([...layered(larger, REFINED, { of, graph, layout: before }).y.subarray(0, 9)]).toEqual([...before.y]);
  });
});

function pairsOf(graph: Graph): [number, number][] {
  return Array.from({ length: graph.edges.length / 2 }, (_, e) => [graph.edges[2 * e]!, graph.edges[2 * e + 1]!]);
}

describe("small graphs look drawn by hand", () => {
  it("has nothing to show for an empty graph", () => {
    const layout = layered(graphOf(0, []));
    expect([layout.width, layout.height, layout.route.length, layout.offset.length]).toEqual([0, 0, 0, 1]);
  });

  it("fits the picture to a single node", () => {
    const layout = layered(graphOf(1, []));
    expect([layout.x[0], layout.y[0], layout.width, layout.height]).toEqual([60, 24, 120, 48]);
  });

  it.each(["LR", "TB"] as const)("draws a chain %s as a straight line, evenly spaced", (direction) => {
    const layout = layered(
      graphOf(
        5,
        [0, 1, 2, 3].map((v) => [v, v + 1] as const),
        { direction },
      ),
    );
    const [along, across] = direction === "LR" ? [layout.x, layout.y] : [layout.y, layout.x];
    expect(new Set(across).size).toBe(1);
    expect(new Set([1, 2, 3, 4].map((v) => along[v]! - along[v - 1]!)).size).toBe(1);
    for (let e = 0; e < 4; e++) expect(pointsOf(layout, e)).toHaveLength(4);
  });

  it("draws a diamond symmetric", () => {
    const { y } = layered(
      graphOf(4, [
        [0, 1],
        [0, 2],
        [1, 3],
        [2, 3],
      ]),
    );
    expect(y[0]).toBe(y[3]);
    expect(y[1]! + y[2]!).toBeCloseTo(2 * y[0]!);
    expect(y[1]!).toBeLessThan(y[2]!);
  });

  it("centres split and reduce on their maps, which stay in the order they were added in", () => {
    const maps = [1, 2, 3, 4, 5, 6, 7, 8];
    const { y } = layered(
      graphOf(
        10,
        maps.flatMap(
          (v) =>
            [
              [0, v],
              [v, 9],
            ] as [number, number][],
        ),
      ),
    );
    expect(y[0]).toBeCloseTo((y[1]! + y[8]!) / 2);
    expect(y[9]).toBeCloseTo(y[0]!);
    for (const v of maps.slice(1)) expect(y[v]! - y[v - 1]!).toBe(72);
  });

  it("takes the way from the tools to the agent for the way back", () => {
    const layout = layered(
      graphOf(4, [
        [2, 1],
        [0, 1],
        [1, 2],
        [1, 3],
      ]),
    );
    expect([...layout.back]).toEqual([1, 0, 0, 0]);
    expect([...layout.layer]).toEqual([0, 1, 2, 2]);
  });

  it("keeps the two edges of a two-node cycle apart", () => {
    const layout = layered(
      graphOf(2, [
        [0, 1],
        [1, 0],
      ]),
    );
    const [there, back] = [pointsOf(layout, 0), pointsOf(layout, 1)];
    for (const [, y] of there) for (const [, other] of back) expect(Math.abs(y - other)).toBeGreaterThan(8);
    expect(layout.y[0]).toBe(layout.y[1]);
  });

  it("does not bend a chain for an edge that runs back past it, and leads that edge around the boxes", () => {
    const graph = graphOf(4, [
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 0],
    ]);
    const layout = layered(graph);
    expect(new Set(layout.y).size).toBe(1);
    const beyond = pointsOf(layout, 3).filter(([, y]) => Math.abs(y - layout.y[0]!) > 24 + 8);
    expect(Math.min(...beyond.map(([x]) => x))).toBeLessThan(layout.x[1]! - 60);
    expect(Math.max(...beyond.map(([x]) => x))).toBeGreaterThan(layout.x[2]! + 60);
  });

  it("draws parallel edges and loops beside each other", () => {
    const layout = layered(
      graphOf(2, [
        [0, 1],
        [0, 1],
        [0, 1],
        [1, 1],
        [1, 1],
      ]),
    );
    const routes = [0, 1, 2, 3, 4].map((e) => pointsOf(layout, e).join());
    expect(new Set(routes).size).toBe(5);
    expect([...layout.back]).toEqual([0, 0, 0, 1, 1]);
  });

  it("keeps a long edge straight, and clear of the boxes that it passes", () => {
    const graph = graphOf(6, [
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 4],
      [4, 5],
      [0, 5],
    ]);
    const layout = layered(graph);
    const points = pointsOf(layout, 5);
    const passing = points.filter(([x]) => x > layout.x[1]! - 60 && x < layout.x[4]! + 60);
    expect(new Set(passing.map(([, y]) => Math.round(y))).size).toBe(1);
    expect(Math.abs(passing[0]![1] - layout.y[1]!)).toBeGreaterThan(24);
  });

  it("packs single nodes as a grid", () => {
    const layout = layered(graphOf(100, []));
    expect(layout.width / layout.height).toBeGreaterThan(1);
    expect(layout.width / layout.height).toBeLessThan(2.5);
  });
});

describe("the order of layers", () => {
  const layersOf = (layer: number[], edges: readonly (readonly [number, number])[]) => {
    const n = layer.length;
    const oriented = {
      lo: Int32Array.from(edges, ([v]) => v),
      hi: Int32Array.from(edges, ([, w]) => w),
      back: new Uint8Array(edges.length),
    };
    return proper(n, oriented, Int32Array.from(layer), { of: new Int32Array(n), count: 1 }, undefined, 1000);
  };

  it("has no crossing where none is needed", () => {
    // A tree added in an order that crosses everywhere, with its leaves joined pairwise again.
    const edges = [
      [0, 2],
      [0, 1],
      [1, 6],
      [2, 4],
      [1, 5],
      [2, 3],
      [3, 8],
      [4, 8],
      [5, 7],
      [6, 7],
    ] as const;
    const p = layersOf([0, 1, 1, 2, 2, 2, 2, 3, 3], edges);
    orderLayers(p, REFINED);
    expect(new CrossingCounter(p).count(0, p.ranks)).toBe(0);
  });

  it("counts crossings as comparing all pairs of edges does", () => {
    const anyLayers = fc.array(fc.tuple(fc.nat(11), fc.nat(11)), { maxLength: 80 });
    fc.assert(
      fc.property(anyLayers, (pairs) => {
        const edges = pairs.map(([v, w]) => [v, 12 + w] as const);
        const p = layersOf(
          Array.from({ length: 24 }, (_, v) => (v < 12 ? 0 : 1)),
          edges,
        );
        orderLayers(p, { ...REFINED, sweeps: 1, exchange: 0 });
        let crossings = 0;
        for (const [a, b] of edges) {
          for (const [c, d] of edges) if (p.pos[a]! < p.pos[c]! && p.pos[b]! > p.pos[d]!) crossings++;
        }
        expect(new CrossingCounter(p).count(0, p.ranks)).toBe(crossings);
      }),
    );
  });

  it("never makes more crossings by refining than the first picture has", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(14), fc.nat(14), fc.nat(1)), { maxLength: 60 }), (triples) => {
        const edges = triples.map(([v, w, layer]) => [15 * layer + v, 15 * (layer + 1) + w] as const);
        const layer = Array.from({ length: 45 }, (_, v) => Math.floor(v / 15));
        const [quick, good] = [FIRST, REFINED].map((settings) => {
          const p = layersOf(layer, edges);
          orderLayers(p, settings);
          return new CrossingCounter(p).count(0, p.ranks);
        });
        expect(good!).toBeLessThanOrEqual(quick!);
      }),
    );
  });
});

describe("bounds", () => {
  it("leads the longest edges around everything when all bends would be too many", () => {
    const n = 60;
    const chain = Array.from({ length: n - 1 }, (_, v) => [v, v + 1] as const);
    const graph = graphOf(n, [...chain, [0, n - 1], [1, n - 2], [3, 6]]);
    const layout = layered(graph, { bendLimit: 10 });
    check(graph, layout);
    const lowest = Math.max(...pointsOf(layout, n - 1).map(([, y]) => y));
    expect(lowest).toBeGreaterThan(Math.max(...layout.y) + 24);
    expect(Math.max(...pointsOf(layout, n + 1).map(([, y]) => y))).toBeLessThan(lowest);
  });

  it("lays out thousands of nodes, and deep chains, without a stack overflow", () => {
    const n = 20_000;
    const layout = layered(
      graphOf(
        n,
        Array.from({ length: n - 1 }, (_, v) => [v, v + 1] as const),
      ),
    );
    expect(new Set(layout.y).size).toBe(1);
    expect(layout.layer[n - 1]).toBe(n - 1);
  });
});

it("has an end to groups within groups", () => {
  for (const path of ["a/".repeat(50_000), "/".repeat(50_000)]) {
    const layout = layered(graphOf(2, [[0, 1]], { groups: [path, `${path}/b`] }), REFINED);
    expect(layout.groups.length).toBeLessThan(50);
    expect(Math.max(layout.width, layout.height)).toBeLessThan(10_000);
  }
});
