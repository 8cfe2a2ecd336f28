// @vitest-environment jsdom
import { beforeEach, expect, test, vi } from "vitest";
import type { HumanDecision, Presentation } from "../../../src/protocol/messages";
import type { Gate } from "../../../src/state/types";
import { GatesPanel } from "../../../src/view/gate/list";
import { Model } from "../../../src/view/model/model";
import { Fake, NOW, runningState } from "../helpers";

function gate(presentation: Presentation, more: Partial<Gate> = {}): Gate {
  return { gate_id: "review:1", node_id: "review", presentation, ...more };
}

function open(...gates: Gate[]) {
  const fake = new Fake(runningState([{ id: "review", status: "waiting", label: "Review" }], gates));
  const find = vi.fn();
  const leave = vi.fn();
  const panel = new GatesPanel(new Model(fake.options, () => NOW), find, leave);
  panel.update();
  document.body.replaceChildren(panel.el);
  const all = <E extends Element>(selector: string) => [...panel.el.querySelectorAll<E>(selector)];
  return {
    fake,
    find,
    leave,
    panel,
    all,
    named: (name: string) =>
      all<HTMLButtonElement>("button").find((it) => it.textContent === name && !it.hidden) as HTMLButtonElement,
    feedback: () => panel.el.querySelector<HTMLTextAreaElement>("[aria-label=Feedback]")!,
    editor: () => panel.el.querySelector<HTMLTextAreaElement>(".dw-code")!,
    status: () => panel.el.querySelector(".dw-gate-status")!.textContent,
    sent: () => fake.sent[0] as HumanDecision,
  };
}

beforeEach(() => {
  document.body.replaceChildren();
  localStorage.clear();
});

test("a gate shows its title, its body as Markdown and the data under review", () => {
  const { panel } = open(gate({ title: "Ship it?", body: "Has **3** files", data: { files: 3 } }));
  expect(panel.el.hidden).toBe(false);
  expect(panel.el.querySelector("h3")!.textContent).toBe("Ship it?");
  expect(panel.el.querySelector("strong")!.textContent).toBe("3");
  expect(panel.el.querySelector(".dw-tree")!.textContent).toBe("files3");
});

test("what was typed survives an update and the same gate being opened again", () => {
  const first = gate({ title: "Ship it?", data: 1 });
  const { fake, panel, named, feedback, editor } = open(first);
  feedback().value = "needs a test";
  named("Modify…").click();
  editor().value = "42";
  const [before, typed] = [feedback(), editor()];
  fake.state = runningState([], [structuredClone(first)]);
  panel.update();
  expect(feedback()).toBe(before);
  expect(editor()).toBe(typed);
  expect([feedback().value, editor().value]).toEqual(["needs a test", "42"]);
});

test("only the decisions that the gate allows are offered", () => {
  const { named } = open(gate({ allowed: ["approve"] }));
  expect(named("Approve")).toBeDefined();
  expect(named("Reject")).toBeUndefined();
  expect(named("Modify…")).toBeUndefined();
});

test("without a word on what is allowed, all three decisions are offered", () => {
  const { named } = open(gate({}));
  for (const name of ["Approve", "Reject", "Modify…"]) expect(named(name)).toBeDefined();
});

test("a gate that only takes a modification shows its editor at once", () => {
  const { named, editor } = open(gate({ allowed: ["modify"], default: { n: 1 } }));
  expect(named("Send modification")).toBeDefined();
  expect(named("Back")).toBeUndefined();
  expect(JSON.parse(editor().value)).toEqual({ n: 1 });
});

test("a decision carries the gate's id and the feedback", () => {
  const { named, feedback, sent } = open(gate({}));
  feedback().value = "  looks good ";
  named("Approve").click();
  expect(sent()).toMatchObject({
    type: "human_decision",
    node_id: "review",
    gate_id: "review:1",
    decision: "approve",
    feedback: "looks good",
    source: "widget",
  });
  expect(sent().id).toMatch(/^[0-9a-f-]{36}$/);
});

