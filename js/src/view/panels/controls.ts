// Pause, resume, cancel, and give up where the engine is gone. What can't be done now is disabled, with the reason in sight.

import type { Command } from "../../protocol/messages";
import { uuid } from "../../protocol/uuid";
import type { RunStatus } from "../../state/types";
import { button, enable, focusedNear, h, setHidden, setText, setTitle } from "../dom/dom";
import { canGiveUp } from "../model/engine";
import { timeOfDay } from "../model/format";
import type { Model } from "../model/model";
import { over } from "../model/status";
import type { Panel } from "../panel";
import { engineOf } from "./engine";

type Kind = "pause_execution" | "resume_execution" | "cancel_execution";

const VERB: Readonly<Record<Kind, string>> = {
  pause_execution: "pause",
  resume_execution: "resume",
  cancel_execution: "cancel",
};
/** What a run is until the engine has done what it was asked. */
const ASKED: Readonly<Record<Kind, RunStatus>> = {
  pause_execution: "pausing",
  resume_execution: "resuming",
  cancel_execution: "cancelling",
};

/** What is asked before it is done: to cancel the run or, in the place of an engine that can't, to give it up. */
type Question = "cancel" | "give up";
const QUESTIONS: Readonly<Record<Question, { ask: string; yes: string; no: string; about: string }>> = {
  cancel: { ask: "Cancel the run?", yes: "Cancel the run", no: "Keep running", about: "" },
  "give up": {
    ask: "Give up the run?",
    yes: "Give up the run",
    no: "Keep waiting",
    about: "Ends the run as cancelled, without its engine. If the engine comes back, its own result replaces this.",
  },
};

