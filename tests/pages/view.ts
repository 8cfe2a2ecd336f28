// A page to look at the view: `?state=running&theme=dark&width=900&select=plan`. The states are made here, nothing is connected.
// Bundle it with js/build.mjs's settings next to view.html; `window.page` lets a script push changes.

import type { Engine, Event, HumanDecision, RunSummary } from "../../js/src/protocol/messages";
import type { Change, DagState, Edge, Node, NodeStatus } from "../../js/src/state/types";
import type { Ack, Connection, Pending, RunList, Wanted } from "../../js/src/stream/stream";
import { mountDetails } from "../../js/src/view/details";
import type { Draw } from "../../js/src/view/panel";
import { mountView } from "../../js/src/view/view";

const NOW = Date.now();

function empty(): DagState {
  return { seq: 0, status: "pending", nodes: new Map(), edges: new Map(), gates: new Map(), decisions: [], errors: [] };
}

function node(state: DagState, id: string, status: NodeStatus = "pending", more: Partial<Node> = {}): void {
  state.nodes.set(id, { id, status, ...more });
}

function edge(state: DagState, from: string, to: string, more: Partial<Edge> = {}): void {
  const sources = state.edges.get(to) ?? new Map<string, Edge>();
  sources.set(from, { active: false, taken: false, ...more });
  state.edges.set(to, sources);
}

const done = (ms: number, cost?: number): Partial<Node> => ({
  started_at: NOW - 60_000,
  ended_at: NOW - 60_000 + ms,
  metrics: {
    duration_ms: ms,
    ...(cost === undefined ? {} : { cost, tokens_in: 1842, tokens_out: 311, model: "gpt-5-mini" }),
  },
});

/** An agent's graph: a loop, a conditional edge, a fan-out, a group and a gate. */
function agent(): DagState {
  const state = empty();
  Object.assign(state, { epoch: "e1", seq: 120, status: "running", started_at: NOW - 74_000 });
  state.capabilities = { pause: "cooperative", cancel: "native", gate: "native" };
  node(state, "start", "completed", { label: "__start__", ...done(2) });
  node(state, "plan", "completed", {
    label: "plan",
    kind: "llm",
    attempt: 2,
    output: { steps: ["search", "read", "write"], depth: 2 },
    ...done(4210, 0.0123),
  });
  node(state, "search", "completed", { label: "search the web", group: "research", ...done(1980, 0.0004) });
  node(state, "read", "running", {
    label: "read sources",
    group: "research",
    started_at: NOW - 12_000,
    counts: { completed: 46, failed: 1, running: 3 },
    instances: Object.fromEntries(
      Array.from({ length: 50 }, (_, i) => [
        `source-${i + 1}`,
        {
          status: i === 7 ? "failed" : i > 46 ? "running" : "completed",
          started_at: NOW - 9000,
          ended_at: i > 46 ? undefined : NOW - 8000 + i * 31,
          error: i === 7 ? "HTTPError: 503 from example.org" : undefined,
        },
      ]),
    ),
  });
  node(state, "rank", "running", {
    label: "rank",
    group: "research",
    started_at: NOW - 8000,
    progress: 0.64,
    message: "scored 320 of 500",
  });
  node(state, "write", "pending", { label: "write the draft", kind: "llm", native: "queued" });
  node(state, "tools", "skipped", { label: "tools" });
  node(state, "review", "pending", { label: "human review before publishing it" });
  node(state, "publish", "pending", { label: "publish" });
  node(state, "end", "pending", { label: "__end__" });
  edge(state, "start", "plan", { taken: true });
  edge(state, "plan", "search", { taken: true });
  edge(state, "plan", "tools", { conditional: true, label: "needs tools" });
  edge(state, "search", "read", { active: true, taken: true });
  edge(state, "search", "rank", { active: true, taken: true });
  edge(state, "read", "write");
  edge(state, "rank", "write");
  edge(state, "tools", "write", { conditional: true });
  edge(state, "write", "review");
  edge(state, "review", "plan", { conditional: true, label: "revise" });
  edge(state, "review", "publish", { conditional: true, label: "approved" });
  edge(state, "publish", "end");
  state.cost = {
    spent: 0.0127,
    budget: 0.5,
    remaining: 0.4873,
    currency: "USD",
    tokens: 6402,
    by_node: { plan: 0.0123, search: 0.0004 },
  };
  return state;
}

