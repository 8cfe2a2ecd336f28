// The whole graph as a PNG file, drawn as the canvas draws it.

import { drawEdges } from "../graph/edges";
import type { Drawing, Frame } from "../graph/frame";
import { drawMoving } from "../graph/moving";
import { drawNodes } from "../graph/nodes";
import { page } from "./svg";

/** Device pixels per px of the graph, where the bounds below leave room. */
const RATIO = 2;
/** What browsers make a canvas of, and notebooks still show. */
const PNG_MAX_SIDE = 8192;
const PNG_MAX_PIXELS = 16_777_216;

/** How many pixels a px of a picture of that size becomes. */
export function pngScale(width: number, height: number): number {
  return Math.min(RATIO, PNG_MAX_SIDE / Math.max(width, height), Math.sqrt(PNG_MAX_PIXELS / (width * height)));
}

export async function toPng(drawing: Drawing): Promise<Blob> {
  const visible = page(drawing.scene);
  const scale = pngScale(visible.width, visible.height);
  // As seen from as far away as its pixels are small, so that what can't be read isn't written.
  const k = Math.min(1, scale);
  const ratio = scale / k;
  const [width, height] = [visible.width * k, visible.height * k];
  const view = { x: visible.x + visible.width / 2, y: visible.y + visible.height / 2, k };
  const canvas = () => {
    const made = document.createElement("canvas");
    made.width = Math.max(1, Math.floor(width * ratio));
    made.height = Math.max(1, Math.floor(height * ratio));
    const ctx = made.getContext("2d");
    if (!ctx) throw new Error("this browser draws no canvas");
    return ctx;
  };
  const [all, layer] = [canvas(), canvas()];
  all.fillStyle = drawing.theme.ground;
  all.fillRect(0, 0, all.canvas.width, all.canvas.height);
  const frame: Frame = { ...drawing, ctx: layer, view, visible, width, height, ratio, time: 0, still: true };
  const nothing = { hovered: undefined, selected: undefined, cursor: undefined };
  for (const draw of [drawEdges, drawNodes, (it: Frame) => drawMoving(it, nothing)]) {
    draw(frame);
    all.drawImage(layer.canvas, 0, 0);
  }
  return new Promise((resolve, reject) => {
    all.canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture is too large to be made"))));
  });
}
