// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { LogPage } from "../../../src/protocol/decode";
import type { Event } from "../../../src/protocol/messages";
import { Store } from "../../../src/state/store";
import { mountView } from "../../../src/view/view";
import { Fake, NOW, viewIn } from "../helpers";

// jsdom lays nothing out and has no canvas.
class Observer {
  observe(): void {}
  disconnect(): void {}
}

const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));

const START = NOW - 60_000;
const RUN = [
  { type: "execution_state", status: "running", capabilities: { pause: "native", cancel: "native", gate: "native" } },
  { type: "dag_mutated", mutation: { add_nodes: [{ id: "a" }, { id: "b" }], add_edges: [{ from: "a", to: "b" }] } },
  { type: "node_state", node_id: "a", status: "running" },
  { type: "cost_update", spent: 1, budget: 4, remaining: 3 },
  { type: "node_state", node_id: "a", status: "failed", error: "no" },
  { type: "human_gate_waiting", node_id: "b", gate_id: "b:1", presentation: { title: "Go on?" } },
  { type: "cost_update", spent: 2, budget: 4, remaining: 2 },
].map((event, i) => ({ ...event, seq: i + 1, ts: START + 1000 * i }) as Event);

const MORE = [
  {
    type: "human_gate_resolved",
    node_id: "b",
    gate_id: "b:1",
    decision: "approve",
    by: "ana",
    at: NOW,
    source: "widget",
    seq: 8,
    ts: NOW,
  },
  { type: "human_gate_waiting", node_id: "a", gate_id: "a:1", presentation: { title: "Once more?" }, seq: 9, ts: NOW },
] as Event[];

let unmount: (() => void) | undefined;

/** A view of a run, with the log of it. */
function mount(log?: (run: string, after: number) => Promise<LogPage>) {
  const store = new Store();
  store.replace({ epoch: "run", seq: 0 }, []);
  const happened: Event[] = [];
  const tell = (events: readonly Event[]) => {
    happened.push(...events);
    store.apply(events);
  };
  tell(RUN);
  const { options } = new Fake(store.state);
  const get = vi.fn(
    log ??
      (async (_run: string, after: number): Promise<LogPage> => {
        const events = happened.slice(after, after + 3);
        return { after, head: happened.length, events, size: 1 };
      }),
  );
  const el = document.createElement("div");
  document.body.append(el);
  unmount = mountView(el, { ...options, store, dagId: "dag", log: get, whole: async () => '["whole"]' });
  const tree = viewIn(el);
  const find = <E extends HTMLElement>(selector: string) => tree.querySelector<E>(selector)!;
  const named = (name: string) =>
    [...tree.querySelectorAll<HTMLButtonElement>("button")].find(
      (one) => (one.getAttribute("aria-label") ?? one.textContent)!.startsWith(name) && !one.closest("[hidden]"),
    )!;
  return {
    tree,
    tell,
    get,
    find,
    named,
    bar: find(".dw-replay"),
    slider: find<HTMLInputElement>(".dw-replay-slider"),
    words: () => find(".dw-replay-words").textContent,
    said: () => find("[aria-live=polite].dw-offscreen").textContent,
    counts: () => [...tree.querySelectorAll(".dw-counts li:not([hidden])")].map((one) => one.textContent),
    press: async (target: HTMLElement, key: string, more: KeyboardEventInit = {}) => {
      target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, ...more }));
      await frame();
      await frame();
    },
    open: async () => {
      named("Replay").click();
      await vi.waitFor(() => expect(find(".dw-replay-controls").hidden).toBe(false));
      await frame();
      await frame();
    },
  };
}

function motion(reduced: boolean): void {
  vi.stubGlobal("matchMedia", () => ({ matches: reduced, addEventListener() {}, removeEventListener() {} }));
}

beforeEach(() => {
  vi.stubGlobal("ResizeObserver", Observer);
  vi.stubGlobal("IntersectionObserver", Observer);
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
  motion(true);
});

