// @vitest-environment jsdom
import { expect, test, vi } from "vitest";
import type { Node } from "../../../src/state/types";
import { Model } from "../../../src/view/model/model";
import { restore } from "../../../src/view/model/snapshot";
import { Announcer } from "../../../src/view/panels/announcer";
import { ControlsPanel } from "../../../src/view/panels/controls";
import { CostPanel } from "../../../src/view/panels/costbar";
import { DecisionsPanel } from "../../../src/view/panels/decisions";
import { ErrorsPanel } from "../../../src/view/panels/errors";
import { HeaderPanel } from "../../../src/view/panels/header";
import { InspectorPanel } from "../../../src/view/panels/inspector";
import { ResultsPanel } from "../../../src/view/panels/results";
import { Spending } from "../../../src/view/panels/spending";
import { markdown } from "../../../src/view/value/markdown";
import { brief, pretty } from "../../../src/view/value/text";
import { emptyState, Fake, NOW, runningState } from "../helpers";

const SCRIPT = '<img src=x onerror="alert(1)"><script>alert(1)</script>';

function harmless(el: Element): void {
  expect(el.textContent).toContain(SCRIPT);
  expect(el.querySelector("img, script")).toBeNull();
}

test("the header's clock runs while the connection is live and freezes when it is not", () => {
  const fake = new Fake(runningState());
  let now = NOW;
  const panel = new HeaderPanel(new Model(fake.options, () => now));
  const elapsed = () => panel.el.querySelector(".dw-elapsed")!.textContent;
  panel.update();
  expect(elapsed()).toBe("1:00");
  now += 5000;
  panel.tick();
  expect(elapsed()).toBe("1:05");
  fake.connect({ phase: "waiting", seenAt: now });
  now += 60_000;
  panel.tick();
  expect(elapsed()).toBe("1:05");
});

test("the header shows how long an ended run took, whatever the time is", () => {
  const fake = new Fake({ ...runningState(), status: "failed", ended_at: NOW - 30_000 });
  const panel = new HeaderPanel(new Model(fake.options, () => NOW + 1e6));
  panel.update();
  expect(panel.el.querySelector(".dw-elapsed")!.textContent).toBe("30.0 s");
  expect(panel.el.querySelector(".dw-word")!.textContent).toBe("Failed");
});

test("the header counts the nodes that are there, and hides the states that none is in", () => {
  const nodes: Node[] = [
    { id: "a", status: "running" },
    { id: "b", status: "running" },
    { id: "c", status: "failed" },
  ];
  const panel = new HeaderPanel(new Model(new Fake(runningState(nodes)).options, () => NOW));
  panel.update();
  const shown = [...panel.el.querySelectorAll("li")].filter((item) => !item.hidden).map((item) => item.textContent);
  expect(shown).toEqual(["1 failed", "2 running"]);
});

test("the header counts the decisions that are needed, and leads to them", () => {
  const gates = ["g", "h"].map((gate_id) => ({ gate_id, node_id: "n", presentation: {} }));
  const fake = new Fake(runningState([], gates));
  const decide = vi.fn();
  const panel = new HeaderPanel(new Model(fake.options, () => NOW), undefined, decide);
  panel.update();
  const badge = panel.el.querySelector<HTMLButtonElement>(".dw-gate-count")!;
  expect([badge.textContent, badge.getAttribute("aria-label")]).toEqual(["2", "2 decisions needed"]);
  badge.click();
  expect(decide).toHaveBeenCalled();
  fake.state.gates.clear();
  panel.update();
  expect(badge.hidden).toBe(true);
});

function controls(fake: Fake) {
  const panel = new ControlsPanel(new Model(fake.options, () => NOW));
  panel.update();
  document.body.replaceChildren(panel.el);
  const named = (name: string) =>
    [...panel.el.querySelectorAll("button")].find((it) => it.textContent === name) as HTMLButtonElement;
  return { panel, named, hint: () => panel.el.querySelector(".dw-hint-text")!.textContent };
}

