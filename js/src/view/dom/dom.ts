// The one way this view makes elements. Children are text or nodes, so nothing from the wire is ever parsed as HTML, and
// what nobody would see in it is shown.

import { visible } from "../model/visible";

export type Child = Node | string | number | false | null | undefined;
type Attributes = Record<string, string | number | boolean | ((event: never) => void) | null | undefined>;

/** Make an element: `on…` attributes are listeners, `true` is an empty attribute, false and absent are left out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  assign(element, attributes);
  append(element, children);
  return element;
}

/** The same for SVG. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  assign(element, attributes);
  append(element, children);
  return element;
}

/** Begins the attributes that people read: `title`, `alt`, `placeholder`, `aria-label`, `aria-valuetext`. */
const READ = /^(t|al|p|aria-[lv])/;

function assign(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else {
      const text = value === true ? "" : String(value);
      element.setAttribute(name, READ.test(name) ? visible(text) : text);
    }
  }
}

function append(element: Element, children: readonly Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : visible(String(child)));
  }
}

/** Set an element's text, unless it is that already: writing the same text again wakes screen readers and layout. */
export function setText(element: Element, words: string): void {
  const text = visible(words);
  if (element.textContent !== text) element.textContent = text;
}

/** Set what is said of an element where the pointer rests on it. */
export function setTitle(element: HTMLElement, text: string): void {
  element.title = visible(text);
}

/** What has the keyboard near an element: of a shadow tree the document itself names the host alone. */
export function focusedNear(element: Element): HTMLElement | null {
  return ((element.getRootNode() as Partial<DocumentOrShadowRoot>).activeElement ?? null) as HTMLElement | null;
}

/** Whether a key is typed into a field, or chooses in it. */
export function isTyping({ target }: KeyboardEvent): boolean {
  return (target as Element).matches("input:not([type=range]), textarea, select, [contenteditable]");
}

/** Call `act` when an element has other device pixels: another size, another zoom, another screen. Returns how to stop. */
export function onResize(element: Element, act: () => void): () => void {
  const observer = new ResizeObserver(act);
  try {
    observer.observe(element, { box: "device-pixel-content-box" });
  } catch {
    // Safari has no such box.
    observer.observe(element);
  }
  return () => observer.disconnect();
}

/** Show or hide an element. */
export function setHidden(element: HTMLElement, hidden: boolean): void {
  if (element.hidden !== hidden) element.hidden = hidden;
}

/**
 * A real button. A disabled one stays focusable (`aria-disabled`) and says why, since a grey button that can't be asked
 * for its reason helps nobody.
 */
export function button(label: Child, onClick: () => void, attributes: Attributes = {}): HTMLButtonElement {
  return h(
    "button",
    {
      type: "button",
      ...attributes,
      onclick: (event: MouseEvent) => {
        if ((event.currentTarget as Element).getAttribute("aria-disabled") !== "true") onClick();
      },
    },
    label,
  );
}

/** Enable a button, or disable it for a reason. */
export function enable(element: HTMLButtonElement, reason: string | undefined): void {
  element.setAttribute("aria-disabled", String(reason !== undefined));
  setTitle(element, reason ?? "");
}
