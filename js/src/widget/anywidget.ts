// The part of anywidget's front-end interface that dagwidget uses.

export interface Model {
  /** There is one for each kernel, where the host has several. */
  widget_manager?: object;
  get(name: string): unknown;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
  on(event: string, listener: (...values: never[]) => void): void;
  off(event: string, listener: (...values: never[]) => void): void;
}

export type Cleanup = () => void;

export interface Widget {
  initialize(context: { model: Model }): Cleanup | undefined;
  render(context: { model: Model; el: HTMLElement }): Cleanup | undefined;
}