test("what the engine can't do is disabled, and the reason is in sight", () => {
  const fake = new Fake({ ...runningState(), capabilities: { pause: "none", cancel: "native" } });
  const { named, hint } = controls(fake);
  named("Pause").click();
  expect(fake.sent).toEqual([]);
  expect(named("Pause").title).toBe("This engine can't pause.");
  expect(hint()).toBe("This engine can't pause.");
  expect(named("Cancel").getAttribute("aria-disabled")).toBe("false");
});

test("controls say why they do nothing: offline, only watching, over, no run yet", () => {
  const reasons = [
    [new Fake(runningState()), { phase: "waiting" as const }, "Not connected."],
    [new Fake(runningState()), { role: "view" as const }, "View only: your token cannot control the run."],
    [new Fake({ ...runningState(), status: "completed" as const }), {}, "The run has ended."],
  ] as const;
  for (const [fake, connection, reason] of reasons) {
    fake.connect(connection);
    expect(controls(fake).hint()).toBe(reason);
  }
  const { named, hint } = controls(new Fake(emptyState()));
  expect(named("Cancel").title).toBe("No run yet.");
  // The header says it too.
  expect(hint()).toBe("");
});

test("cancelling asks first, and does nothing when the answer is no", () => {
  const fake = new Fake(runningState());
  const { named } = controls(fake);
  named("Cancel").click();
  expect(fake.sent).toEqual([]);
  expect(document.activeElement).toBe(named("Keep running"));
  named("Keep running").click();
  expect(fake.sent).toEqual([]);
  named("Cancel").click();
  named("Cancel the run").click();
  expect(fake.sent).toMatchObject([{ type: "cancel_execution" }]);
});

test("a paused run can be resumed, and a refused command says why", async () => {
  const fake = new Fake({ ...runningState(), status: "paused" });
  const { named, hint } = controls(fake);
  named("Resume").click();
  expect(fake.sent).toMatchObject([{ type: "resume_execution" }]);
  expect(hint()).toBe("Resume asked at 12:03, not confirmed.");
  await fake.acknowledge({ ok: false, message: "no publisher is attached" });
  expect(hint()).toBe("Could not resume: no publisher is attached");
});

test("the keyboard goes to what takes a control's place", () => {
  const fake = new Fake(runningState());
  const { named, panel } = controls(fake);
  document.body.replaceChildren(panel.el);
  named("Pause").focus();
  fake.state.status = "pausing";
  panel.update();
  expect(document.activeElement).toBe(named("Resume"));
  fake.state.status = "running";
  panel.update();
  expect(document.activeElement).toBe(named("Pause"));
  named("Cancel").click();
  named("Cancel the run").focus();
  named("Cancel the run").click();
  expect(document.activeElement).toBe(named("Cancel"));
});

test("errors stay as the reader left them while others come and go", () => {
  const faults = Array.from({ length: 25 }, (_, i) => ({ message: `m${i}`, node_id: "a" }));
  const fake = new Fake({ ...runningState([{ id: "a", status: "failed" }]), errors: faults.slice(0, 21) });
  const panel = new ErrorsPanel(new Model(fake.options, () => NOW), () => {});
  document.body.replaceChildren(panel.el);
  const texts = () => [...panel.el.querySelectorAll("li:not([hidden])")].map((each) => each.textContent);
  for (const until of [21, 25, 3, 25]) {
    fake.state.errors = faults.slice(0, until);
    panel.update();
    const shown = Array.from({ length: Math.min(20, until) }, (_, i) => `am${until - 1 - i}`);
    expect(texts()).toEqual(until > 20 ? [...shown, `and ${until - 20} earlier`] : shown);
    if (until === 21) panel.el.querySelector("button")!.focus();
  }
  expect(document.activeElement).toBe(document.body);
  panel.el.querySelector<HTMLElement>("li:nth-child(4) button")!.focus();
  const at = document.activeElement;
  fake.state.errors = [...fake.state.errors, { message: "new" }];
  panel.update();
  expect([document.activeElement, texts()[0]]).toEqual([at, "new"]);
});

test("tokens without a known price are named, and never shown as a cost of 0", () => {
  const fake = new Fake({ ...runningState(), cost: { spent: 0, tokens: 900, unpriced: 900 } });
  const panel = new CostPanel(new Model(fake.options, () => NOW));
  panel.update();
  expect(panel.el.hidden).toBe(false);
  expect(panel.el.textContent).toContain("900 tokens have no known price");
  expect(panel.el.textContent).toContain("At least $0.00");
});

