// How a person wants to be called when a gate opens: by default not at all. Remembered, where the page may.

import { type Choice, shared } from "./page_state";

const KEY = "dagwidget:alerts";

export function choice(): Choice {
  shared().choice ??= load();
  return shared().choice as Choice;
}

export function choose(change: Partial<Choice>): void {
  shared().choice = { ...choice(), ...change };
  try {
    localStorage.setItem(KEY, JSON.stringify(shared().choice));
  } catch {
    // Full, or denied: it holds for this page.
  }
}

function load(): Choice {
  try {
    const { notification, sound } = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return { notification: notification === true, sound: sound === true };
  } catch {
    return { notification: false, sound: false };
  }
}
