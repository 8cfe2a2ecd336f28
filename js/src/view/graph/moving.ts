// The top layer: what moves by itself (flow, spinners, pulses) and where the viewer is (hover, selection, focus).

import { STATUSES } from "../model/status";
import { BOXES_FROM, begin, edgeSeen, type Frame, faceAt, LABELS_FROM, RADIUS } from "./frame";
import { arrow, polyline, trace } from "./route";
import { ACTIVE } from "./scene";

export interface Marks {
  hovered: number | undefined;
  selected: number | undefined;
  /** Where the keyboard is, while the canvas has the focus. */
  cursor: number | undefined;
  /** What the search has come to. */
  found?: number | undefined;
}

const SPIN_MS = 1100;
const PULSE_MS = 1800;

/** Draw the top layer; whether anything in it moves by itself. */
export function drawMoving(frame: Frame, marks: Marks): boolean {
  begin(frame);
  const flows = drawFlow(frame);
  const lives = drawLive(frame);
  drawMarks(frame, marks);
  return (flows || lives) && !frame.still;
}

function drawFlow(frame: Frame): boolean {
  const { ctx, scene, theme, time, still, view } = frame;
  // Seen as dots, an edge is a hair: it is coloured, and nothing on it moves.
  const simple = view.k < BOXES_FROM;
  const path = new Path2D();
  const heads = new Path2D();
  const points: number[] = [];
  let any = false;
  for (let e = 0; e < scene.flags.length; e++) {
    if (!(scene.flags[e]! & ACTIVE) || (scene.litEdges && !scene.litEdges[e]) || !edgeSeen(frame, e)) continue;
    any = true;
    const length = scene.routeOf(e, points);
    if (simple) polyline(path, points, length);
    else {
      trace(path, points, length);
      arrow(heads, points, length);
    }
  }
  if (!any) return false;
  ctx.strokeStyle = ctx.fillStyle = theme.status.running;
  ctx.lineWidth = simple ? 0.9 / view.k : Math.max(2.2, 1.2 / view.k);
  ctx.lineCap = "round";
  ctx.globalAlpha = simple ? 0.6 : 1;
  ctx.setLineDash(simple ? [] : [7, 6]);
  ctx.lineDashOffset = still ? 0 : -(time / 28) % 13;
  ctx.stroke(path);
  ctx.setLineDash([]);
  ctx.fill(heads);
  ctx.globalAlpha = 1;
  return !simple;
}

/** Spinners of running nodes and rings around those that wait for a person. */
function drawLive(frame: Frame): boolean {
  const { ctx, scene, theme, view, visible, time, still } = frame;
  const running = STATUSES.indexOf("running");
  const waiting = STATUSES.indexOf("waiting");
  const face = view.k >= LABELS_FROM ? faceAt(view.k) : undefined;
  const angle = still ? -Math.PI / 2 : ((time % SPIN_MS) / SPIN_MS) * 2 * Math.PI;
  const beat = still ? 0.35 : (time % PULSE_MS) / PULSE_MS;
  let any = false;
  scene.query(visible, (i) => {
    if (scene.lit && !scene.lit[i]) return;
    const status = scene.status[i];
    if (status === running && face) {
      any = true;
      const [x, y] = [scene.x[i]! - scene.width[i]! / 2 + face.iconAt, scene.y[i]!];
      const radius = face.icon * 0.41;
      ctx.lineWidth = radius * 0.27;
      ctx.lineCap = "round";
      ctx.strokeStyle = theme.status.running;
      ctx.globalAlpha = 0.28;
      ctx.beginPath();
      ctx.arc(x, y, radius, 0, 2 * Math.PI);
      ctx.stroke();
      ctx.globalAlpha = 1;
      ctx.beginPath();
      ctx.arc(x, y, radius, angle, angle + 1.9);
      ctx.stroke();
      ctx.beginPath();
      ctx.arc(x, y, radius * 0.3, 0, 2 * Math.PI);
      ctx.fillStyle = theme.status.running;
      ctx.fill();
    } else if (status === waiting) {
      any = true;
      // However far away one is, the ring is seen.
      const grow = (3 + 7 * beat) / Math.min(1, Math.max(view.k, 0.05));
      const box = scene.box(i);
      ctx.globalAlpha = 0.75 * (1 - beat);
      ctx.strokeStyle = theme.status.waiting;
      ctx.lineWidth = 2.5 / Math.min(1, view.k);
      ctx.beginPath();
      ctx.roundRect(box.x - grow, box.y - grow, box.width + 2 * grow, box.height + 2 * grow, RADIUS + grow);
      ctx.stroke();
      ctx.globalAlpha = 1;
    }
  });
  return any;
}

function drawMarks({ ctx, scene, theme, view }: Frame, { hovered, selected, cursor, found }: Marks): void {
  const ring = (i: number | undefined, gap: number, width: number, color: string) => {
    if (i === undefined || i >= scene.n) return;
    const box = scene.box(i);
    const scale = Math.min(1, view.k);
    const away = gap / scale;
    ctx.strokeStyle = color;
    ctx.lineWidth = width / scale;
    ctx.beginPath();
    ctx.roundRect(box.x - away, box.y - away, box.width + 2 * away, box.height + 2 * away, RADIUS + away);
    ctx.stroke();
  };
  ring(found, 4, 3, theme.accent);
  if (hovered !== selected) ring(hovered, 0, 1.5, theme.edgeTaken);
  ring(selected, 1, 2, theme.accent);
  if (cursor !== selected || cursor === hovered) ring(cursor, 4, 2, theme.accent);
}