test("the cost bar says over budget in words", () => {
  const fake = new Fake({ ...runningState(), cost: { spent: 6, budget: 5, remaining: -1, currency: "USD" } });
  const panel = new CostPanel(new Model(fake.options, () => NOW));
  panel.update();
  expect(panel.el.dataset.level).toBe("over");
  expect(panel.el.textContent).toContain("$1.00 over budget");
  expect(panel.el.querySelector("[role=meter]")!.getAttribute("aria-valuenow")).toBe("100");
});

test("whatever comes over the wire ends as text", () => {
  const node: Node = {
    id: SCRIPT,
    status: "failed",
    label: SCRIPT,
    message: SCRIPT,
    error: `${SCRIPT}\n${SCRIPT}`,
    output: { [SCRIPT]: SCRIPT },
    native: SCRIPT,
    logs: [SCRIPT],
    metrics: { model: SCRIPT },
    instances: { [SCRIPT]: { status: "failed", error: SCRIPT } },
    counts: { failed: 1 },
  };
  const state = { ...runningState([node]), status: "failed" as const, results: SCRIPT };
  state.errors = [{ message: SCRIPT, node_id: SCRIPT, code: SCRIPT, detail: SCRIPT }];
  const model = new Model({ ...new Fake(state).options, dagId: SCRIPT }, () => NOW);
  model.select(SCRIPT);
  const panels = [
    new HeaderPanel(model),
    new InspectorPanel(model, () => {}),
    new ErrorsPanel(model, () => {}),
    new ResultsPanel(model),
  ];
  for (const panel of panels) {
    panel.update();
    harmless(panel.el);
  }
  harmless(markdown(`# ${SCRIPT}\n\n- **${SCRIPT}**\n\n> ${SCRIPT}`));
});

test("Markdown links lead to the web or nowhere", () => {
  const root = markdown("[a](https://example.org/x) [b](javascript:alert(1)) [c](data:text/html,x)");
  expect([...root.querySelectorAll("a")].map((a) => a.getAttribute("href"))).toEqual(["https://example.org/x"]);
  expect(root.textContent).toContain("[b](javascript:alert(1)");
});

test("Markdown has paragraphs, headings, lists, quotes, rules and code", () => {
  const root = markdown("# T\ntext `c` _e_\n\n1. one\n2. two\n- x\n\n> q\n\n---\n\n```py\nif a:\n  *b*\n```\nend");
  const found = [...root.querySelectorAll("*")].map((el) => el.tagName.toLowerCase());
  expect(found).toEqual([
    "h4",
    "p",
    "code",
    "em",
    "ol",
    "li",
    "li",
    "ul",
    "li",
    "blockquote",
    "p",
    "hr",
    "pre",
    "code",
    "p",
  ]);
  expect(root.querySelector("pre")!.textContent).toBe("if a:\n  *b*");
});

test("no Markdown, however broken, keeps the view busy for ever", () => {
  for (const source of ["```", ">", "> > >", "- ", "#", "-", "*", "1.", "[](", "\n\n", "#x\n-y", "    - z"]) {
    expect(markdown(source).tagName).toBe("DIV");
  }
});

test("quotes within quotes end somewhere, and lose no word", () => {
  const root = markdown(`${">".repeat(10_000)} deep`);
  expect(root.querySelectorAll("blockquote").length).toBeLessThan(50);
  expect(root.textContent).toContain("> deep");
});

test("a huge value costs no more than what is shown of it", () => {
  let read = 0;
  const huge = new Proxy(
    Array.from({ length: 100_000 }, () => "x".repeat(50)),
    {
      get(target, key, receiver) {
        read++;
        return Reflect.get(target, key, receiver);
      },
    },
  );
  const text = pretty(huge, 1000);
  expect(text.length).toBeLessThan(1100);
  expect(text).toContain("only the beginning is shown");
  expect(read).toBeLessThan(200);
});

