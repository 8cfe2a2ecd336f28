// The view: a shell with a graph and panels around it, all of one store and stream. Nothing here opens a socket.

import type { Change } from "../store";
import { Alerts } from "./alert/alerts";
import { h } from "./dom";
import { Export } from "./export/export";
import { Graph } from "./graph/graph";
import { applyTheme, makeTheme, readHost, watchHost } from "./graph/theme";
import { Model, type Panel, type ViewOptions } from "./model";
import { Announcer } from "./panels/announcer";
import { ConnectionPanel } from "./panels/connection";
import { ControlsPanel } from "./panels/controls";
import { CostPanel } from "./panels/costbar";
import { DecisionsPanel } from "./panels/decisions";
import { ErrorsPanel } from "./panels/errors";
import { GatesPanel } from "./panels/gates";
import { HeaderPanel } from "./panels/header";
import { InspectorPanel } from "./panels/inspector";
import { KeysPanel } from "./panels/keys";
import { OutlinePanel } from "./panels/outline";
import { ResultsPanel } from "./panels/results";
import { SearchBar } from "./panels/searchbar";
import { ReplayPanel } from "./replay/panel";
import styles from "./styles.css";
import { Tabs } from "./tabs";
import { Timeline } from "./timeline/timeline";

export type { ViewOptions } from "./model";

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
  const graph = new Graph(model, theme, (text) => announcer.say(text));
  const timeline = new Timeline(
    model,
    theme,
    () => graph.ranks(),
    (text) => announcer.say(text),
  );
  const files = new Export(model, graph, (text) => announcer.say(text));
  const alerts = new Alerts(model, root);
  const shown = (change: Change) => {
    const changed = model.changed(change);
    graph.changed(changed);
    timeline.changed(changed);
    refresh();
  };
  const replay = new ReplayPanel(model, shown, (text) => announcer.say(text));
  const tabs = new Tabs(root, graph, timeline, h("div", { class: "dw-tools" }, replay.button, alerts.el, files.el));
  const find = (id: string) => {
    model.select(id);
    graph.reveal(id);
  };
  const header = new HeaderPanel(
    model,
    (stop) => graph.jump(stop),
    () => gates.focus(),
  );
  const keys = new KeysPanel();
  const search = new SearchBar(model, graph, () => keys.toggle());
  graph.onNavigate(() => search.update());
  graph.el.append(keys.el);
  const connection = new ConnectionPanel(model, root);
  const controls = new ControlsPanel(model);
  const cost = new CostPanel(model, find);
  const gates = new GatesPanel(model, find);
  const inspector = new InspectorPanel(model, () => {
    model.select(undefined);
    tabs.focus();
  });
  const results = new ResultsPanel(model);
  const decisions = new DecisionsPanel(model);
  const errors = new ErrorsPanel(model, find);
  const outline = new OutlinePanel(model, find);
  const panels: Panel[] = [
    header,
    connection,
    controls,
    cost,
    gates,
    outline,
    search,
    graph,
    timeline,
    replay,
    inspector,
    results,
    decisions,
    errors,
    announcer,
    alerts,
  ];

  // Written as text, so that the widget is one file and no host needs to know of it.
  const style = h("style");
  style.textContent = styles;
  root.append(
    style,
    h(
      "div",
      { class: "dw-shell" },
      h("div", { class: "dw-top" }, header.el, h("div", { class: "dw-bar" }, connection.el, controls.el)),
      cost.el,
      gates.el,
      outline.el,
      tabs.el,
      search.el,
      h("div", { class: "dw-main" }, graph.el, timeline.el, inspector.el),
      replay.el,
      results.el,
      decisions.el,
      errors.el,
      announcer.el,
    ),
  );

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
  const retheme = () => {
    const next = makeTheme(readHost(root));
    if (JSON.stringify(next) === JSON.stringify(theme)) return;
    theme = next;
    applyTheme(root, theme);
    graph.setTheme(theme);
    timeline.setTheme(theme);
  };
  const stops = [
    // While a replay is watched, the live run is only heard of.
    options.store.subscribe((change) => {
      contained(() => alerts.look());
      if (model.replay) refresh();
      else shown(change);
    }),
    options.stream.subscribe(refresh),
    options.stream.subscribe(() => contained(() => alerts.look())),
    watchHost(retheme),
  ];
  model.onSelect(refresh);
  model.onFold(refresh);
  root.addEventListener("keydown", (event) => {
    const typing = (event.target as Element).matches("input, textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") search.focus();
    else if (event.key === "?") keys.toggle();
    else if (!replay.key(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  });
  const timer = setInterval(() => {
    if (!document.hidden) tick();
  }, TICK_MS);
  for (const panel of panels) contained(() => panel.update());
  const withdraw = options.offer?.((format) => files.draw(format));

  return () => {
    withdraw?.();
    tabs.close();
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
