// The state of the connection, in words, next to the state of the run: how much of what is seen can be believed.

import { h, setHidden, setText, setTitle } from "../dom/dom";
import { ago } from "../model/format";
import { ageText, freshness } from "../model/freshness";
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
  /** Where the connection does not come back by itself: why, and what to do. Without nodes that is in their place. */
  readonly notice = h("p", { class: "dw-notice", role: "alert", hidden: true });

  readonly #root: HTMLElement;

  /** `root` is told the tone too: a picture that may be out of date is dimmed. */
  constructor(model: Model, root: HTMLElement) {
    this.#model = model;
    this.#root = root;
  }

  update(): void {
    const { connection, now, saved, replay, state } = this.#model;
    const { tone, text, happened, next } = freshness(connection, now);
    this.el.dataset.tone = (replay || saved) && tone === "live" ? "off" : tone;
    // What is long past is never out of date.
    this.#root.dataset.tone = replay ? "replay" : tone;
    const seen = (state.epoch || state.nodes.size > 0) && ageText(connection, now);
    setTitle(this.el, [happened, seen, next].filter(Boolean).join(" "));
    // A snapshot gives way to the first run.
    const snapshot = `saved snapshot · ${tone === "live" ? "no run yet" : text}`;
    setText(this.#text, saved ? snapshot : replay ? `replay · connection: ${text}` : text);
    setText(this.#age, seen && !saved ? `as of ${ago(now - connection.seenAt!)}` : "");
    const told = connection.phase === "stopped" && state.nodes.size > 0;
    setHidden(this.notice, !told);
    setText(this.notice, told ? `${happened} ${next}` : "");
  }

  tick(): void {
    this.update();
  }
}
