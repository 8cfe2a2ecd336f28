// Which of the DAG's runs is shown, what there is beside it, and the list to pick another one from.

import type { RunSummary } from "../../protocol/messages";
import { uuid } from "../../protocol/uuid";
import { button, focusedNear, h, setHidden, setText, setTitle } from "../dom/dom";
import { keyed, patch } from "../dom/patch";
import { iconElement } from "../graph/icons";
import { clock, count, duration, timeOfDay } from "../model/format";
import type { Model } from "../model/model";
import { isLive, isPast, newerRun, newestRun, runName, runsText } from "../model/runs";
import { over, RUN_LOOKS, RUN_WORDS } from "../model/status";
import type { Panel } from "../panel";

/** The first entry; the others are named by their runs, whose ids are never empty. */
const FOLLOW = "";

export class RunsPanel implements Panel {
  readonly #model: Model;
  readonly #say: (text: string) => void;
  readonly #leaveReplay: () => void;
  readonly #id = uuid();
  readonly #text = h("span", {});
  readonly #opener: HTMLButtonElement;
  readonly #note = h("span", { class: "dw-muted" });
  readonly #newer = button("", () => this.#follow(), { class: "dw-link", hidden: true });
  readonly #list: HTMLElement;
  readonly #rest = h("p", { class: "dw-muted" });
  readonly #popup: HTMLElement;
  readonly el: HTMLElement;
  /** The entry that the keyboard is at. */
  #at = FOLLOW;
  /** The run that was picked and is not shown yet. */
  #opening: RunSummary | undefined;
  readonly #stop = new AbortController();