function settle(state: DagState, ids: string[]): void {
  for (const id of ids) {
    const {
      counts: _counts,
      instances: _instances,
      progress: _progress,
      message: _message,
      native: _native,
      ...rest
    } = state.nodes.get(id)!;
    state.nodes.set(id, { ...rest, status: "completed", ...done(3120 + id.length * 170, 0.002 * id.length) });
  }
  for (const [target, sources] of state.edges) {
    for (const [source, value] of sources) {
      const taken = state.nodes.get(target)!.status === "completed" && state.nodes.get(source)!.status === "completed";
      sources.set(source, { ...value, active: false, taken: value.taken || taken });
    }
  }
}

function gated(two: boolean): DagState {
  const state = agent();
  settle(state, ["read", "rank", "write"]);
  node(state, "review", "waiting", { label: "human review before publishing it", started_at: NOW - 30_000 });
  state.edges.get("review")!.set("write", { active: true, taken: true });
  state.gates.set("review:1", {
    gate_id: "review:1",
    node_id: "review",
    opened_at: NOW - 30_000,
    presentation: {
      title: "Publish this summary?",
      body: "The agent wrote **1,204 words** from *46 sources*. Check that\n\n- the figures are those of `report.csv`,\n- nothing is quoted without [its source](https://example.org).\n\n<script>alert(1)</script>",
      data: { title: "Quarterly report", words: 1204, sources: 46, tags: ["finance", "q3"] },
      deadline: NOW + 272_000,
      on_timeout: "reject",
      assignees: ["ann", "the editors"],
    },
  });
  if (two) {
    node(state, "tools", "waiting", { label: "tools" });
    state.gates.set("tools:1", {
      gate_id: "tools:1",
      node_id: "tools",
      opened_at: NOW - 211_000,
      presentation: {
        title: "Run delete_rows on production?",
        body: "Choose where it runs.",
        options: ["staging", "production", { label: "nowhere", value: null }],
        allowed: ["approve", "reject"],
        deadline: NOW + 41_000,
        on_timeout: "fail",
      },
    });
  }
  state.cost = {
    spent: 0.412,
    budget: 0.5,
    remaining: 0.088,
    currency: "USD",
    tokens: 91_402,
    unpriced: 12_900,
    by_node: { plan: 0.0123 },
  };
  return state;
}

function failed(): DagState {
  const state = agent();
  settle(state, ["read", "rank"]);
  node(state, "write", "failed", {
    label: "write the draft",
    attempt: 3,
    started_at: NOW - 30_000,
    ended_at: NOW - 21_000,
    native: "retries_exhausted",
    error:
      'RateLimitError: too many requests, try again in 20 s\nTraceback (most recent call last):\n  File "agent.py", line 84, in write\n    return await model.ainvoke(messages)\n  File "client.py", line 311, in ainvoke\n    raise RateLimitError(response)',
    logs: ["attempt 1 of 3", "attempt 2 of 3", "attempt 3 of 3: giving up"],
  });
  for (const id of ["review", "publish", "end"])
    node(state, id, id === "review" ? "failed" : "cancelled", {
      label: state.nodes.get(id)!.label,
      ...(id === "review" ? { reason: "upstream", native: "upstream_failed" } : {}),
    });
  Object.assign(state, { status: "failed", ended_at: NOW - 20_000 });
  state.errors = [
    {
      message: "RateLimitError: too many requests, try again in 20 s",
      node_id: "write",
      code: "429",
      at: NOW - 21_000,
    },
  ];
  return state;
}

