// What every part of the view is.

/** A part of the view: an element, and how to bring it up to date. `update` is called at most once a frame. */
export interface Panel {
  readonly el: HTMLElement;
  update(): void;
  /** Only the time has passed; called once a second. */
  tick?(): void;
  close?(): void;
}

export type PictureFormat = "svg" | "png";
/** Draws the whole graph, as soon as there is one. */
export type Draw = (format: PictureFormat) => Promise<Blob>;
