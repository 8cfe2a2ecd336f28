// What went wrong, as a reader wants it: the message, where it was raised, and how one came there only if asked for.

import { h } from "../dom/dom";
import { copyButton } from "../value/copy";
import { pretty } from "../value/text";

const FRAME = /^ {2}File "/gm;
const OPENING = "Traceback (most recent call last):";

/** `error` as the wire has it: the summary in the first line, the traceback of whichever language in the others. */
export function traceback(error: string): HTMLElement {
  const end = error.indexOf("\n");
  const message = h("p", { class: "dw-error-text" }, pretty(end < 0 ? error : error.slice(0, end)));
  if (end < 0) return message;
  const rest = error.slice(end + 1);
  const frames = [...rest.matchAll(FRAME)].map(({ index }) => index);
  const notes = rest.slice(0, frames[0]).replace(OPENING, "").trimEnd();
  return h(
    "div",
    {},
    message,
    notes && block(notes),
    frames.length > 0 && block(rest.slice(frames.at(-1))),
    frames.length > 1 &&
      h(
        "details",
        { "data-name": "traceback" },
        h("summary", {}, `All ${frames.length} frames`),
        block(rest.slice(frames[0])),
      ),
    copyButton(() => error),
  );
}

function block(text: string): HTMLElement {
  return h("pre", { tabindex: 0 }, pretty(text));
}
