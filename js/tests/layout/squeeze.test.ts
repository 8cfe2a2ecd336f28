import { expect, test } from "vitest";
import { layered } from "../../src/layout/layered";
import type { Graph } from "../../src/layout/types";

/** Lanes of many steps, each of which fans out and joins again, side by side in groups of groups. */
function lanes(count: number, steps: number, width: number): Graph {
  const paths: string[] = [];
  const of: number[] = [-1];
  const edges: number[] = [];
  const add = (group: number) => of.push(group) - 1;
  for (let lane = 0; lane < count; lane++) {
    let end = 0;
    for (let step = 0; step < steps; step++) {
      const group = paths.push(`lane ${lane}/step ${step}`) - 1;
      const join = add(group);
      for (let shard = 0; shard < width; shard++) {
        const node = add(group);
        edges.push(end, node, node, join);
      }
      end = join;
    }
  }
  const n = of.length;
  return {
    n,
    width: new Float32Array(n).fill(100),
    height: new Float32Array(n).fill(40),
    edges: Uint32Array.from(edges),
    group: { paths, of: Int32Array.from(of) },
    direction: "LR",
  };
}

test("groups that stand side by side stand close, however long they are", () => {
  const layout = layered(lanes(3, 40, 12));
  const frames = layout.groups.filter(({ path }) => /^lane \d$/.test(path)).sort((a, b) => a.y - b.y);
  expect(frames).toHaveLength(3);
  for (const [i, frame] of frames.entries()) {
    // Twelve boxes of 40 px, 24 px apart, and what a frame and its name need.
    expect(frame.height).toBeLessThan(12 * 64 + 120);
    if (i > 0) {
      const gap = frame.y - (frames[i - 1]!.y + frames[i - 1]!.height);
      expect(gap).toBeGreaterThanOrEqual(0);
      expect(gap).toBeLessThan(100);
    }
  }
});

test("a group's members stay within its frame, and others out of it", () => {
  const graph = lanes(3, 10, 5);
  const layout = layered(graph);
  for (const frame of layout.groups) {
    for (let v = 0; v < graph.n; v++) {
      const path = graph.group!.paths[graph.group!.of[v]!] ?? "";
      const within = `${path}/`.startsWith(`${frame.path}/`);
      const [dx, dy] = [layout.x[v]! - frame.x, layout.y[v]! - frame.y];
      const inside = dx > 0 && dx < frame.width && dy > 0 && dy < frame.height;
      expect([path, frame.path, inside]).toEqual([path, frame.path, within]);
    }
  }
});
