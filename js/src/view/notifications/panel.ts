// A gate that opens while nobody looks: the page's title counts it, and whoever chose so is called.

import { h, setText } from "../dom/dom";
import { menu } from "../dom/menu";
import type { Model } from "../model/model";
import { label } from "../model/status";
import type { Panel } from "../panel";
import { call, chime } from "./notify";
import type { Choice } from "./page_state";
import { choice, choose } from "./preferences";
import { waitIn } from "./title";

/** What comes this soon after the first connection was there before it: a plain server tells it as if it were new. */
const SETTLING_MS = 3000;

export class Alerts implements Panel {
  readonly #model: Model;
  readonly #root: HTMLElement;
  readonly #boxes = new Map<keyof Choice, HTMLInputElement>();
  readonly #said = h("p", { class: "dw-muted", role: "status" });
  readonly el: HTMLDetailsElement;
  readonly #known = new Set<string>();
  /** When the state was first known to be true, Unix ms. */
  #since: number | undefined;
  #inSight = true;
  readonly #stop = new AbortController();

  constructor(model: Model, root: HTMLElement) {
    this.#model = model;
    this.#root = root;
    this.el = menu(
      "Notify me",
      h("p", { class: "dw-muted" }, "When a decision is needed and this cell is out of sight:"),
      this.#box("notification", "Desktop notification", () => this.#permitted()),
      this.#box("sound", "Sound", async () => {
        chime();
        return "";
      }),
      this.#said,
    );
    // Another widget of the page may have changed it.
    this.el.addEventListener("toggle", () => this.#reflect());
    const { signal } = this.#stop;
    document.addEventListener("visibilitychange", () => this.look(), { signal });
    if (globalThis.IntersectionObserver) {
      const observer = new IntersectionObserver((entries) => {
        this.#inSight = entries.at(-1)?.isIntersecting ?? true;
        this.look();
      });
      observer.observe(root);
      signal.addEventListener("abort", () => observer.disconnect());
    }
    this.look();
  }

  /** Take note of the gates that are open. Not a part of `update`: in a hidden page there are no frames. */
  look(): void {
    const { live: state, connection, saved, dagId, now } = this.#model;
    const asked = !saved && connection.role !== "view";
    const gates = new Map(
      asked ? [...state.gates.values()].map((gate) => [JSON.stringify([dagId, state.epoch, gate.gate_id]), gate]) : [],
    );
    const settled = this.#since !== undefined && now - this.#since >= SETTLING_MS;
    if (connection.phase === "live") this.#since ??= now;
    const seen = this.#inSight && !document.hidden;
    waitIn(this, { gates: new Set(gates.keys()), seen });
    for (const [key, { gate_id, node_id, presentation }] of gates) {
      if (this.#known.has(key)) continue;
      this.#known.add(key);
      if (!settled || (seen && document.hasFocus())) continue;
      const where = label(state.nodes.get(node_id) ?? { id: node_id });
      call({
        gate: key,
        title: presentation.title ?? `${where} needs a decision`,
        text: `${dagId}: ${where}`,
        open: () => this.#model.live.gates.has(gate_id),
        show: () => this.#root.scrollIntoView({ block: "center" }),
      });
    }
  }

  update(): void {}

  tick(): void {
    this.look();
  }

  close(): void {
    this.#stop.abort();
    waitIn(this, undefined);
  }

  #reflect(): void {
    for (const [name, box] of this.#boxes) box.checked = choice()[name];
  }

  /** A choice; `turnOn` says why it can't be made, if so. */
  #box(name: keyof Choice, text: string, turnOn: () => Promise<string>): HTMLElement {
    const box = h("input", { type: "checkbox" });
    box.addEventListener("change", async () => {
      const problem = box.checked ? await turnOn() : "";
      setText(this.#said, problem);
      choose({ [name]: box.checked && problem === "" });
      this.#reflect();
    });
    this.#boxes.set(name, box);
    return h("label", {}, box, text);
  }

  /** Ask the browser, and say what it says. */
  async #permitted(): Promise<string> {
    try {
      if ((await Notification.requestPermission()) === "granted") return "";
      return "The browser blocks notifications from this page.";
    } catch {
      return "This browser has no notifications.";
    }
  }
}
