// What is known of the selected node: its state, what it costs and took, what it gave, what went wrong.

import type { Execution, Node } from "../../store";
import { button, type Child, h } from "../dom";
import { isFolded } from "../folding/folding";
import { bytes, clock, metric, percent, timeOfDay, words } from "../format";
import { spent, took } from "../graph/caption";
import { iconElement } from "../graph/icons";
import type { Model, Panel } from "../model";
import { countsText, label, STATUSES, settled } from "../status";
import { copyButton } from "../value/copy";
import { ValueView } from "../value/value";
import { foldButton, memberList } from "./members";
import { traceback } from "./traceback";
import { pretty } from "./value";

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
  readonly #seconds = h("dd", {});
  #shown: Node | undefined;
  #cost: unknown;
  #turn: string | undefined;
  /** The output as it is drawn: what a reader has unfolded in it stays so until there is another output. */
  #drawn: { of: Node; view: ValueView; el: HTMLElement } | undefined;

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
    const focused = document.activeElement;
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
    const scroll = same ? this.#body.scrollTop : 0;
    const open = this.#openSections(same);
    const read = same ? this.#readAt() : undefined;
    const place = focused && this.#body.contains(focused) ? placeOf(focused) : undefined;
    this.#shown = node;
    this.#cost = cost;
    this.#turn = turn;
    this.#title.textContent = label(node);
    this.#title.title = isFolded(node) ? node.label : node.id;
    this.#body.replaceChildren(
      ...this.#sections(node).filter((part): part is HTMLElement => part instanceof HTMLElement),
    );
    for (const [name, was] of open) {
      const section = this.#body.querySelector<HTMLDetailsElement>(`details[data-name="${name}"]`);
      if (section) section.open = was;
    }
    this.#body.scrollTop = scroll;
    const log = this.#body.querySelector(".dw-log");
    if (log) log.scrollTop = read ?? log.scrollHeight;
    if (place !== undefined && !this.#body.contains(document.activeElement))
      this.#refocus(focused as HTMLElement, place);
    this.tick();
  }

  /** Where the log is being read; undefined at its end, which it follows. */
  #readAt(): number | undefined {
    const log = this.#body.querySelector(".dw-log");
    return log && log.scrollTop + log.clientHeight < log.scrollHeight - 1 ? log.scrollTop : undefined;
  }

  /** Give the keyboard back to what had it, or to what has taken its place. */
  #refocus(before: HTMLElement, place: string): void {
    const all = [...this.#body.querySelectorAll<HTMLElement>("summary, button, [tabindex]")];
    const now = this.#body.contains(before) ? before : all.find((each) => placeOf(each) === place);
    (now ?? this.#title).focus({ preventScroll: true });
  }

  tick(): void {
    const node = this.#shown;
    if (!node || node.started_at === undefined || settled(node.status)) return;
    this.#seconds.textContent = clock(this.#model.asOf - node.started_at);
  }

  #openSections(same: boolean): [string, boolean][] {
    if (!same) return [];
    return [...this.#body.querySelectorAll<HTMLDetailsElement>("details[data-name]")].map((section) => [
      section.dataset.name ?? "",
      section.open,
    ]);
  }

  #sections(node: Node): Child[] {
    return [
      h(
        "p",
        { class: "dw-state" },
        iconElement(node.status, node.reason),
        h("b", { "data-status": node.status }, node.status),
        node.native && h("span", { class: "dw-badge", title: "The engine's own word" }, cut(node.native)),
        (node.attempt ?? 1) > 1 && h("span", { class: "dw-badge" }, `attempt ${node.attempt}`),
      ),
      foldButton(this.#model, node.id),
      node.description && h("p", {}, cut(node.description)),
      node.message && h("p", {}, cut(node.message)),
      node.reason && node.reason !== node.message && h("p", { class: "dw-muted" }, cut(node.reason)),
      this.#facts(node),
      node.error && section("error", "Error", traceback(node.error)),
      node.output !== undefined && section("output", "Output", this.#output(node)),
      isFolded(node) && section("members", `Nodes ${countsText(node.counts)}`, memberList(node, this.#model)),
      node.instances &&
        section("instances", `Instances ${node.counts ? countsText(node.counts) : ""}`, instanceList(node.instances)),
      node.logs && section("log", "Log", this.#log(node.logs)),
    ];
  }

  #output(node: Node): HTMLElement {
    const before = this.#drawn;
    if (before?.of.id === node.id && before.of.output === node.output && before.of.output_bytes === node.output_bytes)
      return before.el;
    const view = before?.of.id === node.id ? before.view : new ValueView(node.output);
    if (view === before?.view) view.show(node.output);
    const el = node.output_bytes === undefined ? view.el : this.#preview(node, view, node.output_bytes);
    this.#drawn = { of: node, view, el };
    return el;
  }

  #preview(node: Node, view: ValueView, size: number): HTMLElement {
    const says = h("p", { class: "dw-muted", role: "status" }, `a preview of ${bytes(size)} `);
    const all = h("div", {}, view.el, says);
    const { whole, dagId } = this.#model;
    if (!whole) {
      says.append(
        "– in Python: ",
        h("code", {}, `dagwidget.output(${JSON.stringify(dagId)}, ${JSON.stringify(node.id)})`),
      );
      return all;
    }
    const show = async () => {
      says.textContent = `getting ${bytes(size)} …`;
      try {
        const value = JSON.parse(await whole(node.id));
        // There may be another output by now.
        if (this.#drawn?.el === all) view.show(value, WHOLE_LIMIT);
        says.textContent = `all of ${bytes(size)}`;
      } catch (error) {
        says.textContent = error instanceof Error ? error.message : String(error);
      }
    };
    says.append(button("Show all", () => void show()));
    return all;
  }

  /** The tail of what the node printed. */
  #log(lines: readonly string[]): HTMLElement {
    const text = lines.slice(-LOG_LINES).join("\n");
    const block = h("pre", { tabindex: 0, class: "dw-log" }, text);
    return h(
      "div",
      {},
      block,
      copyButton(() => text),
    );
  }

  #facts(node: Node): HTMLElement {
    const { state, now } = this.#model;
    const list = h("dl", { class: "dw-facts" });
    const fact = (name: string, value: string | HTMLElement | undefined) => {
      if (value === undefined) return;
      list.append(h("dt", {}, cut(name)), typeof value === "string" ? h("dd", {}, cut(value)) : value);
    };
    if (node.progress !== undefined && node.status === "running") fact("progress", percent(node.progress));
    if (settled(node.status)) fact("duration", took(node));
    else if (node.started_at !== undefined) fact("running for", this.#seconds);
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

/** What tells a control from the others, also when it is made anew. */
function placeOf(el: Element): string {
  const name = el.closest<HTMLElement>("[data-name]")?.dataset.name;
  return [name, el.localName, el.className, el.matches("li *") && el.getAttribute("title")].join("\n");
}

/** A text without a break costs seconds to lay out where it is long enough. */
function cut(text: string): string {
  return pretty(text, TEXT_LIMIT);
}

function section(name: string, title: string, content: HTMLElement): HTMLElement {
  return h("details", { open: true, "data-name": name, class: `dw-section-${name}` }, h("summary", {}, title), content);
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