test("pretty JSON is what JSON.stringify gives", () => {
  for (const value of [{ a: [1, 2, { b: null }], c: {}, d: [], e: "é\n", f: true }, [], 3, null, [[]]]) {
    expect(pretty(value)).toBe(JSON.stringify(value, null, 2));
  }
  expect(brief({ a: [1, "x"] })).toBe('{"a": [1, "x"]}');
});

test("the inspector shows what needs attention first, and only as many instances as can be read", () => {
  const instances = Object.fromEntries(
    Array.from({ length: 5000 }, (_, i) => [
      `i${i}`,
      { status: i === 4999 ? ("failed" as const) : ("completed" as const) },
    ]),
  );
  const node: Node = { id: "map", status: "failed", instances, counts: { completed: 4999, failed: 1 } };
  const model = new Model(new Fake(runningState([node])).options, () => NOW);
  model.select("map");
  const panel = new InspectorPanel(model, () => {});
  panel.update();
  const items = [...panel.el.querySelectorAll(".dw-instances li")];
  expect(items).toHaveLength(101);
  expect(items[0]!.textContent).toBe("i4999");
  expect(panel.el.textContent).toContain("4,999/5,000, 1 failed");
  expect(items.at(-1)!.textContent).toBe("and 4900 more");
});

function named(root: Element, name: string): HTMLButtonElement {
  return [...root.querySelectorAll("button")].find((it) => it.textContent === name)!;
}

function inspect(node: Node, whole?: (nodeId: string) => Promise<string>): InspectorPanel {
  const model = new Model(new Fake(runningState([node]), { whole }).options, () => NOW);
  model.select(node.id);
  const panel = new InspectorPanel(model, () => {});
  panel.update();
  return panel;
}

const CUT: Node = { id: "a", status: "completed", output: ["… 9 more"], output_bytes: 5_200_000 };

test("a preview says how large the whole is, and shows it when it is asked for", async () => {
  const panel = inspect(CUT, async (nodeId) => JSON.stringify({ all_of: nodeId }));
  expect(panel.el.textContent).toContain("Preview of 5.2 MB");
  named(panel.el, "Show all").click();
  expect(panel.el.textContent).toContain("Loading 5.2 MB…");
  await vi.waitFor(() => expect(panel.el.textContent).toContain("Complete: 5.2 MB"));
  expect(panel.el.querySelector(".dw-tree")!.textContent).toBe('all_of"a"');
});

test("a whole that can't be had leaves the preview, and says why", async () => {
  const panel = inspect(CUT, async () => {
    throw new Error("no whole output of 'a' is kept");
  });
  named(panel.el, "Show all").click();
  await vi.waitFor(() => expect(panel.el.textContent).toContain("no whole output of 'a' is kept"));
  expect(panel.el.querySelector(".dw-tree")!.textContent).toContain("… 9 more");
});

test("without a kernel a preview says how to get the whole, and an output that is whole says nothing", () => {
  expect(inspect(CUT).el.querySelector("code")!.textContent).toBe('dagwidget.output("my-dag", "a")');
  expect(inspect({ ...CUT, output_bytes: undefined }).el.textContent).not.toContain("preview");
});

test("a preview whose whole was not kept says so, and offers nothing", () => {
  const panel = inspect({ ...CUT, output_cut: true }, async () => "[]");
  expect(panel.el.textContent).toContain("Preview: the rest was not kept.");
  expect([...panel.el.querySelectorAll("button")].map((each) => each.textContent)).not.toContain("Show all");
});

test("what was unfolded in an output stays so while other things of its node change", () => {
  const output = { deep: { list: Array.from({ length: 20 }, (_, i) => i) } };
  const fake = new Fake(runningState([{ id: "a", status: "running", output, progress: 0.1 }]));
  const model = new Model(fake.options, () => NOW);
  model.select("a");
  const panel = new InspectorPanel(model, () => {});
  document.body.replaceChildren(panel.el);
  panel.update();
  const inner = () => panel.el.querySelectorAll<HTMLDetailsElement>(".dw-tree details")[1]!;
  inner().open = true;
  inner().querySelector("summary")!.focus();
  const before = inner();
  fake.state.nodes.set("a", { id: "a", status: "running", output, progress: 0.2 });
  panel.update();
  expect(inner()).toBe(before);
  expect(inner().open).toBe(true);
  expect(document.activeElement).toBe(before.querySelector("summary"));
});