function complete(): DagState {
  const state = agent();
  settle(state, ["read", "rank", "write", "review", "publish", "end"]);
  Object.assign(state, { status: "completed", ended_at: NOW - 4000 });
  state.results = {
    summary: "Revenue grew by 12 % over the quarter, driven by renewals.",
    words: 1204,
    sources: ["https://example.org/a", "https://example.org/b"],
    approved_by: "ann",
    published: true,
  };
  state.cost = { ...state.cost!, spent: 0.2184, remaining: 0.2816, tokens: 48_120 };
  return state;
}

/** A pipeline whose nodes put out a table, a plot, a tree, and text. */
function values(): DagState {
  const state = empty();
  Object.assign(state, { epoch: "e1", seq: 40, status: "completed", started_at: NOW - 9000, ended_at: NOW - 1000 });
  const rows = Array.from({ length: 120 }, (_, i) => ({
    region: ["north", "south", "east", "west"][i % 4]!,
    month: `2026-${String((i % 12) + 1).padStart(2, "0")}`,
    revenue: 1200 + i * 37.5,
    orders: 40 + i,
    note: i % 7 === 0 ? "includes a correction of last month" : null,
  }));
  const plot = document.createElement("canvas");
  [plot.width, plot.height] = [480, 260];
  const ctx = plot.getContext("2d")!;
  ctx.fillStyle = "#1f5fe0";
  for (let i = 0; i < 12; i++) ctx.fillRect(20 + i * 38, 240 - i * 17 - (i % 3) * 12, 26, i * 17 + (i % 3) * 12);
  const png = plot.toDataURL("image/png").split(",")[1]!;
  const report = {
    model: "gbm-7",
    score: 0.9341,
    features: ["region", "month", "orders"],
    parameters: { depth: 6, rate: 0.05, early_stop: null, monotone: false },
    folds: rows.slice(0, 5).map(({ month, orders }, i) => ({ fold: i + 1, month, rows: orders, auc: 0.92 + i / 300 })),
    importances: Array.from({ length: 12_000 }, (_, i) => Math.round(1e6 / (i + 1)) / 1e6),
    summary: "Trained on 120 rows.\nThe last fold is the best one.",
  };
  node(state, "load", "completed", { label: "load sales", output: rows, ...done(820) });
  node(state, "plot", "completed", { output: { "image/png": png, "text/plain": "<Figure 480 × 260>" }, ...done(310) });
  node(state, "train", "completed", { label: "train", output: report, ...done(4100), logs: ["epoch 1", "epoch 2"] });
  node(state, "write", "completed", {
    label: "write the summary",
    output: "Revenue grew in every region.\n\nThe north leads; the correction of last month is included.",
    ...done(95),
  });
  edge(state, "load", "plot", { taken: true });
  edge(state, "load", "train", { taken: true });
  edge(state, "train", "write", { taken: true });
  state.results = report;
  return state;
}

/** `n` nodes in layers, each fed by one or two of the layer before; the same at every call. */
function large(n: number): DagState {
  const state = empty();
  Object.assign(state, { epoch: "e1", seq: n, status: "running", started_at: NOW - 740_000 });
  const width = Math.ceil(Math.sqrt(n));
  let seed = 7;
  const random = () => {
    seed = (seed * 16807) % 2147483647;
    return seed / 2147483647;
  };
  for (let i = 0; i < n; i++) {
    const layer = Math.floor(i / width);
    const roll = random();
    const frontier = layer / (n / width);
    const status: NodeStatus =
      frontier < 0.5
        ? roll < 0.01
          ? "failed"
          : roll < 0.03
            ? "skipped"
            : "completed"
        : frontier < 0.6
          ? roll < 0.5
            ? "running"
            : roll < 0.505
              ? "waiting"
              : "completed"
          : "pending";
    node(state, `task-${i}`, status, {
      label: `task ${i}`,
      started_at: status === "pending" ? undefined : NOW - 20_000,
      ...(status === "completed" ? done(900 + i) : {}),
    });
    if (layer === 0) continue;
    for (let k = 0; k < (roll < 0.4 ? 2 : 1); k++) {
      const from =
        (layer - 1) * width + Math.min(width - 1, Math.max(0, (i % width) + Math.round((random() - 0.5) * 6)));
      edge(state, `task-${from}`, `task-${i}`, { taken: status !== "pending", active: status === "running" });
    }
  }
  state.cost = { spent: 3.2, currency: "USD", tokens: 1_204_000 };
  return state;
}

