// In place of the picture while there are no nodes: what has happened and what to do, with lines of Python to copy.

import { h, setHidden, setText } from "../dom/dom";
import type { Model } from "../model/model";
import { placeholder } from "../model/placeholder";
import type { Panel } from "../panel";
import { copyButton } from "../value/copy";

export class PlaceholderPanel implements Panel {
  readonly #model: Model;
  readonly #happened = h("p", { class: "dw-happened" });
  readonly #next = h("p", {});
  readonly #code = h("pre", { tabindex: 0 });
  readonly #lines = h(
    "div",
    { class: "dw-example" },
    this.#code,
    copyButton(() => this.#code.textContent ?? ""),
  );
  readonly el = h(
    "div",
    { class: "dw-placeholder", hidden: true },
    h("div", {}, this.#happened, this.#next, this.#lines),
  );

  constructor(model: Model) {
    this.#model = model;
  }

  update(): void {
    const shown = placeholder(this.#model);
    setHidden(this.el, shown === undefined);
    if (!shown) return;
    setText(this.#happened, shown.happened);
    setText(this.#next, shown.next);
    setText(this.#code, shown.code ?? "");
    setHidden(this.#lines, shown.code === undefined);
  }

  tick(): void {
    this.update();
  }
}
