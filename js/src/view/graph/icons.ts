// One shape for each status, so that none is told by colour alone. Path data in a 16 × 16 box, for canvas and SVG alike.

import type { NodeStatus } from "../../state/types";
import { svg } from "../dom/dom";

export interface Icon {
  /** The outline: filled with the status colour when `solid`, else stroked with it. */
  shape: string;
  solid: boolean;
  /** What stands in it: stroked, in the ground's colour on a solid shape. */
  mark: string;
}

const CIRCLE = "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 1 1 0-13Z";

export const ICONS: Readonly<Record<NodeStatus, Icon>> = {
  pending: { shape: CIRCLE, solid: false, mark: "" },
  running: { shape: CIRCLE, solid: false, mark: "M6.6 5.4v5.2L10.8 8Z" },
  waiting: { shape: "M8 .6 15.4 8 8 15.4.6 8Z", solid: true, mark: "M8 4.6v4M8 11v.3" },
  completed: { shape: CIRCLE, solid: true, mark: "M5 8.3l2.1 2.1L11.2 6" },
  failed: { shape: "M5.2 1.2h5.6l4 4v5.6l-4 4H5.2l-4-4V5.2Z", solid: true, mark: "M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8" },
  skipped: { shape: "M2 8h9.5M8 4.2 11.8 8 8 11.8M14 4v8", solid: false, mark: "" },
  cancelled: { shape: CIRCLE, solid: false, mark: "M3.6 3.6l8.8 8.8" },
};

/** A failure that was handed down (`reason: upstream`) is drawn hollow: the fault is elsewhere. */
export function iconOf(status: NodeStatus, reason?: string): Icon {
  const icon = ICONS[status];
  return status === "failed" && reason === "upstream" ? { ...icon, solid: false } : icon;
}

const paths = new Map<string, Path2D>();

function path(data: string): Path2D {
  let made = paths.get(data);
  if (!made) {
    made = new Path2D(data);
    paths.set(data, made);
  }
  return made;
}

/** Draw an icon centred at (x, y), `size` world pixels wide. */
export function drawIcon(
  ctx: CanvasRenderingContext2D,
  icon: Icon,
  x: number,
  y: number,
  size: number,
  color: string,
  ground: string,
): void {
  const scale = size / 16;
  ctx.save();
  ctx.translate(x - size / 2, y - size / 2);
  ctx.scale(scale, scale);
  ctx.lineWidth = 1.6;
  ctx.lineCap = ctx.lineJoin = "round";
  ctx.strokeStyle = ctx.fillStyle = color;
  if (icon.solid) ctx.fill(path(icon.shape));
  else ctx.stroke(path(icon.shape));
  if (icon.mark) {
    if (icon.solid) ctx.strokeStyle = ground;
    ctx.stroke(path(icon.mark));
  }
  ctx.restore();
}

/** The same icon for the panels. Its colour comes from CSS, by `data-status`. */
export function iconElement(status: NodeStatus, reason?: string): SVGSVGElement {
  const icon = iconOf(status, reason);
  const line = { fill: "none", "stroke-width": 1.6, "stroke-linecap": "round", "stroke-linejoin": "round" };
  const shape = icon.solid ? { fill: "currentColor" } : { ...line, stroke: "currentColor" };
  return svg(
    "svg",
    { class: "dw-icon", viewBox: "0 0 16 16", width: 14, height: 14, "aria-hidden": "true", "data-status": status },
    svg("path", { d: icon.shape, ...shape }),
    icon.mark && svg("path", { d: icon.mark, ...line, stroke: icon.solid ? "var(--dw-ground)" : "currentColor" }),
  );
}
