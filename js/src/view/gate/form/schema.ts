// What a form needs of JSON Schema: references followed, `allOf` merged, and whether a value has the right shape.

export type Schema = Readonly<Record<string, unknown>>;

const DEEPEST = 16;
/** What is typed on one line. */
const LINES: readonly unknown[] = ["string", "number", "integer"];

export function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The schema itself: local references followed, what `allOf` adds merged in. Undefined where that leads nowhere. */
export function resolved(schema: unknown, root: Schema, depth = 0): Schema | undefined {
  if (!isSchema(schema) || depth > DEEPEST) return undefined;
  const { $ref, allOf, ...own } = schema;
  let whole: Schema = own;
  for (const part of [...($ref === undefined ? [] : [at($ref, root)]), ...(Array.isArray(allOf) ? allOf : [])]) {
    const more = resolved(part, root, depth + 1);
    if (!more) return undefined;
    whole = merged(more, whole);
  }
  return whole;
}

function at(ref: unknown, root: Schema): unknown {
  if (typeof ref !== "string" || !ref.startsWith("#")) return undefined;
  let here: unknown = root;
  for (const part of ref.slice(1).split("/").slice(1)) {
    const name = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
    here = isSchema(here) && Object.hasOwn(here, name) ? here[name] : undefined;
  }
  return here;
}

function merged(below: Schema, above: Schema): Schema {
  const properties = { ...(below.properties as object), ...(above.properties as object) };
  const required = [...list(below.required), ...list(above.required)];
  return { ...below, ...above, ...(Object.keys(properties).length > 0 && { properties }), required };
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The alternatives that a schema offers, if it does, each with what holds for all of them. */
export function branches(schema: Schema): readonly unknown[] | undefined {
  const which = (["oneOf", "anyOf", "type"] as const).find((name) => schema[name] !== undefined) ?? "type";
  const { [which]: offered, title: _, description: __, default: ___, ...base } = schema;
  if (!Array.isArray(offered) || offered.length === 0) return undefined;
  if (which !== "type") return offered.map((each) => ({ allOf: [each, base] }));
  // A line that is left empty says null by itself.
  const single = offered.length === 1 || (nullable(schema) && offered.length === 2 && LINES.includes(typeOf(schema)));
  return single ? undefined : offered.map((type) => ({ ...base, type }));
}

/** The values that a schema lists, if it does. */
export function listed(schema: Schema): readonly unknown[] | undefined {
  if (Object.hasOwn(schema, "const")) return [schema.const];
  return Array.isArray(schema.enum) && schema.enum.length > 0 ? schema.enum : undefined;
}

export function typeOf(schema: Schema): string | undefined {
  const { type } = schema;
  if (Array.isArray(type)) return type.find((one) => one !== "null");
  if (typeof type === "string") return type;
  return isSchema(schema.properties) ? "object" : schema.items === undefined ? undefined : "array";
}

/** Whether null is good too. */
export function nullable(schema: Schema): boolean {
  return Array.isArray(schema.type) && schema.type.includes("null");
}

/**
 * Whether a value has a schema's shape, or, where `all` of it need not be there, would have it with what is missing. Limits of
 * numbers and lengths are not looked at.
 */
export function fits(
  value: unknown,
  schema: unknown,
  root: Schema,
  depth = 0,
  all = true,
  met: unknown[] = [],
): boolean {
  const whole = resolved(schema, root);
  if (!whole || depth > DEEPEST) return false;
  const values = listed(whole);
  if (values) return values.some((one) => same(one, value));
  const offered = branches(whole);
  if (offered) {
    const list = whole.oneOf ?? whole.anyOf ?? whole.type;
    // Alternatives that lead back to themselves say nothing more of the same value, and are legion.
    return !met.includes(list) && offered.some((each) => fits(value, each, root, depth + 1, all, [...met, list]));
  }
  if (value === null) return !all || nullable(whole) || whole.type === "null";
  switch (typeOf(whole)) {
    case "object": {
      if (!isSchema(value)) return false;
      const properties = isSchema(whole.properties) ? whole.properties : {};
      if (all && !list(whole.required).every((name) => Object.hasOwn(value, name as string))) return false;
      return Object.entries(value).every(([name, item]) =>
        Object.hasOwn(properties, name) ? fits(item, properties[name], root, depth + 1, all) : true,
      );
    }
    case "array":
      return Array.isArray(value) && value.every((item) => fits(item, whole.items ?? {}, root, depth + 1, all));
    case "integer":
      return Number.isInteger(value);
    case "null":
      return false;
    case undefined:
      return true;
    default:
      return typeof value === typeOf(whole);
  }
}

export function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
