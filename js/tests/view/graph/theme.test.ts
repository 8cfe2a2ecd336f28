import { expect, test } from "vitest";
import { contrast, parseColor, type Rgb, readable } from "../../../src/view/graph/color";
import { ICONS } from "../../../src/view/graph/icons";
import { makeTheme, type Theme } from "../../../src/view/graph/theme";
import { STATUSES } from "../../../src/view/model/status";

const HOSTS: Record<string, Rgb | undefined> = {
  "white page": [255, 255, 255],
  "JupyterLab dark": [17, 17, 17],
  "VS Code dark": [30, 30, 30],
  "VS Code light": [243, 243, 243],
  "solarized light": [253, 246, 227],
  "solarized dark": [0, 43, 54],
  "high contrast": [0, 0, 0],
  "middle grey": [128, 128, 128],
  "nothing known": undefined,
};

const rgb = (color: string) => parseColor(color) as Rgb;

function ratios(theme: Theme): [string, number][] {
  const grounds = { ground: theme.ground, surface: theme.surface, sunken: theme.sunken };
  const found: [string, number][] = [];
  const check = (name: string, color: string, on: string) => found.push([name, contrast(rgb(color), rgb(on))]);
  for (const [where, ground] of Object.entries(grounds)) {
    check(`text on ${where}`, theme.text, ground);
    check(`muted on ${where}`, theme.muted, ground);
    check(`accent on ${where}`, theme.accent, ground);
    for (const status of STATUSES) check(`${status} on ${where}`, theme.status[status], ground);
  }
  for (const status of STATUSES) {
    check(`text on ${status} tint`, theme.text, theme.tint[status]);
    check(`muted on ${status} tint`, theme.muted, theme.tint[status]);
    check(`${status} on its tint`, theme.status[status], theme.tint[status]);
  }
  check("label of the primary button", theme.onAccent, theme.accent);
  check("label of the danger button", theme.ground, theme.status.failed);
  return found;
}

for (const [name, ground] of Object.entries(HOSTS)) {
  for (const dark of ground ? [false] : [false, true]) {
    test(`all text reaches 4.5 : 1 on ${name}${dark ? ", dark" : ""}`, () => {
      const low = ratios(makeTheme({ ground, dark })).filter(([, ratio]) => ratio < 4.5);
      expect(low).toEqual([]);
    });
  }
}

test("where more contrast is asked for, all text reaches 7 : 1, and every line 3 : 1", () => {
  for (const [name, ground] of Object.entries(HOSTS)) {
    // On a middle grey there is no such contrast.
    if (name === "middle grey" || name === "solarized dark") continue;
    const theme = makeTheme({ ground, more: true });
    expect(
      ratios(theme).filter(([what, ratio]) => ratio < (what.startsWith("label") ? 4.5 : 7)),
      name,
    ).toEqual([]);
    for (const line of [theme.line, theme.strongLine, theme.edge, theme.edgeTaken, theme.accent])
      expect(contrast(rgb(line), rgb(theme.ground)), name).toBeGreaterThanOrEqual(3);
  }
});

test("the outline of a field reaches 3 : 1", () => {
  for (const ground of [HOSTS["white page"], HOSTS["JupyterLab dark"]]) {
    const theme = makeTheme({ ground });
    expect(contrast(rgb(theme.strongLine), rgb(theme.ground))).toBeGreaterThanOrEqual(3);
  }
});

test("the host's ground is kept as it is", () => {
  expect(makeTheme({ ground: [253, 246, 227] }).ground).toBe("#fdf6e3");
});

// Viénot, Brettel & Mollon 1999, on linear RGB: how the colours look without red or green cones.
const DEFICIENCIES: Record<string, readonly (readonly [number, number, number])[]> = {
  protanopia: [
    [0.11238, 0.88762, 0],
    [0.11238, 0.88762, 0],
    [0.00401, -0.00401, 1],
  ],
  deuteranopia: [
    [0.29275, 0.70725, 0],
    [0.29275, 0.70725, 0],
    [-0.02234, 0.02234, 1],
  ],
};

function lab(color: Rgb, matrix?: readonly (readonly [number, number, number])[]): [number, number, number] {
  let linear = color.map((part) =>
    part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4,
  );
  if (matrix) linear = matrix.map((row) => row.reduce((sum, weight, i) => sum + weight * linear[i]!, 0));
  const [r, g, b] = linear as [number, number, number];
  const f = (t: number) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
  const x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505);
  const y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
  const z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

test("the statuses that matter look different in red-green deficiencies too", () => {
  const loud = ["failed", "waiting", "running", "completed"] as const;
  const close: string[] = [];
  for (const ground of [HOSTS["white page"], HOSTS["JupyterLab dark"]]) {
    const { status } = makeTheme({ ground });
    for (const [name, matrix] of [...Object.entries(DEFICIENCIES), ["none", undefined] as const]) {
      for (const [i, a] of loud.entries()) {
        for (const b of loud.slice(i + 1)) {
          const [p, q] = [lab(rgb(status[a]), matrix), lab(rgb(status[b]), matrix)];
          const apart = Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]);
          if (apart < 12) close.push(`${a} and ${b}, ${name}, on ${ground}: ${apart.toFixed(1)}`);
        }
      }
    }
  }
  expect(close).toEqual([]);
});

test("no two statuses share an icon", () => {
  const looks = STATUSES.map((status) => JSON.stringify(ICONS[status]));
  expect(new Set(looks).size).toBe(STATUSES.length);
});

test("colours are read in the notations that browsers compute", () => {
  expect(parseColor("#fff")).toEqual([255, 255, 255]);
  expect(parseColor("rgb(1, 2, 3)")).toEqual([1, 2, 3]);
  expect(parseColor("rgb(1 2 3 / 0.9)")).toEqual([1, 2, 3]);
  expect(parseColor("rgba(0, 0, 0, 0)")).toBeUndefined();
  expect(parseColor("chartreuse")).toBeUndefined();
});

test("a colour that can be read already is left alone", () => {
  expect(readable([0, 0, 0], [[255, 255, 255]], 4.5)).toEqual([0, 0, 0]);
});
