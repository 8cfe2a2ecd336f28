// @vitest-environment jsdom
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Model } from "../../src/view/model/model";
import { Alerts } from "../../src/view/notifications/panel";
import { Fake, NOW, runningState } from "./helpers";

const PAGE = Symbol.for("dagwidget.alerts.1");

let hidden = false;
let sights: ((entries: { isIntersecting: boolean }[]) => void)[] = [];
let notified: { title: string; options: NotificationOptions; onclick?: () => void; close(): void }[] = [];
let tones = 0;
let open: Alerts[] = [];

class FakeNotification {
  static requestPermission = vi.fn(async () => "granted");
  onclick?: () => void;
  constructor(
    readonly title: string,
    readonly options: NotificationOptions,
  ) {
    notified.push(this);
  }
  close(): void {}
}

class FakeAudio {
  currentTime = 0;
  createOscillator = () => {
    tones++;
    return { frequency: {}, connect: (to: unknown) => to, start() {}, stop() {} };
  };
  createGain = () => ({
    gain: { setValueAtTime() {}, linearRampToValueAtTime() {}, exponentialRampToValueAtTime() {} },
    connect: (to: unknown) => to,
  });
  close = async () => {};
}

beforeEach(() => {
  vi.useFakeTimers({ now: NOW });
  delete (globalThis as Record<symbol, unknown>)[PAGE];
  localStorage.clear();
  [hidden, sights, notified, tones, open] = [false, [], [], 0, []];
  document.title = "notebook";
  vi.stubGlobal("Notification", FakeNotification);
  vi.stubGlobal("AudioContext", FakeAudio);
  vi.stubGlobal(
    "IntersectionObserver",
    class {
      constructor(heard: (entries: { isIntersecting: boolean }[]) => void) {
        sights.push(heard);
      }
      observe() {}
      disconnect() {}
    },
  );
  vi.spyOn(document, "hidden", "get").mockImplementation(() => hidden);
  vi.spyOn(document, "hasFocus").mockImplementation(() => !hidden);
});