/** A fan of 5,000 chains among groups, as a data pipeline has them. */
function fan(): DagState {
  const state = empty();
  Object.assign(state, { epoch: "e1", seq: 1, status: "running", started_at: NOW - 300_000 });
  node(state, "list", "completed", { label: "list files", ...done(1200) });
  node(state, "schema", "completed", { label: "read schema", group: "prepare", ...done(300) });
  node(state, "checks", "completed", { label: "check rows", group: "prepare/checks", ...done(640) });
  node(state, "types", "running", { label: "infer types", group: "prepare/checks", started_at: NOW - 9000 });
  node(state, "merge", "pending", { label: "merge" });
  node(state, "report", "pending", { label: "report" });
  edge(state, "list", "schema", { taken: true });
  edge(state, "schema", "checks", { taken: true });
  edge(state, "schema", "types", { taken: true, active: true });
  edge(state, "checks", "merge");
  edge(state, "types", "merge");
  edge(state, "merge", "report");
  const spent: Record<string, number> = {};
  for (let i = 1; i <= 5000; i++) {
    const status: NodeStatus = i <= 3105 ? (i % 701 === 0 ? "failed" : "completed") : i <= 3137 ? "running" : "pending";
    const loaded: NodeStatus = i <= 3900 ? "completed" : "pending";
    node(state, `load-${i}`, loaded, {
      label: `load part ${i}`,
      ...(loaded === "pending" ? {} : done(2000 + (i % 90))),
    });
    node(state, `map-${i}`, status, {
      label: `map ${i}`,
      started_at: status === "pending" ? undefined : NOW - 30_000,
      ...(status === "completed" ? done(1500 + (i % 70)) : {}),
      ...(status === "failed" ? { error: "ValueError: row 17 has 9 columns, not 8" } : {}),
    });
    spent[`map-${i}`] = 0.0002;
    edge(state, "list", `load-${i}`, { taken: loaded === "completed" });
    edge(state, `load-${i}`, `map-${i}`, { taken: status !== "pending", active: status === "running" });
    edge(state, `map-${i}`, "merge");
  }
  state.cost = { spent: 0.62, budget: 2, remaining: 1.38, currency: "USD", by_node: spent };
  return state;
}

/** A log that adds up to about `state`: what its nodes say of when they began and ended. */
function logOf(state: DagState): Event[] {
  const nodes = [...state.nodes.values()];
  const begun = state.started_at ?? NOW;
  const edges = [...state.edges].flatMap(([to, sources]) =>
    [...sources].map(([from, edge]) => ({ ...edge, from, to })),
  );
  const events: object[] = [
    { type: "execution_state", status: "running", capabilities: state.capabilities, ts: begun },
    {
      type: "dag_mutated",
      mutation: {
        add_nodes: nodes.map(({ id, label, kind, group }) => ({ id, label, kind, group })),
        add_edges: edges,
      },
      ts: begun,
    },
  ];
  for (const [
    i,
    { id, status, started_at, ended_at, instances: _, counts: __, logs: ___, ...more },
  ] of nodes.entries()) {
    const at = begun + (60_000 * (i + 1)) / (nodes.length + 1);
    if (status === "pending") continue;
    events.push({ type: "node_state", node_id: id, status: "running", ts: at });
    const ended = at + (ended_at !== undefined && started_at !== undefined ? ended_at - started_at : 1000);
    if (status !== "running" && status !== "waiting")
      events.push({ type: "node_state", ...more, node_id: id, status, ts: ended });
  }
  for (const { gate_id, node_id, presentation } of state.gates.values())
    events.push({ type: "human_gate_waiting", gate_id, node_id, presentation, ts: begun + 62_000 });
  if (state.cost) events.push({ type: "cost_update", ...state.cost, ts: begun + 40_000 });
  if (state.ended_at)
    events.push({ type: "execution_complete", status: state.status, results: state.results, ts: state.ended_at });
  const sorted = (events as Event[]).sort((a, b) => a.ts! - b.ts!);
  return sorted.map((event, i) => ({ ...event, seq: i + 1 }));
}

