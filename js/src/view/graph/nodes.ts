// The middle layer: nodes, as marks, boxes or boxes with words, by how near they are.

import type { Node } from "../../state/types";
import { isFolded } from "../model/folding";
import { doneShare, label, STATUSES } from "../model/status";
import type { Box } from "./camera";
import { caption } from "./caption";
import {
  BOXES_FROM,
  begin,
  type Face,
  type Frame,
  faceAt,
  LABELS_FROM,
  PAD,
  RADIUS,
  STACK_INSET,
  STACK_STEP,
  seen,
} from "./frame";
import { drawIcon, iconOf } from "./icons";
import { DETAIL_SIZE } from "./text";

/** The height of a line, in sizes of its font. */
const LINE = 1.15;

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
      const dimmed = scene.lit && !scene.lit[i];
      ctx.globalAlpha = dimmed ? scene.dim : 1;
      // So is what is looked for.
      const more = scene.lit && !dimmed ? grow + 1 / view.k : grow;
      const width = Math.max(least, scene.width[i]!) + more;
      const height = Math.max(least, scene.height[i]!) + more;
      ctx.fillRect(scene.x[i]! - width / 2, scene.y[i]! - height / 2, width, height);
    }
  }
  ctx.globalAlpha = 1;
}

function drawBoxes(frame: Frame): void {
  const { ctx, scene, visible } = frame;
  scene.query(visible, (i) => {
    const box = scene.box(i);
    if (!seen(visible, box.x, box.y, box.x + box.width, box.y + box.height)) return;
    ctx.globalAlpha = (scene.fresh[i] ? scene.progress : 1) * (scene.lit && !scene.lit[i] ? scene.dim : 1);
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
  if (isFolded(node)) drawStack(frame, box, quiet ? theme.strongLine : color);
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

/** The edges of two more boxes behind: this one stands for several. */
function drawStack({ ctx, theme, view }: Frame, box: Box, color: string): void {
  ctx.lineWidth = Math.max(1, 0.8 / view.k);
  ctx.strokeStyle = color;
  ctx.fillStyle = theme.ground;
  for (const behind of [2, 1]) {
    const [inset, below] = [STACK_INSET * behind, STACK_STEP * behind];
    ctx.beginPath();
    ctx.roundRect(box.x + inset, box.y + below, box.width - 2 * inset, box.height, RADIUS);
    ctx.fill();
    ctx.stroke();
  }
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
  if (!detail) {
    // Where a node has no second line, its label may have it.
    const lines = text.lines(label(node), labelFont, room);
    const first = middle + 0.5 - ((lines.length - 1) * face.label * LINE) / 2;
    for (const [i, line] of lines.entries()) ctx.fillText(line, box.x + face.textAt, first + i * face.label * LINE);
    return;
  }
  ctx.fillText(text.fit(label(node), labelFont, room), box.x + face.textAt, middle - 8.5);
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
