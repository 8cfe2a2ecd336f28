// One gate that waits for a person. The card lives as long as the gate is open, so what was typed stays; it says what
// became of a decision, and never that it is made before the server has said so.

import type { HumanDecision } from "../../protocol/messages";
import { uuid } from "../../protocol/uuid";
import type { Gate } from "../../state/types";
import { button, enable, focusedNear, h, isTyping, setHidden, setText } from "../dom/dom";
import { iconElement } from "../graph/icons";
import type { Model } from "../model/model";
import { label } from "../model/status";
import { markdown } from "../value/markdown";
import { brief, pretty } from "../value/text";
import { ValueView } from "../value/value";
import { deadlineOf } from "./deadline";
import { changes } from "./form/diff";
import { Draft } from "./form/draft";
import { Form } from "./form/form";
import { fits, type Schema } from "./form/schema";

type Verdict = HumanDecision["decision"];

const AWAY = "The engine is away: your decision waits for it.";

const VERB: Readonly<Record<Verdict, string>> = { approve: "approval", reject: "rejection", modify: "modification" };

export class GateCard {
  readonly el: HTMLElement;
  gate: Gate;
  readonly epoch: string | undefined;
  /** Why the last decision was refused; the panel keeps it when the card goes. */
  refusal = "";
  readonly #model: Model;
  readonly #title = h("h3", {});
  readonly #countdown = h("span", { class: "dw-countdown" });
  readonly #where: HTMLButtonElement;
  readonly #content = h("div", { class: "dw-gate-content" });
  readonly #approvals = h("p", { class: "dw-muted", hidden: true });
  readonly #options = h("div", { class: "dw-options", role: "radiogroup", "aria-label": "Options", hidden: true });
  readonly #editor = h("textarea", {
    class: "dw-field dw-code",
    rows: 6,
    spellcheck: "false",
    "aria-label": "The modified value",
  });
  readonly #invalid = h("p", { class: "dw-invalid", role: "alert", hidden: true });
  readonly #fields = h("div", { class: "dw-form-box" });
  readonly #changes = h("ul", { class: "dw-changes", "aria-label": "Changes", hidden: true });
  readonly #swap = button("Edit as JSON", () => this.#swapEditor(), { class: "dw-link" });
  readonly #edit = h(
    "div",
    { class: "dw-edit", hidden: true },
    this.#fields,
    this.#editor,
    this.#swap,
    this.#changes,
    this.#invalid,
  );
  readonly #feedback = h("textarea", {
    class: "dw-field",
    rows: 1,
    placeholder: "Feedback (optional)",
    "aria-label": "Feedback",
  });
  readonly #status = h("p", { class: "dw-gate-status", role: "status" });
  readonly #approve = button("Approve", () => this.#decide("approve"), {
    class: "dw-button dw-primary",
    "aria-keyshortcuts": "a",
  });
  readonly #modify = button("Modify…", () => this.#open(true), { class: "dw-button", "aria-keyshortcuts": "m" });
  readonly #reject = button("Reject", () => this.#decide("reject"), {
    class: "dw-button dw-danger-text",
    "aria-keyshortcuts": "r",
  });
  readonly #submit = button("Send modification", () => this.#decide("modify"), { class: "dw-button dw-primary" });
  readonly #back = button("Back", () => this.#open(false), { class: "dw-button" });
  /** Radio buttons are grouped by name across the page, and the same gate may be drawn in several views. */
  readonly #group = uuid();
  #shown = "";
  /** The value is text, edited as text; else it is edited as JSON. */
  #plain = false;
  #editing = false;
  /** Where the gate's schema makes one; the editor is the other way to say the same. */
  #form: Form | undefined;
  #asJson = false;
  readonly #draft: Draft;
  #accepted = "";

  readonly #answered: () => void;

  /** `answered` is called when the server has answered a decision. */
  constructor(model: Model, gate: Gate, find: (nodeId: string) => void, answered: () => void = () => {}) {
    this.#model = model;
    this.#answered = answered;
    this.gate = gate;
    this.epoch = model.state.epoch;
    this.#where = button("", () => find(this.gate.node_id), { class: "dw-link", title: "Show the node" });
    this.el = h(
      "article",
      { class: "dw-gate", "data-gate": gate.gate_id, tabindex: -1 },
      h("header", {}, iconElement("waiting"), this.#title, this.#where, this.#countdown),
      this.#content,
      this.#approvals,
      this.#options,
      this.#edit,
      this.#feedback,
      h("footer", {}, this.#approve, this.#submit, this.#modify, this.#back, this.#reject, this.#status),
    );
    this.#draft = new Draft(model.dagId, this.epoch, gate.gate_id);
    for (const field of [this.#edit, this.#feedback] as HTMLElement[]) {
      field.addEventListener("input", () => this.#typed());
      field.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && this.#editing) this.#submit.click();
      });
    }
    this.el.addEventListener("keydown", (event) => this.#key(event));
    this.update(gate);
    if (!model.replay) this.#restore();
  }

  /** Whether something was typed or chosen that would be lost with the card. */
  get touched(): boolean {
    return this.#feedback.value.trim() !== "" || this.#editing;
  }

  get title(): string {
    return this.gate.presentation.title ?? `${this.#nodeLabel()} needs a decision`;
  }

  update(gate: Gate): void {
    this.gate = gate;
    // An engine may open the same gate again: what is the same stays untouched.
    const shown = JSON.stringify(gate.presentation);
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#present();
    }
    this.#count();
    setText(this.#where, gate.instance ? `${this.#nodeLabel()} · ${gate.instance}` : this.#nodeLabel());
    this.#refresh();
    this.tick();
  }

  tick(): void {
    const deadline = deadlineOf(this.gate.presentation, this.#model.serverTime);
    setHidden(this.#countdown, deadline === undefined);
    setText(this.#countdown, deadline?.text ?? "");
    this.#countdown.classList.toggle("dw-urgent", deadline?.urgent === true);
  }

  /** Bring the card into sight, and the keyboard to it. */
  focus(): void {
    this.el.scrollIntoView?.({ block: "nearest" });
    this.el.focus({ preventScroll: true });
  }

  /** A letter leads to its button: nothing is decided by a single key. */
  #key(event: KeyboardEvent): void {
    if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = [this.#approve, this.#modify, this.#reject].find(
      (one) => one.getAttribute("aria-keyshortcuts") === event.key,
    );
    if (!to || to.hidden) return;
    event.preventDefault();
    event.stopPropagation();
    to.focus();
  }

  #nodeLabel(): string {
    return label(this.#model.state.nodes.get(this.gate.node_id) ?? { id: this.gate.node_id });
  }

  #allowed(): ReadonlySet<Verdict> {
    const { allowed, required } = this.gate.presentation;
    const verdicts = new Set<Verdict>(allowed ?? ["approve", "reject", "modify"]);
    // Several people approve of what is there, not of what each makes of it.
    if ((required ?? 1) > 1) verdicts.delete("modify");
    return verdicts;
  }

  #present(): void {
    const { body, data, options, assignees, default: standard } = this.gate.presentation;
    setText(this.#title, this.title);
    this.#content.replaceChildren();
    if (body) this.#content.append(markdown(body));
    if (data !== undefined && data !== null) {
      const { el } = new ValueView(data);
      this.#content.append(h("details", { open: true }, h("summary", {}, "Under review"), el));
    }
    if (assignees?.length) this.#content.append(h("p", { class: "dw-muted" }, `For ${assignees.join(", ")}.`));
    this.#choices(options ?? []);
    if (!this.#editing) {
      this.#makeForm([data, standard]);
      const seed = data ?? standard;
      this.#plain = typeof seed === "string";
      this.#editor.value = seed === undefined || seed === null ? "" : pretty(seed, Number.POSITIVE_INFINITY);
    }
    const allowed = this.#allowed();
    if (allowed.size === 1 && allowed.has("modify")) this.#editing = true;
  }

  #count(): void {
    const { required } = this.gate.presentation;
    const given = this.gate.approvals ?? [];
    const names = given.map(({ by }) => by).join(", ");
    const several = (required ?? 1) > 1;
    setHidden(this.#approvals, !several);
    setText(this.#approvals, several ? `${given.length} of ${required} approvals${names && `: ${names}`}.` : "");
  }

  #choices(options: readonly unknown[]): void {
    // The same option may have another place now.
    const before = this.#options.querySelector("input:checked")?.parentElement?.textContent;
    this.#options.replaceChildren(
      ...options.map((option, i) => {
        const input = h("input", {
          type: "radio",
          name: this.#group,
          value: i,
          onchange: () => this.#refresh(),
        });
        input.checked = optionLabel(option) === before;
        return h("label", {}, input, h("span", {}, optionLabel(option)));
      }),
    );
    setHidden(this.#options, options.length === 0);
  }

  #chosen(): number | undefined {
    const checked = this.#options.querySelector<HTMLInputElement>("input:checked");
    return checked ? Number(checked.value) : undefined;
  }

  #refresh(): void {
    const allowed = this.#allowed();
    const onlyModify = allowed.size === 1;
    setHidden(this.#edit, !this.#editing);
    setHidden(this.#approve, this.#editing || !allowed.has("approve"));
    setHidden(this.#modify, this.#editing || !allowed.has("modify"));
    setHidden(this.#reject, this.#editing || !allowed.has("reject"));
    setHidden(this.#submit, !this.#editing);
    setHidden(this.#back, !this.#editing || onlyModify);
    const { state, text } = this.#standing();
    const blocked = this.#blocked() ?? (state === "idle" || state === "refused" ? undefined : text);
    const unchosen = !this.#options.hidden && this.#chosen() === undefined ? "Choose an option first." : undefined;
    enable(this.#approve, blocked ?? unchosen);
    for (const each of [this.#modify, this.#reject, this.#submit]) enable(each, blocked);
    this.#fields.inert = blocked !== undefined;
    setHidden(this.#fields, !this.#form || this.#asJson);
    setHidden(this.#editor, this.#form !== undefined && !this.#asJson);
    setHidden(this.#swap, this.#form === undefined);
    setText(this.#swap, this.#asJson ? "Edit as a form" : "Edit as JSON");
    for (const field of [this.#editor, this.#feedback]) field.readOnly = blocked !== undefined;
    this.el.dataset.standing = state;
    const waits = this.#model.away ? AWAY : "";
    setText(this.#status, state === "accepted" ? `${text} ${waits}`.trim() : text || (this.#blocked() ?? waits));
  }

  /** Where the decision on this gate stands, in a word and a sentence. */
  #standing(): { state: "idle" | "queued" | "sent" | "accepted" | "refused"; text: string } {
    const { gate_id, node_id } = this.gate;
    const own = this.#model.pending.find(
      ({ command }) =>
        command.type === "human_decision" &&
        (command.run_id ?? this.epoch) === this.epoch &&
        (command.gate_id ? command.gate_id === gate_id : command.node_id === node_id),
    );
    if (own && own.command.type === "human_decision") {
      const what = VERB[own.command.decision];
      return own.state === "queued"
        ? { state: "queued", text: `Not sent yet: your ${what} is sent when the connection is back.` }
        : { state: "sent", text: `Your ${what} is sent, waiting for confirmation…` };
    }
    if (this.refusal) return { state: "refused", text: this.refusal };
    return this.#accepted ? { state: "accepted", text: this.#accepted } : { state: "idle", text: "" };
  }

  /** Why nothing can be decided here at all. Being offline is no reason: a decision waits to be sent. */
  #blocked(): string | undefined {
    const { connection, saved, state, replay } = this.#model;
    if (replay) return "Replay: go back to live to decide.";
    if (saved) return "This is a saved snapshot: you cannot decide here.";
    if (connection.role === "view") return "View only: your token cannot decide.";
    if (state.capabilities?.gate === "none") return "This engine accepts no decisions.";
    if (connection.phase === "stopped") return "Disconnected: decisions cannot be sent.";
    return undefined;
  }

  #open(editing: boolean): void {
    this.#editing = editing;
    this.#complain("");
    this.#refresh();
    if (!editing) this.#modify.focus();
    else if (this.#form && !this.#asJson) this.#form.focus();
    else this.#editor.focus();
  }

  #makeForm(starts: readonly unknown[], draft?: unknown): void {
    this.#form = Form.of(this.gate.presentation.schema, starts, draft);
    this.#fields.replaceChildren(...(this.#form ? [this.#form.el] : []));
  }

  /** The other way to edit, with the same value in it. */
  #swapEditor(): void {
    if (!this.#asJson) {
      this.#plain = false;
      this.#editor.value = pretty(this.#form?.read() ?? null, Number.POSITIVE_INFINITY);
    } else {
      const value = this.#edited();
      const { schema } = this.gate.presentation;
      if (!fits(value, schema, schema as Schema)) {
        this.#complain("This value does not match the form.");
        return;
      }
      this.#makeForm([value]);
    }
    this.#asJson = !this.#asJson;
    this.#complain("");
    this.#refresh();
    this.#showChanges();
  }

  /** What was typed, also where it is not yet good; undefined where it is no JSON. */
  #edited(): unknown {
    if (this.#form && !this.#asJson) return this.#form.read();
    if (this.#plain) return this.#editor.value;
    try {
      return JSON.parse(this.#editor.value);
    } catch {
      return undefined;
    }
  }

  #typed(): void {
    this.#complain("");
    this.#showChanges();
    const inForm = this.#form && !this.#asJson;
    // A form gives values of which some may be missing; of JSON no more may be there than its text.
    const typed = inForm ? { value: this.#form?.read() } : { text: this.#editor.value };
    this.#draft.save({ feedback: this.#feedback.value, ...(this.#editing && typed) });
  }

  #restore(): void {
    const draft = this.#draft.load();
    if (!draft) return;
    if (typeof draft.feedback === "string") this.#feedback.value = draft.feedback;
    if (typeof draft.text === "string") {
      this.#editor.value = draft.text;
      this.#asJson = this.#form !== undefined;
      this.#plain &&= !this.#asJson;
    } else if (draft.value !== undefined && this.#form) this.#makeForm([], draft.value);
    else return;
    this.#editing = true;
    this.#refresh();
    this.#showChanges();
  }

  #showChanges(): void {
    const { data } = this.gate.presentation;
    const value = this.#editing ? this.#edited() : undefined;
    const lines = data === undefined || data === null || value === undefined ? [] : changes(data, value);
    this.#changes.replaceChildren(...lines.map((line) => h("li", {}, line)));
    setHidden(this.#changes, lines.length === 0);
  }

  /** The gate is decided: what was typed is of no more use. */
  forget(): void {
    this.#draft.forget();
  }

  #complain(text: string): void {
    setText(this.#invalid, text);
    setHidden(this.#invalid, text === "");
    this.#editor.setAttribute("aria-invalid", String(text !== ""));
  }

  #decide(decision: Verdict): void {
    const command: HumanDecision = {
      type: "human_decision",
      id: uuid(),
      run_id: this.epoch,
      node_id: this.gate.node_id,
      gate_id: this.gate.gate_id,
      decision,
      source: "widget",
    };
    const feedback = this.#feedback.value.trim();
    if (feedback) command.feedback = feedback;
    if (decision === "modify" && this.#form && !this.#asJson) {
      if (this.#form.complain()) return;
      command.value = this.#form.read();
    } else if (decision === "modify") {
      try {
        command.value = this.#plain ? this.#editor.value : JSON.parse(this.#editor.value);
      } catch (error) {
        const why = this.#editor.value.trim() === "" ? "It is empty" : (error as Error).message;
        this.#complain(`Not sent: the value must be JSON. ${why}.`);
        this.#editor.focus();
        return;
      }
    } else if (decision === "approve") {
      const chosen = this.#chosen();
      if (chosen !== undefined) command.value = this.gate.presentation.options?.[chosen];
    }
    // A form that is sent is inert, and can't keep the keyboard.
    if (this.#fields.contains(focusedNear(this.el))) this.el.focus({ preventScroll: true });
    this.refusal = this.#accepted = "";
    this.#model.send(command).then((ack) => {
      if (!ack.ok) this.refusal = refused(ack.message, ack.code, ack.winner);
      else if (ack.code === "unconfirmed")
        this.#accepted = "Sent. This server does not confirm decisions: watch the node.";
      else this.#accepted = `Your ${VERB[decision]} is accepted${ack.message ? `: ${ack.message}` : ""}.`;
      this.#refresh();
      this.#answered();
    });
    this.#refresh();
  }
}

type Winner = { decision: Verdict; by: string } | null | undefined;

function refused(message: string | null | undefined, code: string | null | undefined, winner: Winner): string {
  if (code === "unconfirmed") return `Not confirmed: ${message}`;
  if (code === "already_decided" && winner) return `Refused: ${winner.by} has already decided (${winner.decision}).`;
  return `Refused: ${message ?? code ?? "the server gave no reason"}`;
}

function optionLabel(option: unknown): string {
  if (typeof option === "object" && option !== null) {
    const named = option as { label?: unknown; title?: unknown; name?: unknown };
    const name = named.label ?? named.title ?? named.name;
    if (typeof name === "string") return name;
  }
  return brief(option, 80);
}
