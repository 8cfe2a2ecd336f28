// Which values are tables: a list of flat objects of the same keys; and the table that they make.

import { button, focusedNear, h } from "../dom/dom";
import { count } from "../model/format";
import { brief } from "./text";

export interface Table {
  columns: readonly string[];
  rows: readonly Record<string, unknown>[];
  /** What a preview says of the rows that it left out. */
  rest?: string;
}

/** Rows that come at a time. */
const PAGE = 50;
const COLUMNS = 40;
const CELL = 200;
/** A longer text may break. */
const LINE = 28;

export function tableOf(value: unknown): Table | undefined {
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const last = value.at(-1);
  const rest = typeof last === "string" && last.startsWith("… ") ? last : undefined;
  const rows = rest === undefined ? value : value.slice(0, -1);
  const columns = isFlat(rows[0]) ? Object.keys(rows[0]) : [];
  if (columns.length === 0 || columns.length > COLUMNS) return undefined;
  const alike = rows.every(
    (row) =>
      isFlat(row) && Object.keys(row).length === columns.length && columns.every((name) => Object.hasOwn(row, name)),
  );
  return alike ? { columns, rows, rest } : undefined;
}

export function table({ columns, rows, rest }: Table): HTMLElement {
  const body = h("tbody", {});
  const numeric = (name: string) => rows.some((row) => typeof row[name] === "number");
  const box = h(
    "div",
    { class: "dw-grid", tabindex: 0, role: "group", "aria-label": `Table of ${count(rows.length)} rows` },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ...columns.map((name) => h("th", { scope: "col", class: numeric(name) && "dw-number" }, brief(name, CELL))),
        ),
      ),
      body,
    ),
    rest !== undefined && h("p", { class: "dw-muted" }, rest),
  );
  const more = button("", () => show(), { class: "dw-link" });
  const show = () => {
    const at = body.childElementCount;
    body.append(...rows.slice(at, at + PAGE).map((row) => h("tr", {}, ...columns.map((name) => cell(row[name])))));
    const left = rows.length - body.childElementCount;
    more.textContent = `Show ${Math.min(PAGE, left)} more of ${count(left)}`;
    if (left > 0) return;
    if (focusedNear(more) === more) box.focus();
    more.remove();
  };
  box.append(more);
  show();
  return box;
}

function cell(value: unknown): HTMLElement {
  const text = brief(value, CELL);
  const kind = typeof value === "number" ? "number" : value === null ? "null" : text.length > LINE ? "long" : undefined;
  return h("td", { class: kind && `dw-${kind}` }, text);
}

function isFlat(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((item) => typeof item !== "object" || item === null)
  );
}
