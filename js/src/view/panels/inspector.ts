// What is known of the selected node: its state, what it costs and took, what it gave, what went wrong.

import type { Execution, Node } from "../../state/types";
import { button, type Child, focusedNear, h, setText, setTitle } from "../dom/dom";
import { keyed, patch } from "../dom/patch";
import { spent, took } from "../graph/caption";
import { iconElement } from "../graph/icons";
import { isFolded } from "../model/folding";
import { bytes, clock, metric, percent, timeOfDay, words } from "../model/format";
import type { Model } from "../model/model";
import { countsText, label, STATUSES, settled } from "../model/status";
import type { Panel } from "../panel";
import { copyButton } from "../value/copy";
import { pretty } from "../value/text";
import { ValueView } from "../value/value";
import { foldButton, memberList } from "./members";
import { traceback } from "./traceback";

const OUTPUT = ["output", "output_bytes", "output_cut"] as const;
const INSTANCES = 100;
const LOG_LINES = 200;
const TEXT_LIMIT = 2_000;
/** Characters of a whole output: what a page can scroll through. */
const WHOLE_LIMIT = 2_000_000;

export class InspectorPanel implements Panel {
  readonly #model: Model;
  readonly #body = h("div", { class: "dw-inspector-body" });
  readonly #title = h("h3", { tabindex: -1 });
  readonly el: HTMLElement;
  readonly #close: () => void;
  #shown: Node | undefined;
  #cost: unknown;
  #turn: string | undefined;
  /** The output as it is drawn: what a reader has unfolded in it stays so until there is another output. */
  #drawn: { of: Node; view: ValueView; box: HTMLElement; el: HTMLElement } | undefined;

