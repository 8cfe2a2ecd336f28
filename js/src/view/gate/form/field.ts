// Fields made from a JSON Schema. Each gives its value, in JSON's types, and says what is wrong with it where it stands.

import { uuid } from "../../../protocol/uuid";
import { button, h, setHidden, setText } from "../../dom/dom";
import { words } from "../../model/format";
import { visible } from "../../model/visible";
import { brief } from "../../value/text";
import { fault } from "./constraints";
import { branches, fits, isSchema, listed, nullable, resolved, type Schema, same, typeOf } from "./schema";

/** `undefined` as a value: it is left out. */
export interface Field {
  readonly el: HTMLElement;
  read(): unknown;
  /** Say what is wrong, next to it; returns the first field that something is wrong with. */
  complain(): Field | undefined;
  focus(): void;
}

interface About {
  schema: Schema;
  root: Schema;
  name: string;
  required: boolean;
  /** What it starts from; `undefined` where there is nothing. */
  value: unknown;
}

const DEEPEST = 8;
const LONG = 120;
/** A longer list is no form that anybody fills in. */
const MOST_ITEMS = 500;

/** A field for a schema; undefined where a form can't express it. */
export function field(
  schema: unknown,
  root: Schema,
  value: unknown,
  name = "",
  required = true,
  depth = 0,
): Field | undefined {
  const whole = resolved(schema, root);
  if (!whole || depth > DEEPEST) return undefined;
  const start = value === undefined ? whole.default : value;
  const about: About = { schema: whole, root, name: title(whole, name), required, value: start };
  if (Object.hasOwn(whole, "const") && required) return new Fixed(whole.const);
  const values = listed(whole);
  if (values) return new Choice(about, values);
  const offered = branches(whole);
  if (offered) return Alternatives.of(about, offered, depth);
  // A default of null says that it may be left out.
  if (nullable(whole) && !required && start === null && value === undefined) about.value = undefined;
  switch (typeOf(whole)) {
    case "object":
      return Group.of(about, depth);
    case "array":
      return Items.of(about, depth);
    case "boolean":
      return required ? new Check(about) : new Choice(about, [true, false]);
    case "integer":
    case "number":
    case "string":
      return new Line(about);
    case "null":
      return new Choice(about, [null]);
    default:
      return undefined;
  }
}

function title(schema: Schema, name: string): string {
  return typeof schema.title === "string" ? schema.title : words(name);
}

/** A label, a control, a description, and room for what is wrong. */
abstract class Simple<T extends HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement> implements Field {
  readonly el: HTMLElement;
  protected readonly wrong = h("p", { class: "dw-invalid", id: `dw-${uuid()}`, role: "alert", hidden: true });

  constructor(
    protected readonly about: About,
    protected readonly control: T,
    sideways = false,
  ) {
    const { schema, name, required } = about;
    control.id = `dw-${uuid()}`;
    const label = h("label", { for: control.id }, name || "Value", required ? "" : h("small", {}, " optional"));
    const described = [this.wrong.id];
    this.el = h("div", { class: sideways ? "dw-form-field dw-sideways" : "dw-form-field" });
    this.el.append(...(sideways ? [control, label] : [label, control]));
    if (typeof schema.description === "string") {
      const text = h("small", { id: `dw-${uuid()}`, class: "dw-muted" }, schema.description);
      described.push(text.id);
      this.el.append(text);
    }
    this.el.append(this.wrong);
    control.setAttribute("aria-describedby", described.join(" "));
    if (required) control.setAttribute("aria-required", "true");
    control.addEventListener("input", () => this.say(undefined));
  }

  abstract read(): unknown;
  abstract problem(): string | undefined;

  complain(): Field | undefined {
    const problem = this.problem();
    this.say(problem);
    return problem === undefined ? undefined : this;
  }

  focus(): void {
    this.control.focus();
  }

  protected say(problem: string | undefined): void {
    setText(this.wrong, problem ?? "");
    setHidden(this.wrong, problem === undefined);
    this.control.setAttribute("aria-invalid", String(problem !== undefined));
  }
}