test("of an error there is the message, where it was raised, and the other frames folded", () => {
  const frames = ['  File "a.py", line 1, in f\n    g()', '  File "b.py", line 2, in g\n    raise ValueError("no")'];
  const { el } = inspect({ id: "a", status: "failed", error: `ValueError: no\n${frames.join("\n")}` });
  expect(el.querySelector(".dw-error-text")!.textContent).toBe("ValueError: no");
  expect([...el.querySelectorAll(".dw-section-error pre")].map((pre) => pre.textContent)).toEqual([
    frames[1],
    frames.join("\n"),
  ]);
  const fold = el.querySelector<HTMLDetailsElement>("details[data-name=traceback]")!;
  expect(fold.open).toBe(false);
  expect(fold.querySelector("summary")!.textContent).toBe("All 2 frames");
});

test("a traceback of another language, and a message of several lines, lose no word", () => {
  const java = "IllegalStateException: no\n\tat a.B.c(B.java:1)\n\tat a.B.d(B.java:2)";
  expect(inspect({ id: "a", status: "failed", error: java }).el.querySelector("pre")!.textContent).toContain(
    "B.java:2",
  );
  const noted = 'ValueError: no\nsecond line\nTraceback (most recent call last):\n  File "a.py", line 1, in f';
  const { el } = inspect({ id: "a", status: "failed", error: noted });
  expect([...el.querySelectorAll("pre")].map((pre) => pre.textContent)).toEqual([
    "second line",
    '  File "a.py", line 1, in f',
  ]);
});

test("what a node says of itself is cut where it is endless", () => {
  const endless = "x".repeat(80_000);
  const node: Node = {
    id: "a",
    status: "running",
    message: endless,
    description: endless,
    kind: endless,
    group: endless,
  };
  expect(inspect({ ...node, metrics: { [endless]: endless } }).el.textContent!.length).toBeLessThan(20_000);
});

test("a section that was folded stays folded when the node changes", () => {
  const fake = new Fake(runningState([{ id: "a", status: "running", output: 1 }]));
  const model = new Model(fake.options, () => NOW);
  model.select("a");
  const panel = new InspectorPanel(model, () => {});
  panel.update();
  panel.el.querySelector("details")!.open = false;
  fake.state.nodes.set("a", { id: "a", status: "completed", output: 2 });
  panel.update();
  expect(panel.el.querySelector("details")!.open).toBe(false);
  expect(panel.el.querySelector(".dw-value")!.textContent).toBe("2");
});

test("the keyboard stays where it is while what is inspected changes, and is given back when that is gone", () => {
  const state = runningState(
    Array.from({ length: 20 }, (_, i): Node => ({ id: `map-${i}`, status: "running", logs: ["a"] })),
  );
  const fake = new Fake(state);
  const model = new Model(fake.options, () => NOW);
  const close = vi.fn(() => model.select(undefined));
  const panel = new InspectorPanel(model, close);
  document.body.replaceChildren(panel.el);
  const change = (id: string, more: Partial<Node>) => {
    state.nodes.set(id, { ...state.nodes.get(id)!, ...more });
    model.changed({ reset: false, structure: false, edges: false, nodes: new Set([id]) });
    panel.update();
  };
  model.select(model.folding.shows("map-3"));
  panel.update();
  const focused = () => document.activeElement as HTMLElement;
  for (const find of [
    () => named(panel.el, "map-3"),
    () => named(panel.el, "Expand"),
    () => panel.el.querySelector("summary")!,
  ]) {
    find().focus();
    change("map-7", { message: find().textContent! });
    expect(focused()).toBe(find());
  }
  named(panel.el, "map-3").focus();
  named(panel.el, "map-3").click();
  panel.update();
  expect(focused()).toBe(panel.el.querySelector("h3"));
  model.select(model.folding.shows("map-3"));
  panel.update();
  named(panel.el, "Expand").focus();
  model.fold(() => model.folding.toggle("map-3"));
  panel.update();
  expect(close).toHaveBeenCalled();
  expect(panel.el.hidden).toBe(true);
});

