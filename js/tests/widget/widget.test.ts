// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Event } from "../../src/protocol/messages";
import { mountDetails } from "../../src/view/details";
import type { Cleanup, Widget } from "../../src/widget/anywidget";
import { createWidget } from "../../src/widget/widget";
import { FakeModel, FakeServer } from "../fake-server";
import { viewIn } from "../view/helpers";

// jsdom lays nothing out and has no canvas: the graph itself is looked at in a browser.
class Observer {
  observe(): void {}
  disconnect(): void {}
}

const ENDPOINT = { type: "endpoint", url: "ws://server/api/dags/d/stream", token: "secret" };

const SNAPSHOT = {
  seq: 9,
  status: "completed",
  nodes: { a: { id: "a", status: "completed" }, b: { id: "b", status: "completed" } },
};

const running = (node_id: string, seq: number): Event => ({ type: "node_state", node_id, status: "running", seq });

let server: FakeServer;
let cleanups: Cleanup[];

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  cleanups = [];
  vi.stubGlobal("WebSocket", server.WebSocket);
  vi.stubGlobal("ResizeObserver", Observer);
  vi.stubGlobal("IntersectionObserver", Observer);
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
});

afterEach(() => {
  for (const cleanup of cleanups.reverse()) cleanup();
  document.body.replaceChildren();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** Long enough for what is due at once, and for a frame. */
const frame = () => vi.advanceTimersByTimeAsync(50);

/** A cell's output: its widget, as a host loads it, and the model behind it. */
class Cell {
  readonly model: FakeModel;
  readonly widget: Widget;
  readonly close: Cleanup;

  constructor(traits: Readonly<Record<string, unknown>> = {}, details = async () => mountDetails) {
    this.widget = createWidget(details);
    this.model = new FakeModel({ dag_id: "etl", snapshot: {}, ...traits });
    const close = this.widget.initialize({ model: this.model });
    this.close = once(close);
  }

  render(): { el: HTMLElement; close: Cleanup } {
    const el = document.createElement("div");
    document.body.append(el);
    return { el, close: once(this.widget.render({ model: this.model, el })) };
  }
}

/** A host cleans up once; the test's own end does it where the test did not. */
function once(cleanup: Cleanup | undefined): Cleanup {
  let done = false;
  const close = () => {
    if (!done) cleanup?.();
    done = true;
  };
  cleanups.push(close);
  return close;
}

const text = (el: HTMLElement, selector: string) => viewIn(el).querySelector(selector)?.textContent;
/** How many views there are in `el`. */
const views = (el: ParentNode) => [...el.querySelectorAll("*")].filter(({ shadowRoot }) => shadowRoot).length;

describe("the widget", () => {
  test("asks the kernel where the server is, before anything is drawn", () => {
    const { model } = new Cell();
    expect(model.sent).toEqual([{ type: "endpoint?" }]);
    expect(server.sockets).toEqual([]);
  });

  test("is drawn before there is an answer", () => {
    const { el } = new Cell().render();
    expect(views(el)).toBe(1);
    expect(text(el, ".dw-name")).toBe("etl");
    expect(text(el, ".dw-connection")).toBe("not connected");
  });

  test("follows the run once it is told where", async () => {
    const cell = new Cell();
    const { el } = cell.render();
    cell.model.tell(ENDPOINT);
    await frame();
    expect(server.last.url).toBe(ENDPOINT.url);
    expect(text(el, ".dw-connection")).toBe("connecting…");
    server.last.greet({ events: [running("a", 1)] });
    expect(server.last.said("hello")[0]?.token).toBe("secret");
    await frame();
    expect(views(el)).toBe(1);
    expect(text(el, ".dw-connection")).toBe("live");
    expect(text(el, ".dw-word")).toBe("Running");
    server.last.say({ type: "execution_complete", results: null, seq: 2 });
    await frame();
    expect(text(el, ".dw-word")).toBe("Completed");
  });

  test("says that there is no run yet, rather than to catch up for ever", async () => {
    const cell = new Cell();
    const { el } = cell.render();
    cell.model.tell(ENDPOINT);
    await frame();
    server.last.greet({ epoch: "" });
    await frame();
    expect(text(el, ".dw-connection")).toBe("live");
    expect(text(el, ".dw-word")).toBe("No run yet");
    expect(text(el, ".dw-happened")).toBe("Connected. Waiting for the first run of etl.");
    server.last.sync({ epoch: "first", events: [running("a", 1)] });
    await frame();
    expect(text(el, ".dw-word")).toBe("Running");
    expect(viewIn(el).querySelector<HTMLElement>(".dw-placeholder")!.hidden).toBe(true);
  });

  test("says that the kernel was restarted, and keeps the picture", async () => {
    const cell = new Cell();
    const { el } = cell.render();
    cell.model.tell(ENDPOINT);
    await frame();
    server.last.greet({ events: [running("a", 1)] });
    await frame();
    cell.model.emit("comm_live_update");
    await frame();
    expect(text(el, ".dw-connection-text")).toBe("the kernel was restarted");
    expect(text(el, ".dw-notice")).toBe("The kernel was restarted. Run this cell again to reconnect.");
    expect(text(el, ".dw-counts li:not([hidden])")).toBe("1 running");
  });

  test("says so also where the kernel had not answered yet", async () => {
    const cell = new Cell();
    const { el } = cell.render();
    expect(text(el, ".dw-happened")).toBe("Waiting for the kernel.");
    cell.model.emit("comm_live_update");
    await frame();
    expect(text(el, ".dw-connection")).toBe("the kernel was restarted");
    expect(text(el, ".dw-happened")).toBe("The kernel was restarted.");
  });

  test("draws a saved picture while nothing live is there", async () => {
    const cell = new Cell({ snapshot: SNAPSHOT });
    const { el } = cell.render();
    expect(text(el, ".dw-connection")).toBe("saved snapshot · not connected");
    expect(text(el, ".dw-word")).toBe("Completed");
    expect(text(el, ".dw-counts li:not([hidden])")).toBe("2 completed");
    cell.model.tell(ENDPOINT);
    await frame();
    expect(text(el, ".dw-connection")).toBe("saved snapshot · connecting…");
    expect(text(el, ".dw-word")).toBe("Completed");
    server.last.greet({ events: [running("a", 1)] });
    await frame();
    expect(text(el, ".dw-connection")).toBe("live");
    expect(text(el, ".dw-word")).toBe("Running");
    expect(text(el, ".dw-counts li:not([hidden])")).toBe("1 running");
  });

  test.each([[{}], [undefined]])("takes %j for no picture", (snapshot) => {
    const { el } = new Cell({ snapshot }).render();
    expect(text(el, ".dw-connection")).toBe("not connected");
  });

  test("says in words why it can't follow the run", async () => {
    const cell = new Cell({ snapshot: SNAPSHOT });
    const { el } = cell.render();
    cell.model.tell({ type: "fault", reason: "no server could be started: port in use" });
    await frame();
    expect(views(el)).toBe(1);
    expect(text(el, ".dw-connection")).toBe("saved snapshot · not connected: no server could be started: port in use");
    expect(text(el, ".dw-word")).toBe("Completed");
  });

  test("says so also in a view that comes later", () => {
    const cell = new Cell();
    cell.model.tell({ type: "fault", reason: "no server" });
    expect(text(cell.render().el, ".dw-connection")).toBe("not connected: no server");
  });

  test("draws the graph before the details are there, and them as soon as they are", async () => {
    let loaded = (_: typeof mountDetails) => {};
    const make = vi.fn(() => new Promise<typeof mountDetails>((resolve) => (loaded = resolve)));
    const cell = new Cell({ _details: "export default …" }, make);
    const { el } = cell.render();
    cell.model.tell(ENDPOINT);
    await frame();
    server.last.greet({ events: [running("a", 1)] });
    await frame();
    expect(text(el, ".dw-counts li:not([hidden])")).toBe("1 running");
    expect(viewIn(el).querySelector(".dw-timeline")).toBeNull();
    loaded(mountDetails);
    await frame();
    expect(viewIn(el).querySelector(".dw-timeline")).not.toBeNull();
    expect(make.mock.calls).toEqual([["export default …"]]);
  });

  test("says so where the details can't be loaded", async () => {
    vi.spyOn(console, "error");
    const { el } = new Cell({}, async () => {
      throw new Error("blob: is refused");
    }).render();
    await frame();
    expect(text(el, ".dw-tabs [role=alert]")).toBe(
      "Could not load the panels around the graph: Error: blob: is refused. Reload the page.",
    );
  });

  test("draws no details into a view that is gone", async () => {
    let loaded = (_: typeof mountDetails) => {};
    const mount = vi.fn(mountDetails);
    const { close } = new Cell({}, () => new Promise((resolve) => (loaded = resolve))).render();
    close();
    loaded(mount);
    await frame();
    expect(mount).not.toHaveBeenCalled();
  });

  test("has one connection for all of its views", async () => {
    const cell = new Cell();
    const one = cell.render();
    cell.model.tell(ENDPOINT);
    const two = cell.render();
    await frame();
    server.last.greet({ events: [running("a", 1)] });
    await frame();
    expect(server.sockets).toHaveLength(1);
    for (const { el } of [one, two]) expect(text(el, ".dw-word")).toBe("Running");
  });

  test("has one connection for all cells that follow the same run", async () => {
    const cells = [new Cell(), new Cell()];
    const views = cells.map((cell) => cell.render());
    for (const cell of cells) cell.model.tell(ENDPOINT);
    await frame();
    server.last.greet({ events: [running("a", 1)] });
    await frame();
    expect(server.sockets).toHaveLength(1);
    for (const { el } of views) expect(text(el, ".dw-word")).toBe("Running");
    cells[0]?.close();
    expect(server.last.closed).toBe(false);
    cells[1]?.close();
    expect(server.last.closed).toBe(true);
  });

  test("a view that is closed leaves nothing, and the others their connection", async () => {
    const cell = new Cell();
    cell.model.tell(ENDPOINT);
    const [one, two] = [cell.render(), cell.render()];
    await frame();
    server.last.greet();
    one.close();
    expect(one.el.childElementCount).toBe(0);
    server.last.say(running("a", 1));
    await frame();
    expect(text(two.el, ".dw-word")).toBe("Running");
    cell.model.tell({ type: "fault", reason: "too late" });
    expect(one.el.childElementCount).toBe(0);
  });

  test("a connection that nobody looks at any more is not tried for ever", async () => {
    const cell = new Cell();
    const view = cell.render();
    cell.model.tell(ENDPOINT);
    await frame();
    const attempts = async (minutes: number) => {
      const before = server.sockets.length;
      for (let second = 0; second < minutes * 60; second++) {
        server.refuse();
        await vi.advanceTimersByTimeAsync(1_000);
      }
      return server.sockets.length - before;
    };
    expect(await attempts(5)).toBeGreaterThan(10);
    view.close();
    await attempts(2);
    expect(await attempts(5)).toBe(0);
    cell.render();
    await frame();
    // It may have moved, so the kernel was asked; that one does not answer, so it is tried where it was.
    await vi.advanceTimersByTimeAsync(1_500);
    expect(server.last.connecting).toBe(true);
  });

  test("a decision is sent, and shown as taken only when the server says so", async () => {
    const cell = new Cell();
    const { el } = cell.render();
    cell.model.tell(ENDPOINT);
    await frame();
    const gate: Event = {
      type: "human_gate_waiting",
      node_id: "a",
      gate_id: "g",
      presentation: { title: "Ship?" },
      seq: 1,
    };
    server.last.greet({ events: [gate] });
    await frame();
    expect(text(el, ".dw-gates")).toContain("Ship?");
    const approve = [...viewIn(el).querySelectorAll<HTMLButtonElement>(".dw-gates button")].find((button) =>
      button.textContent?.includes("Approve"),
    );
    approve?.click();
    expect(server.last.said("human_decision")).toMatchObject([{ node_id: "a", gate_id: "g", decision: "approve" }]);
    await frame();
    expect(text(el, ".dw-gates")).not.toMatch(/approved/i);
    expect(text(el, ".dw-word")).toBe("Waiting for you");
    // Its cell is not left with a decision that nobody answers.
    const [{ id } = { id: "" }] = server.last.said("human_decision");
    server.last.say({ type: "command_ack", id, ok: true });
  });

  test("closed, it leaves no connection and no timer", async () => {
    const cell = new Cell();
    const view = cell.render();
    cell.model.tell(ENDPOINT);
    await frame();
    server.last.greet({ events: [running("a", 1)] });
    await frame();
    view.close();
    cell.close();
    expect(server.last.closed).toBe(true);
    expect(views(document)).toBe(0);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(vi.getTimerCount()).toBe(0);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(server.sockets).toHaveLength(1);
  });
});
