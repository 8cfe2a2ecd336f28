// A value as a tree that folds. What is folded is not made yet, and no list is longer than a page: of many items there
// are ranges, and ranges of ranges, so a list of a million costs a hundred lines at a time.

import { type Child, h } from "../dom/dom";
import { count } from "../model/format";
import { picture, pictureOf } from "./image";
import { table, tableOf } from "./table";
import { brief, pretty } from "./text";

/** Items, or ranges of them, in one list. */
const PAGE = 100;
/** Up to so many items, what lies in the value itself is open from the start. */
const FEW = 8;
const LINE = 160;
const KEY = 200;
const LEFT_OUT = /^(?:… )?[\d,]+ more$/;

/** The items of a list, or the fields of an object, by their place. */
interface Members {
  length: number;
  name(i: number): string;
  at(i: number): unknown;
}

export function tree(value: object): HTMLElement {
  return h("div", { class: "dw-tree", tabindex: 0, role: "group", "aria-label": "Tree" }, inside(value, 0));
}

/** What a value has in it, as what it is. */
function inside(value: object, depth: number): HTMLElement {
  const image = pictureOf(value);
  if (image) return picture(image);
  const rows = depth > 0 ? tableOf(value) : undefined;
  return rows ? table(rows) : list(membersOf(value), 0, membersOf(value).length, depth);
}

function membersOf(value: object): Members {
  if (Array.isArray(value)) return { length: value.length, name: String, at: (i) => value[i] };
  const keys = Object.keys(value);
  return {
    length: keys.length,
    name: (i) => keys[i]!,
    at: (i) => (value as Record<string, unknown>)[keys[i]!],
  };
}

function list(members: Members, from: number, to: number, depth: number): HTMLElement {
  let step = 1;
  while ((to - from) / step > PAGE) step *= PAGE;
  const items = h("ul", {});
  for (let i = from; i < to; i += step) {
    const end = Math.min(i + step, to);
    const range = () =>
      folded([`${i.toLocaleString()} – ${(end - 1).toLocaleString()}`], () => list(members, i, end, depth), false);
    items.append(h("li", {}, step === 1 ? member(members.name(i), members.at(i), depth) : range()));
  }
  return items;
}

function member(name: string, value: unknown, depth: number): HTMLElement {
  const key = h("span", { class: "dw-key" }, brief(name, KEY));
  if (typeof value === "object" && value !== null) {
    const { length } = membersOf(value);
    if (length === 0) return h("span", {}, key, scalar(value));
    const unit = Array.isArray(value) ? "item" : "field";
    const size = h("span", { class: "dw-muted" }, `${count(length)} ${unit}${length === 1 ? "" : "s"}`);
    const hint = h("span", { class: "dw-brief dw-muted" }, brief(value, LINE));
    return folded([key, size, hint], () => inside(value, depth + 1), depth === 0 && length <= FEW);
  }
  if (typeof value === "string" && (value.length > LINE || value.includes("\n"))) {
    const image = pictureOf(value);
    const hint = h("span", { class: "dw-string dw-brief" }, brief(value, LINE));
    const size = h("span", { class: "dw-muted" }, image ? image.alt : `${count(value.length)} characters`);
    return folded([key, size, hint], () => (image ? picture(image) : h("pre", { tabindex: 0 }, pretty(value))), false);
  }
  return h("span", {}, key, scalar(value));
}

function scalar(value: unknown): HTMLElement {
  // What a preview says of what it left out is no part of the value.
  if (typeof value === "string" && LEFT_OUT.test(value)) return h("span", { class: "dw-muted" }, value);
  const kind = typeof value === "string" ? "string" : typeof value === "object" ? "null" : "number";
  return h("span", { class: `dw-${kind}` }, typeof value === "string" ? JSON.stringify(value) : brief(value));
}

/** Something that opens; what is in it is made then. */
function folded(summary: readonly Child[], make: () => HTMLElement, open: boolean): HTMLElement {
  const details = h("details", { open }, h("summary", {}, ...summary));
  const fill = () => {
    if (details.open && details.childElementCount === 1) details.append(make());
  };
  details.addEventListener("toggle", fill);
  fill();
  return details;
}
