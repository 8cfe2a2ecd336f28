// @vitest-environment jsdom
// What a person picks in one view is that view's; what the kernel follows is everybody's.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Event, RunSummary } from "../../src/protocol/messages";
import { mountDetails } from "../../src/view/details";
import type { Cleanup, Widget } from "../../src/widget/anywidget";
import { createWidget } from "../../src/widget/widget";
import { FakeModel, FakeServer, type FakeSocket } from "../fake-server";

// Several views take their time in jsdom, on a machine that has other things to do.
vi.setConfig({ testTimeout: 60_000 });

// jsdom lays nothing out and has no canvas.
class Observer {
  observe(): void {}
  disconnect(): void {}
}

const ENDPOINT = { type: "endpoint", url: "ws://server/api/dags/d/stream", token: "secret" };
const START = Date.UTC(2026, 10, 23, 12);

let server: FakeServer;
let cleanups: (Cleanup | undefined)[];

beforeEach(() => {
  vi.useFakeTimers({ now: START });
  server = new FakeServer();
  cleanups = [];
  vi.stubGlobal("WebSocket", server.WebSocket);
  vi.stubGlobal("ResizeObserver", Observer);
  vi.stubGlobal("IntersectionObserver", Observer);
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
});

afterEach(() => {
  for (const cleanup of cleanups.reverse()) cleanup?.();
  document.body.replaceChildren();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const frame = () => vi.advanceTimersByTimeAsync(50);

const gate = (title: string): Event => ({
  type: "human_gate_waiting",
  node_id: "review",
  gate_id: "review:1",
  presentation: { title },
  seq: 1,
});
const run = (run_id: string, minutes: number): RunSummary => ({
  run_id,
  status: "running",
  engine: "connected",
  started_at: START - minutes * 60_000,
});
const RUNS = [run("b", 1), run("a", 2)];

/** Bring a connection into step with a run, which is at a gate of the same name as every other. */
function greet(socket: FakeSocket, epoch: string): void {
  if (socket.connecting) socket.accept();
  socket.welcome({ epoch, features: ["runs", "engine", "lost"] });
  socket.sync({ epoch, events: [gate(`Ship ${epoch}?`)] });
  socket.say({ type: "runs", total: 2, live: 2, waiting: 2, runs: RUNS });
}

class Cell {
  readonly widget: Widget = createWidget(async () => mountDetails);
  readonly model = new FakeModel({ dag_id: "etl", snapshot: {} });

  constructor(kernel?: object) {
    this.model.widget_manager = kernel;
    cleanups.push(this.widget.initialize({ model: this.model }));
    this.model.tell(ENDPOINT);
  }

  view(): View {
    const el = document.createElement("div");
    document.body.append(el);
    cleanups.push(this.widget.render({ model: this.model, el }));
    return new View(el);
  }
}

class View {
  constructor(readonly el: HTMLElement) {}

  get tree(): ParentNode {
    return this.el.querySelector("[data-lm-suppress-shortcuts]")?.shadowRoot ?? this.el;
  }

  get gate(): string {
    return this.tree.querySelector(".dw-gate h3")?.textContent ?? "";
  }

  get line(): string {
    return this.tree.querySelector(".dw-runs-open")?.textContent ?? "";
  }

  pick(id: string): void {
    this.tree.querySelector<HTMLElement>(".dw-runs-open")!.click();
    this.tree.querySelector<HTMLElement>(`[role=option][data-run="${id}"]`)!.click();
  }

  press(name: string): void {
    [...this.tree.querySelectorAll("button")]
      .find((one) => one.textContent === name && !one.closest("[hidden]"))!
      .click();
  }
}

/** Two views of one cell and one of another, all at the run `a`. */
async function watching(): Promise<{ cells: Cell[]; views: View[]; shared: FakeSocket }> {
  const cells = [new Cell(), new Cell()];
  const views = [cells[0]!.view(), cells[0]!.view(), cells[1]!.view()];
  await frame();
  greet(server.last, "a");
  await frame();
  expect(server.sockets).toHaveLength(1);
  expect(views.map((view) => view.gate)).toEqual(["Ship a?", "Ship a?", "Ship a?"]);
  return { cells, views, shared: server.last };
}

const gates = (views: readonly View[]) => views.map((view) => view.gate);

describe("a run that is picked in a view", () => {
  test("is shown there, over a connection of its own, and the other views stay", async () => {
    const { views, shared } = await watching();
    views[0]!.pick("b");
    await frame();
    expect(server.last.said("hello")).toEqual([]);
    expect(views[0]!.line).toBe("opening run b…");
    expect(gates(views)).toEqual(["Ship a?", "Ship a?", "Ship a?"]);
    greet(server.last, "b");
    await frame();
    expect(server.last.said("hello")).toMatchObject([{ run: "b" }]);
    expect(gates(views)).toEqual(["Ship b?", "Ship a?", "Ship a?"]);
    expect(views.map((view) => view.line)).toEqual([
      "run 2 of 2 · 2 live · 2 decisions wait elsewhere",
      "run 1 of 2 · 2 live · 2 decisions wait elsewhere",
      "run 1 of 2 · 2 live · 2 decisions wait elsewhere",
    ]);
    expect(shared.said("hello")).toHaveLength(1);
  });

  test("shares its connection with every view in which it is picked, and closes it with the last", async () => {
    const { views } = await watching();
    views[0]!.pick("b");
    await frame();
    greet(server.last, "b");
    views[2]!.pick("b");
    await frame();
    expect(gates(views)).toEqual(["Ship b?", "Ship a?", "Ship b?"]);
    expect(server.sockets).toHaveLength(2);
    for (const view of [views[0]!, views[2]!]) {
      expect(server.last.closed).toBe(false);
      view.pick("");
      await frame();
      greet(server.sockets[2]!, "b");
      await frame();
    }
    // The newest is followed from there on: that is another stream than one which stays at it.
    expect(server.sockets[1]!.closed).toBe(true);
    expect(server.sockets[2]!.said("hello")).toMatchObject([{ run: "b", follow: true }]);
  });

  test("takes decisions for itself, whatever the others show", async () => {
    const { views, shared } = await watching();
    views[0]!.pick("b");
    await frame();
    greet(server.last, "b");
    await frame();
    views[0]!.press("Approve");
    views[1]!.press("Reject");
    expect(server.last.said("human_decision")).toMatchObject([{ run_id: "b", decision: "approve" }]);
    expect(shared.said("human_decision")).toMatchObject([{ run_id: "a", decision: "reject" }]);
    for (const [socket] of [[server.last], [shared]] as const) {
      for (const { id } of socket.said("human_decision")) socket.say({ type: "command_ack", id, ok: true });
    }
  });

  test("stays while the kernel begins another, and gives way where Python picks one", async () => {
    const { cells, views, shared } = await watching();
    views[0]!.pick("b");
    await frame();
    greet(server.last, "b");
    for (const cell of cells) cell.model.tell({ type: "follow", run: "c", pin: false });
    greet(shared, "c");
    await frame();
    expect(shared.said("hello").map(({ run }) => run)).toEqual([undefined, "c"]);
    expect(gates(views)).toEqual(["Ship b?", "Ship c?", "Ship c?"]);
    cells[0]!.model.tell({ type: "follow", run: null, pin: false, all: true });
    await frame();
    expect(gates(views)).toEqual(["Ship c?", "Ship c?", "Ship c?"]);
    cells[0]!.model.tell({ type: "follow", run: "d", pin: true, all: true });
    await frame();
    greet(server.last, "d");
    await frame();
    expect(gates(views)).toEqual(["Ship d?", "Ship d?", "Ship c?"]);
  });

  test("is asked of the kernel for its outputs", async () => {
    const { cells, views } = await watching();
    views[0]!.pick("b");
    await frame();
    const output: Event = {
      type: "node_state",
      node_id: "n",
      status: "completed",
      output: "1…",
      output_bytes: 9,
      seq: 1,
    };
    server.last.accept();
    server.last.welcome({ epoch: "b" });
    server.last.sync({ epoch: "b", events: [output] });
    await frame();
    views[0]!.tree.querySelector<HTMLElement>(".dw-outline button")!.click();
    await frame();
    const enter = new KeyboardEvent("keydown", { key: "Enter", bubbles: true });
    views[0]!.tree.querySelector("[role=treeitem]")!.dispatchEvent(enter);
    await frame();
    views[0]!.press("Show all");
    expect(cells[0]!.model.sent.filter(({ type }) => type === "output?")).toEqual([
      { type: "output?", node_id: "n", run: "b" },
    ]);
  });

  test("leaves the view as it was: no more than the run is another one", async () => {
    const { views } = await watching();
    const root = views[0]!.tree.querySelector(".dw-shell");
    views[0]!.press("Timeline");
    views[0]!.pick("b");
    await frame();
    greet(server.last, "b");
    await frame();
    expect(views[0]!.gate).toBe("Ship b?");
    expect(views[0]!.tree.querySelector(".dw-shell")).toBe(root);
    expect(views[0]!.tree.querySelector<HTMLElement>(".dw-graph")!.hidden).toBe(true);
  });
});

test("a run that the kernel of another notebook begins moves no view of this one", async () => {
  const cells = [new Cell({}), new Cell({})];
  const views = cells.map((cell) => cell.view());
  await frame();
  for (const socket of server.sockets) greet(socket, "a");
  cells[1]!.model.tell({ type: "follow", run: "b", pin: false });
  await frame();
  greet(server.sockets.at(-1)!, "b");
  await frame();
  expect(gates(views)).toEqual(["Ship a?", "Ship b?"]);
});
