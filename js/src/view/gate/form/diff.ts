// What a modification changes, as lines to read.

import { brief } from "../../value/text";
import { isSchema, same } from "./schema";

const MOST = 12;
const ABSENT = "nothing";

/** `steps[1].name: "a" → "b"`, for each place that differs; a dozen, and how many more. */
export function changes(before: unknown, after: unknown): string[] {
  const lines = [...between(before, after, "")];
  return lines.length > MOST ? [...lines.slice(0, MOST), `and ${lines.length - MOST} more`] : lines;
}

function* between(before: unknown, after: unknown, path: string): Generator<string> {
  if (same(before, after)) return;
  if (isSchema(before) && isSchema(after)) {
    for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
      const [was, is] = [before, after].map((each) => (Object.hasOwn(each, name) ? each[name] : undefined));
      yield* between(was, is, path === "" ? name : `${path}.${name}`);
    }
  } else if (Array.isArray(before) && Array.isArray(after)) {
    for (let i = 0; i < Math.max(before.length, after.length); i++)
      yield* between(before[i], after[i], `${path}[${i}]`);
  } else yield `${path === "" ? "" : `${path}: `}${shown(before)} → ${shown(after)}`;
}

function shown(value: unknown): string {
  return value === undefined ? ABSENT : brief(typeof value === "string" ? JSON.stringify(value) : value, 60);
}
