// Drawing: pure functions of the scene and a context, which keep nothing. Three layers, each redrawn only when what it
// shows has changed: edges and groups below, nodes on them, and on top what moves (flow, spinners, pulses, focus).

import type { Cost, Node } from "../../store";
import { doneShare, label, STATUSES } from "../status";
import type { Box, View } from "./camera";
import { caption } from "./caption";
import { drawIcon, iconOf } from "./icons";
import { ACTIVE, BACK, CONDITIONAL, type Scene, TAKEN } from "./scene";
import { DETAIL_SIZE, LABEL_SIZE, type TextMeasure } from "./text";
import type { Theme } from "./theme";

/** From these zooms on, a node is a box; shows its label; its second line. */
export const BOXES_FROM = 0.16;
export const LABELS_FROM = 0.28;
export const DETAILS_FROM = 0.58;
const EDGE_LABELS_FROM = 0.5;
const EDGE_LABEL_SIZE = 10;
/** Below that, the label alone grows with the distance so that it stays this many screen px high, as far as it fits. */
const LABEL_PX = 9.5;
const LABEL_MAX = 22;
/** What the layout leaves free at the top of a frame has room for this. */
const GROUP_LABEL_MAX = 15;

const RADIUS = 8;
const PAD = 12;

/** How a node's face is laid out at a zoom: from its left edge, in world px. */
interface Face {
  /** Only the label is shown, and larger. */
  far: boolean;
  label: number;
  icon: number;
  iconAt: number;
  textAt: number;
  pad: number;
}

function faceAt(k: number): Face {
  const far = k < DETAILS_FROM;
  const label = far ? Math.round(Math.min(LABEL_MAX, Math.max(LABEL_SIZE, LABEL_PX / k))) : LABEL_SIZE;
  const icon = Math.round((label * 16) / LABEL_SIZE);
  const pad = far ? PAD / 2 : PAD;
  return { far, label, icon, iconAt: pad + icon / 2, textAt: pad + icon + (far ? 5 : 8), pad };
}

export interface Frame {
  ctx: CanvasRenderingContext2D;
  scene: Scene;
  theme: Theme;
  text: TextMeasure;
  view: View;
  /** What of the world is on screen. */
  visible: Box;
  /** Screen size in CSS px, and device pixels per CSS px. */
  width: number;
  height: number;
  ratio: number;
  /** The moment that the picture shows (Unix ms). */
  asOf: number;
  /** Of the animation, ms. */
  time: number;
  still: boolean;
  cost: Cost | undefined;
}

export interface Marks {
  hovered: number | undefined;
  selected: number | undefined;
  /** Where the keyboard is, while the canvas has the focus. */
  cursor: number | undefined;
}

/** Clear the layer and set its world coordinates up. */
function begin({ ctx, view, width, height, ratio }: Frame): void {
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.clearRect(0, 0, ctx.canvas.width, ctx.canvas.height);
  const scale = ratio * view.k;
  ctx.setTransform(scale, 0, 0, scale, (ratio * width) / 2 - view.x * scale, (ratio * height) / 2 - view.y * scale);
}

function seen(box: Box, left: number, top: number, right: number, bottom: number): boolean {
  return right >= box.x && left <= box.x + box.width && bottom >= box.y && top <= box.y + box.height;
}

function edgeSeen({ scene, visible }: Frame, e: number): boolean {
  // On the way to another layout the routes are bent, and what they enclose is not known.
  if (scene.progress < 1) return true;
  const at = 4 * e;
  const box = scene.edgeBox;
  return seen(visible, box[at]!, box[at + 1]!, box[at + 2]!, box[at + 3]!);
}

// --- Edges and groups

