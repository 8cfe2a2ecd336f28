// A shadow tree of the view's own in the host's page: the page's style sheets stop at it, and what is pressed in it is not
// taken for a command of the notebook around it.

import { h } from "./dom";

export interface ShadowTree {
  /** What the view is built in. It can have the focus, so a click on any part of the view gives the view the keyboard. */
  readonly root: HTMLElement;
  remove(): void;
}

const sheets = new Map<string, CSSStyleSheet>();

/** Make a shadow tree in `el`, with the root of a view that is styled by `css`. */
export function attachShadow(el: HTMLElement, css: string): ShadowTree {
  // Seen from the page, what is pressed in here is pressed on the host: Lumino (JupyterLab, Notebook 7) looks at it.
  // The host itself can't have the focus: a `tabindex` of -1 would keep Tab from entering its tree.
  const host = h("div", { "data-lm-suppress-shortcuts": "true" });
  const tree = host.attachShadow({ mode: "open" });
  const root = h("div", { class: "dagwidget", tabindex: -1 });
  tree.append(root);
  addStyles(root, css);
  host.addEventListener("keydown", passOn);
  tree.addEventListener("focusout", (event) => keepFocus(root, event as FocusEvent));
  el.append(host);
  return { root, remove: () => host.remove() };
}

/** Style the shadow tree around `el` by `css` too. */
export function addStyles(el: Element, css: string): void {
  let sheet = sheets.get(css);
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    sheets.set(css, sheet);
  }
  const tree = el.getRootNode() as ShadowRoot;
  tree.adoptedStyleSheets = [...(tree.adoptedStyleSheets ?? []), sheet];
}

/** The element around `el`, also where that is the host of its shadow tree. */
export function parentOf(el: Element): Element | null {
  return el.parentElement ?? (el.getRootNode() as Partial<ShadowRoot>).host ?? null;
}

/**
 * Keys end at the host, but for what belongs to the application as a whole, such as Ctrl+S. That is passed on as if it was
 * pressed on the page itself: from the host, Ctrl+Enter would run the cell, and Ctrl+Shift+M merge it with the next.
 */
function passOn(event: KeyboardEvent): void {
  event.stopPropagation();
  if (event.defaultPrevented || !isForApplication(event)) return;
  const taken = !document.body.dispatchEvent(new KeyboardEvent("keydown", copyOf(event)));
  if (taken) event.preventDefault();
}

/** A character with Ctrl, Alt or Cmd, or a function key. With AltGr a character is typed. */
function isForApplication(event: KeyboardEvent): boolean {
  const { key, ctrlKey, altKey, metaKey } = event;
  if (event.isComposing || event.getModifierState("AltGraph")) return false;
  return key.length === 1 ? ctrlKey || altKey || metaKey : /^F\d+$/.test(key);
}

function copyOf(event: KeyboardEvent): KeyboardEventInit {
  const { key, code, keyCode, location, repeat, ctrlKey, shiftKey, altKey, metaKey } = event;
  const copy = { key, code, keyCode, location, repeat, ctrlKey, shiftKey, altKey, metaKey };
  return { ...copy, bubbles: true, cancelable: true, composed: true };
}

/** When the element that has the focus is removed or hidden, the view keeps it: else the next key is the notebook's. */
function keepFocus(root: HTMLElement, { target, relatedTarget }: FocusEvent): void {
  if (relatedTarget) return;
  // Whoever removed it may be about to focus another one.
  queueMicrotask(() => {
    const lost = target as HTMLElement;
    const nowhere = document.activeElement === null || document.activeElement === document.body;
    if (root.isConnected && nowhere && !(lost.isConnected && lost.checkVisibility?.() !== false))
      root.focus({ preventScroll: true });
  });
}
