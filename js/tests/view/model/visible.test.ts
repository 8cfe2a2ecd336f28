import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { visible } from "../../../src/view/model/visible";

const VECTORS: [string, string][] = JSON.parse(
  readFileSync(new URL("../../../../tests/visible.json", import.meta.url), "utf8"),
);

describe("what nobody would see is shown", () => {
  test.each(VECTORS)("%j", (text, shown) => {
    expect(visible(text)).toBe(shown);
    expect(visible(shown)).toBe(shown);
  });
});