afterEach(() => {
  unmount?.();
  unmount = undefined;
  document.body.replaceChildren();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

test("a replay shows everything as it was, and live is one click away", async () => {
  const view = mount();
  await view.open();
  expect(view.words()).toMatch(/^Replay – .*:06, event 7 of 7$/);
  await view.press(view.slider, "Home");
  for (let i = 0; i < 4; i++) await view.press(view.slider, "ArrowRight");
  expect(view.slider.getAttribute("aria-valuetext")).toMatch(/:03, event 4 of 7$/);
  expect(view.counts()).toEqual(["1 running", "1 pending"]);
  expect(view.find(".dw-elapsed").textContent).toBe("0:03");
  expect(view.find(".dw-cost").textContent).toContain("$1.00 of $4.00 spent");
  expect(view.find(".dw-gates").hidden).toBe(true);

  view.named("Live").click();
  await frame();
  await frame();
  expect(view.bar.hidden).toBe(true);
  expect(view.counts()).toEqual(["1 failed", "1 waiting"]);
  expect(view.find(".dw-cost").textContent).toContain("$2.00 of $4.00 spent");
  expect(view.find(".dw-gates").textContent).toContain("Go on?");
  expect(view.named("Approve").getAttribute("aria-disabled")).toBe("false");
});

test("nothing can be asked of the past, and each control says why", async () => {
  const view = mount();
  await view.open();
  for (const name of ["Pause", "Cancel", "Approve", "Reject"]) {
    expect(view.named(name).getAttribute("aria-disabled")).toBe("true");
    expect(view.named(name).title).toContain("Replay: go back to live to ");
  }
  expect(view.find(".dw-connection").textContent).toBe("replay · connection: live");
});

test("an output that another has taken the place of is not passed off as whole", async () => {
  const output = (seq: number, rows: string[]) =>
    ({ type: "node_state", node_id: "b", status: "waiting", output: rows, output_bytes: 9000, seq, ts: NOW }) as Event;
  const view = mount();
  view.tell([output(8, ["first", "…"]), output(9, ["second", "…"])]);
  await frame();
  view.find(".dw-gate .dw-link").click();
  await view.open();
  view.named("Show all").click();
  await vi.waitFor(() => expect(view.find(".dw-section-output").textContent).toContain("Complete: 9.0 kB"));
  await view.press(view.slider, "ArrowLeft");
  view.named("Show all").click();
  await vi.waitFor(() => expect(view.find(".dw-section-output").textContent).toContain("only the node's last output"));
});

test("what is typed into a gate is there again after a replay", async () => {
  const view = mount();
  await frame();
  const feedback = () => view.find<HTMLTextAreaElement>("[aria-label=Feedback]");
  feedback().value = "because";
  feedback().dispatchEvent(new InputEvent("input", { bubbles: true }));
  await view.open();
  expect(feedback().value).toBe("");
  await view.press(view.slider, "Home");
  await view.press(view.slider, "Escape");
  expect(feedback().value).toBe("because");
});

test("a gate that opens live meanwhile is announced, and stands at the way back", async () => {
  const view = mount();
  await view.open();
  await view.press(view.slider, "Home");
  view.tell(MORE);
  await frame();
  expect(view.said()).toContain("Decision needed: Once more?");
  expect(view.counts()).toEqual([]);
  expect(view.named("Live").textContent).toBe("Live · 1 open gate");
  await view.press(view.slider, "End");
  expect(view.find(".dw-replay-top").textContent).toContain("newer events: press play");
});

test("it plays from the beginning to the end, and goes on with what has happened since", async () => {
  motion(false);
  const view = mount();
  await view.open();
  expect(view.named("Pause (k)")).toBeTruthy();
  expect(view.words()).toMatch(/event [01] of 7$/);
  view.tell(MORE);
  await view.press(view.slider, "End");
  await view.press(view.slider, " ");
  await vi.waitFor(() => expect(view.words()).toMatch(/of 9$/));
  expect(view.get.mock.lastCall).toEqual(["run", 7]);
  await view.press(view.slider, " ");
  expect(view.named("Play (k)")).toBeTruthy();
});

test("what has happened since is got once, and moves nobody who has gone elsewhere meanwhile", async () => {
  motion(true);
  const pages: (() => void)[] = [];
  const happened = [...RUN];
  const view = mount(async (_run, after) => {
    if (after >= RUN.length) await new Promise<void>((resolve) => pages.push(resolve));
    return { after, head: happened.length, events: happened.slice(after), size: 1 };
  });
  await view.open();
  happened.push(...MORE);
  view.tell(MORE);
  await view.press(view.slider, " ");
  await vi.waitFor(() => expect(pages).toHaveLength(1));
  await view.press(view.slider, " ");
  await frame();
  expect(view.get).toHaveBeenCalledTimes(2);
  await view.press(view.slider, "Home");
  for (const come of pages) come();
  await vi.waitFor(() => expect(view.words()).toContain("event 0 of 9"));
  await frame();
  expect(view.named("Play (k)")).toBeTruthy();
  expect(view.find(".dw-replay-top [role=alert]").textContent).toBe("");
});

test("the keys step, seek failures and gates, and go live", async () => {
  const view = mount();
  const root = view.find(".dw-header");
  await view.press(root, "l");
  await vi.waitFor(() => expect(view.words()).toMatch(/event 7 of 7$/));
  await view.press(root, ",");
  expect(view.said()).toMatch(/event 6 of 7$/);
  await view.press(root, ".");
  expect(view.words()).toMatch(/event 7 of 7$/);
  for (const [key, position] of [
    ["ArrowLeft", 6],
    ["ArrowLeft", 5],
    ["ArrowLeft", 0],
    ["ArrowRight", 5],
  ] as const) {
    await view.press(view.slider, key, { shiftKey: true });
    expect(view.words()).toContain(`event ${position} of`);
  }
  const marks = [...view.tree.querySelectorAll<HTMLElement>(".dw-mark")];
  expect(marks.map((mark) => mark.dataset.kind)).toEqual(["failure", "gate"]);
  view.slider.value = "0.5";
  view.slider.dispatchEvent(new InputEvent("input"));
  await frame();
  expect(view.words()).toContain("event 4 of 7");
  await view.press(root, "l");
  expect(view.bar.hidden).toBe(true);
});

describe("where there can be no replay", () => {
  test("the bar says why, and closes", async () => {
    const view = mount(async () => {
      throw new Error("the kernel is busy: no answer within a minute");
    });
    view.named("Replay").click();
    await vi.waitFor(() => expect(view.bar.textContent).toContain("No replay: the kernel is busy"));
    expect(view.counts()).toEqual(["1 failed", "1 waiting"]);
    view.named("Close").click();
    expect(view.bar.hidden).toBe(true);
  });

  test("the bar says that there is nothing left of the log", async () => {
    const view = mount(async (_run, after) => ({ after, head: after, events: [], size: 0 }));
    view.named("Replay").click();
    await vi.waitFor(() => expect(view.bar.textContent).toContain("No replay: the log of this run was deleted."));
  });

  test("the button says why: a server without a log, a run that has not begun", () => {
    const fake = new Fake(new Store().state, { log: async () => Promise.reject(new Error("never asked")) });
    fake.connection = { ...fake.connection, resumable: false };
    const el = document.createElement("div");
    unmount = mountView(el, fake.options);
    const button = [...viewIn(el).querySelectorAll<HTMLButtonElement>(".dw-tab")].find(
      (one) => one.textContent === "Replay",
    )!;
    expect([button.getAttribute("aria-disabled"), button.title]).toEqual(["true", "This server keeps no log."]);
  });

  test("there is no button", () => {
    const el = document.createElement("div");
    unmount = mountView(el, new Fake(new Store().state).options);
    const button = [...viewIn(el).querySelectorAll<HTMLButtonElement>(".dw-tab")].find(
      (one) => one.textContent === "Replay",
    )!;
    expect(button.hidden).toBe(true);
  });
});

test("a view that is taken down while it gets the log leaves it", async () => {
  let answer: (page: LogPage) => void = () => {};
  const view = mount(() => new Promise((resolve) => (answer = resolve)));
  view.named("Replay").click();
  unmount!();
  unmount = undefined;
  answer({ after: 0, head: 7, events: RUN.slice(0, 3), size: 1 });
  await frame();
  expect(view.get).toHaveBeenCalledTimes(1);
  expect(view.bar.isConnected).toBe(false);
});
