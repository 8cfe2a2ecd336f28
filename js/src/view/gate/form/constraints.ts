// What is wrong with a value that has the right type: a sentence, or nothing.

import { type Schema, same } from "./schema";

export function fault(value: unknown, schema: Schema): string | undefined {
  switch (typeof value) {
    case "string":
      return ofText(value, schema);
    case "number":
      return ofNumber(value, schema);
    default:
      return Array.isArray(value) ? ofList(value, schema) : undefined;
  }
}

function ofText(value: string, { minLength, maxLength, pattern }: Schema): string | undefined {
  // Code points, as JSON Schema counts.
  const length = [...value].length;
  if (typeof minLength === "number" && length < minLength) {
    return length === 0 ? "Required." : `At least ${minLength} characters, not ${length}.`;
  }
  if (typeof maxLength === "number" && length > maxLength) {
    return `At most ${maxLength} characters, not ${length}.`;
  }
  if (typeof pattern === "string" && !matches(value, pattern)) return `Must match ${pattern}`;
  return undefined;
}

function matches(value: string, pattern: string): boolean {
  try {
    return new RegExp(pattern, "u").test(value);
  } catch {
    // The server knows better.
    return true;
  }
}

function ofNumber(value: number, schema: Schema): string | undefined {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema;
  if (typeof minimum === "number" && value < minimum) return `At least ${minimum}.`;
  if (typeof maximum === "number" && value > maximum) return `At most ${maximum}.`;
  if (typeof exclusiveMinimum === "number" && value <= exclusiveMinimum) return `More than ${exclusiveMinimum}.`;
  if (typeof exclusiveMaximum === "number" && value >= exclusiveMaximum) return `Less than ${exclusiveMaximum}.`;
  if (typeof multipleOf === "number" && multipleOf > 0) {
    const times = value / multipleOf;
    if (Math.abs(times - Math.round(times)) > 1e-9) return `Must be a multiple of ${multipleOf}.`;
  }
  return undefined;
}

function ofList(value: readonly unknown[], { minItems, maxItems, uniqueItems }: Schema): string | undefined {
  if (typeof minItems === "number" && value.length < minItems)
    return `At least ${items(minItems)}, not ${value.length}.`;
  if (typeof maxItems === "number" && value.length > maxItems)
    return `At most ${items(maxItems)}, not ${value.length}.`;
  if (uniqueItems === true && value.some((item, i) => value.slice(0, i).some((other) => same(item, other)))) {
    return "Items must be unique.";
  }
  return undefined;
}

function items(count: number): string {
  return count === 1 ? "1 item" : `${count} items`;
}
