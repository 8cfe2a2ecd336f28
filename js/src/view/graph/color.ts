// Colours as numbers: parsing what a browser computes, and WCAG's contrast.

export type Rgb = readonly [number, number, number];

/** Read `#rgb`, `#rrggbb` or `rgb(…)`; undefined for anything else and for what is mostly transparent. */
export function parseColor(text: string): Rgb | undefined {
  const value = text.trim().toLowerCase();
  const hex = /^#([0-9a-f]{3}|[0-9a-f]{6})$/.exec(value)?.[1];
  if (hex) {
    const full = hex.length === 3 ? [...hex].map((digit) => digit + digit).join("") : hex;
    return [0, 2, 4].map((at) => Number.parseInt(full.slice(at, at + 2), 16)) as unknown as Rgb;
  }
  const parts = /^rgba?\(([^)]+)\)$/
    .exec(value)?.[1]
    ?.split(/[\s,/]+/)
    .map(Number);
  if (!parts || parts.length < 3 || parts.some(Number.isNaN) || (parts[3] ?? 1) < 0.5) return undefined;
  return [parts[0]!, parts[1]!, parts[2]!];
}

export function toHex(color: Rgb): string {
  return `#${color.map((part) => Math.round(part).toString(16).padStart(2, "0")).join("")}`;
}

/** `amount` of `b` in `a`, 0 to 1. */
export function mix(a: Rgb, b: Rgb, amount: number): Rgb {
  return a.map((part, i) => part + (b[i]! - part) * amount) as unknown as Rgb;
}

/** Relative luminance, 0 to 1 (WCAG 2.2). */
export function luminance(color: Rgb): number {
  const [r, g, b] = color.map((part) => {
    const c = part / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}

/** Contrast ratio, 1 to 21 (WCAG 2.2). */
export function contrast(a: Rgb, b: Rgb): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high! + 0.05) / (low! + 0.05);
}

const BLACK: Rgb = [0, 0, 0];
const WHITE: Rgb = [255, 255, 255];

/** `color`, moved towards black or white only as far as `ratio` against every one of `grounds` needs. */
export function readable(color: Rgb, grounds: readonly Rgb[], ratio: number): Rgb {
  const worst = (of: Rgb) => Math.min(...grounds.map((ground) => contrast(of, ground)));
  const pole = worst(BLACK) > worst(WHITE) ? BLACK : WHITE;
  for (let amount = 0; amount < 1; amount += 0.04) {
    const candidate = mix(color, pole, amount);
    // Colours are written in whole steps: a shade that only just reaches the ratio must not round below it.
    if (worst(candidate) >= ratio + 0.03) return candidate;
  }
  return pole;
}
