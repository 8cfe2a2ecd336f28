// The bar under the picture while a replay is watched, and the button that opens it. The live stream goes on underneath.

import { noChange } from "../../state/reducer";
import type { Change } from "../../state/types";
import { button, focusedNear, h, setHidden, setText, setTitle, svg } from "../dom/dom";
import type { Model } from "../model/model";
import { load } from "../model/replay/load";
import { type Mark, Recording } from "../model/replay/recording";
import { Replay, type Speed } from "../model/replay/replay";
import { elapsedText, momentText } from "../model/replay/words";
import { over } from "../model/status";
import type { Panel } from "../panel";

const SPEEDS: readonly (readonly [Speed, string])[] = [
  [1, "1×"],
  [2, "2×"],
  [10, "10×"],
  [100, "100×"],
  ["fit", "All in 20 s"],
];
/** A page that was out of sight does not jump on by as long. */
const LONGEST_FRAME_MS = 250;
/** One press of Page up or down moves by this share of the run. */
const PAGE_SHARE = 0.1;
/** Marks that stand closer than this share of the line look like one. */
const MARK_SHARE = 0.004;

const PLAY = "M4 2.5v11l9-5.5z";
const PAUSE = "M4 3h3v10H4zM9 3h3v10H9z";
const BACK = "M3 3h2v10H3zM13 3v10L6 8z";
const ON = "M11 3h2v10h-2zM3 3v10l7-5z";

