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
    /stale since .* reconnecting in \d s.*seen 1 min ago/,
  );
  expect(el.querySelector<HTMLElement>(".dagwidget")!.dataset.tone).toBe("stale");
  expect(el.querySelector(".dw-hint-text")!.textContent).toBe("Not connected.");
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