test("what is pressed while its node changes is still there when it is let go, and copies what is there now", async () => {
  const writeText = vi.fn(async () => {});
  vi.stubGlobal("navigator", { ...navigator, clipboard: { writeText } });
  const node: Node = { id: "a", status: "running", logs: ["one"], error: "no\nat a", started_at: NOW, attempt: 2 };
  const fake = new Fake(runningState([node]));
  const model = new Model(fake.options, () => NOW);
  model.select("a");
  const panel = new InspectorPanel(model, () => {});
  panel.update();
  const pressed = [...panel.el.querySelectorAll("summary, button, pre")];
  fake.state.nodes.set("a", { ...node, progress: 0.5, logs: ["one", "two"], message: "half", metrics: { loss: 1 } });
  panel.update();
  const still = [...panel.el.querySelectorAll("summary, button, pre")];
  expect(still.map((each) => pressed.indexOf(each))).toEqual([...pressed.keys()]);
  panel.el.querySelector<HTMLButtonElement>(".dw-section-log .dw-copy")!.click();
  expect(writeText).toHaveBeenLastCalledWith("one\ntwo");
  fake.state.nodes.set("a", { ...node, error: "yes\nat b" });
  panel.update();
  panel.el.querySelector<HTMLButtonElement>(".dw-section-error .dw-copy")!.click();
  expect(writeText).toHaveBeenLastCalledWith("yes\nat b");
  vi.unstubAllGlobals();
});

test("what several nodes have cost together is up to date", () => {
  const fake = new Fake(runningState(["a", "constructor"].map((id) => ({ id, status: "running", group: "g" }))));
  const model = new Model(fake.options, () => NOW);
  model.fold(() => model.folding.collapse("g"));
  model.select(model.folding.shows("a"));
  const panel = new InspectorPanel(model, () => {});
  panel.update();
  fake.state.cost = { spent: 2, by_node: { a: 2 } };
  panel.update();
  expect(panel.el.textContent).toContain("$2.00");
});

test("a gate is announced once, also when the engine opens it again, and so is the end", () => {
  const gate = { gate_id: "g", node_id: "n", presentation: { title: "Ship it?" } };
  const fake = new Fake(runningState([], []));
  const announcer = new Announcer(new Model(fake.options, () => NOW));
  announcer.update();
  fake.state.gates.set("g", gate);
  announcer.update();
  expect(announcer.el.textContent).toBe("Decision needed: Ship it?");
  announcer.say("");
  fake.state.gates.clear();
  announcer.update();
  fake.state.gates.set("g", { ...gate });
  announcer.update();
  expect(announcer.el.textContent).toBe("");
  fake.state.status = "completed";
  announcer.update();
  expect(announcer.el.textContent).toBe("The run has completed.");
});

test("results appear when the run is over, as what they are", () => {
  const fake = new Fake({ ...runningState(), results: undefined });
  const panel = new ResultsPanel(new Model(fake.options, () => NOW));
  panel.update();
  expect(panel.el.hidden).toBe(true);
  Object.assign(fake.state, { status: "completed", ended_at: NOW, results: { model: "v7", scores: [1, 2] } });
  panel.update();
  expect(panel.el.hidden).toBe(false);
  expect([...panel.el.querySelectorAll(".dw-key")].map((key) => key.textContent)).toEqual([
    "model",
    "scores",
    "0",
    "1",
  ]);
  expect(panel.el.querySelector("summary")!.textContent).toBe("Results · 1:00");
});

test("a saved picture has words for nodes, or none", () => {
  const { nodes } = restore({ nodes: { a: { status: "failed", label: 7, group: 3 } } });
  expect(nodes.get("a")).toEqual({ id: "a", status: "failed" });
});

