// @vitest-environment jsdom
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { RunSummary } from "../../../src/protocol/messages";
import { Model } from "../../../src/view/model/model";
import { RunsPanel } from "../../../src/view/panels/runs";
import { emptyState, Fake, NOW, runningState } from "../helpers";

const MINUTE = 60_000;

const run = (run_id: string, minutes: number, more: Partial<RunSummary> = {}): RunSummary => ({
  run_id,
  status: "running",
  started_at: NOW - minutes * MINUTE,
  engine: "connected",
  ...more,
});
const over = (run_id: string, minutes: number, more: Partial<RunSummary> = {}) =>
  run(run_id, minutes, { status: "completed", engine: "ended", ended_at: NOW - (minutes - 1) * MINUTE, ...more });

const RUNS = [run("new", 1, { name: "v8" }), run("e", 2), run("g", 30, { engine: "gone", gates: 1 }), over("old", 90)];

beforeEach(() => document.body.replaceChildren());

function picker(runs: readonly RunSummary[] = RUNS, more: { following?: boolean; total?: number } = {}) {
  const pick = vi.fn(() => true);
  const say = vi.fn();
  const fake = new Fake({ ...runningState(), started_at: NOW - 2 * MINUTE }, { pick });
  const list = (all: readonly RunSummary[]) => {
    fake.runs = {
      total: more.total ?? all.length,
      live: all.filter(({ status, engine }) => status === "running" && engine !== "gone").length,
      waiting: all.reduce((sum, { gates = 0 }) => sum + gates, 0),
      runs: all,
    };
  };
  list(runs);
  fake.following = more.following ?? true;
  let now = NOW;
  const panel = new RunsPanel(new Model(fake.options, () => now), say);
  document.body.append(panel.el);
  panel.update();
  const opener = panel.el.querySelector("button")!;
  const listbox = () => panel.el.querySelector<HTMLElement>("[role=listbox]")!;
  const said = (selector: string) =>
    [...listbox().querySelectorAll(selector)].map((option) => option.textContent!.replace(/\s+/g, " ").trim());
  return {
    fake,
    panel,
    pick,
    say,
    list,
    opener,
    listbox,
    open: () => opener.click(),
    isOpen: () => opener.getAttribute("aria-expanded") === "true" && !listbox().closest("[hidden]"),
    options: () => [...listbox().querySelectorAll<HTMLElement>("[role=option]")],
    texts: () => said("[role=option]"),
    selected: () => said("[aria-selected=true]"),
    press: (key: string) => listbox().dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })),
    at: () => listbox().getAttribute("aria-activedescendant")!,
    pass: (ms: number) => {
      now += ms;
      panel.tick();
    },
  };
}

describe("the line about the runs", () => {
  test("says which one is shown, what lives, and what waits elsewhere", () => {
    expect(picker().opener.textContent).toBe("run 3 of 4 · 2 live · 1 decision waits elsewhere");
  });

  test("is not there where one run is followed, on a saved picture, or where the server lists none", () => {
    expect(picker([run("e", 1)]).panel.el.hidden).toBe(true);
    expect(picker([run("e", 1)], { following: false }).panel.el.hidden).toBe(false);
    const { fake, panel } = picker();
    fake.runs = undefined;
    panel.update();
    expect(panel.el.hidden).toBe(true);
    const saved = new Fake(emptyState(), { snapshot: { nodes: { a: { id: "a", status: "running" } } } });
    saved.runs = { total: 3, live: 0, waiting: 0, runs: [] };
    const other = new RunsPanel(new Model(saved.options, () => NOW), () => {});
    other.update();
    expect(other.el.hidden).toBe(true);
  });

  test("tells of a newer run while the one that is followed lives, and leads there", () => {
    const { panel, pick, fake } = picker();
    const newer = () => panel.el.querySelector<HTMLButtonElement>(".dw-link")!;
    expect(newer().textContent).toBe("A newer run began: show v8");
    newer().click();
    expect(pick).toHaveBeenCalledWith({ run: "new", follow: true });
    fake.state = { ...fake.state, epoch: "new", started_at: NOW - MINUTE };
    panel.update();
    expect(newer().hidden).toBe(true);
  });

  test("says that a past run is read-only, and that a live one is pinned", () => {
    const { panel, fake } = picker(RUNS, { following: false });
    const note = () => panel.el.querySelector(".dw-muted")!.textContent;
    expect(note()).toBe("pinned: stays at this run");
    fake.state = { ...runningState(), epoch: "old", status: "completed" };
    panel.update();
    expect(note()).toBe("past run, read-only");
  });
});

