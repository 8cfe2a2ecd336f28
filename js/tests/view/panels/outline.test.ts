// @vitest-environment jsdom
import { beforeEach, expect, test } from "vitest";
import type { Node } from "../../../src/state/types";
import { Model } from "../../../src/view/model/model";
import { OutlinePanel } from "../../../src/view/panels/outline";
import { Fake, NOW, runningState } from "../helpers";

beforeEach(() => document.body.replaceChildren());

function outline(nodes: readonly Node[]) {
  const fake = new Fake(runningState(nodes));
  const revealed: string[] = [];
  const panel = new OutlinePanel(new Model(fake.options, () => NOW), (id) => revealed.push(id));
  document.body.append(panel.el);
  panel.update();
  panel.el.querySelector("button")!.click();
  const press = (key: string) =>
    document.activeElement!.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const focused = () => [...document.activeElement!.childNodes][0]!.textContent;
  return { panel, revealed, press, focused, fake };
}

const NODES: Node[] = [
  { id: "start", status: "completed" },
  { id: "m/1", label: "map 1", group: "map", status: "running" },
  { id: "m/2", label: "map 2", group: "map", status: "failed", error: "TimeoutError: no answer\nTraceback" },
  { id: "end", status: "pending" },
];

test("says how many nodes there are, and is not there where there are none", () => {
  expect(outline(NODES).panel.el.querySelector("button")!.textContent).toBe("List the 4 nodes");
  expect(outline([]).panel.el.hidden).toBe(true);
});

test("is walked with the arrows, and groups open and close", () => {
  const { press, focused } = outline(NODES);
  expect(focused()).toBe("start, completed");
  press("End");
  expect(focused()).toBe("map: 2 nodes, 1 failed, 1 running");
  press("ArrowRight");
  press("ArrowRight");
  expect(focused()).toBe("map 1, running");
  press("ArrowDown");
  expect(focused()).toBe("map 2, failed, TimeoutError: no answer");
  press("ArrowDown");
  expect(focused()).toBe("map 2, failed, TimeoutError: no answer");
  press("ArrowLeft");
  expect(focused()).toBe("map: 2 nodes, 1 failed, 1 running");
  press("ArrowLeft");
  expect(document.querySelectorAll('[role="treeitem"]')).toHaveLength(3);
  press("Home");
  press("ArrowUp");
  expect(focused()).toBe("start, completed");
});

test("reveals a node, and closes on Escape", () => {
  const { press, revealed, panel } = outline(NODES);
  press("ArrowDown");
  press("Enter");
  expect(revealed).toEqual(["end"]);
  press("Escape");
  expect(panel.el.querySelector("[role=treeitem]")).toBeNull();
  expect(document.activeElement).toBe(panel.el.querySelector("button"));
});

test("makes no more of ten thousand nodes than can be walked through", () => {
  const many = Array.from({ length: 10_000 }, (_, i): Node => ({ id: `n${i}`, status: "pending" }));
  const { press, focused } = outline(many);
  press("End");
  expect(focused()).toBe("and 9,500 more");
  expect(document.querySelectorAll("li")).toHaveLength(501);
});

test("one item at a time can be tabbed to", () => {
  const { press } = outline(NODES);
  for (const key of ["End", "ArrowRight", "ArrowDown"]) press(key);
  expect(document.querySelectorAll('[tabindex="0"]')).toHaveLength(1);
});
