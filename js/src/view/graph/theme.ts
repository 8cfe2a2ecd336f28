// The colours of the view, derived from the host's: its ground and font are taken over, everything that is drawn on it
// is moved until it can be read there. The canvas reads this object; CSS reads the same as variables.

import type { NodeStatus } from "../../state/types";
import { parentOf } from "../dom/shadow";
import { STATUSES } from "../model/status";
import { luminance, mix, parseColor, type Rgb, readable, toHex } from "./color";

export interface Theme {
  dark: boolean;
  font: string;
  mono: string;
  ground: string;
  /** Panels and nodes. */
  surface: string;
  /** Fields, code and hovered things. */
  sunken: string;
  line: string;
  /** A line that alone tells where a control is: 3 : 1. */
  strongLine: string;
  text: string;
  muted: string;
  accent: string;
  onAccent: string;
  edge: string;
  edgeTaken: string;
  /** Text and icons in the colour of a status; also its edges, borders and bars. */
  status: Readonly<Record<NodeStatus, string>>;
  /** A quiet ground for a node in that status. */
  tint: Readonly<Record<NodeStatus, string>>;
}

// Hues apart in the three common colour-vision deficiencies too: blue, amber, teal and vermilion also differ in
// lightness, and the grey ones are told by icon.
const LIGHT: Readonly<Record<NodeStatus, string>> = {
  failed: "#b81e3f",
  waiting: "#96600a",
  running: "#1f5fe0",
  pending: "#626c7a",
  completed: "#0b7a6f",
  skipped: "#6b7280",
  cancelled: "#75568f",
};
const DARK: Readonly<Record<NodeStatus, string>> = {
  failed: "#ff8a73",
  waiting: "#f5c04e",
  running: "#72a7ff",
  pending: "#98a2b1",
  completed: "#41cbb3",
  skipped: "#929cab",
  cancelled: "#c2a3e0",
};

/** What the host tells of itself. */
export interface Host {
  ground?: Rgb;
  dark?: boolean;
  /** Whether more contrast is asked for, by the system or by the host's theme. */
  more?: boolean;
  font?: string;
  mono?: string;
}

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const MONO = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace';

/** The theme for a host: its ground and fonts are kept, the rest is fitted to them. */
export function makeTheme(host: Host): Theme {
  const dark = host.ground ? luminance(host.ground) < 0.2 : (host.dark ?? false);
  const ground = host.ground ?? (dark ? [17, 19, 23] : [255, 255, 255]);
  const ink: Rgb = dark ? [232, 236, 242] : [23, 28, 36];
  const surface = dark ? mix(ground, [255, 255, 255], 0.045) : mix(ground, [255, 255, 255], 0.6);
  const sunken = mix(ground, ink, dark ? 0.09 : 0.045);
  const grounds = [ground, surface, sunken];
  const more = host.more === true;
  // WCAG's levels: enhanced where it is asked for.
  const legible = more ? 7.2 : 4.5;
  const text = readable(ink, grounds, more ? 12 : 7);
  const palette = dark ? DARK : LIGHT;
  const status = {} as Record<NodeStatus, string>;
  const tint = {} as Record<NodeStatus, string>;
  for (const name of STATUSES) {
    const base = parseColor(palette[name]) as Rgb;
    const quiet = name === "pending" || name === "skipped" || name === "cancelled";
    const wash = mix(surface, base, quiet || more ? 0 : dark ? 0.12 : 0.07);
    status[name] = toHex(readable(base, [...grounds, wash], legible));
    tint[name] = toHex(wash);
    grounds.push(wash);
  }
  const accent = readable(dark ? [122, 172, 255] : [31, 95, 224], grounds, legible);
  const line = (ratio: number) => readable(mix(ground, ink, 0.4), grounds, ratio);
  return {
    dark,
    font: host.font || FONT,
    mono: host.mono || MONO,
    ground: toHex(ground),
    surface: toHex(surface),
    sunken: toHex(sunken),
    line: toHex(more ? line(3) : mix(ground, ink, dark ? 0.16 : 0.12)),
    strongLine: toHex(line(more ? 4.5 : 3)),
    text: toHex(text),
    muted: toHex(readable(mix(ground, ink, 0.62), grounds, legible)),
    accent: toHex(accent),
    onAccent: toHex(readable(ground, [accent], 4.5)),
    edge: toHex(more ? line(3) : mix(ground, ink, dark ? 0.26 : 0.22)),
    edgeTaken: toHex(more ? line(7) : mix(ground, ink, dark ? 0.55 : 0.5)),
    status,
    tint,
  };
}

