// The whole screen for the view, where the browser and the page that holds it permit that.

import { button, svg } from "./dom";

const CORNERS = "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4";

/** A button that gives the whole screen to `root`, and the cell its place again. */
export function fullScreenButton(root: HTMLElement, say: (text: string) => void): HTMLButtonElement {
  const icon = svg(
    "svg",
    { class: "dw-icon", width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("path", { d: CORNERS, fill: "none", stroke: "currentColor", "stroke-width": 1.5 }),
  );
  const turn = () => {
    // In a shadow tree the document names its host alone.
    const turned = root.matches(":fullscreen") ? document.exitFullscreen() : root.requestFullscreen();
    turned.catch((error) => say(`Full screen is not available: ${error}`));
  };
  const el = button(icon, turn, { class: "dw-tab dw-screen", "aria-label": "Full screen", title: "Full screen (z)" });
  el.hidden = !document.fullscreenEnabled;
  return el;
}