test("a modification that is not JSON is not sent, and the reason is shown", () => {
  const { fake, panel, named, editor } = open(gate({ data: { n: 1 } }));
  named("Modify…").click();
  editor().value = "{n: 2";
  named("Send modification").click();
  const alert = panel.el.querySelector<HTMLElement>("[role=alert]")!;
  expect(fake.sent).toEqual([]);
  expect(alert.hidden).toBe(false);
  expect(alert.textContent).toContain("must be JSON");
  expect(editor().getAttribute("aria-invalid")).toBe("true");
  editor().dispatchEvent(new Event("input", { bubbles: true }));
  expect(alert.hidden).toBe(true);
});

test("a modification keeps its JSON types, and text is edited as text", () => {
  const typed = open(gate({ data: { n: 1 } }));
  typed.named("Modify…").click();
  typed.editor().value = '{"n": 2.5, "ok": true}';
  typed.named("Send modification").click();
  expect(typed.sent().value).toEqual({ n: 2.5, ok: true });
  const plain = open(gate({ data: "dear reader" }));
  plain.named("Modify…").click();
  plain.editor().value = "Dear {reader";
  plain.named("Send modification").click();
  expect(plain.sent().value).toBe("Dear {reader");
});

test("a letter leads to its button, and decides nothing; in a field it is a letter", () => {
  const { fake, named, feedback } = open(gate({ title: "Ship it?", allowed: ["approve", "reject"] }));
  const card = document.querySelector<HTMLElement>(".dw-gate")!;
  const press = (key: string, more: KeyboardEventInit = {}) =>
    (document.activeElement ?? card).dispatchEvent(
      new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }),
    );
  card.focus();
  press("r");
  expect(document.activeElement).toBe(named("Reject"));
  press("a");
  expect(document.activeElement).toBe(named("Approve"));
  press("m");
  press("r", { ctrlKey: true });
  expect(document.activeElement).toBe(named("Approve"));
  feedback().focus();
  expect(press("r")).toBe(true);
  expect(document.activeElement).toBe(feedback());
  expect(fake.sent).toEqual([]);
});

test("with options, one must be chosen, and it is what is sent", () => {
  const { fake, all, named, sent } = open(gate({ options: ["staging", { label: "Production", value: "prod" }] }));
  named("Approve").click();
  expect(fake.sent).toEqual([]);
  expect(named("Approve").title).toContain("Choose an option");
  all<HTMLInputElement>("input[type=radio]")[1]!.click();
  named("Approve").click();
  expect(sent().value).toEqual({ label: "Production", value: "prod" });
});

test("what was chosen stays chosen where the options come in another order", () => {
  const { fake, all, panel, named, sent } = open(gate({ options: ["staging", "production"] }));
  all<HTMLInputElement>("input[type=radio]")[0]!.click();
  fake.state.gates.set("review:1", gate({ options: ["production", "staging"] }));
  panel.update();
  named("Approve").click();
  expect(sent().value).toBe("staging");
});

test("a decision is not called made before the server has said so", async () => {
  const { fake, panel, named, status } = open(gate({}));
  named("Approve").click();
  expect(status()).toBe("Your approval is sent, waiting for confirmation…");
  expect(panel.el.textContent).not.toContain("accepted");
  expect(named("Reject").getAttribute("aria-disabled")).toBe("true");
  await fake.acknowledge({});
  expect(status()).toBe("Your approval is accepted.");
});

test("a decision made while offline is shown as not yet sent", () => {
  const { fake, named, status } = open(gate({}));
  fake.connect({ phase: "waiting", retryAt: NOW + 4000 });
  named("Reject").click();
  expect(fake.sent).toHaveLength(1);
  expect(status()).toContain("Not sent yet");
});

test("a second click while a decision is under way sends nothing", () => {
  const { fake, named } = open(gate({}));
  named("Approve").click();
  named("Approve").click();
  named("Reject").click();
  expect(fake.sent).toHaveLength(1);
});

test("a refusal is shown in the card, which can be used again", async () => {
  const { fake, named, status } = open(gate({}));
  named("Approve").click();
  await fake.acknowledge({ ok: false, code: "invalid_value", message: "n must be a number" });
  expect(status()).toBe("Refused: n must be a number");
  expect(named("Approve").getAttribute("aria-disabled")).toBe("false");
});