/** Read what the host says around `el`: JupyterLab's or VS Code's variables, else the first painted ancestor. */
export function readHost(el: Element): Host {
  const around = parentOf(el);
  const style = getComputedStyle(around ?? el);
  const asks = (query: string) => globalThis.matchMedia?.(query).matches;
  const variable = (...names: string[]) => names.map((name) => style.getPropertyValue(name).trim()).find(Boolean);
  // Forced colours are not the host's, and its variables know nothing of them.
  const named = asks(FORCED) ? "Canvas" : variable("--jp-layout-color0", "--vscode-editor-background");
  const ground = resolve(el, named) ?? paintedGround(around);
  return {
    ground,
    dark: asks("(prefers-color-scheme: dark)"),
    more: CONTRAST.some(asks) || highContrast(document.body.dataset),
    font: variable("--jp-ui-font-family", "--vscode-font-family"),
    mono: variable("--jp-code-font-family", "--vscode-editor-font-family"),
  };
}

const FORCED = "(forced-colors: active)";
const CONTRAST = ["(prefers-contrast: more)", FORCED];

/** Whether the host's theme calls itself so: JupyterLab's name of it, VS Code's kind of it. */
function highContrast({ jpThemeName, vscodeThemeKind }: DOMStringMap): boolean {
  return /high[ -]contrast/i.test(`${jpThemeName} ${vscodeThemeKind}`);
}

/** A CSS colour in any notation, as the browser resolves it. */
function resolve(el: Element, value: string | undefined): Rgb | undefined {
  if (!value) return undefined;
  const direct = parseColor(value);
  if (direct) return direct;
  const probe = document.createElement("span");
  probe.style.color = value;
  if (!probe.style.color) return undefined;
  el.append(probe);
  const resolved = parseColor(getComputedStyle(probe).color);
  probe.remove();
  return resolved;
}

function paintedGround(el: Element | null): Rgb | undefined {
  for (let at = el; at; at = parentOf(at)) {
    const color = parseColor(getComputedStyle(at).backgroundColor);
    if (color) return color;
  }
  return undefined;
}

/** Write the theme where CSS finds it. */
export function applyTheme(el: HTMLElement, theme: Theme): void {
  const { status, tint, dark, ...plain } = theme;
  for (const [name, value] of Object.entries(plain)) {
    el.style.setProperty(`--dw-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`, value);
  }
  for (const name of STATUSES) {
    el.style.setProperty(`--dw-${name}`, status[name]);
    el.style.setProperty(`--dw-${name}-tint`, tint[name]);
  }
  el.style.colorScheme = dark ? "dark" : "light";
  el.dataset.theme = dark ? "dark" : "light";
}

/** Call `changed` whenever the host of `el` may have another theme; returns how to stop. */
export function watchHost(el: Element, changed: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const soon = () => {
    changed();
    // A host names its theme before it has taken effect, so look again.
    clearTimeout(timer);
    timer = setTimeout(changed, 300);
  };
  // Where the host puts the view into its page after it was made, there was nothing to read before.
  const placed = new ResizeObserver(() => {
    if (!el.isConnected) return;
    placed.disconnect();
    soon();
  });
  placed.observe(el);
  const attributes = [
    "class",
    "style",
    "theme",
    "data-theme",
    "data-jp-theme-light",
    "data-jp-theme-name",
    "data-vscode-theme-kind",
  ];
  const observer = new MutationObserver(soon);
  for (const root of [document.documentElement, document.body]) {
    observer.observe(root, { attributes: true, attributeFilter: attributes });
  }
  const media = ["(prefers-color-scheme: dark)", ...CONTRAST].map((query) => globalThis.matchMedia?.(query));
  for (const one of media) one?.addEventListener("change", soon);
  // A style sheet may come at any time later; `load` does not bubble, but it can be captured.
  document.addEventListener("load", soon, true);
  return () => {
    document.removeEventListener("load", soon, true);
    clearTimeout(timer);
    placed.disconnect();
    observer.disconnect();
    for (const one of media) one?.removeEventListener("change", soon);
  };
}
