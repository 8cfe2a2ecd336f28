// A form made from a JSON Schema: what is typed becomes a value in JSON's types, a number a number.

import { type Field, field } from "./field";
import { fits, isSchema } from "./schema";

export class Form {
  readonly el: HTMLElement;
  readonly #field: Field;

  private constructor(made: Field) {
    this.#field = made;
    this.el = made.el;
    this.el.classList.add("dw-form");
  }

  /**
   * A form that starts from `draft`, which need not be whole, or else from the first of `starts` that fits; undefined
   * where the schema says more than a form can.
   */
  static of(schema: unknown, starts: readonly unknown[] = [], draft?: unknown): Form | undefined {
    if (!isSchema(schema)) return undefined;
    try {
      const start = draft ?? starts.find((value) => value !== undefined && fits(value, schema, schema));
      const made = field(schema, schema, start);
      return made && new Form(made);
    } catch {
      // A schema may say anything, and its gate must be answered all the same.
      return undefined;
    }
  }

  /** The value as it stands, also while something is wrong with it. */
  read(): unknown {
    return this.#field.read();
  }

  /** Say what is wrong where it stands, and go to the first of it; returns whether anything is. */
  complain(): boolean {
    const wrong = this.#field.complain();
    wrong?.focus();
    return wrong !== undefined;
  }

  focus(): void {
    this.el.querySelector<HTMLElement>("input, select, textarea")?.focus();
  }
}