const summary = (run_id: string, minutes: number, more: Partial<RunSummary> = {}): RunSummary => ({
  run_id,
  status: "completed",
  started_at: NOW - minutes * 60_000,
  ended_at: NOW - minutes * 60_000 + 74_000 + minutes * 700,
  engine: "ended",
  ...more,
});

/** The runs of a DAG of which `e1` is shown: two live, one that waits, one whose engine is gone. */
function runs(): RunList {
  const live = { status: "running", ended_at: undefined, engine: "connected" } as const;
  const past = Array.from({ length: 7 }, (_, i) =>
    summary(`0b5f2c${i}e-run`, 180 + i * 211, i === 2 ? { status: "failed" } : {}),
  );
  return {
    total: 12,
    live: 2,
    waiting: 2,
    runs: [
      summary("5cf1a7d2-9e41", 1, { ...live, name: "v8" }),
      summary("e1", 74 / 60, { ...live, name: "v7 with the new prompt", gates: 1 }),
      summary("3d21b0aa-77c2", 22, { ...live, name: "v6", engine: "gone", gates: 1 }),
      summary("91ab33f0-12d8", 95, { status: "cancelled" }),
      summary("c0ffee12-83e1", 130, { ...live, status: "lost", engine: "gone" }),
      ...past,
    ],
  };
}

const gone = (minutes: number): Engine => ({ type: "engine", state: "gone", since: NOW - minutes * 60_000 });

const LIVE: Connection = { phase: "live", attempt: 1, resumable: true, role: "operate", seenAt: NOW };
interface Shown {
  state: DagState;
  connection?: Connection;
  select?: string;
  engine?: Engine;
  runs?: RunList;
  following?: boolean;
}
const STATES: Record<string, () => Shown> = {
  empty: () => ({ state: empty() }),
  running: () => ({ state: agent(), select: "plan" }),
  instances: () => ({ state: agent(), select: "read" }),
  plain: () => ({ state: agent(), connection: { ...LIVE, resumable: false } }),
  gate: () => ({ state: gated(false) }),
  gates: () => ({ state: gated(true) }),
  failed: () => ({ state: failed(), select: "write" }),
  complete: () => ({ state: complete() }),
  values: () => ({ state: values() }),
  stale: () => ({
    state: agent(),
    connection: {
      ...LIVE,
      phase: "waiting",
      attempt: 4,
      retryAt: NOW + 4500,
      seenAt: NOW - 40_000,
      code: 1006,
      reason: "",
    },
  }),
  refused: () => ({
    state: agent(),
    connection: {
      ...LIVE,
      phase: "stopped",
      code: 4401,
      seenAt: NOW - 8000,
      reason: "the token is missing or wrong",
      url: "ws://127.0.0.1:8765/api/dags/agent/stream",
    },
  }),
  viewer: () => ({ state: gated(false), connection: { ...LIVE, role: "view" } }),
  over: () => {
    const state = agent();
    state.capabilities = { pause: "none", cancel: "cooperative", gate: "native" };
    state.cost = { spent: 0.5312, budget: 0.5, remaining: -0.0312, currency: "USD", tokens: 212_000 };
    return { state };
  },
  runs: () => ({ state: gated(false), runs: runs() }),
  past: () => {
    const state = failed();
    state.epoch = "0b5f2c2e-run";
    return { state, runs: runs(), following: false };
  },
  gone: () => ({ state: agent(), engine: gone(1), runs: runs() }),
  "gone at a gate": () => ({ state: gated(false), engine: gone(0.25) }),
  lost: () => {
    const state = gated(false);
    Object.assign(state, { status: "lost", started_at: NOW - 1_900_000 });
    return { state, engine: gone(31) };
  },
  cancelling: () => {
    const state = agent();
    Object.assign(state, { status: "cancelling", asked_at: NOW - 40_000 });
    return { state };
  },
  fan: () => ({ state: fan() }),
  n30: () => ({ state: large(30) }),
  n300: () => ({ state: large(300) }),
  n2000: () => {
    const state = large(2000);
    node(state, "task-1100", "waiting", { label: "task 1100", started_at: NOW - 20_000 });
    return { state };
  },
  n10000: () => ({ state: large(10_000) }),
};

