// Pause, resume, cancel. What can't be done now is disabled, with the reason in sight.

import type { Command } from "../../protocol/messages";
import { uuid } from "../../protocol/uuid";
import { button, enable, focusedNear, h, setHidden, setText } from "../dom/dom";
import type { Model } from "../model/model";
import { over } from "../model/status";
import type { Panel } from "../panel";

type Kind = "pause_execution" | "resume_execution" | "cancel_execution";

const VERB: Readonly<Record<Kind, string>> = {
  pause_execution: "pause",
  resume_execution: "resume",
  cancel_execution: "cancel",
};
const REQUESTED: Readonly<Record<Kind, string>> = {
  pause_execution: "Pause requested…",
  resume_execution: "Resume requested…",
  cancel_execution: "Cancel requested…",
};

export class ControlsPanel implements Panel {
  readonly #model: Model;
  readonly #pause = button("Pause", () => this.#send("pause_execution"), { class: "dw-button" });
  readonly #resume = button("Resume", () => this.#send("resume_execution"), { class: "dw-button dw-primary" });
  readonly #cancel = button("Cancel", () => this.#ask(true), { class: "dw-button dw-danger-text" });
  readonly #stop = button("Cancel the run", () => this.#send("cancel_execution"), { class: "dw-button dw-danger" });
  readonly #keep = button("Keep running", () => this.#ask(false), { class: "dw-button" });
  readonly #confirm = h(
    "span",
    { class: "dw-confirm", role: "group", "aria-label": "Cancel the run?", hidden: true },
    this.#stop,
    this.#keep,
  );
  readonly #hint = h("span", { class: "dw-hint-text", role: "status" });
  readonly el = h("div", { class: "dw-controls" }, this.#hint, this.#pause, this.#resume, this.#cancel, this.#confirm);
  #asking = false;
  #refusal = "";

  constructor(model: Model) {
    this.#model = model;
    this.#confirm.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#ask(false);
    });
  }

  update(): void {
    const { state } = this.#model;
    const { status } = state;
    const resumable = status === "paused" || status === "pausing" || status === "resuming";
    if (over(status) && this.#asking) this.#asking = false;
    setHidden(this.#pause, resumable);
    setHidden(this.#resume, !resumable);
    setHidden(this.#cancel, this.#asking);
    setHidden(this.#confirm, !this.#asking);
    // What is hidden can't keep the keyboard.
    const focused = focusedNear(this.el);
    if (this.#confirm.hidden && this.#confirm.contains(focused)) this.#cancel.focus();
    else if (focused === this.#pause && resumable) this.#resume.focus();
    else if (focused === this.#resume && !resumable) this.#pause.focus();
    const whole = this.#blocked();
    const pause = whole ?? this.#unsupported("pause") ?? this.#underWay("pause_execution");
    const cancel = whole ?? this.#unsupported("cancel") ?? this.#underWay("cancel_execution");
    const resume =
      whole ??
      (status === "paused"
        ? this.#underWay("resume_execution")
        : status === "resuming"
          ? "The run is resuming."
          : "The run is still pausing.");
    enable(this.#pause, pause);
    enable(this.#resume, resume);
    enable(this.#cancel, cancel);
    enable(this.#stop, cancel);
    // The same reason said once is enough.
    const reasons = new Set([resumable ? resume : pause, cancel].filter((reason) => reason !== undefined));
    const hint = this.#refusal || [...reasons].join(" ");
    setText(this.#hint, hint);
    this.#hint.title = hint;
    this.#hint.classList.toggle("dw-refusal", this.#refusal !== "");
    // The words beside it say so already, where there is no room to say it twice.
    this.#hint.classList.toggle("dw-implied", over(status) || this.#model.connection.phase !== "live");
  }

  /** Why nothing at all can be done. */
  #blocked(): string | undefined {
    const { state, connection, saved, replay } = this.#model;
    if (replay) return "Replay: go back to live to control the run.";
    if (saved) return "This is a saved snapshot.";
    if (over(state.status)) return "The run has ended.";
    if (connection.phase !== "live") return "Not connected.";
    if (connection.role === "view") return "View only: your token cannot control the run.";
    if (this.#model.awaitsRun) return "No run yet.";
    if (state.status === "pending") return "The run has not started.";
    if (state.status === "cancelling") return "The run is being cancelled.";
    return undefined;
  }

  #unsupported(what: "pause" | "cancel"): string | undefined {
    return this.#model.state.capabilities?.[what] === "none" ? `This engine can't ${what}.` : undefined;
  }

  #underWay(kind: Kind): string | undefined {
    const waits = this.#model.pending.some(({ command }) => command.type === kind);
    return waits ? REQUESTED[kind] : undefined;
  }

  #ask(asking: boolean): void {
    this.#asking = asking;
    this.update();
    (asking ? this.#keep : this.#cancel).focus();
  }

  #send(type: Kind): void {
    const command: Command = { type, id: uuid() };
    this.#refusal = "";
    this.#asking = false;
    this.#model.send(command).then((ack) => {
      if (!ack.ok) this.#refusal = `Could not ${VERB[type]}: ${ack.message ?? ack.code ?? "refused"}`;
      this.update();
    });
    this.update();
  }
}
