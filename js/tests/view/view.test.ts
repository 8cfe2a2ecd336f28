// @vitest-environment jsdom
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { mountView } from "../../src/view/view";
import { emptyState, Fake, NOW, runningState, viewIn } from "./helpers";

// jsdom lays nothing out and has no canvas: the graph itself is looked at in a browser.
class Observer {
  observe(): void {}
  disconnect(): void {}
}

const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));

let unmount: (() => void) | undefined;
const stops: (() => void)[] = [];

function mount(fake: Fake): ShadowRoot {
  const el = document.createElement("div");
  document.body.append(el);
  unmount = mountView(el, fake.options);
  return viewIn(el);
}

beforeEach(() => {
  vi.stubGlobal("ResizeObserver", Observer);
  vi.stubGlobal("IntersectionObserver", Observer);
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
});

afterEach(() => {
  unmount?.();
  unmount = undefined;
  for (const stop of stops.splice(0)) stop();
  document.body.replaceChildren();
  document.body.removeAttribute("style");
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

test("a view shows the state that is there when it is mounted", () => {
  const el = mount(new Fake({ ...runningState([{ id: "a", status: "running" }]), cost: { spent: 1, budget: 2 } }));
  expect(el.querySelector(".dw-word")!.textContent).toBe("Running");
  expect(el.querySelector(".dw-cost")!.textContent).toContain("$1.00 of $2.00 spent");
  expect(el.querySelector(".dw-connection")!.textContent).toBe("live");
});

test("many batches between two frames are written once", async () => {
  const fake = new Fake(runningState([{ id: "a", status: "pending" }]));
  const el = mount(fake);
  const counts = el.querySelector(".dw-counts")!;
  const seen: string[] = [];
  new MutationObserver(() => seen.push(counts.textContent!)).observe(counts, { subtree: true, childList: true });
  for (const status of ["running", "waiting", "completed"] as const) {
    fake.state.nodes.set("a", { id: "a", status });
    fake.change({ nodes: new Set(["a"]) });
  }
  await frame();
  await frame();
  expect(seen).toHaveLength(1);
  expect(counts.querySelector("li:not([hidden])")!.textContent).toBe("1 completed");
});

test("a gate that opens comes up above the graph, and is announced", async () => {
  const fake = new Fake(runningState([{ id: "a", status: "waiting" }]));
  const el = mount(fake);
  fake.state.gates.set("g", { gate_id: "g", node_id: "a", presentation: { title: "Ship it?" } });
  fake.change({ nodes: new Set(["a"]) });
  await frame();
  const [gates, main] = [el.querySelector(".dw-gates")!, el.querySelector(".dw-main")!];
  expect(gates.compareDocumentPosition(main) & Node.DOCUMENT_POSITION_FOLLOWING).toBeTruthy();
  expect(gates.textContent).toContain("Ship it?");
  expect(el.querySelector("[aria-live=polite].dw-offscreen")!.textContent).toContain("Ship it?");
  expect(el.querySelector(".dw-word")!.textContent).toBe("Waiting for you");
});

test("a lost connection is seen in the words, the tone of the picture, and the controls", async () => {
  const fake = new Fake(runningState());
  const el = mount(fake);
  fake.connect({ phase: "waiting", retryAt: Date.now() + 3500, seenAt: Date.now() - 60_000 });
  await frame();
  expect(el.querySelector(".dw-connection")!.textContent).toMatch(
    /stale since .* reconnecting in \d s.*as of 1 min ago/,
  );
  expect(el.querySelector<HTMLElement>(".dagwidget")!.dataset.tone).toBe("stale");
  expect(el.querySelector(".dw-hint-text")!.textContent).toBe("Not connected.");
});

const press = (target: EventTarget, key: string, more: KeyboardEventInit = {}) => {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, composed: true, ...more });
  target.dispatchEvent(event);
  return event;
};

/** What the page hears of keys, and on what. */
function heard(): [key: string, target: EventTarget | null][] {
  const keys: [string, EventTarget | null][] = [];
  const listener = (event: KeyboardEvent) => keys.push([event.key, event.target]);
  document.addEventListener("keydown", listener);
  stops.push(() => document.removeEventListener("keydown", listener));
  return keys;
}

test("the page's style sheets end at the view, and it can have the keyboard as a whole", () => {
  const view = mount(new Fake(emptyState()));
  expect(view.host.getAttribute("data-lm-suppress-shortcuts")).toBe("true");
  // With a tabindex of its own, Tab would pass its tree by.
  expect(view.host.hasAttribute("tabindex")).toBe(false);
  const root = view.querySelector<HTMLElement>(".dagwidget")!;
  root.focus();
  expect(view.activeElement).toBe(root);
  expect(view.adoptedStyleSheets.length).toBeGreaterThan(0);
});

test("keys end at the view, but for what belongs to the application", () => {
  const view = mount(new Fake(runningState([{ id: "a", status: "running" }])));
  const keys = heard();
  for (const part of [".dagwidget", ".dw-name", ".dw-button", ".dw-surface", ".dw-search .dw-field"]) {
    const target = view.querySelector(part)!;
    for (const key of ["b", "d", "r", "Escape", "ArrowDown", "7"]) press(target, key);
    for (const key of ["Enter", "ArrowDown", "Backspace"]) press(target, key, { ctrlKey: true });
    press(target, "@", { ctrlKey: true, altKey: true, modifierAltGraph: true });
    expect(keys).toEqual([]);
    press(target, "s", { ctrlKey: true });
    press(target, "F9");
    expect(keys.splice(0)).toEqual([
      ["s", document.body],
      ["F9", document.body],
    ]);
  }
});

