// What every layer is drawn from, and how much of a node is shown from how far away.

import type { Cost } from "../../state/types";
import type { Box, View } from "./camera";
import type { Scene } from "./scene";
import { LABEL_SIZE, type TextMeasure } from "./text";
import type { Theme } from "./theme";

/** From these zooms on, a node is a box; shows its label; its second line. */
export const BOXES_FROM = 0.16;
export const LABELS_FROM = 0.28;
export const DETAILS_FROM = 0.58;
/** From farther, the label alone grows so that it stays this many screen px high, as far as it fits. */
export const LABEL_PX = 9.5;
const LABEL_MAX = 22;
/** The strip at the top of a group's frame where its name stands, in world px. */
export const GROUP_NAME_HEIGHT = 26;

/** Corners of a node, and what is kept free in it, in world px. */
export const RADIUS = 8;
export const PAD = 12;
/** How much narrower, and lower, each box of a stack is than the one before it. */
export const STACK_INSET = 5;
export const STACK_STEP = 4;

/** What is drawn, wherever that is. */
export interface Drawing {
  scene: Scene;
  theme: Theme;
  text: TextMeasure;
  /** The moment that the picture shows (Unix ms). */
  asOf: number;
  cost: Cost | undefined;
}

export interface Frame extends Drawing {
  ctx: CanvasRenderingContext2D;
  view: View;
  /** What of the world is on screen. */
  visible: Box;
  /** Screen size in CSS px, and device pixels per CSS px. */
  width: number;
  height: number;
  ratio: number;
  /** Of the animation, ms. */
  time: number;
  still: boolean;
}

/** How a node's face is laid out at a zoom: from its left edge, in world px. */
export interface Face {
  /** Only the label is shown, and larger. */
  far: boolean;
  label: number;
  icon: number;
  iconAt: number;
  textAt: number;
  pad: number;
}

export function faceAt(k: number): Face {
  const far = k < DETAILS_FROM;
  const label = far ? Math.round(Math.min(LABEL_MAX, Math.max(LABEL_SIZE, LABEL_PX / k))) : LABEL_SIZE;
  const icon = Math.round((label * 16) / LABEL_SIZE);
  const pad = far ? PAD / 2 : PAD;
  return { far, label, icon, iconAt: pad + icon / 2, textAt: pad + icon + (far ? 5 : 8), pad };
}

/** Clear the layer and set its world coordinates up. */
export function begin({ ctx, view, width, height, ratio }: Frame): void {
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.clearRect(0, 0, ctx.canvas.width, ctx.canvas.height);
  const scale = ratio * view.k;
  ctx.setTransform(scale, 0, 0, scale, (ratio * width) / 2 - view.x * scale, (ratio * height) / 2 - view.y * scale);
}

export function seen(box: Box, left: number, top: number, right: number, bottom: number): boolean {
  return right >= box.x && left <= box.x + box.width && bottom >= box.y && top <= box.y + box.height;
}

export function edgeSeen({ scene, visible }: Frame, e: number): boolean {
  // On the way to another layout the routes are bent, and what they enclose is not known.
  if (scene.progress < 1) return true;
  const at = 4 * e;
  const box = scene.edgeBox;
  return seen(visible, box[at]!, box[at + 1]!, box[at + 2]!, box[at + 3]!);
}
