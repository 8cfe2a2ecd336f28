import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Best } from "../../src/layout/best";
import { CrossingCounter } from "../../src/layout/crossings";
import { type Proper, proper } from "../../src/layout/proper";

const LAYERS = 5;
const WIDE = 5;

function layersOf(edges: readonly (readonly [number, number])[]): Proper {
  const n = LAYERS * WIDE;
  const oriented = {
    lo: Int32Array.from(edges, ([v]) => v),
    hi: Int32Array.from(edges, ([, w]) => w),
    back: new Uint8Array(edges.length),
  };
  const layer = Int32Array.from({ length: n }, (_, v) => Math.floor(v / WIDE));
  return proper(n, oriented, layer, { of: new Int32Array(n), count: 1 }, undefined, 1000);
}

/** Each layer in an order of its own. */
function order(p: Proper, layers: readonly (readonly number[])[]): void {
  for (const [r, places] of layers.entries()) {
    for (const [at, i] of places.entries()) {
      p.order[p.start[r]! + at] = r * WIDE + i;
      p.pos[r * WIDE + i] = at;
    }
  }
}

const someEdges = fc.array(fc.tuple(fc.nat(LAYERS - 2), fc.nat(WIDE - 1), fc.nat(WIDE - 1)), { maxLength: 30 });
const places = Array.from({ length: WIDE }, (_, i) => i);
const oneOrder = fc.tuple(
  ...Array.from({ length: LAYERS }, () =>
    fc.oneof(fc.constant(places), fc.shuffledSubarray(places, { minLength: WIDE })),
  ),
);
const edgesOf = (triples: readonly (readonly [number, number, number])[]) =>
  triples.map(([r, v, w]) => [r * WIDE + v, (r + 1) * WIDE + w] as const);

describe("the best order", () => {
  it("is the best mixture of two, each layer from the one or from the other", () => {
    fc.assert(
      fc.property(someEdges, oneOrder, oneOrder, (triples, one, two) => {
        const p = layersOf(edgesOf(triples));
        const counter = new CrossingCounter(p);
        const mixtures = Array.from({ length: 2 ** LAYERS }, (_, bits) => {
          order(
            p,
            one.map((places, r) => ((bits >> r) & 1 ? two[r]! : places)),
          );
          return counter.count(0, LAYERS);
        });
        const best = new Best(p, false);
        order(p, one);
        best.begin(0, LAYERS);
        order(p, two);
        expect(best.learn(0, LAYERS)).toBe(mixtures.at(-1));
        expect(best.crossings).toBe(Math.min(...mixtures));
      }),
    );
  });

  it("knows how many crossings it has, however much it has learned", () => {
    fc.assert(
      fc.property(
        someEdges,
        fc.array(oneOrder, { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        (triples, all, whole) => {
          const p = layersOf(edgesOf(triples));
          const counter = new CrossingCounter(p);
          const best = new Best(p, whole);
          const met = all.map((layers, i) => {
            order(p, layers);
            if (i === 0) best.begin(0, LAYERS);
            else best.learn(0, LAYERS);
            return counter.count(0, LAYERS);
          });
          for (let r = 0; r < LAYERS; r++) {
            const nodes = Array.from(best.of(r));
            expect(nodes.toSorted((a, b) => a - b)).toEqual(places.map((i) => r * WIDE + i));
            p.order.set(nodes, p.start[r]);
            for (const [at, v] of nodes.entries()) p.pos[v] = at;
          }
          expect(counter.count(0, LAYERS)).toBe(best.crossings);
          if (whole) expect(best.crossings).toBe(Math.min(...met));
          else expect(best.crossings).toBeLessThanOrEqual(Math.min(...met));
        },
      ),
    );
  });
});
