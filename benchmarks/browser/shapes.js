// The graphs that layouts are measured with: the same at every call. Nodes are indices, edges pairs of them.

/** Numbers from 0 to 1, the same each time. */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Tasks that depend on a few of those shortly before them: 1.4 edges a node. */
function pipeline(n) {
  const next = random(3);
  const pairs = [];
  for (let v = 1; v < n; v++) pairs.push([Math.max(0, v - 1 - Math.floor(next() * 20)), v]);
  while (pairs.length < 1.4 * n) {
    const v = Math.floor(next() * (n - 1));
    pairs.push([v, Math.min(n - 1, v + 1 + Math.floor(next() * 20))]);
  }
  return pairs;
}

/** √n layers, edges at random between neighbouring ones, some further: 1.4 edges a node. */
function layers(n) {
  const next = random(5);
  const wide = Math.ceil(Math.sqrt(n));
  const pick = (layer) => Math.min(n - 1, layer * wide + Math.floor(next() * wide));
  const count = Math.ceil(n / wide);
  const pairs = [];
  for (let v = wide; v < n; v++) pairs.push([pick(Math.floor(v / wide) - 1), v]);
  while (pairs.length < 1.4 * n) {
    const layer = Math.floor(next() * (count - 3));
    pairs.push([pick(layer), pick(layer + 1 + Math.floor(next() * next() * 3))]);
  }
  return pairs;
}

/** Stages of 98 tasks each, split and joined. */
function mapreduce(n) {
  const pairs = [];
  for (let from = 0; from + 1 < n; from += 99) {
    const to = Math.min(n - 1, from + 99);
    for (let v = from + 1; v < to; v++) pairs.push([from, v], [v, to]);
  }
  return pairs;
}

/** One after the other, every seventh leading five further. */
function chain(n) {
  const pairs = [];
  for (let v = 1; v < n; v++) pairs.push([v - 1, v]);
  for (let v = 0; v + 5 < n; v += 7) pairs.push([v, v + 5]);
  return pairs;
}

/** Agents of five nodes, each a loop (plan → act → look → plan) with a way out, that hand over to two others. */
function agents(n) {
  const next = random(9);
  const pairs = [];
  for (let at = 0; at + 5 <= n; at += 5) {
    pairs.push([at, at + 1], [at + 1, at + 2], [at + 2, at], [at, at + 3], [at + 3, at + 4], [at + 4, at]);
    for (let k = 0; k < 2; k++) {
      const to = at + 5 * (1 + Math.floor(next() * 6));
      if (to + 5 <= n) pairs.push([at + 3, to]);
    }
  }
  return pairs;
}

export const SHAPES = { pipeline, random: layers, mapreduce, chain, agents };
export const BOX = { width: 168, height: 48 };

/** The graph of a shape, without edges that are there twice. */
export function graphOf(shape, n) {
  const known = new Set();
  const pairs = SHAPES[shape](n).filter(([from, to]) => {
    const key = from * n + to;
    if (from === to || known.has(key)) return false;
    return known.add(key);
  });
  return { n, pairs };
}