export class ReplayPanel implements Panel {
  readonly el: HTMLElement;
  /** What opens it. */
  readonly button: HTMLButtonElement;
  readonly #model: Model;
  readonly #shown: (change: Change) => void;
  readonly #say: (text: string) => void;
  readonly #words = h("b", { class: "dw-replay-words" });
  readonly #aside = h("span", { class: "dw-muted" });
  readonly #fault = h("span", { class: "dw-error-text", role: "alert" });
  readonly #path = svg("path", { fill: "currentColor" });
  readonly #play: HTMLButtonElement;
  readonly #steps: readonly HTMLButtonElement[];
  readonly #live = button("Live", () => this.live(), {
    class: "dw-button dw-primary",
    title: "Back to the live run (l)",
  });
  readonly #slider = h("input", {
    type: "range",
    min: 0,
    max: 1,
    step: "any",
    class: "dw-replay-slider",
    "aria-label": "Moment of the run",
    title: "Arrows: one event. Shift+arrows: next failure or gate. Space: play or pause.",
  });
  readonly #marks = h("span", { class: "dw-replay-marks" });
  readonly #line = h(
    "div",
    { class: "dw-replay-line" },
    h("i", { class: "dw-replay-past" }),
    this.#marks,
    this.#slider,
  );
  readonly #speed = h(
    "select",
    { class: "dw-field dw-replay-speed", "aria-label": "Speed" },
    ...SPEEDS.map(([, name]) => h("option", {}, name)),
  );
  readonly #controls: HTMLElement;
  /** What is being got or watched; undefined while the bar is closed. */
  #recording: Recording | undefined;
  #run = "";
  /** Whether more of it is on its way. */
  #getting = false;
  #frame = 0;
  #last = 0;

  /** `shown` takes what a move of the replay changes on screen. */
  constructor(model: Model, shown: (change: Change) => void, say: (text: string) => void) {
    this.#model = model;
    this.#shown = shown;
    this.#say = say;
    this.button = button("Replay", () => this.toggle(), { class: "dw-tab", "aria-pressed": "false" });
    const small = (icon: SVGElement, name: string, click: () => void) =>
      button(icon, click, { class: "dw-button dw-small dw-icon-button", "aria-label": name, title: name });
    this.#play = small(picture(this.#path), "Play (k)", () => this.#toggle());
    this.#steps = [
      small(picture(svg("path", { fill: "currentColor", d: BACK })), "Previous event (,)", () => this.#step(-1)),
      small(picture(svg("path", { fill: "currentColor", d: ON })), "Next event (.)", () => this.#step(1)),
    ];
    this.#slider.addEventListener("input", () => this.#scrub(Number(this.#slider.value)));
    this.#speed.addEventListener("change", () => {
      if (this.#replay) this.#replay.speed = SPEEDS[this.#speed.selectedIndex]![0];
    });
    this.#controls = h(
      "div",
      { class: "dw-replay-controls" },
      this.#steps[0]!,
      this.#play,
      this.#steps[1]!,
      this.#line,
      this.#speed,
    );
    this.el = h(
      "section",
      {
        class: "dw-replay",
        "aria-label": "Replay",
        hidden: true,
        onkeydown: (event: KeyboardEvent) => this.#pressed(event),
      },
      h("div", { class: "dw-replay-top" }, h("span", {}, this.#words, " ", this.#aside, this.#fault), this.#live),
      this.#controls,
    );
  }

  get #replay(): Replay | undefined {
    return this.#model.replay;
  }

  /** Open the replay, or go live again. */
  toggle(): void {
    if (this.#recording) this.live();
    else void this.#open();
  }

  /** What the keys do that work everywhere in the widget; false where a key is none of them. */
  key(key: string): boolean {
    if (key === "l") this.toggle();
    else if (!this.#replay) return false;
    else if (key === "k") this.#toggle();
    else if (key === "," || key === ".") {
      this.#step(key === "," ? -1 : 1);
      this.#say(momentText(this.#replay, this.#model.now));
    } else return false;
    return true;
  }

  /** Back to the live run, at once. */
  live(): void {
    const inside = this.el.contains(focusedNear(this.el));
    this.#pause();
    this.#recording = undefined;
    const watched = this.#replay !== undefined;
    setHidden(this.el, true);
    if (watched) {
      this.#shown(this.#model.watch(undefined));
      this.#say("Back to the live run.");
    }
    if (inside) this.button.focus();
    this.update();
  }

  update(): void {
    this.#offer();
    const replay = this.#replay;
    setText(this.#live, replay ? this.#liveText() : "Close");
    if (!replay) return;
    const { at, position, recording, playing } = replay;
    setText(this.#words, `Replay – ${momentText(replay, this.#model.now)}`);
    setText(this.#aside, `${elapsedText(replay)}${this.#standing(replay)}`);
    const span = recording.to - recording.from;
    const share = span > 0 ? (at - recording.from) / span : position / recording.length;
    this.#slider.value = String(position === 0 ? 0 : share);
    this.#slider.setAttribute("aria-valuetext", momentText(replay, this.#model.now));
    this.#line.style.setProperty("--dw-at", String(position === 0 ? 0 : share));
    this.#path.setAttribute("d", playing ? PAUSE : PLAY);
    const name = playing ? "Pause (k)" : "Play (k)";
    this.#play.setAttribute("aria-label", name);
    this.#play.title = name;
  }

  /** What of the live run must not be missed. */
  #liveText(): string {
    const { epoch, gates } = this.#model.live;
    if (epoch !== this.#run) return "Live · new run";
    return gates.size > 0 ? `Live · ${gates.size} open gate${gates.size === 1 ? "" : "s"}` : "Live";
  }

  close(): void {
    this.#recording = undefined;
    cancelAnimationFrame(this.#frame);
  }

  // --- Opening

  #offer(): void {
    const why = this.#unavailable();
    setHidden(this.button, !this.#model.log);
    this.button.setAttribute("aria-pressed", String(this.#recording !== undefined));
    this.button.setAttribute("aria-disabled", String(why !== undefined && !this.#recording));
    setTitle(this.button, why ?? "Replay the run from its log (l)");
  }

  #unavailable(): string | undefined {
    const { log, saved, live, connection } = this.#model;
    if (!log) return "No log is available here.";
    if (saved) return "A saved snapshot has no log.";
    if (connection.resumable === false) return "This server keeps no log.";
    if (live.epoch === undefined || live.seq === 0) return "The run has no events yet.";
    return undefined;
  }

  async #open(): Promise<void> {
    const why = this.#unavailable();
    if (why) {
      this.#say(why);
      return;
    }
    this.#run = this.#model.live.epoch as string;
    const recording = new Recording(this.#run);
    this.#recording = recording;
    this.#complain("");
    setText(this.#words, "Loading the log…");
    setText(this.#aside, "");
    setHidden(this.#controls, true);
    setHidden(this.el, false);
    this.update();
    if (!(await this.#load(recording))) return;
    if (recording.length === 0) {
      this.#complain("No replay: the log of this run was deleted.");
      return;
    }
    // Who wants no motion sees where it ended, and goes from there.
    const calm = globalThis.matchMedia?.("(prefers-reduced-motion: reduce)").matches ?? false;
    const replay = new Replay(recording, calm ? recording.length : 0);
    replay.subscribe(this.#shown);
    this.#speed.selectedIndex = SPEEDS.findIndex(([speed]) => speed === replay.speed);
    this.#mark();
    setHidden(this.#controls, false);
    this.#shown(this.#model.watch(replay));
    const goesOn = over(this.#model.live.status) ? "" : " The live run continues.";
    this.#say(`Replay of ${recording.length.toLocaleString()} events.${goesOn}`);
    this.#slider.focus({ preventScroll: true });
    if (!calm) this.#start();
    this.update();
  }

  /** Get what `recording` lacks; false where that failed, or nobody waits for it any more. */
  async #load(recording: Recording): Promise<boolean> {
    const { log, dagId } = this.#model;
    if (!log) return false;
    const wanted = () => this.#recording === recording;
    try {
      await load(recording, { dagId, run: this.#run }, log, (have, of) => {
        if (wanted() && !this.#replay)
          setText(this.#aside, `${have.toLocaleString()} of ${of.toLocaleString()} events`);
        return wanted();
      });
    } catch (error) {
      if (wanted())
        this.#complain(
          `${this.#replay ? "Could not load newer events" : "No replay"}: ${error instanceof Error ? error.message : error}`,
        );
      return false;
    }
    return wanted();
  }

  #complain(text: string): void {
    setText(this.#fault, text);
    if (!text) return;
    setText(this.#words, "");
    setText(this.#aside, "");
  }

  /** Failures and gates on the line; of those that would cover each other, one. */
  #mark(): void {
    const { marks, from, to, length } = this.#recording!;
    const last: Partial<Record<Mark["kind"], number>> = {};
    const shown: HTMLElement[] = [];
    for (const { kind, at, position } of marks) {
      const share = to > from ? (at - from) / (to - from) : position / length;
      if (share - (last[kind] ?? -1) < MARK_SHARE) continue;
      last[kind] = share;
      const mark = h("i", { class: "dw-mark", "data-kind": kind });
      mark.style.setProperty("--dw-at", String(share));
      shown.push(mark);
    }
    this.#marks.replaceChildren(...shown);
  }

  // --- Playing

  #toggle(): void {
    if (this.#replay?.playing) this.#pause();
    else this.#start();
    this.update();
  }

  #start(): void {
    const replay = this.#replay;
    if (!replay) return;
    if (replay.ended && !this.#lacks()) replay.seek(0);
    replay.playing = true;
    this.#last = performance.now();
    this.#frame = requestAnimationFrame(this.#advance);
  }

  #pause(): void {
    cancelAnimationFrame(this.#frame);
    if (!this.#replay?.playing) return;
    this.#replay.playing = false;
    // What moves by itself is drawn once more, to stand still.
    this.#shown(noChange());
  }

  readonly #advance = (time: number): void => {
    const replay = this.#replay;
    if (!replay?.playing) return;
    this.#frame = requestAnimationFrame(this.#advance);
    replay.advance(Math.min(LONGEST_FRAME_MS, Math.max(0, time - this.#last)));
    this.#last = time;
    if (replay.ended) void this.#goOn(replay);
  };

  /** Whether more has happened since the log was got. */
  #lacks(): boolean {
    const { live } = this.#model;
    return live.epoch === this.#run && live.seq > (this.#recording?.head ?? 0);
  }

  /** At the end of what is here: go on with what has happened since, or stop. */
  async #goOn(replay: Replay): Promise<void> {
    this.#pause();
    if (!this.#lacks()) this.#say("The replay has ended.");
    else if (!this.#getting) {
      this.#getting = true;
      this.#complain("");
      const { at, position } = replay;
      const more = await this.#load(replay.recording);
      this.#getting = false;
      if (!more || this.#replay !== replay) return;
      this.#mark();
      // Who has gone elsewhere meanwhile stays there.
      if (replay.at === at && replay.position === position) this.#start();
    }
    this.update();
  }

  #standing({ ended, playing }: Replay): string {
    const { state, live } = this.#model;
    if (!ended || playing || over(state.status) || live.epoch !== this.#run) return "";
    return this.#lacks() ? " · newer events: press play" : " · caught up with the live run";
  }

  #step(by: number): void {
    this.#pause();
    this.#replay?.seek(this.#replay.position + by);
    this.update();
  }

  #scrub(share: number): void {
    const replay = this.#replay;
    if (!replay) return;
    this.#pause();
    const { from, to, length } = replay.recording;
    if (to > from) replay.seekTime(from + share * (to - from));
    else replay.seek(Math.round(share * length));
  }

  // --- Keys in the bar

  #pressed(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") this.live();
    else if (event.target === this.#slider ? !this.#slide(event) : event.target === this.#speed) return;
    else if (event.target !== this.#slider && !this.key(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** What a key does on the slider; false where it is none of its. */
  #slide({ key, shiftKey }: KeyboardEvent): boolean {
    const replay = this.#replay;
    if (!replay) return false;
    const { from, to, length } = replay.recording;
    const page = (to - from) * PAGE_SHARE;
    const moves: Readonly<Record<string, () => void>> = {
      ArrowLeft: () => (shiftKey ? replay.seekMark(-1) : replay.seek(replay.position - 1)),
      ArrowRight: () => (shiftKey ? replay.seekMark(1) : replay.seek(replay.position + 1)),
      PageUp: () => replay.seekTime(replay.at + page),
      PageDown: () => replay.seekTime(replay.at - page),
      Home: () => replay.seek(0),
      End: () => replay.seek(length),
    };
    const same: Readonly<Record<string, string>> = { ArrowDown: "ArrowLeft", ArrowUp: "ArrowRight" };
    const move = moves[same[key] ?? key];
    if (key === " ") this.#toggle();
    else if (move) {
      this.#pause();
      move();
      this.update();
    } else return this.key(key);
    return true;
  }
}

function picture(path: SVGElement): SVGElement {
  return svg("svg", { class: "dw-icon", width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" }, path);
}
