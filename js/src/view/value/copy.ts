// A button that copies a text, also where a page has no clipboard of its own: without https, or in a frame.

import { button } from "../dom/dom";
import { keyed, OWN } from "../dom/patch";

const SAID_MS = 2000;

export function copyButton(text: () => string, name = "Copy"): HTMLButtonElement {
  const one = button(name, () => void act(), { class: "dw-link dw-copy" });
  const act = async () => {
    one.textContent = (await copy(text(), one)) ? "Copied" : "Copying is blocked here";
    setTimeout(() => {
      one.textContent = name;
    }, SAID_MS);
  };
  return keyed(one, OWN);
}

async function copy(text: string, near: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    near.after(field);
    field.select();
    const done = document.execCommand?.("copy") ?? false;
    field.remove();
    near.focus();
    return done;
  }
}
