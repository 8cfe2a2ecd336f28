// The state of the connection, in words, next to the state of the run: how much of what is seen can be believed.

import { h, setText } from "../dom/dom";
import { ago } from "../model/format";
import { freshness } from "../model/freshness";
import type { Model } from "../model/model";
import type { Panel } from "../panel";

export class ConnectionPanel implements Panel {
  readonly #model: Model;
  readonly #text = h("span", { class: "dw-connection-text" });
  readonly #age = h("span", { class: "dw-muted dw-age" });
  readonly el = h(
    "div",
    { class: "dw-connection", role: "status" },
    h("i", { class: "dw-signal" }),
    this.#text,
    this.#age,
  );

  readonly #root: HTMLElement;

  /** `root` is told the tone too: a picture that may be out of date is dimmed. */
  constructor(model: Model, root: HTMLElement) {
    this.#model = model;
    this.#root = root;
  }

  update(): void {
    const { connection, now, saved, replay } = this.#model;
    const { tone, text, detail } = freshness(connection, now);
    this.el.dataset.tone = replay && tone === "live" ? "off" : tone;
    // What is long past is never out of date.
    this.#root.dataset.tone = replay ? "replay" : tone;
    this.el.title = detail;
    setText(this.#text, saved ? `saved picture · ${text}` : replay ? `replay · ${text} underneath` : text);
    const old =
      tone !== "live" && !saved && connection.seenAt !== undefined ? `seen ${ago(now - connection.seenAt)}` : "";
    setText(this.#age, old);
  }

  tick(): void {
    this.update();
  }
}
