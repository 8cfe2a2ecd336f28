// A value from the wire as text to read: JSON, indented, and cut before it can hurt.

/** Characters shown of one value. */
export const VALUE_LIMIT = 20_000;
const DEPTH_LIMIT = 40;

/** `value` as indented JSON, or as itself where it is a string; cut at `limit` characters, and saying so. */
export function pretty(value: unknown, limit = VALUE_LIMIT): string {
  if (typeof value === "string") {
    return value.length <= limit ? value : `${value.slice(0, limit)}\n… (${value.length - limit} more characters)`;
  }
  const writer = new Writer(limit, true);
  writer.value(value);
  return writer.full ? `${writer.text}\n… (only the beginning is shown)` : writer.text;
}

/** On one line, for a label. */
export function brief(value: unknown, limit = 160): string {
  if (typeof value === "string") return value.length > limit ? `${value.slice(0, limit)}…` : value;
  const writer = new Writer(limit, false);
  writer.value(value);
  return writer.full ? `${writer.text}…` : writer.text;
}

/** Writes JSON until its room is used up, so a huge value costs no more than what is shown of it. */
class Writer {
  text = "";
  full = false;
  readonly #limit: number;
  readonly #indented: boolean;

  constructor(limit: number, indented: boolean) {
    this.#limit = limit;
    this.#indented = indented;
  }

  value(value: unknown, depth = 0): void {
    if (typeof value !== "object" || value === null) this.#put(JSON.stringify(value) ?? "null");
    else if (depth > DEPTH_LIMIT) this.#put("…");
    else if (Array.isArray(value)) this.#items("[]", value, depth, (item) => this.value(item, depth + 1));
    else {
      this.#items("{}", Object.keys(value), depth, (key) => {
        this.#put(`${JSON.stringify(key)}: `);
        this.value((value as Record<string, unknown>)[key], depth + 1);
      });
    }
  }

  #items<T>(brackets: string, items: readonly T[], depth: number, write: (item: T) => void): void {
    this.#put(brackets[0]!);
    for (let i = 0; i < items.length && !this.full; i++) {
      if (i > 0) this.#put(this.#indented ? "," : ", ");
      this.#line(depth + 1);
      write(items[i]!);
    }
    if (items.length > 0) this.#line(depth);
    this.#put(brackets[1]!);
  }

  #line(depth: number): void {
    if (this.#indented) this.#put(`\n${"  ".repeat(depth)}`);
  }

  #put(text: string): void {
    if (this.full) return;
    this.text += text;
    if (this.text.length > this.#limit) {
      this.text = this.text.slice(0, this.#limit);
      this.full = true;
    }
  }
}
