// Finding one's way in the graph, as the search bar asks for it and the finder does it.

import type { Mode } from "./spotlight";

export interface Navigation {
  readonly mode: Mode | undefined;
  readonly following: boolean;
  readonly searching: boolean;
  /** How many were found, and which of them is the current one (from 1; 0 = none yet). */
  readonly found: { at: number; of: number };
  readonly note: string;
  search(text: string): void;
  step(by: 1 | -1): void;
  toggle(mode: Mode): void;
  watch(): void;
  foldAll(): void;
  focus(): void;
}