test("a saved picture is drawn until the first live word, and nothing can be done in it", () => {
  const snapshot = {
    seq: 5,
    status: "running",
    nodes: { a: { id: "a", status: "running" }, bad: { status: "?" } },
    gates: 7,
  };
  const fake = new Fake(emptyState(), { snapshot });
  const model = new Model(fake.options, () => NOW);
  expect(model.saved).toBe(true);
  expect([...model.state.nodes.keys()]).toEqual(["a"]);
  expect(model.tally.counts.running).toBe(1);
  expect(controls(fake).hint()).toBe("This is a saved snapshot.");
  fake.state = runningState([{ id: "b", status: "completed" }]);
  const change = model.changed({ reset: false, structure: false, nodes: new Set(["b"]), edges: false });
  expect(change.reset).toBe(true);
  expect(model.saved).toBe(false);
  expect(model.tally.counts).toMatchObject({ running: 0, completed: 1 });
});

test("where the money went: the five dearest nodes, the others in one line, and the groups", async () => {
  const nodes: Node[] = Array.from({ length: 8 }, (_, i) => ({
    id: `n${i}`,
    status: "completed",
    group: i < 2 ? "etl/load" : i < 4 ? "etl" : undefined,
  }));
  const by_node = Object.fromEntries(nodes.map(({ id }, i) => [id, i]));
  const fake = new Fake({ ...runningState(nodes), cost: { spent: 28, currency: "USD", by_node } });
  const find = vi.fn();
  const panel = new Spending(new Model(fake.options, () => NOW), find);
  panel.update();
  document.body.replaceChildren(panel.el);
  const details = panel.el;
  expect(details.querySelector("table")).toBeNull();
  details.open = true;
  await vi.waitFor(() => expect(details.querySelector("table")).not.toBeNull());
  const rows = (at: number) =>
    [...details.querySelectorAll("table")[at]!.querySelectorAll("tr")].map((row) =>
      [...row.querySelectorAll("th, td:not([aria-hidden])")].map((cell) => cell.textContent).join(" "),
    );
  expect(rows(0)).toEqual([
    "n7 $7.00 25%",
    "n6 $6.00 21%",
    "n5 $5.00 18%",
    "n4 $4.00 14%",
    "n3 $3.00 11%",
    "2 more $3.00 11%",
  ]);
  expect(rows(1)).toEqual(["etl $6.00 21%", "etl / load $1.00 4%"]);
  const second = details.querySelectorAll("button")[1]!;
  second.focus();
  second.click();
  expect(find).toHaveBeenCalledWith("n6");
  fake.state.cost = { ...fake.state.cost!, spent: 29 };
  panel.update();
  expect(rows(0)[1]).toBe("n6 $6.00 21%");
  expect(details.querySelectorAll("button")[1]).toBe(second);
  fake.state.cost = { ...fake.state.cost!, spent: 38, by_node: { ...by_node, n6: 16 } };
  panel.update();
  expect(rows(0)[0]).toBe("n6 $16.00 42%");
  expect(document.activeElement).toBe(details.querySelector("button"));
});

test("a run that has spent nothing has nowhere where it went", () => {
  const fake = new Fake({ ...runningState(), cost: { spent: 0, budget: 5 } });
  const panel = new Spending(new Model(fake.options, () => NOW), vi.fn());
  panel.update();
  expect(panel.el.hidden).toBe(true);
});

test("the audit trail says who decided what, from where, with which words, newest first", async () => {
  const made = { gate_id: "g", node_id: "n", at: NOW, source: "widget" };
  const fake = new Fake(runningState([{ id: "n", status: "completed", label: "Review" }]));
  const panel = new DecisionsPanel(new Model(fake.options, () => NOW));
  panel.update();
  expect(panel.el.hidden).toBe(true);
  fake.state.decisions = [
    { ...made, decision: "approve", by: "ann", feedback: SCRIPT },
    { ...made, decision: "modify", by: "bob", source: "python", value: { n: 2 } },
  ];
  panel.update();
  expect(panel.el.querySelector("summary")!.textContent).toBe("2 decisions");
  panel.el.open = true;
  await vi.waitFor(() => expect(panel.el.querySelector("table")).not.toBeNull());
  const rows = [...panel.el.querySelectorAll("tbody tr")].map((row) =>
    [...row.querySelectorAll("td")].slice(1).map((cell) => cell.textContent),
  );
  expect(rows).toEqual([
    ["Review", "modify", "bob", "python", "", '{"n": 2}'],
    ["Review", "approve", "ann", "widget", SCRIPT, ""],
  ]);
  harmless(panel.el);
});