test("whoever was slower learns who decided, even when the card is gone", async () => {
  const { fake, panel, named } = open(gate({ title: "Ship it?" }));
  named("Approve").click();
  const winner = { decision: "reject", by: "ann", gate_id: "review:1" } as never;
  await fake.acknowledge({ ok: false, code: "already_decided", winner });
  fake.state.gates.clear();
  panel.update();
  expect(panel.el.querySelector(".dw-gate")).toBeNull();
  expect(panel.el.hidden).toBe(false);
  expect(panel.el.textContent).toContain("Ship it?: Refused: ann has already decided (reject).");
  named("Dismiss").click();
  expect(panel.el.hidden).toBe(true);
});

test("a plain server's silence is not taken for a confirmation", async () => {
  const { fake, named, status } = open(gate({}));
  named("Approve").click();
  await fake.acknowledge({ ok: true, code: "unconfirmed" });
  expect(status()).toContain("does not confirm");
});

test("a viewer may read a gate but not decide it", () => {
  const { fake, panel, named, status } = open(gate({}));
  fake.connect({ role: "view" });
  panel.update();
  named("Approve").click();
  expect(fake.sent).toEqual([]);
  expect(status()).toBe("View only: your token cannot decide.");
});

test("several gates of one node are decided one by one", () => {
  const { fake, all } = open(gate({ title: "One" }), gate({ title: "Two" }, { gate_id: "review:2" }));
  const second = all(".dw-gate")[1]!;
  [...second.querySelectorAll("button")].find((it) => it.textContent === "Approve")!.click();
  expect(fake.sent).toMatchObject([{ gate_id: "review:2" }]);
});

test("the countdown says what happens at the deadline, and stands still while the connection is down", () => {
  const { fake, panel } = open(gate({ deadline: NOW + 90_000, on_timeout: "reject" }));
  const countdown = panel.el.querySelector(".dw-countdown")!;
  expect(countdown.textContent).toBe("Rejected in 1:30");
  fake.connect({ phase: "waiting", seenAt: NOW - 30_000 });
  panel.tick();
  expect(countdown.textContent).toBe("Rejected in 2:00");
});

test("more gates than can be read are counted", () => {
  const { all, panel } = open(...Array.from({ length: 15 }, (_, i) => gate({}, { gate_id: `review:${i}` })));
  expect(all(".dw-gate")).toHaveLength(12);
  expect(panel.el.textContent).toContain("3 more open");
});

test("a gate for several people tells who has approved, and can't be modified by one", async () => {
  const { fake, panel, named, status } = open(gate({ required: 2, assignees: ["ana", "ben"] }));
  expect(panel.el.textContent).toContain("For ana, ben.");
  expect(panel.el.textContent).toContain("0 of 2 approvals.");
  expect(named("Modify…")).toBeUndefined();
  named("Approve").click();
  fake.pending = [];
  fake.acks[0]!({ type: "command_ack", id: "1", ok: true, message: "1 of 2 approvals" });
  await Promise.resolve();
  expect(status()).toBe("Your approval is accepted: 1 of 2 approvals.");
  fake.state = runningState([], [gate({ required: 2 }, { approvals: [{ by: "ana", at: NOW }] })]);
  panel.update();
  expect(panel.el.textContent).toContain("1 of 2 approvals: ana.");
});

test("the countdown runs by the server's clock", () => {
  const { fake, panel, all } = open(gate({ deadline: NOW + 86_400_000 + 90_000 }));
  fake.connection = { ...fake.connection, ahead: 86_400_000 };
  panel.tick();
  expect(all("header")[0]!.textContent).toContain("in 1:30");
});

function many(count: number): Gate[] {
  return Array.from({ length: count }, (_, i) =>
    gate(
      { title: `Gate ${i}`, assignees: i === 0 ? ["ann"] : null },
      { gate_id: `g${i}`, opened_at: NOW - 65_000 - i },
    ),
  );
}

