// A value from the wire, shown as what it is: a picture, a table, a tree or text; and as the JSON that came.

import { button, h } from "../dom/dom";
import { copyButton } from "./copy";
import { picture, pictureOf } from "./image";
import { table, tableOf } from "./table";
import { pretty, VALUE_LIMIT } from "./text";
import { tree } from "./tree";

type Look = "Picture" | "Table" | "Tree" | "Text" | "JSON";

/** A shorter text is copied by hand. */
const COPIED_FROM = 60;

export class ValueView {
  readonly el = h("div", { class: "dw-value" });
  readonly #limit: number;
  #value: unknown;
  /** The ways to show it, the most telling first; what is shown is made when it is asked for. */
  #looks = new Map<Look, () => HTMLElement>();
  #chosen: Look | undefined;

  /** `limit` is how many characters are shown of a text, or of JSON. */
  constructor(value: unknown, limit = VALUE_LIMIT) {
    this.#limit = limit;
    this.show(value);
  }

  /** Another value, in the way that was chosen for the one before, if that makes sense. */
  show(value: unknown, limit = this.#limit): void {
    this.#value = value;
    this.#looks = looks(value, limit);
    this.#draw();
  }

  #draw(): void {
    const names = [...this.#looks.keys()];
    const now = names.find((name) => name === this.#chosen) ?? names[0]!;
    const body = (this.#looks.get(now) as () => HTMLElement)();
    const text = body.textContent ?? "";
    if (names.length === 1 && text.length < COPIED_FROM) {
      this.el.replaceChildren(body);
      return;
    }
    const choices = names.map((name) =>
      button(name, () => this.#choose(name), { class: "dw-look", "aria-pressed": String(name === now) }),
    );
    const bar = h(
      "div",
      { class: "dw-value-bar" },
      names.length > 1 && h("div", { role: "group", "aria-label": "Show as" }, ...choices),
      copyButton(() => asText(this.#value)),
    );
    this.el.replaceChildren(...(names.length > 1 ? [bar, body] : [body, bar]));
  }

  #choose(look: Look): void {
    this.#chosen = look;
    this.#draw();
    this.el.querySelector<HTMLElement>(".dw-look[aria-pressed=true]")?.focus();
  }
}

function looks(value: unknown, limit: number): Map<Look, () => HTMLElement> {
  const found = new Map<Look, () => HTMLElement>();
  const image = pictureOf(value);
  if (image) found.set("Picture", () => picture(image));
  const rows = tableOf(value);
  if (rows) found.set("Table", () => table(rows));
  if (typeof value !== "object" || value === null || Object.keys(value).length === 0) {
    found.set("Text", () => plain(pretty(value, limit)));
  } else {
    found.set("Tree", () => tree(value));
    found.set("JSON", () => h("pre", { tabindex: 0 }, pretty(value, limit)));
  }
  return found;
}

function plain(text: string): HTMLElement {
  return text.includes("\n") || text.length > COPIED_FROM ? h("pre", { tabindex: 0 }, text) : h("p", {}, text);
}

/** All of it, however much of it is shown. */
function asText(value: unknown): string {
  if (typeof value === "string") return value;
  try {
    return JSON.stringify(value, null, 2) ?? "";
  } catch {
    // Nested deeper than it can be written.
    return pretty(value, Number.POSITIVE_INFINITY);
  }
}
