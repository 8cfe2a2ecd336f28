// What is understood of malformed messages, as Python understands it: tests/tolerance.py says what the vectors are.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type AnyEvent, decode, isControl } from "../../src/protocol/decode";
import { unfitParts } from "../../src/protocol/fits";
import { Store, toJSON } from "../../src/state/store";

interface Case {
  message: Record<string, unknown>;
  type: string;
  unfit: number;
  state: unknown;
}

const file = new URL("../../../tests/vectors/tolerance.json", import.meta.url);
const cases = JSON.parse(readFileSync(file, "utf8")) as Case[];
const types = new Set(cases.map(({ message }) => message.type));

test.each([...types])("%s", (type) => {
  for (const { message, ...expected } of cases.filter((each) => each.message.type === type)) {
    const before = unfitParts();
    const text = JSON.stringify(message);
    const [taken] = decode(text);
    const store = new Store();
    if (taken && !isControl(taken)) store.apply([taken as AnyEvent]);
    const state = isControl(taken as AnyEvent) ? null : JSON.parse(JSON.stringify(toJSON(store.state)));
    expect({ type: taken?.type, unfit: unfitParts() - before, state }, text).toEqual(expected);
  }
});
