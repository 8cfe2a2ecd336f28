// The state of the connection, in words, next to the state of the run: how much of what is seen can be believed.

import { h, setHidden, setText } from "../dom/dom";
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
    this.el.dataset.tone = replay && tone === "live" ? "off" : tone;
    // What is long past is never out of date.
    this.#root.dataset.tone = replay ? "replay" : tone;
    this.el.title = [happened, ageText(connection, now), next].filter(Boolean).join(" ");
    setText(this.#text, saved ? `saved snapshot · ${text}` : replay ? `replay · connection: ${text}` : text);
    const old =
      tone !== "live" && !saved && connection.seenAt !== undefined ? `as of ${ago(now - connection.seenAt)}` : "";
    setText(this.#age, old);
    const told = connection.phase === "stopped" && state.nodes.size > 0;
    setHidden(this.notice, !told);
    setText(this.notice, told ? `${happened} ${next}` : "");
  }

  tick(): void {
    this.update();
  }
}
