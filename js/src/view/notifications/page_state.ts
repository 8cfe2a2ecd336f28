// What all widgets of a page have in common when they call a person: one title, one bell, one choice.
// Each cell that runs evaluates this module anew, so it must live outside of it.

export interface News {
  gate: string;
  title: string;
  text: string;
  /** Whether it is still to be decided. */
  open(): boolean;
  /** Bring it into sight. */
  show(): void;
}

export interface Choice {
  notification: boolean;
  sound: boolean;
}

interface Shared {
  /** For each view, the gates that wait in it, and whether they are in sight. */
  readonly waiting: Map<object, { gates: ReadonlySet<string>; seen: boolean }>;
  /** What stands before the page's title. */
  prefix: string;
  /** Gates that were called for: the same one may be drawn in several views. */
  readonly called: Set<string>;
  readonly queue: News[];
  timer?: ReturnType<typeof setTimeout>;
  /** When the bell last rang, Unix ms. */
  rang: number;
  choice?: Choice;
}

const KEY = Symbol.for("dagwidget.alerts.1");

export function shared(): Shared {
  const world = globalThis as { [KEY]?: Shared };
  world[KEY] ??= { waiting: new Map(), prefix: "", called: new Set(), queue: [], rang: 0 };
  return world[KEY];
}
