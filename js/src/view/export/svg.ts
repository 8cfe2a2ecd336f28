// The whole graph as an SVG file: what the canvas shows from near, written down. All that comes from a run is escaped.

import type { Node } from "../../state/types";
import type { Box } from "../graph/camera";
import { caption, groupCaption } from "../graph/caption";
import { type Drawing, faceAt, PAD, RADIUS, STACK_INSET, STACK_STEP } from "../graph/frame";
import { iconOf } from "../graph/icons";
import { arrow, middle, type Path, trace } from "../graph/route";
import { ACTIVE, BACK, CONDITIONAL, type Scene, TAKEN } from "../graph/scene";
import { DETAIL_SIZE, LABEL_SIZE } from "../graph/text";
import { isFolded } from "../model/folding";
import { doneShare, label } from "../model/status";
import { visible } from "../model/visible";

/** Around the graph, px. */
export const MARGIN = 24;

/** What of the world a file shows. */
export function page({ bounds }: Scene): Box {
  return {
    x: bounds.x - MARGIN,
    y: bounds.y - MARGIN,
    width: bounds.width + 2 * MARGIN,
    height: bounds.height + 2 * MARGIN,
  };
}

export function toSvg(drawing: Drawing, title: string): string {
  const { scene, theme } = drawing;
  const { x, y, width, height } = page(scene);
  const parts = [
    tag("title", {}, escaped(title)),
    tag("rect", { x, y, width, height, fill: theme.ground }),
    ...scene.groups.map((group) => groupOf(drawing, group)),
    edges(drawing),
    ...Array.from({ length: scene.n }, (_, i) => nodeOf(drawing, i)),
  ];
  const viewBox = [x, y, width, height].map(round).join(" ");
  return tag(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox, role: "img", "font-family": theme.font },
    parts.join("\n"),
  );
}