  constructor(model: Model, close: () => void) {
    this.#model = model;
    this.#close = close;
    this.el = h(
      "aside",
      {
        class: "dw-inspector",
        "aria-label": "Inspector",
        hidden: true,
        onkeydown: (event: KeyboardEvent) => event.key === "Escape" && close(),
      },
      h("header", {}, this.#title, button("×", close, { class: "dw-close", "aria-label": "Close the inspector" })),
      this.#body,
    );
  }

  update(): void {
    const { state, node } = this.#model;
    const focused = focusedNear(this.el);
    if (!node) {
      // What is hidden can't keep the keyboard.
      if (this.el.contains(focused)) this.#close();
      this.el.hidden = true;
      this.#shown = undefined;
      return;
    }
    this.el.hidden = false;
    const cost = spent(node, state.cost);
    // The instances' map is the same one when one of them changes, but then the node is another.
    const turn = this.#model.folding.turn(node.id)?.action;
    if (node === this.#shown && cost === this.#cost && turn === this.#turn) return;
    const same = node.id === this.#shown?.id;
    const follow = !same || this.#logAtEnd();
    const had = this.#body.contains(focused);
    this.#shown = node;
    this.#cost = cost;
    this.#turn = turn;
    setText(this.#title, label(node));
    setTitle(this.#title, isFolded(node) ? node.label : node.id);
    if (!same) this.#body.replaceChildren();
    patch(this.#body, this.#sections(node));
    const log = this.#body.querySelector(".dw-log");
    if (log && follow) log.scrollTop = log.scrollHeight;
    if (had && !this.#body.contains(focusedNear(this.el))) this.#title.focus({ preventScroll: true });
  }

  /** Whether the log is not being read further up: then it follows. */
  #logAtEnd(): boolean {
    const log = this.#body.querySelector(".dw-log");
    return !log || log.scrollTop + log.clientHeight >= log.scrollHeight - 1;
  }

  tick(): void {
    const node = this.#shown;
    const seconds = this.#body.querySelector(".dw-seconds");
    if (seconds && node?.started_at !== undefined) setText(seconds, clock(this.#model.asOf - node.started_at));
  }

  #sections(node: Node): HTMLElement[] {
    const parts: Child[] = [
      h(
        "p",
        { class: "dw-state" },
        iconElement(node.status, node.reason),
        h("b", { "data-status": node.status }, node.status),
        node.native && h("span", { class: "dw-badge", title: "Status as the engine calls it" }, cut(node.native)),
        (node.attempt ?? 1) > 1 && h("span", { class: "dw-badge" }, `attempt ${node.attempt}`),
      ),
      foldButton(this.#model, node.id),
      node.description && h("p", {}, cut(node.description)),
      node.message && h("p", {}, cut(node.message)),
      node.reason && node.reason !== node.message && h("p", { class: "dw-muted" }, cut(node.reason)),
      this.#facts(node),
      node.error && section("error", "Error", keyed(traceback(node.error), node.error)),
      node.output !== undefined && this.#output(node),
      isFolded(node) && section("members", `Nodes ${countsText(node.counts)}`, memberList(node, this.#model)),
      node.instances &&
        section("instances", `Instances ${node.counts ? countsText(node.counts) : ""}`, instanceList(node.instances)),
      node.logs && section("log", "Log", logTail(node.logs)),
    ];
    return parts.filter((part) => part instanceof HTMLElement);
  }

  #output(node: Node): HTMLElement {
    const before = this.#drawn?.of.id === node.id ? this.#drawn : undefined;
    if (before && OUTPUT.every((name) => before.of[name] === node[name])) return before.el;
    const view = before?.view ?? new ValueView(node.output);
    if (before) view.show(node.output);
    const box = before?.box ?? h("div", {});
    const el = before?.el ?? section("output", "Output", box);
    this.#drawn = { of: node, view, box, el: keyed(el, box) };
    box.replaceChildren(view.el);
    if (node.output_cut) box.append(h("p", { class: "dw-muted", role: "status" }, "Preview: the rest was not kept."));
    else if (node.output_bytes !== undefined) box.append(this.#preview(node, view, node.output_bytes));
    return el;
  }

  #preview(node: Node, view: ValueView, size: number): HTMLElement {
    const says = h("p", { class: "dw-muted", role: "status" }, `Preview of ${bytes(size)}. `);
    const { whole, dagId } = this.#model;
    if (!whole) {
      says.append(
        "All of it, in Python: ",
        h("code", {}, `dagwidget.output(${JSON.stringify(dagId)}, ${JSON.stringify(node.id)})`),
      );
      return says;
    }
    const show = async () => {
      says.textContent = `Loading ${bytes(size)}…`;
      try {
        const value = JSON.parse(await whole(node.id));
        // There may be another output by now.
        if (this.#drawn?.of === node) view.show(value, WHOLE_LIMIT);
        says.textContent = `Complete: ${bytes(size)}`;
      } catch (error) {
        setText(says, error instanceof Error ? error.message : String(error));
      }
    };
    says.append(button("Show all", () => void show(), { class: "dw-button dw-small" }));
    return says;
  }

  #facts(node: Node): HTMLElement {
    const { state, now } = this.#model;
    const list = h("dl", { class: "dw-facts" });
    const fact = (name: string, value: string | undefined, attributes = {}) => {
      if (value !== undefined) list.append(h("dt", {}, cut(name)), h("dd", attributes, cut(value)));
    };
    if (node.progress !== undefined && node.status === "running") fact("progress", percent(node.progress));
    if (settled(node.status)) fact("duration", took(node));
    else if (node.started_at !== undefined)
      fact("running for", clock(this.#model.asOf - node.started_at), { class: "dw-seconds" });
    if (node.started_at !== undefined) fact("started", timeOfDay(node.started_at, now));
    fact("cost", spent(node, state.cost));
    for (const [name, value] of Object.entries(node.metrics ?? {})) {
      if (name !== "duration_ms" && name !== "cost") fact(words(name), metric(name, value, state.cost?.currency));
    }
    if (node.kind) fact("kind", node.kind);
    if (node.group) fact("group", node.group.replaceAll("/", " / "));
    if (label(node) !== node.id && !isFolded(node)) fact("id", node.id);
    return list;
  }
}

/** A text without a break costs seconds to lay out where it is long enough. */
function cut(text: string): string {
  return pretty(text, TEXT_LIMIT);
}

function section(name: string, title: string, content: HTMLElement): HTMLElement {
  return h("details", { open: true, "data-name": name, class: `dw-section-${name}` }, h("summary", {}, title), content);
}

/** The tail of what the node printed. */
function logTail(lines: readonly string[]): HTMLElement {
  const block = h("pre", { tabindex: 0, class: "dw-log" }, lines.slice(-LOG_LINES).join("\n"));
  return h(
    "div",
    {},
    block,
    copyButton(() => block.textContent ?? ""),
  );
}

/** What needs attention first, and no more of them than can be read. */
function instanceList(instances: Record<string, Execution>): HTMLElement {
  const all = Object.entries(instances);
  const list = h("ul", { class: "dw-instances" });
  let left = INSTANCES;
  for (const status of STATUSES) {
    for (const [name, execution] of all) {
      if (left === 0) break;
      if (execution.status !== status) continue;
      left--;
      const aside = execution.error?.split("\n", 1)[0] ?? execution.message ?? took(execution);
      list.append(
        h(
          "li",
          {},
          iconElement(status, execution.reason),
          h("span", { title: name }, name),
          h("small", { title: aside }, aside),
        ),
      );
    }
  }
  if (all.length > INSTANCES) list.append(h("li", { class: "dw-muted" }, `and ${all.length - INSTANCES} more`));
  return list;
}
