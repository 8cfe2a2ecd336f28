// Walking the graph with the arrow keys: along the edges one way, among neighbours of a layer the other.

import type { Scene } from "./scene";

export type Arrow = "ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown";

export function isArrow(key: string): key is Arrow {
  return key === "ArrowLeft" || key === "ArrowRight" || key === "ArrowUp" || key === "ArrowDown";
}

/** The node that an arrow leads to from `at`; `at` itself where it leads nowhere; the first node from nowhere. */
export function step(scene: Scene, at: number | undefined, arrow: Arrow): number | undefined {
  if (scene.n === 0) return undefined;
  if (at === undefined || at >= scene.n) return first(scene);
  const across =
    scene.direction === "LR"
      ? arrow === "ArrowUp" || arrow === "ArrowDown"
      : arrow === "ArrowLeft" || arrow === "ArrowRight";
  const forward = arrow === "ArrowRight" || arrow === "ArrowDown";
  return (across ? beside(scene, at, forward) : along(scene, at, forward)) ?? at;
}

/** Position along the flow, and across it. */
function main(scene: Scene, i: number): number {
  return scene.direction === "LR" ? scene.x[i]! : scene.y[i]!;
}

function cross(scene: Scene, i: number): number {
  return scene.direction === "LR" ? scene.y[i]! : scene.x[i]!;
}

function first(scene: Scene): number {
  let best = 0;
  for (let i = 1; i < scene.n; i++) if (main(scene, i) < main(scene, best)) best = i;
  return best;
}

/** Over an edge, preferring one that really goes that way, then the nearest. */
function along(scene: Scene, at: number, forward: boolean): number | undefined {
  let best: number | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (let e = 0; e < scene.flags.length; e++) {
    const [from, to] = [scene.edges[2 * e]!, scene.edges[2 * e + 1]!];
    const other = forward ? (from === at ? to : -1) : to === at ? from : -1;
    if (other < 0 || other === at) continue;
    const ahead = (main(scene, other) - main(scene, at)) * (forward ? 1 : -1);
    const away = Math.abs(cross(scene, other) - cross(scene, at)) + (ahead > 0 ? ahead / 4 : 1e6);
    if (away < least) [least, best] = [away, other];
  }
  return best;
}

/** The nearest node on that side in the same layer: one whose extent along the flow overlaps. */
function beside(scene: Scene, at: number, forward: boolean): number | undefined {
  const size = scene.direction === "LR" ? scene.width : scene.height;
  let best: number | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < scene.n; i++) {
    const away = (cross(scene, i) - cross(scene, at)) * (forward ? 1 : -1);
    const apart = Math.abs(main(scene, i) - main(scene, at)) - (size[i]! + size[at]!) / 2;
    if (away > 0 && apart < 0 && away < least) [least, best] = [away, i];
  }
  return best;
}
