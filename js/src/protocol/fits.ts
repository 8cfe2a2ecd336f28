// What of a message is as the protocol has it. A check repairs in place what it is given: a part that does not fit is taken
// out and counted, and the rest is used. Only what can't be done without makes the whole unfit. It is the same tolerance as
// that of dagwidget/protocol/tolerance.py; `null` means absent.

// biome-ignore lint/suspicious/noExplicitAny: it is JSON from anybody
type Json = any;
/** Whether a value fits, once what does not has been taken out of it. */
export type Fits = (value: Json) => boolean;
type Fields = Readonly<Record<string, Fits>>;

let unfit = 0;

export const any: Fits = () => true;
export const text: Fits = (value) => typeof value === "string";
export const flag: Fits = (value) => typeof value === "boolean";
/** Larger ones are not what was sent. */
export const int: Fits = Number.isSafeInteger;
export const number: Fits = Number.isFinite;
export const numberOrText: Fits = (value) => number(value) || text(value);
export const within =
  (fits: Fits, least: number, most = Infinity): Fits =>
  (value) =>
    fits(value) && value >= least && value <= most;
export const natural = within(int, 0);
export const id: Fits = (value) => text(value) && value !== "" && value.length <= 512;
export const oneOf = (names: string): Fits => {
  const known = names.split(" ");
  return (value) => known.includes(value);
};

/** What may be absent, but not be something else: without it the message would mean another thing. */
export const maybe =
  (fits: Fits): Fits =>
  (value) =>
    value == null || fits(value);

export const list =
  (fits: Fits): Fits =>
  (value) => {
    if (!Array.isArray(value)) return false;
    for (let index = value.length; index--; ) {
      if (fits(value[index])) continue;
      value.splice(index, 1);
      unfit++;
    }
    return true;
  };

export const record =
  (fits: Fits): Fits =>
  (value) => {
    if (!isObject(value)) return false;
    for (const name of Object.keys(value)) if (!fits(value[name])) drop(value, name);
    return true;
  };

/** An object that needs `required`, and may have `optional`; `fields` are both. */
export const object = (required: Fields, optional: Fields = {}): Fits & { fields: Fields } =>
  Object.assign(
    (value: Json) => {
      if (!isObject(value)) return false;
      for (const name in required) if (!(required[name] as Fits)(value[name])) return false;
      for (const name in optional) if (value[name] != null && !(optional[name] as Fits)(value[name])) drop(value, name);
      return true;
    },
    { fields: { ...required, ...optional } },
  );

export const event = (required: Fields, optional: Fields = {}): Fits =>
  object(required, { ...optional, seq: natural, ts: int });

function drop(from: Json, name: string): void {
  if (from[name] !== null) unfit++;
  delete from[name];
}

/** Whether a whole message fits; one that does not, or is of no known type, counts as one part. */
export function fitsWhole(fits: Fits | undefined, message: Json): boolean {
  const before = unfit;
  if (fits?.(message)) return true;
  unfit = before + 1;
  return false;
}

/** How many parts did not fit, ever. */
export const unfitParts = (): number => unfit;

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