/** What can only be one thing needs no field: it is what tells alternatives apart. */
class Fixed implements Field {
  readonly el = h("span", { hidden: true });

  constructor(private readonly value: unknown) {}

  read(): unknown {
    return this.value;
  }

  complain(): undefined {}

  focus(): void {}
}

/** A text or a number. */
class Line extends Simple<HTMLInputElement | HTMLTextAreaElement> {
  readonly #type = typeOf(this.about.schema) as "string" | "number" | "integer";
  readonly #start: string;

  constructor(about: About) {
    super(about, Line.#control(about));
    const start = about.value;
    if (typeof start === "string" || typeof start === "number") {
      this.control.value = String(start);
      if (this.control.value !== String(start)) {
        // A browser throws away what is no date to it, and trims what is no address: nobody has said so.
        this.control.setAttribute("type", "text");
        this.control.value = String(start);
      }
    }
    this.#start = this.control.value;
  }

  static #control({ schema, value }: About): HTMLInputElement | HTMLTextAreaElement {
    if (typeOf(schema) !== "string")
      return h("input", { class: "dw-field", inputmode: "decimal", autocomplete: "off" });
    const long =
      Number(schema.maxLength) > LONG || (typeof value === "string" && (value.length > LONG || value.includes("\n")));
    if (long || schema.contentMediaType !== undefined) return h("textarea", { class: "dw-field", rows: 4 });
    const types: Record<string, string> = { date: "date", time: "time", email: "email", uri: "url" };
    return h("input", { class: "dw-field", type: types[String(schema.format)] ?? "text", autocomplete: "off" });
  }

