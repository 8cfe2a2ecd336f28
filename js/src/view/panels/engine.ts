// Whether the engine is still there, next to the state of the connection: a run whose engine is gone does not go on.

import { h, setHidden, setText, setTitle } from "../dom/dom";
import { type EngineWords, engineWords } from "../model/engine";
import { timeOfDay } from "../model/format";
import type { Model } from "../model/model";
import type { Panel } from "../panel";

/** The engine's standing in words, with the time by the viewer's clock. */
export function engineOf(model: Model): EngineWords | undefined {
  const { live, engine, connection, now, replay, saved } = model;
  if (replay || saved) return undefined;
  const since = engine?.since == null ? undefined : timeOfDay(engine.since - (connection.ahead ?? 0), now);
  return engineWords(live.status, engine, since);
}

export class EnginePanel implements Panel {
  readonly #model: Model;
  readonly #text = h("span", {});
  readonly el = h(
    "div",
    { class: "dw-engine", role: "status", hidden: true },
    h("i", { class: "dw-signal" }),
    this.#text,
  );

  constructor(model: Model) {
    this.#model = model;
  }

  update(): void {
    const words = engineOf(this.#model);
    setHidden(this.el, words === undefined);
    setText(this.#text, words?.text ?? "");
    setTitle(this.el, words?.detail ?? "");
  }
}
