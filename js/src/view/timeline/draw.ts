// Drawing a timeline: the rows in sight and no others, their bars, the time axis, and where the viewer is.

import type { DagState, Execution, Node } from "../../state/types";
import { drawIcon, iconOf } from "../graph/icons";
import { DETAIL_SIZE, type TextMeasure } from "../graph/text";
import type { Theme } from "../graph/theme";
import { gateKey, spanOf } from "../model/span";
import { doneShare } from "../model/status";
import type { Row } from "./rows";
import { ticks } from "./ticks";
import type { TimeWindow } from "./window";
import { executionOf, rowLabel, standing } from "./words";

/** CSS px. */
export const AXIS = 28;
export const ROW = 24;
export const INDENT = 14;
const BAR = 14;
const INSET = 10;
const ICON = 13;
/** Where something ended as it began, this much is seen of it. */
const LEAST_BAR = 3;
const HATCH = 6;

export interface Picture {
  ctx: CanvasRenderingContext2D;
  width: number;
  height: number;
  ratio: number;
  scroll: number;
  /** The width of the column of labels. */
  gutter: number;
  rows: readonly Row[];
  window: TimeWindow;
  state: DagState;
  theme: Theme;
  text: TextMeasure;
  /** Where the axis counts from, and the moment that the picture shows (Unix ms). */
  origin: number;
  asOf: number;
  /** Whether time goes on. */
  live: boolean;
  waiting: ReadonlyMap<string, number>;
  /** Keys of rows; `selected` is a node. */
  hovered: string | undefined;
  cursor: string | undefined;
  selected: string | undefined;
}

export function drawTimeline(picture: Picture): void {
  const { ctx, width, height, ratio, scroll, rows, theme, gutter } = picture;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  const first = Math.max(0, Math.floor(scroll / ROW));
  const last = Math.min(rows.length, Math.ceil((scroll + height - AXIS) / ROW));
  const top = (i: number) => AXIS + i * ROW - scroll;
  ctx.textBaseline = "middle";
  for (let i = first; i < last; i++) drawGround(picture, rows[i]!, top(i));
  drawGrid(picture);
  ctx.save();
  clip(ctx, gutter, AXIS, width - gutter, height - AXIS);
  for (let i = first; i < last; i++) drawBar(picture, rows[i]!, top(i) + ROW / 2);
  drawNow(picture);
  ctx.restore();
  ctx.save();
  clip(ctx, 0, AXIS, width, height - AXIS);
  for (let i = first; i < last; i++) drawLabel(picture, rows[i]!, top(i));
  ctx.restore();
  ctx.fillStyle = theme.line;
  ctx.fillRect(gutter - 1, 0, 1, height);
  drawAxis(picture);
}

function clip(ctx: CanvasRenderingContext2D, x: number, y: number, width: number, height: number): void {
  ctx.beginPath();
  ctx.rect(x, y, width, height);
  ctx.clip();
}

function drawGround({ ctx, width, theme, selected, hovered }: Picture, row: Row, y: number): void {
  const chosen = row.kind !== "group" && row.id === selected;
  if (!chosen && row.kind !== "group" && row.key !== hovered) return;
  ctx.globalAlpha = chosen ? 0.13 : row.kind === "group" ? 0.6 : 1;
  ctx.fillStyle = chosen ? theme.accent : theme.sunken;
  ctx.fillRect(0, y, width, ROW);
  ctx.globalAlpha = 1;
}

function drawGrid({ ctx, height, gutter, window, origin, theme }: Picture): void {
  ctx.fillStyle = theme.line;
  for (const { at } of ticks(window.from, window.to, window.width, origin)) {
    const x = Math.round(gutter + window.toX(at));
    if (x > gutter) ctx.fillRect(x, AXIS, 1, height - AXIS);
  }
}

function drawAxis({ ctx, width, gutter, window, origin, theme, text }: Picture): void {
  const font = `${DETAIL_SIZE}px ${theme.font}`;
  ctx.fillStyle = theme.surface;
  ctx.fillRect(0, 0, width, AXIS - 1);
  ctx.fillStyle = theme.line;
  ctx.fillRect(0, AXIS - 1, width, 1);
  ctx.font = font;
  ctx.textAlign = "center";
  for (const { at, label } of ticks(window.from, window.to, window.width, origin)) {
    const x = gutter + window.toX(at);
    const half = text.width(label, font) / 2;
    ctx.fillStyle = theme.strongLine;
    if (x >= gutter) ctx.fillRect(Math.round(x), AXIS - 6, 1, 5);
    ctx.fillStyle = theme.muted;
    // The first label may move a little, so that it is not cut at the edge.
    if (x >= gutter && x + half < width) ctx.fillText(label, Math.max(x, gutter + half + 4), AXIS / 2 - 1);
  }
  ctx.textAlign = "left";
  ctx.fillStyle = theme.muted;
  ctx.fillText(text.fit("since the start", font, gutter - 2 * INSET), INSET, AXIS / 2 - 1);
}

function drawNow({ ctx, height, gutter, window, asOf, live, theme }: Picture): void {
  const x = gutter + window.toX(asOf);
  ctx.strokeStyle = live ? theme.accent : theme.strongLine;
  ctx.lineWidth = 1;
  ctx.setLineDash(live ? [] : [3, 3]);
  ctx.beginPath();
  ctx.moveTo(x, AXIS);
  ctx.lineTo(x, height);
  ctx.stroke();
  ctx.setLineDash([]);
}

