// The view: a shell with a graph and panels around it, all of one store and stream. Nothing here opens a socket.

import type { Change } from "../state/types";
import { h } from "./dom/dom";
import { Graph } from "./graph/graph";
import { applyTheme, makeTheme, readHost, watchHost } from "./graph/theme";
import { Model } from "./model/model";
import type { Panel } from "./panel";
import { Announcer } from "./panels/announcer";
import { ConnectionPanel } from "./panels/connection";
import { ControlsPanel } from "./panels/controls";
import { CostPanel } from "./panels/costbar";
import { HeaderPanel } from "./panels/header";
import { OutlinePanel } from "./panels/outline";
import { SearchBar } from "./panels/searchbar";
import type { Details, MountDetails, ViewOptions } from "./shell";
import styles from "./styles.css";

const TICK_MS = 1000;

/** Draw a live view of a DAG into `el`; returns how to take it down. */
export function mountView(el: HTMLElement, options: ViewOptions): () => void {
  const model = new Model(options);
  // JupyterLab binds single keys: what is pressed in here is not meant for the notebook.
  const root = h("div", { class: "dagwidget", "data-lm-suppress-shortcuts": "true" });
  el.append(root);
  let theme = makeTheme(readHost(root));
  applyTheme(root, theme);

  const announcer = new Announcer(model);
  const say = (text: string) => announcer.say(text);
  const graph = new Graph(model, theme, say);
  const find = (id: string) => {
    model.select(id);
    graph.reveal(id);
  };
  let details: Details | undefined;
  const header = new HeaderPanel(
    model,
    (stop) => {
      details?.showGraph();
      graph.finder.jump(stop);
    },
    () => details?.toGates(),
  );
  const search = new SearchBar(model, graph.finder, () => details?.toggleKeys());
  // What is looked for is looked for in the graph.
  for (const type of ["click", "input"]) {
    search.el.addEventListener(type, () => details?.showGraph(), { capture: true });
  }
  graph.finder.onNavigate(() => search.update());
  const connection = new ConnectionPanel(model, root);
  const controls = new ControlsPanel(model);
  const cost = new CostPanel(model, find);
  const outline = new OutlinePanel(model, find);
  const panels: Panel[] = [header, connection, controls, cost, outline, search, graph, announcer];
  const tabs = h("div", { class: "dw-tabs" });
  const main = h("div", { class: "dw-main" }, graph.el);

  // Written as text, so that no host needs to know of it.
  const style = h("style");
  style.textContent = styles;
  const top = h("div", { class: "dw-top" }, header.el, h("div", { class: "dw-bar" }, connection.el, controls.el));
  root.append(style, h("div", { class: "dw-shell" }, top, cost.el, outline.el, tabs, search.el, main, announcer.el));

  // However many batches arrive, the panels are written once a frame.
  let frame = 0;
  const refresh = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      for (const panel of panels) contained(() => panel.update());
      // In a replay time passes by the moment that is sought, too.
      if (model.replay && !model.moving) tick();
    });
  };
  const tick = () => {
    for (const panel of panels) contained(() => panel.tick?.());
  };
  const show = (change: Change) => {
    const changed = model.changed(change);
    graph.changed(changed);
    details?.changed(changed);
    refresh();
  };
  const retheme = () => {
    const next = makeTheme(readHost(root));
    if (JSON.stringify(next) === JSON.stringify(theme)) return;
    theme = next;
    applyTheme(root, theme);
    graph.setTheme(theme);
    details?.setTheme(theme);
  };
  const stops = [
    // While a replay is watched, the live run is only heard of.
    options.store.subscribe((change) => {
      contained(() => details?.look());
      if (model.replay) refresh();
      else show(change);
    }),
    options.stream.subscribe(refresh),
    options.stream.subscribe(() => contained(() => details?.look())),
    watchHost(retheme),
  ];
  model.onSelect(refresh);
  model.onFold(refresh);
  root.addEventListener("keydown", (event) => {
    const typing = (event.target as Element).matches("input:not([type=range]), textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" || event.key === "?") {
      details?.showGraph();
      if (event.key === "/") search.focus();
      else details?.toggleKeys();
    } else if (!details?.key(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  });
  const timer = setInterval(() => {
    if (!document.hidden) tick();
  }, TICK_MS);
  for (const panel of panels) contained(() => panel.update());

  let withdraw: (() => void) | undefined;
  let closed = false;
  const detail = (mount: MountDetails) => {
    if (closed) return;
    const places = { cost: cost.el, tabs, main };
    details = mount({ model, root, graph, theme, places, say, find, show });
    withdraw = options.offer?.(details.draw);
    panels.push(...details.panels);
    for (const panel of details.panels) contained(() => panel.update());
  };
  if (typeof options.details === "function") detail(options.details);
  else
    options.details.then(detail).catch((error) => {
      tabs.replaceChildren(
        h("p", { role: "alert", class: "dw-refusal" }, `Only the graph can be shown: ${error}. Reload the page.`),
      );
    });

  return () => {
    closed = true;
    withdraw?.();
    details?.close();
    clearInterval(timer);
    cancelAnimationFrame(frame);
    for (const stop of stops) stop();
    for (const panel of panels) panel.close?.();
    root.remove();
  };
}

/** A panel that can't show what it is given, as a plain server may send anything, takes no other with it. */
function contained(act: () => void): void {
  try {
    act();
  } catch (error) {
    console.error("dagwidget:", error);
  }
}
