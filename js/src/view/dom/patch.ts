// What is drawn anew takes the place of what was drawn before only where they differ. A button that is made anew between
// press and release is never clicked; a text that is made anew can't be selected.

const keys = new WeakMap<Element, unknown>();

/** Whether a section is open is the reader's. */
const OPEN = "open";

/** The key of an element that looks after what it shows: it stays as it is. */
export const OWN = Symbol("own");

/** An element that only one of the same key may become: what listens in it knows more than it shows. */
export function keyed<E extends Element>(element: E, key: unknown): E {
  keys.set(element, key);
  return element;
}

/** Make `after` the children of `parent`, and leave in place what is alike. */
export function patch(parent: Element, after: readonly ChildNode[]): void {
  let at = parent.firstChild;
  for (const child of after) {
    let found = at;
    while (found && !alike(found, child)) found = found.nextSibling;
    if (!found) {
      parent.insertBefore(child, at);
      continue;
    }
    at = removeUntil(at, found)!.nextSibling;
    become(found, child);
  }
  removeUntil(at, null);
}

function removeUntil(from: ChildNode | null, end: ChildNode | null): ChildNode | null {
  let at = from;
  while (at && at !== end) {
    const next: ChildNode | null = at.nextSibling;
    at.remove();
    at = next;
  }
  return at;
}

function alike(before: ChildNode, after: ChildNode): boolean {
  if (before === after) return true;
  if (before.nodeName !== after.nodeName) return false;
  if (!(before instanceof Element && after instanceof Element)) return true;
  return before.getAttribute("class") === after.getAttribute("class") && keys.get(before) === keys.get(after);
}

function become(before: ChildNode, after: ChildNode): void {
  if (before === after) return;
  if (before instanceof Text && after instanceof Text) {
    // To a text that grows, what was selected in it is not lost.
    if (after.data.startsWith(before.data)) before.appendData(after.data.slice(before.data.length));
    else before.data = after.data;
  } else if (before instanceof Element && after instanceof Element && keys.get(before) !== OWN) {
    for (const { name } of [...before.attributes])
      if (name !== OPEN && !after.hasAttribute(name)) before.removeAttribute(name);
    for (const { name, value } of after.attributes)
      if (name !== OPEN && before.getAttribute(name) !== value) before.setAttribute(name, value);
    patch(before, [...after.childNodes]);
  }
}