/** As text or attribute of XML; characters that XML can't hold are shown as missing. */
export function escaped(text: string): string {
  return visible(text)
    .replace(/[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu, "\uFFFD")
    .replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

type Attributes = Record<string, string | number | false | undefined>;

function tag(name: string, attributes: Attributes, content = ""): string {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined && value !== false)
    .map(([key, value]) => ` ${key}="${typeof value === "number" ? round(value) : escaped(value as string)}"`);
  return `<${name}${written.join("")}${content ? `>${content}</${name}>` : "/>"}`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function text(x: number, y: number, size: number, fill: string, content: string, more: Attributes = {}): string {
  return tag("text", { x, y, "font-size": size, fill, "dominant-baseline": "central", ...more }, escaped(content));
}

const BOLD: Attributes = { "font-weight": 600 };

/** A path that is written down. */
class Written implements Path {
  d = "";
  moveTo(x: number, y: number): void {
    this.d += `M${round(x)} ${round(y)}`;
  }
  lineTo(x: number, y: number): void {
    this.d += `L${round(x)} ${round(y)}`;
  }
  bezierCurveTo(...points: number[]): void {
    this.d += `C${points.map(round).join(" ")}`;
  }
  closePath(): void {
    this.d += "Z";
  }
}

function groupOf({ scene, theme, text: measure, cost }: Drawing, { path, ...box }: Box & { path: string }): string {
  const name = groupCaption(path, scene.nodes, cost);
  const shown = measure.fit(name, `600 ${DETAIL_SIZE}px ${theme.font}`, box.width - 2 * PAD);
  return (
    tag("rect", { ...box, rx: 12, fill: theme.sunken, "fill-opacity": 0.5, stroke: theme.line }) +
    text(box.x + PAD, box.y + 13, DETAIL_SIZE, theme.muted, shown, BOLD)
  );
}

function edges({ scene, theme, text: measure }: Drawing): string {
  const [lines, labels]: [string[], string[]] = [[], []];
  const points: number[] = [];
  for (let e = 0; e < scene.flags.length; e++) {
    const flags = scene.flags[e]!;
    const length = scene.routeOf(e, points);
    const [line, head] = [new Written(), new Written()];
    trace(line, points, length);
    arrow(head, points, length);
    const color = flags & ACTIVE ? theme.status.running : flags & TAKEN ? theme.edgeTaken : theme.edge;
    lines.push(
      tag("path", {
        d: line.d,
        fill: "none",
        stroke: color,
        "stroke-width": flags & ACTIVE ? 2.2 : 1.4,
        "stroke-dasharray": flags & ACTIVE ? "7 6" : flags & CONDITIONAL ? "5 5" : !!(flags & BACK) && "1 4",
        "stroke-linecap": !!(flags & (ACTIVE | BACK)) && "round",
      }) + tag("path", { d: head.d, fill: color }),
    );
    const name = scene.labels[e];
    if (!name) continue;
    const [x, y] = middle(points, length);
    const shown = measure.fit(name, `10px ${theme.font}`, 120);
    const width = measure.width(shown, `10px ${theme.font}`) + 6;
    labels.push(
      tag("rect", { x: x - width / 2, y: y - 8, width, height: 16, rx: 4, fill: theme.ground }) +
        text(x, y, 10, theme.muted, shown, { "text-anchor": "middle" }),
    );
  }
  return [...lines, ...labels].join("\n");
}

function nodeOf(drawing: Drawing, i: number): string {
  const { scene, theme } = drawing;
  const [status, node, box] = [scene.statusOf(i), scene.nodes[i], scene.box(i)];
  const color = theme.status[status];
  const out = status === "skipped" || status === "cancelled";
  const face = faceAt(1);
  return tag(
    "g",
    {},
    [
      tag("title", {}, escaped(`${label(node ?? { id: scene.ids[i]! })}: ${status}`)),
      isFolded(node) ? stack(drawing, box, color) : "",
      tag("rect", {
        ...box,
        rx: RADIUS,
        fill: theme.tint[status],
        stroke: out || status === "pending" ? theme.strongLine : color,
        "stroke-width": status === "waiting" || status === "failed" ? 1.6 : 1,
        "stroke-dasharray": out && "3 3",
      }),
      icon(drawing, i, box.x + face.iconAt - face.icon / 2, box.y + (box.height - face.icon) / 2),
      node ? words(drawing, node, box, face.textAt) + progress(drawing, node, box) : "",
    ].join(""),
  );
}

/** Two more boxes behind, as on the canvas. */
function stack({ theme }: Drawing, box: Box, stroke: string): string {
  return [2, 1]
    .map((behind) => {
      const [inset, below] = [STACK_INSET * behind, STACK_STEP * behind];
      const back = { ...box, x: box.x + inset, y: box.y + below, width: box.width - 2 * inset };
      return tag("rect", { ...back, rx: RADIUS, fill: theme.ground, stroke });
    })
    .join("");
}

function icon({ scene, theme }: Drawing, i: number, x: number, y: number): string {
  const status = scene.statusOf(i);
  const { shape, solid, mark } = iconOf(status, scene.nodes[i]?.reason);
  const color = theme.status[status];
  return tag(
    "g",
    {
      transform: `translate(${round(x)} ${round(y)})`,
      fill: "none",
      stroke: color,
      "stroke-width": 1.6,
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
    },
    tag("path", { d: shape, fill: solid && color, stroke: solid && "none" }) +
      (mark ? tag("path", { d: mark, stroke: solid && theme.tint[status] }) : ""),
  );
}

function words({ theme, text: measure, cost, asOf }: Drawing, node: Node, box: Box, at: number): string {
  const { status } = node;
  const half = box.y + box.height / 2;
  const [x, room, end] = [box.x + at, box.width - at - PAD, box.x + box.width - PAD];
  const detail = caption(node, cost, asOf);
  const small = `${DETAIL_SIZE}px ${theme.font}`;
  const attempt = (node.attempt ?? 1) > 1 ? `#${node.attempt}` : "";
  const taken = attempt ? measure.width(attempt, small) + 6 : 0;
  const name = measure.fit(label(node), `600 ${LABEL_SIZE}px ${theme.font}`, room - taken);
  const native = node.native
    ? measure.fit(node.native, small, Math.max(0, room - measure.width(detail, small) - 16))
    : "";
  const own = native.length > 2 ? measure.width(native, small) + 8 : 0;
  const shown = measure.fit(detail, small, room - own);
  const ink = status === "skipped" || status === "cancelled" ? theme.muted : theme.text;
  const told = status === "failed" || status === "waiting" ? theme.status[status] : theme.muted;
  return (
    text(x, shown ? half - 8.5 : half, LABEL_SIZE, ink, name, BOLD) +
    (attempt ? text(end, shown ? half - 8.5 : half, DETAIL_SIZE, theme.muted, attempt, { "text-anchor": "end" }) : "") +
    (shown ? text(x, half + 9.5, DETAIL_SIZE, told, shown) : "") +
    (shown && own
      ? tag("rect", { x: end - own + 4, y: half + 1.5, width: own, height: 15, rx: 4, fill: theme.sunken }) +
        text(end, half + 9.5, DETAIL_SIZE, theme.muted, native, { "text-anchor": "end" })
      : "")
  );
}

/** A bar along the lower edge, as on the canvas. */
function progress({ theme }: Drawing, node: Node, box: Box): string {
  const share = doneShare(node);
  if (node.counts ? share === 1 && !node.counts.failed : node.status !== "running" || !node.progress) return "";
  const all = Object.values(node.counts ?? {}).reduce((sum, part) => sum + part, 0);
  const failed = all > 0 ? (node.counts?.failed ?? 0) / all : 0;
  const width = box.width - 2 * RADIUS;
  const bar = (from: number, to: number, fill: string) =>
    to > from
      ? tag("rect", {
          x: box.x + RADIUS + width * from,
          y: box.y + box.height - 3.5,
          width: width * (to - from),
          height: 3,
          fill,
        })
      : "";
  return (
    bar(0, 1, theme.line) +
    bar(0, share - failed, node.counts ? theme.status.completed : theme.status.running) +
    bar(share - failed, share, theme.status.failed)
  );
}
