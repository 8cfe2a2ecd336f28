// Writes src/protocol/messages.ts from protocol.schema.json, which `make protocol` exports from dagwidget/protocol/messages.py.
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
  const { "x-protocol": protocol, "x-subprotocol": subprotocol, "x-closeCodes": codes, ...types } = schema;
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

export const readSchema = () => JSON.parse(readFileSync(here("protocol.schema.json"), "utf8"));

if (process.argv[1]?.endsWith("codegen.mjs")) {
  writeFileSync(here("src/protocol/messages.ts"), await generate(readSchema()));
}