afterEach(() => {
  for (const one of open) one.close();
  document.body.replaceChildren();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function alerts(fake = new Fake(runningState()), root = document.createElement("div")) {
  const panel = new Alerts(new Model(fake.options), root);
  open.push(panel);
  document.body.append(panel.el);
  return { fake, panel, root, boxes: [...panel.el.querySelectorAll("input")] };
}

function gate(fake: Fake, id: string, title = "Ship it?"): void {
  fake.state.gates.set(id, { gate_id: id, node_id: "n", presentation: { title } });
}

/** Past the time in which a plain server tells what was there before. */
function settle(panel: Alerts): void {
  vi.advanceTimersByTime(4000);
  panel.look();
}

function hide(now: boolean): void {
  hidden = now;
  document.dispatchEvent(new Event("visibilitychange"));
}

async function choose(box: HTMLInputElement | undefined): Promise<void> {
  box!.click();
  await vi.advanceTimersByTimeAsync(0);
}

test("the page's title counts what waits while the page is hidden, and is as it was when it is seen", () => {
  const { fake, panel } = alerts();
  hide(true);
  expect(document.title).toBe("notebook");
  gate(fake, "a");
  panel.look();
  expect(document.title).toBe("(1) notebook");
  gate(fake, "b");
  panel.look();
  expect(document.title).toBe("(2) notebook");
  hide(false);
  expect(document.title).toBe("notebook");
});

test("a cell that is scrolled away counts too", () => {
  const { fake, panel } = alerts();
  gate(fake, "a");
  panel.look();
  expect(document.title).toBe("notebook");
  sights[0]!([{ isIntersecting: false }]);
  expect(document.title).toBe("(1) notebook");
  fake.state.gates.clear();
  panel.look();
  expect(document.title).toBe("notebook");
});

test("several widgets have one count, and a gate that is drawn twice is one gate", () => {
  const shared = new Fake(runningState());
  const [one, two] = [alerts(shared), alerts(shared)];
  const other = new Fake(runningState());
  other.options.dagId = "another";
  const third = alerts(other);
  hide(true);
  gate(shared, "a");
  gate(other, "a");
  for (const { panel } of [one, two, third]) panel.look();
  expect(document.title).toBe("(2) notebook");
  third.panel.close();
  expect(document.title).toBe("(1) notebook");
  one.panel.close();
  expect(document.title).toBe("(1) notebook");
  two.panel.close();
  expect(document.title).toBe("notebook");
});

test("a title that the page sets meanwhile is what comes back", () => {
  const { fake, panel } = alerts();
  hide(true);
  gate(fake, "a");
  panel.look();
  document.title = "another notebook";
  panel.look();
  expect(document.title).toBe("(1) another notebook");
  hide(false);
  expect(document.title).toBe("another notebook");
});

test("nobody is called who did not choose so", async () => {
  const { fake, panel } = alerts();
  settle(panel);
  hide(true);
  gate(fake, "a");
  panel.look();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(notified).toEqual([]);
  expect(tones).toBe(0);
  expect(FakeNotification.requestPermission).not.toHaveBeenCalled();
});

test("by choice a gate is called out, and the call leads to its cell", async () => {
  const { fake, panel, root, boxes } = alerts();
  root.scrollIntoView = vi.fn();
  const focus = vi.spyOn(window, "focus").mockImplementation(() => {});
  await choose(boxes[0]);
  await choose(boxes[1]);
  tones = 0;
  settle(panel);
  hide(true);
  gate(fake, "a");
  panel.look();
  panel.look();
  await vi.advanceTimersByTimeAsync(1000);
  expect(notified.map(({ title, options }) => [title, options.body])).toEqual([["Ship it?", "my-dag: n"]]);
  expect(tones).toBe(2);
  notified[0]!.onclick!();
  expect(focus).toHaveBeenCalled();
  expect(root.scrollIntoView).toHaveBeenCalled();
});

test("who looks at the cell is not called", async () => {
  const { fake, panel, boxes } = alerts();
  await choose(boxes[0]);
  settle(panel);
  gate(fake, "a");
  panel.look();
  hide(true);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(notified).toEqual([]);
});

test("what was open before, and what a server tells of it at first, is no news", async () => {
  const fake = new Fake(runningState());
  fake.connection.phase = "connecting";
  gate(fake, "before");
  const { panel, boxes } = alerts(fake);
  await choose(boxes[0]);
  hide(true);
  fake.connect({ phase: "live" });
  panel.look();
  gate(fake, "told at first");
  panel.look();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(notified).toEqual([]);
  expect(document.title).toBe("(2) notebook");
});

test("many gates are one call, and the next call waits", async () => {
  const { fake, panel, boxes } = alerts();
  await choose(boxes[0]);
  settle(panel);
  hide(true);
  for (const id of ["a", "b", "c"]) gate(fake, id);
  panel.look();
  await vi.advanceTimersByTimeAsync(1000);
  for (const id of ["d", "e"]) {
    gate(fake, id, id);
    panel.look();
    await vi.advanceTimersByTimeAsync(1000);
  }
  fake.state.gates.delete("d");
  expect(notified.map(({ title }) => title)).toEqual(["3 decisions needed"]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(notified.map(({ title }) => title)).toEqual(["3 decisions needed", "e"]);
});

test("the choice is remembered, and is the same in all widgets of the page", async () => {
  const first = alerts();
  await choose(first.boxes[1]);
  delete (globalThis as Record<symbol, unknown>)[PAGE];
  const second = alerts();
  second.panel.el.dispatchEvent(new Event("toggle"));
  expect(second.boxes.map((box) => box.checked)).toEqual([false, true]);
  await choose(second.boxes[1]);
  expect(JSON.parse(localStorage.getItem("dagwidget:alerts")!)).toEqual({ notification: false, sound: false });
});

test("a page without storage keeps the choice for itself", async () => {
  vi.spyOn(Storage.prototype, "getItem").mockImplementation(() => {
    throw new Error("denied");
  });
  vi.spyOn(Storage.prototype, "setItem").mockImplementation(() => {
    throw new Error("denied");
  });
  const { boxes } = alerts();
  await choose(boxes[1]);
  expect(boxes[1]!.checked).toBe(true);
});

test("a notification that the browser does not permit is not chosen, and the reason is said", async () => {
  FakeNotification.requestPermission.mockResolvedValueOnce("denied");
  const { boxes, panel } = alerts();
  await choose(boxes[0]);
  expect(boxes[0]!.checked).toBe(false);
  expect(panel.el.textContent).toContain("blocks notifications");
  vi.stubGlobal("Notification", undefined);
  await choose(boxes[0]);
  expect(boxes[0]!.checked).toBe(false);
  expect(panel.el.textContent).toContain("This browser has no notifications.");
});

test("who may only watch, and who looks at a saved picture, is asked nothing", () => {
  const watching = new Fake(runningState());
  watching.connection.role = "view";
  const { panel } = alerts(watching);
  hide(true);
  gate(watching, "a");
  panel.look();
  expect(document.title).toBe("notebook");
});
