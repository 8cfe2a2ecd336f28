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

  /** A form that starts from the first of `starts` that fits; undefined where the schema says more than a form can. */
  static of(schema: unknown, starts: readonly unknown[] = []): Form | undefined {
    if (!isSchema(schema)) return undefined;
    const start = starts.find((value) => value !== undefined && fits(value, schema, schema));
    const made = field(schema, schema, start);
    return made && new Form(made);
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