  constructor(model: Model, say: (text: string) => void, leaveReplay: () => void = () => {}) {
    this.#model = model;
    this.#say = say;
    this.#leaveReplay = leaveReplay;
    this.#opener = button(false, () => this.toggle(), {
      class: "dw-runs-open",
      title: "Show another run (N)",
      "aria-haspopup": "listbox",
      "aria-expanded": "false",
      "aria-keyshortcuts": "n",
    });
    this.#opener.append(this.#text, h("i", { class: "dw-caret", "aria-hidden": "true" }));
    this.#list = h("div", {
      class: "dw-runs-list",
      role: "listbox",
      tabindex: 0,
      "aria-label": `Runs of ${model.dagId}`,
      onkeydown: (event: KeyboardEvent) => this.#key(event),
      onclick: (event: MouseEvent) => {
        const entry = (event.target as Element).closest<HTMLElement>("[role=option]");
        if (entry) this.#pick(entry.dataset.run!);
      },
    });
    this.#popup = h("div", { class: "dw-runs-popup", hidden: true }, this.#list, this.#rest);
    this.el = h(
      "div",
      {
        class: "dw-runs",
        hidden: true,
        onfocusout: ({ relatedTarget }: FocusEvent) => {
          if (relatedTarget && !this.el.contains(relatedTarget as Node)) this.#show(false);
        },
      },
      this.#opener,
      this.#note,
      this.#newer,
      this.#popup,
    );
    document.addEventListener(
      "pointerdown",
      (event) => {
        if (!event.composedPath().includes(this.el)) this.#show(false);
      },
      { signal: this.#stop.signal, capture: true },
    );
  }

  /** Open the list, or close it. */
  toggle(): void {
    if (this.el.hidden || !this.#model.pick) return;
    if (!this.#popup.hidden) {
      this.#show(false);
      this.#opener.focus();
      return;
    }
    this.#at = this.#model.following ? FOLLOW : (this.#model.live.epoch ?? FOLLOW);
    this.#show(true);
    this.#list.focus({ preventScroll: true });
  }

  update(): void {
    const { runs, following, live, pick, saved } = this.#model;
    // One run that is followed is all that there is to see.
    setHidden(this.el, saved || runs === undefined || (runs.total < 2 && following));
    if (this.#opening && this.#opening.run_id === live.epoch) {
      // An open gate says more, and is announced too.
      if (live.gates.size === 0) this.#say(`Run ${runName(this.#opening)} is shown.`);
      this.#opening = undefined;
    }
    if (!runs || this.el.hidden) {
      this.#show(false);
      return;
    }
    setText(this.#text, this.#opening ? `opening run ${runName(this.#opening)}…` : runsText(runs, live.epoch));
    this.#opener.setAttribute("aria-disabled", String(pick === undefined));
    const note = isPast(runs, live) ? "past run, read-only" : following ? "" : "pinned: stays at this run";
    setText(this.#note, note);
    const newer = pick && !this.#opening ? newerRun(runs, live) : undefined;
    setHidden(this.#newer, newer === undefined);
    setText(this.#newer, newer ? `A newer run began: show ${runName(newer)}` : "");
    if (!this.#popup.hidden) this.#fill();
  }

  tick(): void {
    if (!this.#popup.hidden) this.#fill();
  }

  close(): void {
    this.#stop.abort();
  }

  #show(open: boolean): void {
    if (open === !this.#popup.hidden) return;
    // What is hidden can't keep the keyboard.
    if (!open && this.#popup.contains(focusedNear(this.el))) this.#opener.focus();
    setHidden(this.#popup, !open);
    this.#opener.setAttribute("aria-expanded", String(open));
    if (open) this.#fill();
    if (open) this.#move(this.#at);
  }

  #fill(): void {
    const { runs } = this.#model;
    if (!runs) return;
    if (this.#at !== FOLLOW && !runs.runs.some((run) => run.run_id === this.#at)) this.#at = FOLLOW;
    patch(this.#list, [this.#followEntry(), ...runs.runs.map((run) => this.#entry(run))]);
    this.#list.setAttribute("aria-activedescendant", this.#entryId(this.#at));
    const hidden = runs.total > runs.runs.length;
    setText(
      this.#rest,
      hidden
        ? `${count(runs.runs.length)} of ${count(runs.total)} runs: the newest, and those with open decisions.`
        : "",
    );
    setHidden(this.#rest, !hidden);
  }

  #followEntry(): HTMLElement {
    const { following, runs } = this.#model;
    const newest = runs && newestRun(runs);
    const about = newest ? `now ${runName(newest)}` : "";
    return this.#option(
      FOLLOW,
      following,
      h("b", {}, "Follow the newest"),
      " ",
      h("span", { class: "dw-muted" }, about),
    );
  }

  #entry(run: RunSummary): HTMLElement {
    const { live, following, now, connection } = this.#model;
    const { run_id, status, started_at, gates = 0, engine = "gone" } = run;
    const shown = run_id === live.epoch;
    const lives = !over(status) && status !== "pending" && status !== "lost";
    // Since when the engine is gone is not known here, nor how long the run has lasted.
    const gone = lives && engine === "gone";
    const word = gone ? "Engine gone" : (RUN_WORDS[status] ?? status);
    const look = gone ? "pending" : (RUN_LOOKS[status] ?? "pending");
    const part = (text: string, more: Record<string, string> = {}) => h("span", { class: "dw-muted", ...more }, text);
    const entry = this.#option(
      run_id,
      !following && shown,
      iconElement(look),
      h("span", { class: "dw-runs-word", "data-status": look }, word),
      " ",
      h("b", {}, runName(run)),
      " ",
      part(timeOfDay(started_at - (connection.ahead ?? 0), now)),
      " ",
      part(this.#lasted(run)),
      " ",
      part(gates > 0 ? `${count(gates)} ${gates === 1 ? "decision" : "decisions"}` : "", { class: "dw-waits" }),
      " ",
      part(shown ? "shown" : "", { class: "dw-runs-shown dw-muted" }),
    );
    setTitle(entry, run_id);
    if (shown) entry.setAttribute("aria-current", "true");
    return entry;
  }

  #lasted(run: RunSummary): string {
    if (run.ended_at != null) return duration(run.ended_at - run.started_at);
    return isLive(run) ? clock(this.#model.serverTime - run.started_at) : "";
  }

  #option(run: string, selected: boolean, ...children: (Node | string)[]): HTMLElement {
    const about = {
      role: "option",
      id: this.#entryId(run),
      "data-run": run,
      "data-at": run === this.#at,
      "aria-selected": String(selected),
    };
    return keyed(h("div", about, ...children), run);
  }

  #entryId(run: string): string {
    return `${this.#id}-${run || "follow"}`;
  }

  #key(event: KeyboardEvent): void {
    const entries = [...this.#list.children].map((entry) => (entry as HTMLElement).dataset.run!);
    const at = entries.indexOf(this.#at);
    const page = 10;
    const to: Readonly<Record<string, number>> = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: entries.length - 1,
    };
    if (event.key === "Escape") this.toggle();
    else if (event.key === "Enter" || event.key === " ") this.#pick(this.#at);
    else if (event.key in to) this.#move(entries[Math.min(entries.length - 1, Math.max(0, to[event.key]!))]!);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #move(run: string): void {
    this.#at = run;
    this.#fill();
    this.#list.querySelector("[data-at]")?.scrollIntoView?.({ block: "nearest" });
  }

  #pick(run: string): void {
    this.#show(false);
    this.#opener.focus();
    if (run === FOLLOW) this.#follow();
    else
      this.#open(
        this.#model.runs?.runs.find(({ run_id }) => run_id === run),
        false,
      );
  }

  /** Go to the newest run, and on to the next from there. */
  #follow(): void {
    const { runs } = this.#model;
    this.#open(runs && newestRun(runs), true);
  }

  #open(run: RunSummary | undefined, follow: boolean): void {
    if (!run) return;
    // What is replayed is the run that was shown.
    if (this.#model.replay) this.#leaveReplay();
    const opened = this.#model.pick?.(follow ? { run: run.run_id, follow } : { run: run.run_id });
    this.#opening = opened && run.run_id !== this.#model.live.epoch ? run : undefined;
    if (!opened) this.#say("No other run can be shown: the widget's kernel is gone.");
    this.update();
  }
}