test("with several open gates there is one list of them, with where, since when, until when and for whom", () => {
  const [first, second] = many(2);
  const { panel, all, fake } = open(
    { ...first!, presentation: { ...first!.presentation, deadline: NOW + 90_000 } },
    second!,
  );
  const rows = () => all(".dw-gate-row").map((row) => row.textContent!.replace(/\s+/g, " ").trim());
  expect(rows()).toEqual(["Gate 0 Review waiting 1:05 Expires in 1:30 for ann", "Gate 1 Review waiting 1:05"]);
  fake.state.gates.delete("g0");
  panel.update();
  expect(rows()).toEqual([]);
  expect(panel.el.querySelector<HTMLElement>(".dw-gate-index")!.hidden).toBe(true);
});

test("from the list one comes to a gate's card, also where it was only counted", () => {
  const { all } = open(...many(40));
  expect(all(".dw-gate")).toHaveLength(12);
  all<HTMLElement>(".dw-gate-row")[3]!.click();
  expect(document.activeElement).toBe(all("[data-gate=g3]")[0]);
  all<HTMLElement>(".dw-gate-row")[39]!.click();
  expect(document.activeElement).toBe(all("[data-gate=g39]")[0]);
  expect(all(".dw-gate")).toHaveLength(13);
});

test("what was typed is there again when it was not yet whole: a form with gaps, and JSON that is none", () => {
  const schema = {
    type: "object",
    required: ["name", "size"],
    properties: { name: { type: "string" }, size: { type: "integer" } },
  };
  const form = open(gate({ schema }));
  form.named("Modify…").click();
  const [name, size] = form.all<HTMLInputElement>(".dw-form input");
  name!.value = "api";
  size!.value = "ten";
  name!.dispatchEvent(new Event("input", { bubbles: true }));
  const again = open(gate({ schema }));
  expect(again.all<HTMLInputElement>(".dw-form input").map((each) => each.value)).toEqual(["api", ""]);
  again.named("Edit as JSON").click();
  again.editor().value = '{"name": ';
  again.editor().dispatchEvent(new Event("input", { bubbles: true }));
  const last = open(gate({ schema }));
  expect(last.editor().value).toBe('{"name": ');
  expect(last.named("Edit as a form")).toBeDefined();
});

test("what changes is shown also when an item of a list goes", () => {
  const schema = { type: "array", items: { type: "integer" } };
  const { panel, named } = open(gate({ schema, data: [1, 2] }));
  named("Modify…").click();
  named("Remove").click();
  expect(panel.el.querySelector(".dw-changes")!.textContent).toBe("[0]: 1 → 2[1]: 2 → nothing");
});

test.each([
  ["at another time", { epoch: "e" }, { opened_at: 2 }],
  ["in another run", { epoch: "f" }, { opened_at: 1 }],
])("a gate of the same id that is opened %s is another question", async (_, run, more) => {
  const { fake, panel, named, feedback, status } = open(gate({}, { opened_at: 1 }));
  feedback().value = "fine";
  named("Approve").click();
  await fake.acknowledge({ ok: true });
  expect(status()).toContain("accepted");
  Object.assign(fake.state, run);
  fake.state.gates.set("review:1", gate({}, more));
  panel.update();
  expect([status(), feedback().value]).toEqual(["", ""]);
  named("Approve").click();
  expect(fake.pending).toHaveLength(1);
});

test("the keyboard goes on to the next gate, and from the last one out, but not from under who is typing", async () => {
  const one = gate({}, { gate_id: "one" });
  const two = gate({}, { gate_id: "two" });
  const { fake, panel, named, leave, feedback } = open(one, two);
  const answer = async () => {
    named("Approve").focus();
    named("Approve").click();
    await fake.acknowledge({ ok: true });
  };
  await answer();
  fake.state.gates.delete("one");
  panel.update();
  expect(document.activeElement).toBe(panel.el.querySelector("[data-gate=two]"));
  await answer();
  fake.state.gates.delete("two");
  panel.update();
  expect(leave).toHaveBeenCalledTimes(1);
  fake.state.gates.set("one", one);
  panel.update();
  feedback().focus();
  feedback().value = "well";
  fake.state.gates.clear();
  fake.state.decisions = [
    { gate_id: "one", node_id: "review", decision: "reject", by: "bob", at: NOW, source: "widget" },
  ];
  panel.update();
  expect(leave).toHaveBeenCalledTimes(1);
  named("Dismiss").click();
  expect(leave).toHaveBeenCalledTimes(2);
});
