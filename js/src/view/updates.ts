// Brings the panels up to date: once a frame, however many batches arrive, and once a second as time passes.

import type { Model } from "./model/model";
import type { Panel } from "./panel";

const TICK_MS = 1000;

export class Updates {
  readonly #model: Model;
  readonly #panels: Panel[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;
  #frame = 0;

  constructor(model: Model) {
    this.#model = model;
  }

  /** Bring these panels up to date now, and from now on. */
  add(panels: readonly Panel[]): void {
    this.#timer ??= setInterval(() => {
      if (!document.hidden) this.#tick();
    }, TICK_MS);
    this.#panels.push(...panels);
    for (const panel of panels) contained(() => panel.update());
  }

  /** Something has changed: update all panels in the next frame. */
  readonly request = (): void => {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      for (const panel of this.#panels) contained(() => panel.update());
      // Seeking in a replay moves the time too.
      if (this.#model.replay && !this.#model.moving) this.#tick();
    });
  };

  close(): void {
    clearInterval(this.#timer);
    cancelAnimationFrame(this.#frame);
    for (const panel of this.#panels) panel.close?.();
  }

  #tick(): void {
    for (const panel of this.#panels) contained(() => panel.tick?.());
  }
}

/** Run `act`; if it fails, as it may on the data of a plain server, report that, so that the rest of the view goes on. */
export function contained(act: () => void): void {
  try {
    act();
  } catch (error) {
    console.error("dagwidget:", error);
  }
}
