// What stands around the graph: gates, timeline, replay, inspector, the files to take away. A bundle of its own
// (build.mjs), so that the first picture does not wait for it.

import styles from "./details.css";
import { h } from "./dom/dom";
import { fullScreenButton } from "./dom/fullscreen";
import { addStyles } from "./dom/shadow";
import { Export } from "./export/export";
import { GatesPanel } from "./gate/list";
import { Alerts } from "./notifications/panel";
import { DecisionsPanel } from "./panels/decisions";
import { ErrorsPanel } from "./panels/errors";
import { InspectorPanel } from "./panels/inspector";
import { KeysPanel } from "./panels/keys";
import { ReplayPanel } from "./panels/replay";
import { ResultsPanel } from "./panels/results";
import { RunsPanel } from "./panels/runs";
import { Spending } from "./panels/spending";
import type { Details, Shell } from "./shell";
import { Tabs } from "./tabs";
import { Timeline } from "./timeline/timeline";

export function mountDetails({ model, root, graph, theme, places, say, find, show }: Shell): Details {
  const timeline = new Timeline(model, theme, () => graph.ranks(), say);
  const files = new Export(model, graph, say);
  const alerts = new Alerts(model, root);
  const replay = new ReplayPanel(model, show, say);
  const screen = fullScreenButton(root, say);
  const menus = h("div", { class: "dw-tools" }, replay.button, alerts.el, files.el, screen);
  const tabs = new Tabs(places.tabs, graph, timeline, menus);
  const keys = new KeysPanel();
  const runs = new RunsPanel(model, say, () => replay.live());
  const gates = new GatesPanel(model, find, () => tabs.focus());
  const inspector = new InspectorPanel(model, () => {
    model.select(undefined);
    tabs.focus();
  });
  const below = [new ResultsPanel(model), new DecisionsPanel(model), new ErrorsPanel(model, find)];

  const spending = new Spending(model, find);

  addStyles(root, styles);
  places.cost.lastElementChild?.append(spending.el);
  places.cost.before(runs.el);
  places.cost.after(gates.el);
  graph.el.append(keys.el);
  places.main.append(timeline.el, inspector.el);
  places.main.after(replay.el, ...below.map((panel) => panel.el));
  return {
    panels: [runs, spending, gates, timeline, replay, inspector, ...below, alerts],
    draw: (format) => files.draw(format),
    changed: (change) => timeline.changed(change),
    setTheme: (next) => timeline.setTheme(next),
    look: () => alerts.look(),
    showGraph: () => tabs.show(false),
    toGates: () => gates.focus(),
    toggleKeys: () => keys.toggle(),
    focus: () => tabs.focus(),
    key: (event) => {
      if (event.key === "z") screen.click();
      else if (event.key === "d") gates.focus();
      else if (event.key === "n") runs.toggle();
      else return replay.key(event.key) || tabs.key(event);
      return true;
    },
  };
}