const query = new URLSearchParams(location.search);
document.body.dataset.jpThemeLight = String(query.get("theme") !== "dark");
const host = document.getElementById("view")!;
host.style.width = `${query.get("width") ?? 900}px`;
const shown = STATES[query.get("state") ?? "running"]!();
const { state, connection = LIVE, select } = shown;

class Page {
  state = state;
  connection: Connection = connection;
  pending: readonly Pending[] = [];
  engine = shown.engine;
  runs = shown.runs;
  following = shown.following ?? true;
  readonly picked: Wanted[] = [];
  readonly sent: unknown[] = [];
  readonly select = select;
  /** Settles as soon as the graph is laid out. */
  draw: Draw | undefined;
  #stores = new Set<(change: Change) => void>();
  #streams = new Set<() => void>();

  change(change: Partial<Change>): void {
    for (const listener of this.#stores)
      listener({ reset: false, structure: false, nodes: new Set(), edges: false, ...change });
  }

  connect(connection: Partial<Connection>, pending: readonly Pending[] = this.pending): void {
    this.connection = { ...this.connection, ...connection };
    this.pending = pending;
    for (const listener of this.#streams) listener();
  }

  /** Like a socket that is written to and never answers. */
  send(command: HumanDecision): Promise<Ack> {
    this.sent.push(command);
    this.connect({}, [
      ...this.pending,
      { command, state: this.connection.phase === "live" ? "sent" : "queued", since: Date.now() },
    ]);
    return new Promise(() => {});
  }

  store = {
    get state() {
      return page.state;
    },
    subscribe: (listener: (change: Change) => void) => this.#on(this.#stores, listener),
  };
  stream = {
    get connection() {
      return page.connection;
    },
    get engine() {
      return page.engine;
    },
    get following() {
      return page.following;
    },
    get pending() {
      return page.pending;
    },
    get runs() {
      return page.runs;
    },
    send: (command: never) => this.send(command),
    subscribe: (listener: () => void) => this.#on(this.#streams, listener),
  };

  #on<T>(listeners: Set<T>, listener: T): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** Turn `count` nodes over to running or completed, as a busy run does. */
  churn(count: number): void {
    const changed = new Set<string>();
    const ids = [...this.state.nodes.keys()];
    for (let i = 0; i < count; i++) {
      const id = ids[Math.floor(Math.random() * ids.length)]!;
      const before = this.state.nodes.get(id)!;
      this.state.nodes.set(id, { ...before, status: before.status === "running" ? "completed" : "running" });
      changed.add(id);
    }
    this.change({ nodes: changed });
  }

  addNode(id: string, after: string): void {
    node(this.state, id, "running", { label: id });
    edge(this.state, after, id, { active: true, taken: true });
    this.change({ structure: true, nodes: new Set([id]), edges: true });
  }
}

// The canvas measures words with what there is, so the fonts come first.
await Promise.all([...document.fonts].map((font) => font.load()));

const page = new Page();
const unmount = mountView(host, {
  details: mountDetails,
  store: page.store,
  stream: page.stream,
  offer: (draw) => {
    page.draw = draw;
    return () => {};
  },
  log: async (_run, after) => {
    const events = logOf(page.state).slice(after);
    return { after, head: after + events.length, events, size: 0 };
  },
  pick: (wanted) => page.picked.push(wanted) > 0,
  dagId: query.get("state") === "empty" ? "quickstart" : "research-agent",
});
Object.assign(window, { page, unmount });

const chosen = query.get("select");
if (chosen) {
  const view = host.querySelector("[data-lm-suppress-shortcuts]")!.shadowRoot!;
  view.querySelector<HTMLElement>(".dw-outline button")!.click();
  const item = view.querySelector<HTMLElement>(`[data-node="${chosen}"]`)!;
  item.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
  (view.activeElement as HTMLElement).blur();
}