  read(): unknown {
    const text = this.control.value;
    const { required, schema, value } = this.about;
    // What nobody has touched is what it was, also where a control shows it as something else: null, a line's end.
    const whole = value === null ? nullable(schema) : typeof value === (this.#type === "string" ? "string" : "number");
    if (text === this.#start && whole) return value;
    if (this.#type === "string") return text === "" && !required ? undefined : text;
    return text.trim() !== "" ? Number(text) : required && nullable(schema) ? null : undefined;
  }

  problem(): string | undefined {
    const value = this.read();
    if (value === undefined) return this.about.required ? "Required." : undefined;
    if (typeof value === "number") {
      if (!Number.isFinite(value)) return "Must be a number.";
      if (this.#type === "integer" && !Number.isInteger(value)) return "Must be a whole number.";
    }
    return fault(value, this.about.schema);
  }
}

class Check extends Simple<HTMLInputElement> {
  constructor(about: About) {
    super(about, h("input", { type: "checkbox" }), true);
    this.control.checked = about.value === true;
  }

  read(): unknown {
    const { required, value } = this.about;
    return this.control.checked || (!required && value === undefined ? undefined : false);
  }

  problem(): undefined {}
}

/** One of the values that are listed, of whatever type. */
class Choice extends Simple<HTMLSelectElement> {
  readonly #values: readonly unknown[];

  constructor(about: About, values: readonly unknown[]) {
    const start = values.findIndex((one) => same(one, about.value));
    const none = !about.required || (start < 0 && values.length > 1);
    const options = values.map((one, i) =>
      h("option", { value: i }, one === true ? "yes" : one === false ? "no" : brief(one)),
    );
    super(about, h("select", { class: "dw-field" }, none && h("option", { value: "" }, "–"), ...options));
    this.#values = values;
    this.control.value = start < 0 ? (none ? "" : "0") : String(start);
  }

  read(): unknown {
    return this.control.value === "" ? undefined : this.#values[Number(this.control.value)];
  }

  problem(): string | undefined {
    return this.control.value === "" && this.about.required ? "Choose one." : undefined;
  }
}

/** An object: its fields, and what else it holds, which stays as it is. */
class Group implements Field {
  readonly el: HTMLElement;

  private constructor(
    private readonly about: About,
    private readonly fields: ReadonlyMap<string, Field>,
    private readonly rest: object,
    /** Given as empty, and allowed to be. */
    private readonly empty: boolean,
  ) {
    const { name, schema } = about;
    this.el = h("fieldset", { class: "dw-form-group" }, name !== "" && h("legend", {}, name));
    if (typeof schema.description === "string") this.el.append(h("small", { class: "dw-muted" }, schema.description));
    for (const each of fields.values()) this.el.append(each.el);
  }

  static of(about: About, depth: number): Field | undefined {
    const properties = isSchema(about.schema.properties) ? about.schema.properties : {};
    const required = Array.isArray(about.schema.required) ? about.schema.required : [];
    const value: Readonly<Record<string, unknown>> = isSchema(about.value) ? about.value : {};
    const fields = new Map<string, Field>();
    for (const [name, schema] of Object.entries(properties)) {
      const start = Object.hasOwn(value, name) ? value[name] : undefined;
      const each = field(schema, about.root, start, name, required.includes(name), depth + 1);
      if (!each) return undefined;
      fields.set(name, each);
    }
    const rest = Object.fromEntries(Object.entries(value).filter(([name]) => !fields.has(name)));
    const empty = isSchema(about.value) && Object.keys(value).length === 0 && required.length === 0;
    return new Group(about, fields, rest, empty);
  }

  read(): unknown {
    const given = [...this.fields]
      .map(([name, each]) => [name, each.read()] as const)
      .filter(([, value]) => value !== undefined);
    const nothing = given.length === 0 && Object.keys(this.rest).length === 0;
    if (nothing && !this.about.required && !this.empty) return undefined;
    return { ...this.rest, ...Object.fromEntries(given) };
  }

  complain(): Field | undefined {
    // Where it may be left out, and nothing of it is given, nothing is missing.
    if (this.read() === undefined) return undefined;
    return [...this.fields.values()].map((each) => each.complain()).find((wrong) => wrong !== undefined);
  }

  focus(): void {
    this.fields.values().next().value?.focus();
  }
}

class Items implements Field {
  readonly el: HTMLElement;
  readonly #fields: Field[] = [];
  readonly #list = h("ol", { class: "dw-form-items" });
  readonly #wrong = h("p", { class: "dw-invalid", role: "alert", hidden: true });
  readonly #add = button(
    "Add",
    () => {
      this.#insert(undefined).focus();
      this.#changed();
    },
    { class: "dw-button dw-form-add" },
  );

  private constructor(
    private readonly about: About,
    private readonly make: (value: unknown) => Field,
  ) {
    const { name: given, value } = about;
    const name = given || "Values";
    this.#add.setAttribute("aria-label", visible(`Add to ${name}`));
    this.el = h("fieldset", { class: "dw-form-group" }, h("legend", {}, name), this.#list, this.#add, this.#wrong);
    for (const item of Array.isArray(value) ? value : []) this.#insert(item);
  }

  static of(about: About, depth: number): Field | undefined {
    const { root, schema, value: start } = about;
    if (Array.isArray(start) && start.length > MOST_ITEMS) return undefined;
    const items = resolved(schema.items, root);
    const make = (value: unknown) =>
      items && field({ ...items, title: items.title ?? about.name }, root, value, "", true, depth + 1);
    return make(undefined) && new Items(about, make as (value: unknown) => Field);
  }

  /** As if it had been typed. */
  #changed(): void {
    this.el.dispatchEvent(new Event("input", { bubbles: true }));
  }

  #insert(value: unknown): Field {
    const made = this.make(value);
    // It has a number in front of it; its name is for who can't see that.
    made.el.querySelector(":scope > label")?.classList.add("dw-offscreen");
    this.#fields.push(made);
    const item = h("li", {}, made.el);
    const place = () => this.#fields.indexOf(made) + 1;
    const remove = button("Remove", () => {
      this.#fields.splice(place() - 1, 1);
      item.remove();
      this.#add.focus();
      this.#changed();
    });
    const up = button("↑", () => {
      const at = place() - 1;
      const before = item.previousElementSibling;
      if (!before) return;
      before.before(item);
      this.#fields.splice(at - 1, 2, made, this.#fields[at - 1]!);
      up.focus();
      this.#changed();
    });
    remove.setAttribute("aria-label", "Remove this item");
    up.setAttribute("aria-label", "Move this item up");
    for (const each of [up, remove]) each.className = "dw-button";
    item.append(h("div", { class: "dw-form-row" }, up, remove));
    this.#list.append(item);
    return made;
  }

  read(): unknown {
    const { required, value } = this.about;
    const values = this.#fields.map((each) => each.read());
    // Given as empty it stays so; emptied it is left out.
    const empty = required || (Array.isArray(value) && value.length === 0);
    return values.length === 0 && !empty ? undefined : values;
  }

  complain(): Field | undefined {
    const value = this.read();
    const problem = value === undefined ? undefined : fault(value, this.about.schema);
    setText(this.#wrong, problem ?? "");
    setHidden(this.#wrong, problem === undefined);
    return (
      this.#fields.map((each) => each.complain()).find((wrong) => wrong !== undefined) ?? (problem ? this : undefined)
    );
  }

  focus(): void {
    this.#add.focus();
  }
}

/** One of several schemas, told apart by their titles, or by what they alone say of the discriminator. */
class Alternatives implements Field {
  readonly el: HTMLElement;
  readonly #select: HTMLSelectElement;
  /** Undefined for null, which needs no field. */
  readonly #fields: readonly (Field | undefined)[];

  private constructor(
    { name, required }: About,
    offered: readonly Schema[],
    fields: readonly (Field | undefined)[],
    start: number,
  ) {
    this.#fields = fields;
    const id = `dw-${uuid()}`;
    const options = offered.map((each, i) => h("option", { value: i }, named(each, i)));
    this.#select = h("select", { class: "dw-field", id }, !required && h("option", { value: "" }, "–"), ...options);
    this.#select.value = start < 0 ? (required ? "0" : "") : String(start);
    this.#select.addEventListener("change", () => this.#show());
    const label = h("label", { for: id }, name || "Which", required ? "" : h("small", {}, " optional"));
    this.el = h("div", { class: "dw-form-field" }, label, this.#select, ...fields.map((each) => each?.el));
    this.#show();
  }

  static of(about: About, offered: readonly unknown[], depth: number): Field | undefined {
    const { root, value, name } = about;
    const schemas: Schema[] = [];
    for (const each of offered) {
      const schema = resolved(each, root);
      if (!schema) return undefined;
      schemas.push(schema);
    }
    const first = (all: boolean) => schemas.findIndex((each) => fits(value, each, root, 0, all));
    const whole = value === undefined ? -1 : first(true);
    // A draft need not be whole.
    const fitting = whole < 0 && isSchema(value) ? first(false) : whole;
    const fields: (Field | undefined)[] = [];
    for (const [i, each] of schemas.entries()) {
      const start = i === fitting ? value : undefined;
      const made = each.type === "null" ? undefined : field({ ...each, title: name }, root, start, "", true, depth + 1);
      if (!made && each.type !== "null") return undefined;
      // The choice above it shows the name already.
      made?.el.querySelector(":scope > :is(label, legend)")?.classList.add("dw-offscreen");
      fields.push(made);
    }
    return new Alternatives(about, schemas, fields, fitting);
  }

  get #shown(): Field | undefined {
    return this.#select.value === "" ? undefined : this.#fields[Number(this.#select.value)];
  }

  #show(): void {
    for (const each of this.#fields) if (each) setHidden(each.el, each !== this.#shown);
  }

  read(): unknown {
    if (this.#select.value === "") return undefined;
    return this.#shown ? this.#shown.read() : null;
  }

  complain(): Field | undefined {
    return this.#shown?.complain();
  }

  focus(): void {
    this.#select.focus();
  }
}

function named(schema: Schema, index: number): string {
  if (typeof schema.title === "string" && schema.title !== "") return schema.title;
  if (schema.type === "null") return "nothing";
  const only = listed(schema);
  if (only) return brief(only[0], 60);
  for (const property of Object.values(isSchema(schema.properties) ? schema.properties : {})) {
    if (isSchema(property) && Object.hasOwn(property, "const")) return brief(property.const, 60);
  }
  return typeof schema.type === "string" ? schema.type : `option ${index + 1}`;
}
