// Writes src/protocol/messages.ts and shapes.ts from protocol.schema.json, which `make protocol` exports from dagwidget/protocol/messages.py.
import { readFileSync, writeFileSync } from "node:fs";
import { compile } from "json-schema-to-typescript";

const here = (path) => new URL(path, import.meta.url);

/** JSON Schema's "anything" is `{}`; say so to the generator, which would take it for an object. */
function nameUnknown(schema) {
  for (const value of Object.values(schema ?? {})) {
    if (typeof value !== "object") continue;
    if (!Object.keys(value ?? []).some((key) => !["description", "default"].includes(key)) && !Array.isArray(value)) {
      if (value) value.tsType = "unknown";
    } else nameUnknown(value);
  }
}

/** The TypeScript of one schema: its types, and the constants that it carries as `x-` keywords. */
export async function generate(schema) {
  const {
    "x-protocol": protocol,
    "x-subprotocol": subprotocol,
    "x-closeCodes": codes,
    "x-essential": _,
    ...types
  } = schema;
  for (const definition of Object.values(types.$defs)) nameUnknown(definition.properties);
  const source = await compile(types, "Protocol", {
    additionalProperties: false,
    bannerComment: "// Generated from dagwidget/protocol/messages.py by `make protocol`. Do not edit.",
    unreachableDefinitions: true,
    format: true,
    style: { printWidth: 120 },
  });
  const rows = codes.map((row) => `  ${row.code}: ${JSON.stringify(row)},`);
  const crossReference =
    /\n \*( \*)? This interface was referenced by `Protocol`'s JSON-Schema\n \* via the `definition` "\w+"\./g;
  const clean = source
    .replace(crossReference, "")
    .replace(/\/\*\*\n \*\/\n/g, "")
    .replace(/\n \*\n \*\//g, "\n */");
  return `${clean}
export const PROTOCOL = ${protocol};
export const SUBPROTOCOL = ${JSON.stringify(subprotocol)};

export interface CloseCode {
  code: number;
  name: string;
  retry: boolean;
  meaning: string;
}

/** What our own \`bye\` and close codes mean; any other is a network's or a proxy's word. */
export const CLOSE_CODES: Readonly<Record<number, CloseCode>> = {
${rows.join("\n")}
};
`;
}

const oneOf = (names) => `oneOf("${names.join(" ")}")`;

/** The check of a value, in the words of src/protocol/fits.ts. */
function check(schema) {
  const kinds = (schema.anyOf ?? [schema]).filter(({ type }) => type !== "null");
  if (kinds.every((kind) => kind.enum)) return oneOf(kinds.flatMap((kind) => kind.enum));
  if (kinds.length > 1) {
    if (kinds.every(({ type }) => ["integer", "number", "string"].includes(type))) return "numberOrText";
    throw new Error(`no check for ${JSON.stringify(schema)}`);
  }
  const [{ $ref, type, items, additionalProperties, minLength, minimum, maximum }] = kinds;
  if ($ref) return $ref.split("/").at(-1);
  const simple = { string: minLength ? "id" : "text", boolean: "flag", integer: "int", number: "number" }[type];
  // `int` has the bounds that all whole numbers have.
  if (simple === "int" && minimum === 0) return "natural";
  if (simple === "int" && minimum < 0) return "int";
  if (simple === "int" && maximum === Number.MAX_SAFE_INTEGER) return `within(int, ${minimum})`;
  if (simple && minimum !== undefined) return `within(${[simple, minimum, maximum ?? []].flat().join(", ")})`;
  if (simple) return simple;
  if (type === "array") return `list(${items ? check(items) : "any"})`;
  if (type === "object") return `record(${check(additionalProperties)})`;
  return "any";
}

/** Whether a value may be null, and so absent. */
const isNullable = (schema) => check(schema) === "any" || schema.anyOf?.some(({ type }) => type === "null");

/** The fields of an object: those that it needs, and those that it may have. `event` knows those of all events. */
function shape({ properties, required = [] }, essential) {
  const known = properties.ts ? ["type", "seq", "ts"] : properties.type?.enum ? ["type"] : [];
  const fields = Object.entries(properties).filter(([name]) => !known.includes(name));
  const isRequired = ([name, field]) => required.includes(name) && !isNullable(field);
  const isNeeded = (field) => isRequired(field) || (properties.ts && essential.includes(field[0]));
  const groups = [fields.filter(isNeeded), fields.filter((field) => !isNeeded(field))];
  const one = (field) => (isRequired(field) || !isNeeded(field) ? check(field[1]) : `maybe(${check(field[1])})`);
  const written = groups.map((group) => `{ ${group.map((field) => `${field[0]}: ${one(field)}`).join(", ")} }`);
  return `${properties.ts ? "event" : "object"}(${written.slice(0, groups[1].length > 0 ? 2 : 1).join(", ")})`;
}

/** The TypeScript that checks what a server says. */
export function generateShapes({ $defs, "x-essential": essential }) {
  const names = (union) => $defs[union].anyOf.map(({ $ref }) => $ref.split("/").at(-1));
  const events = names("Event");
  const control = names("ServerMessage").filter((name) => !events.includes(name));
  const parts = [
    "NodeSpec",
    "EdgeSpec",
    "Mutation",
    "Presentation",
    "Approval",
    "Capabilities",
    "HumanGateResolved",
    "RunSummary",
  ];
  const row = (of) => (name) => `  ${$defs[name].properties.type.enum[0]}: ${of(name)},`;
  const part = (name) => `export const ${name} = ${shape($defs[name], essential)};`;
  const whole = (name) => (parts.includes(name) ? name : shape($defs[name], essential));
  return `// Generated from dagwidget/protocol/messages.py by \`make protocol\`. Do not edit.

import { any, event, flag, id, int, list, maybe, natural, number, numberOrText, object, oneOf, record, text, within } from "./fits";

${parts.map(part).join("\n")}

export const EVENTS = {
${events.map(row(whole)).join("\n")}
};

export const CONTROL = {
${control.map(row(whole)).join("\n")}
};
`;
}

export const readSchema = () => JSON.parse(readFileSync(here("protocol.schema.json"), "utf8"));

if (process.argv[1]?.endsWith("codegen.mjs")) {
  writeFileSync(here("src/protocol/messages.ts"), await generate(readSchema()));
  writeFileSync(here("src/protocol/shapes.ts"), generateShapes(readSchema()));
}
