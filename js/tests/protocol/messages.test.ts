import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { CLOSE_CODES, PROTOCOL, SUBPROTOCOL } from "../../src/protocol/messages";

interface Codegen {
  readSchema(): object;
  generate(schema: object): Promise<string>;
  generateShapes(schema: object): string;
}

const js = new URL("../../", import.meta.url);

describe("the generated protocol", () => {
  test("is what the schema gives: if this fails, run `make protocol`", async () => {
    const { generate, readSchema } = (await import(new URL("codegen.mjs", js).href)) as Codegen;
    expect(await generate(readSchema())).toBe(readFileSync(new URL("src/protocol/messages.ts", js), "utf8"));
  }, 30_000);

  test("has the checks that the schema gives: if this fails, run `make protocol`", async () => {
    const { generateShapes, readSchema } = (await import(new URL("codegen.mjs", js).href)) as Codegen;
    // As it is, but for how it is laid out.
    const unformatted = (text: string) => text.replace(/\s+/g, "").replace(/,(?=[)}])/g, "");
    const written = readFileSync(new URL("src/protocol/shapes.ts", js), "utf8");
    expect(unformatted(generateShapes(readSchema()))).toBe(unformatted(written));
  });

  test("names its version in the subprotocol", () => {
    expect(SUBPROTOCOL).toBe(`dagwidget.v${PROTOCOL}`);
  });
});

describe("the close codes", () => {
  const rows = Object.entries(CLOSE_CODES);

  test("are found by themselves, and have a name of their own and words", () => {
    for (const [code, row] of rows) {
      expect(row.code).toBe(Number(code));
      expect(row.name).toMatch(/^[a-z]+(_[a-z]+)*$/);
      expect(row.meaning).not.toBe("");
    }
    expect(new Set(rows.map(([, row]) => row.name)).size).toBe(rows.length);
  });

  test("are those that an end point may send", () => {
    for (const [, { code }] of rows) expect(code === 1000 || code === 1001 || (code >= 4000 && code < 5000)).toBe(true);
  });

  test("leave what networks and proxies make of a cut to be retried", () => {
    for (const code of [1005, 1006, 1011, 1012, 1013, 1014]) expect(CLOSE_CODES[code]).toBeUndefined();
  });

  test("are final only where coming back can't help", () => {
    const final = rows.filter(([, row]) => !row.retry).map(([, row]) => row.code);
    expect(final).toEqual([1000, 1001, 4006, 4400, 4401, 4403, 4409, 4410, 4412, 4413]);
  });
});