export class ControlsPanel implements Panel {
  readonly #model: Model;
  readonly #pause = button("Pause", () => this.#send("pause_execution"), { class: "dw-button" });
  readonly #resume = button("Resume", () => this.#send("resume_execution"), { class: "dw-button dw-primary" });
  readonly #cancel = button("Cancel", () => this.#ask("cancel"), { class: "dw-button dw-danger-text" });
  readonly #giveUp = button("Give up", () => this.#ask("give up"), {
    class: "dw-button dw-danger-text",
    hidden: true,
  });
  readonly #yes = button("", () => this.#send("cancel_execution"), { class: "dw-button dw-danger" });
  readonly #no = button("", () => this.#ask(undefined), { class: "dw-button" });
  readonly #confirm = h("span", { class: "dw-confirm", role: "group", hidden: true }, this.#yes, this.#no);
  readonly #hint = h("span", { class: "dw-hint-text", role: "status" });
  readonly el = h(
    "div",
    { class: "dw-controls" },
    this.#hint,
    this.#pause,
    this.#resume,
    this.#cancel,
    this.#giveUp,
    this.#confirm,
  );
  /** The run that the buttons are about. */
  #run: string | undefined;
  #asking: Question | undefined;
  #refusal = "";

  constructor(model: Model) {
    this.#model = model;
    this.#confirm.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#ask(undefined);
    });
  }

  update(): void {
    const { state, live, engine, replay, saved } = this.#model;
    const { status, epoch } = state;
    if (epoch !== this.#run) {
      this.#run = epoch;
      this.#refusal = "";
      this.#asking = undefined;
    }
    const resumable = status === "paused" || status === "pausing" || status === "resuming";
    const forsaken = !replay && !saved && canGiveUp(live.status, engine);
    if (over(status) || (this.#asking === "give up" && !forsaken)) this.#asking = undefined;
    const { ask, yes, no, about } = QUESTIONS[this.#asking ?? "cancel"];
    this.#confirm.setAttribute("aria-label", ask);
    setText(this.#yes, yes);
    setText(this.#no, no);
    setHidden(this.#pause, resumable);
    setHidden(this.#resume, !resumable);
    setHidden(this.#cancel, this.#asking !== undefined);
    setHidden(this.#giveUp, this.#asking !== undefined || !forsaken);
    setHidden(this.#confirm, this.#asking === undefined);
    // What is hidden can't keep the keyboard.
    const focused = focusedNear(this.el);
    if (this.#confirm.hidden && this.#confirm.contains(focused)) this.#cancel.focus();
    else if (focused === this.#pause && resumable) this.#resume.focus();
    else if (focused === this.#resume && !resumable) this.#pause.focus();
    else if (focused === this.#giveUp && focused.hidden && this.#asking === undefined) this.#cancel.focus();
    const none = this.#blocked();
    const whole = none ?? engineOf(this.#model)?.reason ?? this.#asked("cancel_execution");
    const pause = whole ?? this.#unsupported("pause") ?? this.#asked("pause_execution");
    const cancel = whole ?? this.#unsupported("cancel");
    const resume = whole ?? this.#asked("pause_execution") ?? this.#asked("resume_execution");
    const giveUp = none ?? this.#asked("cancel_execution", true);
    enable(this.#pause, pause);
    enable(this.#resume, resume);
    enable(this.#cancel, cancel);
    enable(this.#giveUp, giveUp);
    enable(this.#yes, this.#asking === "give up" ? giveUp : cancel);
    // The same reason said once is enough; that there is no run is said beside it. What was asked of an engine that has
    // gone since is still not confirmed.
    const asked = this.#asked("cancel_execution") ?? this.#asked("pause_execution");
    const told = this.#model.awaitsRun ? [] : [none === undefined && asked, resumable ? resume : pause, cancel];
    const reasons = new Set(told.filter(Boolean));
    const hint = this.#refusal || about || [...reasons].join(" ");
    setText(this.#hint, hint);
    setTitle(this.#hint, hint);
    this.#hint.classList.toggle("dw-refusal", this.#refusal !== "");
    // The words beside it say so already, where there is no room to say it twice.
    const implied = over(status) || this.#model.connection.phase !== "live" || this.#model.away;
    this.#hint.classList.toggle("dw-implied", implied && about === "" && asked === undefined);
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
    return undefined;
  }

  #unsupported(what: "pause" | "cancel"): string | undefined {
    return this.#model.state.capabilities?.[what] === "none" ? `This engine can't ${what}.` : undefined;
  }

  /** `Pause asked at 12:03, not confirmed.`: what was asked and the engine has not done yet. */
  #asked(kind: Kind, giveUp = false): string | undefined {
    const { state, pending, connection, now, replay } = this.#model;
    if (replay) return undefined;
    const what = giveUp ? "Giving up" : `${VERB[kind][0]!.toUpperCase()}${VERB[kind].slice(1)}`;
    const own = pending.find(
      ({ command: { type, run_id, ...more } }) =>
        type === kind && (run_id ?? this.#run) === this.#run && Boolean("give_up" in more && more.give_up) === giveUp,
    );
    const asked = !giveUp && state.status === ASKED[kind];
    if (!own && !asked) return undefined;
    // By the viewer's clock.
    const at = own?.since ?? (state.asked_at === undefined ? undefined : state.asked_at - (connection.ahead ?? 0));
    return `${what} asked${at === undefined ? "" : ` at ${timeOfDay(at, now)}`}, not confirmed.`;
  }

  #ask(asking: Question | undefined): void {
    const back = this.#asking === "give up" ? this.#giveUp : this.#cancel;
    this.#asking = asking;
    this.update();
    (asking ? this.#no : back).focus();
  }

  #send(type: Kind): void {
    const giveUp = this.#asking === "give up";
    const command: Command = { type, id: uuid(), run_id: this.#run };
    if (giveUp && command.type === "cancel_execution") command.give_up = true;
    this.#refusal = "";
    this.#asking = undefined;
    const run = this.#run;
    this.#model.send(command).then((ack) => {
      if (!ack.ok && run === this.#run) {
        this.#refusal = `Could not ${giveUp ? "give up" : VERB[type]}: ${ack.message ?? ack.code ?? "refused"}`;
      }
      this.update();
    });
    this.update();
  }
}
