// What the view and its details, two bundles, know of one another.

import type { Change } from "../state/types";
import type { Graph } from "./graph/graph";
import type { Theme } from "./graph/theme";
import type { Model, ModelOptions } from "./model/model";
import type { Draw, Panel } from "./panel";

/** The view that is there already. */
export interface Shell {
  model: Model;
  root: HTMLElement;
  graph: Graph;
  theme: Theme;
  /** Where the details go: below the cost, into the line of tabs, beside the graph and below it. */
  places: Readonly<Record<"cost" | "tabs" | "main", HTMLElement>>;
  say(text: string): void;
  find(nodeId: string): void;
  /** Show what has changed on screen. */
  show(change: Change): void;
}

export interface Details {
  panels: readonly Panel[];
  draw: Draw;
  changed(change: Change): void;
  setTheme(theme: Theme): void;
  /** Take note of the live state, which a replay does not show. */
  look(): void;
  showGraph(): void;
  toGates(): void;
  toggleKeys(): void;
  /** Give the keyboard to the graph, or to the timeline in its place. */
  focus(): void;
  /** Act on a key; returns whether it had a meaning. */
  key(event: KeyboardEvent): boolean;
}

export type MountDetails = (shell: Shell) => Details;

export interface ViewOptions extends ModelOptions {
  /** Takes offers to draw the graph for others; returns how to take this one back. */
  offer?: (draw: Draw) => () => void;
  /** Draws what stands around the graph, as soon as it is there. */
  details: MountDetails | Promise<MountDetails>;
}
