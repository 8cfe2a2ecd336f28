// Numbers and times as people read them. All pure; the locale is the browser's unless given.

/** The narrowest locale-independent "unknown". */
export const UNKNOWN = "–";

const known = new Map<string, Intl.NumberFormat>();

/** Made once each: a graph asks for thousands of numbers a second, and a format costs more than what it says. */
function numbers(locale: string | undefined, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = `${locale} ${JSON.stringify(options)}`;
  let format = known.get(key);
  if (!format) {
    format = new Intl.NumberFormat(locale, options);
    known.set(key, format);
  }
  return format;
}

/**
 * Money with as many digits as its size deserves: small sums of model calls must not read as 0.
 *
 * `currency` is an ISO code (US dollars when absent); any other word is shown after the number.
 */
export function money(amount: number, currency = "USD", locale?: string): string {
  const size = Math.abs(amount);
  const digits = size === 0 || size >= 1 ? 2 : size >= 0.01 ? 3 : 4;
  if (size > 0 && size < 0.0001) return `<${money(0.0001, currency, locale)}`;
  const options = { minimumFractionDigits: Math.min(digits, 2), maximumFractionDigits: digits };
  try {
    return numbers(locale, {
      style: "currency",
      currency,
      currencyDisplay: "narrowSymbol",
      ...options,
    }).format(amount);
  } catch {
    return `${numbers(locale, options).format(amount)} ${currency}`;
  }
}

/** A count, shortened from ten thousand on: `1,204`, `12.4K`. */
export function count(value: number, locale?: string): string {
  const short = Math.abs(value) >= 10_000;
  return numbers(locale, short ? { notation: "compact", maximumFractionDigits: 1 } : {}).format(value);
}

/** `5.2 MB`. */
export function bytes(size: number): string {
  const units = ["bytes", "kB", "MB", "GB"];
  const power = Math.min(Math.floor(Math.log10(Math.max(size, 1)) / 3), units.length - 1);
  const value = size / 1000 ** power;
  return `${power > 0 && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

export function percent(fraction: number, locale?: string): string {
  return numbers(locale, { style: "percent", maximumFractionDigits: 0 }).format(fraction);
}

/** How long something took: `320 ms`, `4.2 s`, `3:07`, `2:03:07`. */
export function duration(ms: number): string {
  if (!(ms >= 0)) return UNKNOWN;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  return clock(ms);
}

/** A running clock, in whole seconds so that it doesn't flicker: `0:04`, `3:07`, `2:03:07`. */
export function clock(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const two = (value: number) => String(value).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes % 60)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** How long ago, in the coarsest unit that is still honest: `just now`, `42 s ago`, `3 min ago`, `2 h ago`. */
export function ago(ms: number): string {
  if (ms < 2000) return "just now";
  if (ms < 60_000) return `${Math.floor(ms / 1000)} s ago`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ago`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)} h ago`;
  return `${Math.floor(ms / 86_400_000)} d ago`;
}

/** The time of day, `12:03`, or to the `second`; with the date where that is another day than `now`. */
export function timeOfDay(at: number, now: number, locale?: string, second?: "2-digit"): string {
  const date = new Date(at);
  const time: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", second, hourCycle: "h23" };
  const sameDay = date.toDateString() === new Date(now).toDateString();
  return date.toLocaleString(locale, sameDay ? time : { ...time, month: "short", day: "numeric" });
}

/** A metric by its name: durations, sums and token counts are told by their suffix (`_ms`, `cost`, `tokens_…`). */
export function metric(name: string, value: number | string, currency?: string): string {
  if (typeof value === "string") return value;
  if (name.endsWith("_ms")) return duration(value);
  if (name === "cost" || name.endsWith("_cost")) return money(value, currency);
  if (Number.isInteger(value)) return numbers(undefined, {}).format(value);
  return numbers(undefined, { maximumSignificantDigits: 4 }).format(value);
}

/** A snake_case name as words: `duration_ms` is `duration`, `tokens_in` is `tokens in`. */
export function words(name: string): string {
  return name.replace(/_ms$/, "").replaceAll("_", " ");
}
