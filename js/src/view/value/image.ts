// Which values are pictures: a data URL, or what Jupyter calls a MIME bundle. Only pixels: SVG and HTML could do more.

import { h } from "../dom/dom";

export interface Picture {
  src: string;
  alt: string;
}

/** A longer one is left as text: a page has other things to do than to decode it. */
const LIMIT = 16_000_000;
const KINDS = "image/(?:png|jpeg|gif|webp)";
const KIND = new RegExp(`^${KINDS}$`);
const URL_OF_ONE = new RegExp(`^data:${KINDS};base64,`);
const MIME = /^[\w.+-]+\/[\w.+-]+$/;
/** A preview that was cut is no picture any more, and says so in other letters than these. */
const BASE64 = /^[\w+/\s]*[\w+/]={0,2}\s*$/;

export function pictureOf(value: unknown): Picture | undefined {
  if (typeof value === "string") {
    const start = URL_OF_ONE.exec(value.slice(0, 40))?.[0];
    return start && isBase64(value.slice(start.length)) ? { src: value, alt: "Picture" } : undefined;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const entries = Object.entries(value);
  if (entries.length === 0 || entries.length > 20 || !entries.every(([kind]) => MIME.test(kind))) return undefined;
  const found = entries.find(([kind, data]) => KIND.test(kind) && typeof data === "string" && isBase64(data));
  if (!found) return undefined;
  const told = entries.find(([kind]) => kind === "text/plain")?.[1];
  return {
    src: `data:${found[0]};base64,${found[1].replace(/\s+/g, "")}`,
    alt: typeof told === "string" ? told.slice(0, 200) : "Picture",
  };
}

export function picture({ src, alt }: Picture): HTMLElement {
  const box = h("div", { class: "dw-picture" });
  box.append(
    h("img", {
      src,
      alt,
      title: alt,
      onerror: () => box.replaceChildren("The image data is damaged."),
    }),
  );
  return box;
}

function isBase64(text: string): boolean {
  return text.length <= LIMIT && BASE64.test(text);
}
