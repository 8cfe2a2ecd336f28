// The run as a file: the graph as a picture, or its state. For a download, or for whoever asks from Python.

import { toJSON } from "../../state/store";
import { button, h } from "../dom/dom";
import { menu } from "../dom/menu";
import type { Graph } from "../graph/graph";
import type { Model } from "../model/model";
import type { PictureFormat } from "../panel";
import { toPng } from "./png";
import { toSvg } from "./svg";

type Format = PictureFormat | "json";

const KINDS: Readonly<Record<Format, string>> = { png: "image/png", svg: "image/svg+xml", json: "application/json" };
/** A download has begun by then. */
const KEPT_MS = 60_000;

export class Export {
  readonly el: HTMLDetailsElement;
  readonly #model: Model;
  readonly #graph: Graph;

  constructor(model: Model, graph: Graph, say: (text: string) => void) {
    this.#model = model;
    this.#graph = graph;
    const item = (format: Format, name: string) =>
      button(
        name,
        () => {
          this.el.open = false;
          // What is hidden can't keep the keyboard.
          this.el.querySelector("summary")?.focus();
          this.#download(format).catch((error) => say(`Export failed: ${error}`));
        },
        { class: "dw-button" },
      );
    this.el = menu("Export", item("png", "PNG picture"), item("svg", "SVG picture"), item("json", "JSON state"));
  }

  /** The graph as a file. */
  async draw(format: PictureFormat): Promise<Blob> {
    const drawing = await this.#graph.drawing();
    if (format === "png") return toPng(drawing);
    return new Blob([toSvg(drawing, `${this.#model.dagId}: ${this.#model.state.status}`)], { type: KINDS.svg });
  }

  async #download(format: Format): Promise<void> {
    const state = () => new Blob([JSON.stringify(toJSON(this.#model.state))], { type: KINDS.json });
    const url = URL.createObjectURL(format === "json" ? state() : await this.draw(format));
    h("a", { href: url, download: `${this.#model.dagId.replace(/[^\w.-]+/g, "_")}.${format}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
  }
}
