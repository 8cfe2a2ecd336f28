// The Markdown that gates really use, built as DOM nodes: paragraphs, headings, lists, quotes, code, emphasis, links.
// What it doesn't know stays the text that it is. Nothing is ever parsed as HTML.

import { h } from "../dom/dom";
import { visible } from "../model/visible";

/** Longer bodies are cut: a card is no place for a book. */
const LIMIT = 20_000;
/** Quotes within quotes beyond this stay text: thousands of them would exhaust the stack, and the page with it. */
const DEPTH_LIMIT = 16;

export function markdown(source: string): HTMLElement {
  const root = h("div", { class: "dw-markdown" });
  const lines = visible(source.slice(0, LIMIT)).replaceAll("\r\n", "\n").split("\n");
  if (source.length > LIMIT) lines.push("", "…");
  for (let at = 0; at < lines.length; ) at = block(lines, at, root);
  return root;
}

/** Append the block that starts at line `at`; returns the line after it. */
function block(lines: readonly string[], at: number, root: HTMLElement, depth = 0): number {
  const line = lines[at]!;
  if (line.trim() === "") return at + 1;
  const fence = /^\s*(```|~~~)/.exec(line)?.[1];
  if (fence) {
    let end = at + 1;
    while (end < lines.length && !lines[end]!.trimStart().startsWith(fence)) end++;
    root.append(h("pre", {}, h("code", {}, lines.slice(at + 1, end).join("\n"))));
    return end + 1;
  }
  const heading = /^(#{1,6})\s+(.*)$/.exec(line);
  if (heading) {
    // The card's own title comes above these.
    const tag = heading[1]!.length === 1 ? "h4" : "h5";
    root.append(withInline(h(tag), heading[2]!));
    return at + 1;
  }
  if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
    root.append(h("hr"));
    return at + 1;
  }
  if (depth < DEPTH_LIMIT && /^\s*>/.test(line)) {
    const end = run(lines, at, (text) => /^\s*>/.test(text));
    const quote = h("blockquote");
    const inner = lines.slice(at, end).map((text) => text.replace(/^\s*> ?/, ""));
    for (let i = 0; i < inner.length; ) i = block(inner, i, quote, depth + 1);
    root.append(quote);
    return end;
  }
  const item = /^\s*([-*+]|\d+[.)])\s+/;
  if (item.test(line)) {
    const ordered = /^\s*\d/.test(line);
    const same = (text: string) => item.test(text) && /^\s*\d/.test(text) === ordered;
    const end = run(lines, at, same);
    root.append(
      h(ordered ? "ol" : "ul", {}, ...lines.slice(at, end).map((text) => withInline(h("li"), text.replace(item, "")))),
    );
    return end;
  }
  const end = run(lines, at, (text) => text.trim() !== "" && !/^\s*(```|~~~|#{1,6}\s|>|[-*+]\s|\d+[.)]\s)/.test(text));
  root.append(withInline(h("p"), lines.slice(at, Math.max(end, at + 1)).join("\n")));
  return Math.max(end, at + 1);
}

function run(lines: readonly string[], at: number, belongs: (line: string) => boolean): number {
  let end = at;
  while (end < lines.length && belongs(lines[end]!)) end++;
  return end;
}

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|__([^_]+)__|\*([^*\s][^*]*)\*|\b_([^_]+)_\b|\[([^\]]+)\]\(([^)\s]+)\)/g;

function withInline<E extends HTMLElement>(element: E, text: string): E {
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    element.append(text.slice(at, match.index));
    const [whole, code, bold, bold2, italic, italic2, label, target] = match;
    const strong = bold ?? bold2;
    const emphasis = italic ?? italic2;
    if (code !== undefined) element.append(h("code", {}, code));
    else if (strong !== undefined) element.append(withInline(h("strong"), strong));
    else if (emphasis !== undefined) element.append(withInline(h("em"), emphasis));
    else element.append(link(label ?? whole, target ?? "", whole));
    at = match.index + whole.length;
  }
  element.append(text.slice(at));
  return element;
}

/** A link to the web or to a mailbox; any other scheme could run code, and stays text. */
function link(label: string, target: string, whole: string): Node {
  if (!/^(https?:\/\/|mailto:)/i.test(target)) return document.createTextNode(whole);
  return h("a", { href: target, target: "_blank", rel: "noopener noreferrer" }, label);
}