function drawLabel(picture: Picture, row: Row, y: number): void {
  const { ctx, state, theme, text, gutter, selected, cursor, width } = picture;
  const middle = y + ROW / 2;
  const execution = executionOf(row, state);
  let x = INSET + row.depth * INDENT;
  if (row.kind === "node" && row.open !== undefined) {
    // Points down at what stands below it, else to the side.
    ctx.fillStyle = theme.muted;
    ctx.beginPath();
    const points = row.open ? [0, -2, 8, -2, 4, 3] : [1, -4, 6, 0, 1, 4];
    for (let i = 0; i < 6; i += 2) ctx.lineTo(x + points[i]!, middle + points[i + 1]!);
    ctx.fill();
    x += INDENT;
  }
  if (execution) {
    const { status, reason } = execution;
    drawIcon(ctx, iconOf(status, reason), x + ICON / 2, middle, ICON, theme.status[status], theme.ground);
    x += ICON + 6;
  }
  const font = `${row.kind === "instance" ? "" : "600 "}${row.kind === "node" ? 12 : DETAIL_SIZE}px ${theme.font}`;
  const out = execution?.status === "skipped" || execution?.status === "cancelled" || row.kind !== "node";
  ctx.font = font;
  ctx.textAlign = "left";
  ctx.fillStyle = out ? theme.muted : theme.text;
  ctx.fillText(text.fit(rowLabel(row, state), font, gutter - x - 8), x, middle + 0.5);
  if (row.kind === "node" && row.id === selected) {
    ctx.fillStyle = theme.accent;
    ctx.fillRect(0, y, 3, ROW);
  }
  if (row.key === cursor) {
    ctx.strokeStyle = theme.accent;
    ctx.lineWidth = 2;
    ctx.strokeRect(1, y + 1, width - 2, ROW - 2);
  }
}

function drawBar(picture: Picture, row: Row, middle: number): void {
  const { ctx, state, theme, text, window, gutter, width, asOf, waiting } = picture;
  const execution = executionOf(row, state);
  if (!execution) return;
  const since = execution.status === "waiting" ? waiting.get(gateKey(row.id, row.instance)) : undefined;
  const { start = since, end } = spanOf(execution);
  if (start === undefined) return;
  const left = gutter + window.toX(start);
  const right = Math.max(left + LEAST_BAR, gutter + window.toX(Math.max(start, end ?? asOf)));
  if (left < width && right > gutter) {
    const hatched = execution.status === "waiting" ? gutter + window.toX(Math.max(start, since ?? start)) : undefined;
    fillBar(picture, execution, left, right, middle - BAR / 2, hatched);
  }
  // Beside its bar, or before it where there is more room.
  const [from, to] = [Math.min(width, Math.max(gutter, left)), Math.max(gutter, Math.min(width, right))];
  const font = `${DETAIL_SIZE}px ${theme.font}`;
  const words = standing(row, state, asOf);
  const [before, after] = [from - gutter - 12, width - to - 12];
  const beside = text.width(words, font) <= after || after >= before;
  const told = execution.status === "failed" || execution.status === "waiting";
  ctx.font = font;
  ctx.textAlign = beside ? "left" : "right";
  ctx.fillStyle = told ? theme.status[execution.status] : theme.muted;
  ctx.fillText(text.fit(words, font, beside ? after : before), beside ? to + 6 : from - 6, middle + 0.5);
}

/** A bar from `left` to `right`, of which what is done is filled; hatched from where it waits for a person. */
function fillBar(
  picture: Picture,
  execution: Execution,
  left: number,
  right: number,
  top: number,
  hatched: number | undefined,
): void {
  const { ctx, theme, width, gutter } = picture;
  const { status } = execution;
  const color = theme.status[status];
  const out = status === "skipped" || status === "cancelled";
  const part = (from: number, to: number, fill: string, alpha: number) => {
    ctx.globalAlpha = alpha;
    ctx.fillStyle = fill;
    ctx.fillRect(left + (right - left) * from, top, (right - left) * (to - from), BAR);
    ctx.globalAlpha = 1;
  };
  ctx.save();
  ctx.beginPath();
  // Long bars are cut at the edges, where no one sees their ends.
  const [seenLeft, seenRight] = [Math.max(left, gutter - 8), Math.min(right, width + 8)];
  ctx.roundRect(seenLeft, top, seenRight - seenLeft, BAR, Math.min(3, (seenRight - seenLeft) / 2));
  ctx.clip();
  if (!out) {
    const counts = (execution as Node).counts;
    const done = doneShare(execution as Node);
    const all = Object.values(counts ?? {}).reduce((sum, one) => sum + one, 0);
    const failed = counts && all > 0 ? (counts.failed ?? 0) / all : 0;
    part(0, 1, color, 0.22);
    part(0, done - failed, counts ? theme.status.completed : color, 0.65);
    part(done - failed, done, theme.status.failed, 0.85);
  }
  if (hatched !== undefined) hatch(ctx, Math.max(hatched, seenLeft), seenRight, top, color);
  // Half of the line is cut off with the rest.
  ctx.setLineDash(out ? [3, 3] : []);
  ctx.strokeStyle = out ? theme.strongLine : color;
  ctx.lineWidth = 2;
  ctx.beginPath();
  ctx.roundRect(seenLeft, top, seenRight - seenLeft, BAR, Math.min(3, (seenRight - seenLeft) / 2));
  ctx.stroke();
  ctx.restore();
}

function hatch(ctx: CanvasRenderingContext2D, from: number, to: number, top: number, color: string): void {
  ctx.strokeStyle = color;
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  for (let x = from - BAR; x < to; x += HATCH) {
    ctx.moveTo(Math.max(x, from), top + BAR - Math.max(0, from - x));
    ctx.lineTo(x + BAR, top);
  }
  ctx.stroke();
}