describe("the list of runs", () => {
  test("has each with its status, its name or id, its start, how long it took, and its open gates", () => {
    const { open, texts, options, selected } = picker();
    open();
    expect(texts()).toEqual([
      "Follow the newest now v8",
      "Running v8 12:02 1:00",
      "Running e 12:01 2:00 shown",
      "Engine gone g 11:33 1 decision",
      "Completed old 10:33 1:00",
    ]);
    expect(selected()).toEqual(["Follow the newest now v8"]);
    expect(options()[2]?.getAttribute("aria-current")).toBe("true");
  });

  test("marks the run that is pinned", () => {
    const { open, selected } = picker(RUNS, { following: false });
    open();
    expect(selected()).toEqual(["Running e 12:01 2:00 shown"]);
  });

  test("is opened and closed by its button, by Escape, by a click elsewhere, and where the keyboard goes elsewhere", () => {
    const { open, isOpen, press, listbox, opener } = picker();
    open();
    expect(document.activeElement).toBe(listbox());
    press("Escape");
    expect([isOpen(), document.activeElement]).toEqual([false, opener]);
    open();
    open();
    expect(isOpen()).toBe(false);
    open();
    listbox().dispatchEvent(new Event("pointerdown", { bubbles: true, composed: true }));
    expect(isOpen()).toBe(true);
    document.body.dispatchEvent(new Event("pointerdown", { bubbles: true, composed: true }));
    expect(isOpen()).toBe(false);
    open();
    const elsewhere = document.createElement("button");
    document.body.append(elsewhere);
    elsewhere.focus();
    expect([isOpen(), document.activeElement]).toEqual([false, elsewhere]);
  });

  test("is walked with the keyboard, and a run is picked with Enter", () => {
    const { open, press, at, pick, options, isOpen } = picker();
    open();
    const ids = options().map((option) => option.id);
    expect(at()).toBe(ids[0]);
    const walk = ["ArrowUp", "ArrowDown", "ArrowDown", "End", "ArrowDown", "PageUp", "PageDown", "Home"].map((key) => {
      press(key);
      return ids.indexOf(at());
    });
    expect(walk).toEqual([0, 1, 2, 4, 4, 0, 4, 0]);
    press("End");
    press("Enter");
    expect(pick.mock.calls).toEqual([[{ run: "old" }]]);
    expect(isOpen()).toBe(false);
  });

  test("takes a click, says that the run is being opened, and that it is shown", () => {
    const { open, options, pick, opener, panel, fake, say } = picker();
    open();
    options()[1]!.querySelector("b")!.click();
    expect(pick.mock.calls).toEqual([[{ run: "new" }]]);
    expect(opener.textContent).toBe("opening run v8…");
    fake.state = { ...runningState(), epoch: "new" };
    fake.following = false;
    panel.update();
    expect(opener.textContent).toBe("run 4 of 4 · 2 live · 1 decision waits elsewhere");
    expect(say).toHaveBeenCalledWith("Run v8 is shown.");
  });

  test("leaves what was shown where no other run can be shown any more, and says so", () => {
    const { open, options, pick, opener, say } = picker();
    pick.mockReturnValue(false);
    open();
    options()[1]!.click();
    expect(opener.textContent).toBe("run 3 of 4 · 2 live · 1 decision waits elsewhere");
    expect(say).toHaveBeenCalledWith("No other run can be shown: the widget's kernel is gone.");
  });

  test("leads back to the newest live run, to follow it", () => {
    const { open, options, pick } = picker([over("done", 1), ...RUNS], { following: false });
    open();
    options()[0]!.click();
    expect(pick.mock.calls).toEqual([[{ run: "new", follow: true }]]);
  });

  test("stays at the entry that the keyboard is at while runs come and go, and its clocks run", () => {
    const { open, press, list, panel, at, texts, options, pass } = picker();
    open();
    press("ArrowDown");
    const entry = options()[1];
    list([run("newest", 0), ...RUNS]);
    panel.update();
    expect(at()).toBe(entry?.id);
    expect(options()[2]).toBe(entry);
    pass(5_000);
    expect(texts()[2]).toBe("Running v8 12:02 1:05");
    list([run("newest", 0), run("e", 2)]);
    panel.update();
    expect(at()).toBe(options()[0]?.id);
  });

  test("says how many more runs there are than it has", () => {
    const many = Array.from({ length: 50 }, (_, i) => over(`r${i}`, i + 2));
    const { open, panel, options } = picker([...many, run("e", 300, { gates: 1 })], { total: 1_234 });
    open();
    expect(options()).toHaveLength(52);
    expect(panel.el.querySelector("p")!.textContent).toBe(
      "51 of 1,234 runs: the newest, and those with open decisions.",
    );
  });

  test("knows no status that this version does not know, and shows it as it came", () => {
    const { open, texts } = picker([run("e", 1), run("x", 2, { status: "hibernating" as never })]);
    open();
    expect(texts()[2]).toContain("hibernating x");
  });

  test("is not opened where no other run can be shown", () => {
    const fake = new Fake(runningState());
    fake.runs = { total: 2, live: 1, waiting: 0, runs: RUNS.slice(0, 2) };
    const panel = new RunsPanel(new Model(fake.options, () => NOW), () => {});
    panel.update();
    panel.toggle();
    expect(panel.el.querySelector("[aria-expanded]")!.getAttribute("aria-expanded")).toBe("false");
  });

  test("leaves no listener when it is closed", () => {
    const { panel, open, isOpen } = picker();
    open();
    panel.close();
    document.body.dispatchEvent(new Event("pointerdown", { bubbles: true, composed: true }));
    expect(isOpen()).toBe(true);
  });
});
