// `(2) …` before the page's title while decisions wait where nobody looks. One count for all widgets of the page.

import { shared } from "./page_state";

/** Say which gates wait in a view, and whether they are in sight; undefined once the view is gone. */
export function waitIn(view: object, what: { gates: ReadonlySet<string>; seen: boolean } | undefined): void {
  if (what) shared().waiting.set(view, what);
  else shared().waiting.delete(view);
  write();
}

/** How many gates wait in no view that is in sight. */
function unseen(): number {
  const views = [...shared().waiting.values()];
  const gates = new Set(views.flatMap((view) => [...view.gates]));
  for (const view of views) if (view.seen) for (const gate of view.gates) gates.delete(gate);
  return gates.size;
}

function write(): void {
  const all = shared();
  const count = unseen();
  const prefix = count > 0 ? `(${count}) ` : "";
  // The page may have set another title meanwhile, and then it is that which comes back.
  const own = document.title.startsWith(all.prefix) ? document.title.slice(all.prefix.length) : document.title;
  all.prefix = prefix;
  if (document.title !== prefix + own) document.title = prefix + own;
}
