// Where the camera should be to show what runs: the smallest calm move, and none while all of it is in sight.

import type { Box, Camera, View } from "./camera";
import type { Scene } from "./scene";

const MARGIN = 36;
/** Close enough to read. */
const NEAR = 0.8;

/** The box around some nodes; undefined where there are none. */
export function boxOf(scene: Scene, nodes: Iterable<number>): Box | undefined {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const i of nodes) {
    const box = scene.box(i);
    [left, top] = [Math.min(left, box.x), Math.min(top, box.y)];
    [right, bottom] = [Math.max(right, box.x + box.width), Math.max(bottom, box.y + box.height)];
  }
  return left > right ? undefined : { x: left, y: top, width: right - left, height: bottom - top };
}

/** The view for what runs now; undefined where the camera may stay. With `near`, also closer than it is. */
export function viewOf(camera: Camera, box: Box, near: boolean): View | undefined {
  const now = camera.getState();
  const fitted = camera.fitted(box, MARGIN);
  if (near) return { ...fitted, k: Math.min(fitted.k, Math.max(NEAR, now.k)) };
  if (fitted.k < now.k) return fitted;
  const view = camera.revealing(box, MARGIN);
  return Math.hypot(view.x - now.x, view.y - now.y) * now.k < 1 ? undefined : view;
}