export function drawEdges(frame: Frame): void {
  begin(frame);
  drawGroups(frame);
  const { ctx, scene, view, theme } = frame;
  const simple = view.k < BOXES_FROM;
  // One path for each look: a stroke for each edge would cost ten times as much.
  const looks = new Map<number, { lines: Path2D; heads: Path2D }>();
  const points: number[] = [];
  for (let e = 0; e < scene.flags.length; e++) {
    if (!edgeSeen(frame, e)) continue;
    const flags = simple ? scene.flags[e]! & TAKEN : scene.flags[e]! & ~ACTIVE;
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
  for (const [flags, { lines, heads }] of [...looks].sort(([a], [b]) => (a & TAKEN) - (b & TAKEN))) {
    ctx.strokeStyle = ctx.fillStyle = flags & TAKEN ? theme.edgeTaken : theme.edge;
    ctx.lineWidth = thin;
    ctx.setLineDash(flags & CONDITIONAL ? [5, 5] : flags & BACK ? [1, 4] : []);
    ctx.lineCap = flags & BACK && !(flags & CONDITIONAL) ? "round" : "butt";
    ctx.stroke(lines);
    if (!simple) ctx.fill(heads);
  }
  ctx.setLineDash([]);
  if (view.k >= EDGE_LABELS_FROM) drawEdgeLabels(frame, points);
}

/** A route is a start and then two controls and an end for each curve. */
function trace(path: Path2D, points: readonly number[], length: number): void {
  path.moveTo(points[0]!, points[1]!);
  for (let i = 2; i + 5 < length; i += 6) {
    path.bezierCurveTo(points[i]!, points[i + 1]!, points[i + 2]!, points[i + 3]!, points[i + 4]!, points[i + 5]!);
  }
}

/** The ends of its curves joined by straight lines: all that can be seen from far away. */
function polyline(path: Path2D, points: readonly number[], length: number): void {
  path.moveTo(points[0]!, points[1]!);
  for (let i = 6; i < length; i += 6) path.lineTo(points[i]!, points[i + 1]!);
}

const HEAD = 7;

function arrow(path: Path2D, points: readonly number[], length: number): void {
  const [x, y] = [points[length - 2]!, points[length - 1]!];
  // The last control tells where the curve comes from, but for one that lies on its end.
  let from = length - 4;
  while (from > 0 && points[from] === x && points[from + 1] === y) from -= 2;
  let [dx, dy] = [x - points[from]!, y - points[from + 1]!];
  const size = Math.hypot(dx, dy) || 1;
  [dx, dy] = [dx / size, dy / size];
  path.moveTo(x, y);
  path.lineTo(x - HEAD * dx - (HEAD / 2) * dy, y - HEAD * dy + (HEAD / 2) * dx);
  path.lineTo(x - HEAD * dx + (HEAD / 2) * dy, y - HEAD * dy - (HEAD / 2) * dx);
  path.closePath();
}

function drawEdgeLabels(frame: Frame, points: number[]): void {
  const { ctx, scene, theme, text } = frame;
  const font = `${EDGE_LABEL_SIZE}px ${theme.font}`;
  ctx.font = font;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  for (let e = 0; e < scene.flags.length; e++) {
    const name = scene.labels[e];
    if (!name || !edgeSeen(frame, e)) continue;
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

const SAMPLES = 8;

/** The point half-way along a route, by its length. */
function middle(points: readonly number[], length: number): [number, number] {
  const line: [number, number, number][] = [[points[0]!, points[1]!, 0]];
  for (let at = 0; at + 7 < length; at += 6) {
    for (let step = 1; step <= SAMPLES; step++) {
      const t = step / SAMPLES;
      const [x, y] = [onCurve(points, at, t), onCurve(points, at + 1, t)];
      const [x0, y0, sum] = line.at(-1)!;
      line.push([x, y, sum + Math.hypot(x - x0, y - y0)]);
    }
  }
  const half = line.at(-1)![2] / 2;
  const after = Math.max(
    1,
    line.findIndex(([, , sum]) => sum >= half),
  );
  const [from, to] = [line[after - 1]!, line[after] ?? line[after - 1]!];
  const t = to[2] > from[2] ? (half - from[2]) / (to[2] - from[2]) : 0;
  return [from[0] + (to[0] - from[0]) * t, from[1] + (to[1] - from[1]) * t];
}

/** One coordinate of the curve whose points begin at `at`. */
function onCurve(points: readonly number[], at: number, t: number): number {
  const s = 1 - t;
  const [a, b, c, d] = [points[at]!, points[at + 2]!, points[at + 4]!, points[at + 6]!];
  return s * s * s * a + 3 * s * s * t * b + 3 * s * t * t * c + t * t * t * d;
}

/** A label between two boxes of one row has no more room than there is between them. */
function labelRoom(points: readonly number[], length: number): number {
  const [dx, dy] = [Math.abs(points[length - 2]! - points[0]!), Math.abs(points[length - 1]! - points[1]!)];
  return dy < 24 ? Math.max(40, dx - 6) : 120;
}

function drawGroups({ ctx, scene, view, theme, text, visible }: Frame): void {
  const size = Math.round(Math.min(GROUP_LABEL_MAX, Math.max(DETAIL_SIZE, LABEL_PX / view.k)));
  const font = `600 ${size}px ${theme.font}`;
  for (const group of scene.groups) {
    if (!seen(visible, group.x, group.y, group.x + group.width, group.y + group.height)) continue;
    ctx.beginPath();
    ctx.roundRect(group.x, group.y, group.width, group.height, 12);
    ctx.globalAlpha = 0.5;
    ctx.fillStyle = theme.sunken;
    ctx.fill();
    ctx.globalAlpha = 1;
    ctx.strokeStyle = theme.line;
    ctx.lineWidth = 1 / Math.min(1, view.k);
    ctx.stroke();
    if (view.k < LABELS_FROM) continue;
    ctx.font = font;
    ctx.fillStyle = theme.muted;
    ctx.textAlign = "left";
    ctx.textBaseline = "top";
    const name = group.path.slice(group.path.lastIndexOf("/") + 1);
    ctx.fillText(text.fit(name, font, group.width - 2 * PAD), group.x + PAD, group.y + 7);
  }
}

// --- Nodes

export function drawNodes(frame: Frame): void {
  begin(frame);
  if (frame.view.k < BOXES_FROM) drawDots(frame);
  else drawBoxes(frame);
}

/** Nodes as marks in the colour of their status: changes of the fill style are what costs, so one pass a status. */
function drawDots({ ctx, scene, view, theme, visible }: Frame): void {
  const found: number[][] = STATUSES.map(() => []);
  scene.query(visible, (i) => found[scene.status[i]!]!.push(i));
  // At least two pixels, and what is wrong or waits is drawn last and larger, so that it isn't lost among thousands.
  const least = 2 / view.k;
  for (let s = STATUSES.length - 1; s >= 0; s--) {
    const status = STATUSES[s]!;
    ctx.fillStyle = status === "pending" ? theme.edgeTaken : theme.status[status];
    const grow = status === "failed" || status === "waiting" ? 2 / view.k : 0;
    for (const i of found[s]!) {
      const width = Math.max(least, scene.width[i]!) + grow;
      const height = Math.max(least, scene.height[i]!) + grow;
      ctx.fillRect(scene.x[i]! - width / 2, scene.y[i]! - height / 2, width, height);
    }
  }
}

function drawBoxes(frame: Frame): void {
  const { ctx, scene, visible } = frame;
  scene.query(visible, (i) => {
    const box = scene.box(i);
    if (!seen(visible, box.x, box.y, box.x + box.width, box.y + box.height)) return;
    ctx.globalAlpha = scene.fresh[i] ? scene.progress : 1;
    drawBox(frame, i, box);
  });
  ctx.globalAlpha = 1;
}

function drawBox(frame: Frame, i: number, box: Box): void {
  const { ctx, scene, theme, view } = frame;
  const status = scene.statusOf(i);
  const node = scene.nodes[i];
  const color = theme.status[status];
  const quiet = status === "pending" || status === "skipped" || status === "cancelled";
  ctx.beginPath();
  ctx.roundRect(box.x, box.y, box.width, box.height, RADIUS);
  ctx.fillStyle = theme.tint[status];
  ctx.fill();
  // A skipped or cancelled node is out of the story: its border says so without relying on colour.
  ctx.setLineDash(status === "skipped" || status === "cancelled" ? [3, 3] : []);
  ctx.lineWidth = Math.max(status === "waiting" || status === "failed" ? 1.6 : 1, 0.8 / view.k);
  ctx.strokeStyle = quiet ? theme.strongLine : color;
  ctx.stroke();
  ctx.setLineDash([]);
  if (view.k >= LABELS_FROM) {
    const face = faceAt(view.k);
    // A running node's icon spins, and is drawn with what moves.
    if (status !== "running") {
      drawIcon(
        ctx,
        iconOf(status, node?.reason),
        box.x + face.iconAt,
        box.y + box.height / 2,
        face.icon,
        color,
        theme.tint[status],
      );
    }
    if (node) drawText(frame, face, node, box, color);
  } else {
    const size = Math.min(box.height * 0.6, 12 / view.k);
    drawIcon(
      ctx,
      iconOf(status, node?.reason),
      box.x + box.width / 2,
      box.y + box.height / 2,
      size,
      color,
      theme.tint[status],
    );
  }
  if (node) drawProgress(frame, node, box);
}

function drawText(frame: Frame, face: Face, node: Node, box: Box, color: string): void {
  const { ctx, theme, text, cost, asOf } = frame;
  const detail = face.far ? "" : caption(node, cost, asOf);
  const middle = box.y + box.height / 2;
  const labelFont = `600 ${face.label}px ${theme.font}`;
  const detailFont = `${DETAIL_SIZE}px ${theme.font}`;
  let room = box.width - face.textAt - face.pad;
  ctx.textBaseline = "middle";
  ctx.textAlign = "right";
  ctx.font = detailFont;
  if (!face.far && (node.attempt ?? 1) > 1) {
    const badge = `#${node.attempt}`;
    ctx.fillStyle = theme.muted;
    ctx.fillText(badge, box.x + box.width - PAD, detail ? middle - 8.5 : middle);
    room -= text.width(badge, detailFont) + 6;
  }
  ctx.textAlign = "left";
  ctx.font = labelFont;
  ctx.fillStyle = node.status === "skipped" || node.status === "cancelled" ? theme.muted : theme.text;
  ctx.fillText(text.fit(label(node), labelFont, room), box.x + face.textAt, detail ? middle - 8.5 : middle + 0.5);
  if (!detail) return;
  let detailRoom = box.width - face.textAt - PAD;
  if (node.native) {
    const badge = text.fit(node.native, detailFont, Math.max(0, detailRoom - text.width(detail, detailFont) - 16));
    if (badge.length > 2) {
      const width = text.width(badge, detailFont) + 8;
      const left = box.x + box.width - PAD - width + 4;
      ctx.fillStyle = theme.sunken;
      ctx.beginPath();
      ctx.roundRect(left, middle + 1.5, width, 15, 4);
      ctx.fill();
      ctx.fillStyle = theme.muted;
      ctx.font = detailFont;
      ctx.fillText(badge, left + 4, middle + 9.5);
      detailRoom -= width;
    }
  }
  ctx.font = detailFont;
  ctx.fillStyle = node.status === "failed" || node.status === "waiting" ? color : theme.muted;
  ctx.fillText(text.fit(detail, detailFont, detailRoom), box.x + face.textAt, middle + 9.5);
}

/** A bar along the lower edge: what is done, and of instances also what failed. */
function drawProgress({ ctx, theme }: Frame, node: Node, box: Box): void {
  const share = doneShare(node);
  if (node.counts ? share === 1 && !node.counts.failed : node.status !== "running" || !node.progress) return;
  ctx.save();
  ctx.beginPath();
  ctx.roundRect(box.x + 0.5, box.y + 0.5, box.width - 1, box.height - 1, RADIUS - 0.5);
  ctx.clip();
  const bar = (from: number, to: number, color: string) => {
    ctx.fillStyle = color;
    ctx.fillRect(box.x + box.width * from, box.y + box.height - 3.5, box.width * (to - from), 3);
  };
  bar(0, 1, theme.line);
  const all = Object.values(node.counts ?? {}).reduce((sum, part) => sum + part, 0);
  const failed = all > 0 ? (node.counts?.failed ?? 0) / all : 0;
  bar(0, share - failed, node.counts ? theme.status.completed : theme.status.running);
  bar(share - failed, share, theme.status.failed);
  ctx.restore();
}

// --- What moves

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
    if (!(scene.flags[e]! & ACTIVE) || !edgeSeen(frame, e)) continue;
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

const SPIN_MS = 1100;
const PULSE_MS = 1800;

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

function drawMarks({ ctx, scene, theme, view }: Frame, { hovered, selected, cursor }: Marks): void {
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
  if (hovered !== selected) ring(hovered, 0, 1.5, theme.edgeTaken);
  ring(selected, 1, 2, theme.accent);
  if (cursor !== selected || cursor === hovered) ring(cursor, 4, 2, theme.accent);
}
