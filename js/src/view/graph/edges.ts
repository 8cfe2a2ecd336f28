// The lowest layer: groups and edges. Redrawn when the camera, the layout or what an edge tells has changed.

import { groupCaption } from "./caption";
import { BOXES_FROM, begin, edgeSeen, type Frame, LABEL_PX, LABELS_FROM, PAD, seen } from "./frame";
import { arrow, middle, polyline, trace } from "./route";
import { ACTIVE, BACK, CONDITIONAL, TAKEN } from "./scene";
import { DETAIL_SIZE } from "./text";

/** A bit beside an edge's flags: it is dimmed. */
const DIMMED = 16;
const EDGE_LABELS_FROM = 0.5;
const EDGE_LABEL_SIZE = 10;
/** What the layout leaves free at the top of a frame has room for this. */
const GROUP_LABEL_MAX = 15;

export function drawEdges(frame: Frame): void {
  begin(frame);
  drawGroups(frame);
  const { ctx, scene, view, theme } = frame;
  const simple = view.k < BOXES_FROM;
  // One path for each look, so that there are as many strokes as looks, not as edges.
  const looks = new Map<number, { lines: Path2D; heads: Path2D }>();
  const points: number[] = [];
  for (let e = 0; e < scene.flags.length; e++) {
    if (!edgeSeen(frame, e)) continue;
    const dimmed = scene.litEdges && !scene.litEdges[e] ? DIMMED : 0;
    const flags = dimmed | (simple ? scene.flags[e]! & TAKEN : scene.flags[e]! & ~ACTIVE);
    let look = looks.get(flags);
    if (!look) {
      look = { lines: new Path2D(), heads: new Path2D() };
      looks.set(flags, look);
    }
    const length = scene.routeOf(e, points);
    if (simple) {
      polyline(look.lines, points, length);
    } else {
      trace(look.lines, points, length);
      arrow(look.heads, points, length);
    }
  }
  const thin = simple ? Math.max(0.5 / view.k, 1) : Math.max(1.4, 0.8 / view.k);
  for (const [flags, { lines, heads }] of [...looks].sort(([a], [b]) => rank(a) - rank(b))) {
    ctx.strokeStyle = ctx.fillStyle = flags & TAKEN ? theme.edgeTaken : theme.edge;
    ctx.globalAlpha = flags & DIMMED ? scene.dim : 1;
    ctx.lineWidth = thin;
    ctx.setLineDash(flags & CONDITIONAL ? [5, 5] : flags & BACK ? [1, 4] : []);
    ctx.lineCap = flags & BACK && !(flags & CONDITIONAL) ? "round" : "butt";
    ctx.stroke(lines);
    if (!simple) ctx.fill(heads);
  }
  ctx.globalAlpha = 1;
  ctx.setLineDash([]);
  if (view.k >= EDGE_LABELS_FROM) drawEdgeLabels(frame, points);
}

/** What is drawn first: dimmed, then not taken, then taken. */
function rank(flags: number): number {
  return (flags & DIMMED ? 0 : DIMMED) + (flags & TAKEN);
}

function drawEdgeLabels(frame: Frame, points: number[]): void {
  const { ctx, scene, theme, text } = frame;
  const font = `${EDGE_LABEL_SIZE}px ${theme.font}`;
  ctx.font = font;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  for (let e = 0; e < scene.flags.length; e++) {
    const name = scene.labels[e];
    if (!name || (scene.litEdges && !scene.litEdges[e]) || !edgeSeen(frame, e)) continue;
    const length = scene.routeOf(e, points);
    const [x, y] = middle(points, length);
    const shown = text.fit(name, font, labelRoom(points, length));
    const width = text.width(shown, font) + 6;
    ctx.fillStyle = theme.ground;
    ctx.beginPath();
    ctx.roundRect(x - width / 2, y - 8, width, 16, 4);
    ctx.fill();
    ctx.fillStyle = theme.muted;
    ctx.fillText(shown, x, y + 0.5);
  }
}

/** A label between two boxes of one row has no more room than there is between them. */
function labelRoom(points: readonly number[], length: number): number {
  const [dx, dy] = [Math.abs(points[length - 2]! - points[0]!), Math.abs(points[length - 1]! - points[1]!)];
  return dy < 24 ? Math.max(40, dx - 6) : 120;
}

function drawGroups({ ctx, scene, view, theme, text, visible, cost }: Frame): void {
  const size = Math.round(Math.min(GROUP_LABEL_MAX, Math.max(DETAIL_SIZE, LABEL_PX / view.k)));
  const font = `600 ${size}px ${theme.font}`;
  for (const group of scene.groups) {
    if (!seen(visible, group.x, group.y, group.x + group.width, group.y + group.height)) continue;
    ctx.beginPath();
    ctx.roundRect(group.x, group.y, group.width, group.height, 12);
    const bright = !scene.litGroups || scene.litGroups.has(group.path) ? 1 : scene.dim;
    ctx.globalAlpha = 0.5 * bright;
    ctx.fillStyle = theme.sunken;
    ctx.fill();
    ctx.globalAlpha = bright;
    ctx.strokeStyle = theme.line;
    ctx.lineWidth = 1 / Math.min(1, view.k);
    ctx.stroke();
    if (view.k < LABELS_FROM) continue;
    ctx.font = font;
    ctx.fillStyle = theme.muted;
    ctx.textAlign = "left";
    ctx.textBaseline = "top";
    const name = groupCaption(group.path, scene.nodes, cost);
    ctx.fillText(text.fit(`▾ ${name}`, font, group.width - 2 * PAD), group.x + PAD, group.y + 7);
  }
  ctx.globalAlpha = 1;
}