test("what the application does with a key, the browser does not do too", () => {
  const view = mount(new Fake(emptyState()));
  const save = (event: KeyboardEvent) => event.key === "s" && event.preventDefault();
  document.addEventListener("keydown", save);
  stops.push(() => document.removeEventListener("keydown", save));
  const target = view.querySelector(".dw-name")!;
  expect(press(target, "s", { ctrlKey: true }).defaultPrevented).toBe(true);
  expect(press(target, "c", { ctrlKey: true }).defaultPrevented).toBe(false);
});

test("the keys of the graph work wherever the view has the keyboard", async () => {
  const nodes = [
    { id: "a", status: "completed" as const },
    { id: "b", status: "failed" as const },
  ];
  const view = mount(new Fake(runningState(nodes)));
  const said = () => view.querySelector("[aria-live=polite].dw-offscreen")!.textContent;
  const root = view.querySelector<HTMLElement>(".dagwidget")!;
  root.focus();
  press(root, "r");
  expect(said()).toBe("No running nodes.");
  expect(view.activeElement).toBe(view.querySelector(".dw-surface"));
  const button = view.querySelector<HTMLElement>(".dw-controls .dw-button")!;
  button.focus();
  press(button, "p");
  expect(said()).toBe("Select a node first.");
  // That is the button's own.
  expect(press(button, "Enter").defaultPrevented).toBe(false);
  expect(view.activeElement).toBe(button);
});

test("a run that was ended from outside says why", () => {
  const state = { ...runningState(), status: "cancelled" as const, reason: "its process was terminated (SIGTERM)" };
  const view = mount(new Fake(state));
  expect(view.querySelector(".dw-reason")!.textContent).toBe("its process was terminated (SIGTERM)");
  expect(mount(new Fake(runningState())).querySelector(".dw-reason")!.textContent).toBe("");
});

test("before the first run the view says so, and how to start one", () => {
  const view = mount(new Fake(emptyState({ epoch: "" })));
  expect(view.querySelector(".dw-word")!.textContent).toBe("No run yet");
  expect(view.querySelector<HTMLElement>(".dw-controls button")!.title).toBe("No run yet.");
  const placeholder = view.querySelector<HTMLElement>(".dw-placeholder")!;
  expect(placeholder.hidden).toBe(false);
  expect(placeholder.textContent).toContain("Connected. Waiting for the first run of my-dag.");
  expect(placeholder.querySelector("pre")!.textContent).toContain('dagwidget.start_run("my-dag"');
  expect(placeholder.querySelector("button")!.textContent).toBe("Copy");
});

test("a refusal is told above the nodes that are there, and in their place where there are none", async () => {
  const fake = new Fake(runningState([{ id: "a", status: "running" }]));
  const view = mount(fake);
  const [notice, placeholder] = [".dw-notice", ".dw-placeholder"].map((it) => view.querySelector<HTMLElement>(it)!);
  fake.connect({ phase: "stopped", code: 4401 });
  await frame();
  expect([notice!.hidden, placeholder!.hidden]).toEqual([false, true]);
  expect(notice!.textContent).toMatch(/^The server refused the connection: .*token=/);
  fake.state.nodes.delete("a");
  fake.change({ structure: true });
  await frame();
  expect([notice!.hidden, placeholder!.hidden]).toEqual([true, false]);
});

test("the view follows the host's theme, and follows it when it changes", async () => {
  document.body.style.setProperty("--jp-layout-color0", "#111111");
  const el = mount(new Fake(emptyState()));
  const root = el.querySelector<HTMLElement>(".dagwidget")!;
  expect(root.dataset.theme).toBe("dark");
  document.body.style.setProperty("--jp-layout-color0", "white");
  await vi.waitFor(() => expect(root.dataset.theme).toBe("light"));
  expect(root.style.getPropertyValue("--dw-ground")).toBe("#ffffff");
});

test("taking a view down leaves nothing behind: no element, no timer, no listener", () => {
  const timers = vi.spyOn(globalThis, "setInterval");
  const cleared = vi.spyOn(globalThis, "clearInterval");
  const fake = new Fake(runningState());
  mount(fake);
  unmount!();
  unmount = undefined;
  expect(document.body.querySelector("div > *")).toBeNull();
  expect(cleared.mock.calls.map(([id]) => id)).toEqual(
    expect.arrayContaining(timers.mock.results.map((it) => it.value)),
  );
  expect(fake.listeners).toBe(0);
});

test("two views of one model are drawn independently", async () => {
  const fake = new Fake({ ...runningState([{ id: "a", status: "running" }]), started_at: NOW });
  const [one, two] = [document.createElement("div"), document.createElement("div")];
  document.body.append(one, two);
  const stops = [mountView(one, fake.options), mountView(two, fake.options)];
  stops[0]!();
  fake.state.nodes.set("a", { id: "a", status: "failed" });
  fake.change({ nodes: new Set(["a"]) });
  await frame();
  expect(viewIn(two).querySelector(".dw-counts li:not([hidden])")!.textContent).toBe("1 failed");
  stops[1]!();
});

test("a panel that can't show what it is given takes no other with it", () => {
  const told = vi.spyOn(console, "error").mockImplementation(() => {});
  const state = runningState([{ id: "a", status: "running" }]);
  state.gates.set("g", { gate_id: "g", node_id: "a", presentation: { title: "Go on?", assignees: "ana" as never } });
  const el = mount(new Fake({ ...state, errors: [{ message: "after the gates", at: NOW }] }));
  expect(told).toHaveBeenCalled();
  expect(el.textContent).toContain("after the gates");
});
