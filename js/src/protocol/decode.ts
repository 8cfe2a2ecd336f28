// What a server says, checked as far as the reducer relies on it. A plain server may be anybody's, and may say anything.

import type { Engine, Event, ExecutionComplete, ExecutionState, NodeState, ServerMessage } from "./messages";

/** What a server says of the connection, not of the run. */
export type ControlMessage = Exclude<ServerMessage, Event>;

/** An event of a type that this version does not know, or a malformed one: its `seq` counts, and nothing else. */
export interface UnknownEvent {
  type: string;
  seq?: number | null;
  ts?: number | null;
}
export type AnyEvent = Event | UnknownEvent;
export type Received = ServerMessage | UnknownEvent;

type Json = Record<string, unknown>;
type Check = (message: Json) => boolean;
/** Each member of a union of names, so that none is forgotten. */
type Every<Name extends string> = Readonly<Record<Name, true>>;

const NODE_STATUSES: Every<NodeState["status"]> = {
  pending: true,
  running: true,
  waiting: true,
  completed: true,
  failed: true,
  skipped: true,
  cancelled: true,
};
const LIVE_STATUSES: Every<ExecutionState["status"]> = {
  running: true,
  pausing: true,
  paused: true,
  resuming: true,
  cancelling: true,
  lost: true,
};
const FINAL_STATUSES: Every<NonNullable<ExecutionComplete["status"]>> = {
  completed: true,
  failed: true,
  cancelled: true,
};
const ENGINE_STATES: Every<Engine["state"]> = {
  connected: true,
  silent: true,
  gone: true,
  ended: true,
  unobserved: true,
};

const EVENTS: Readonly<Record<Event["type"], Check>> = {
  node_state: (event) => isId(event.node_id) && isOneOf(NODE_STATUSES, event.status),
  edge_active: (event) => isId(event.from) && isId(event.to),
  dag_mutated: (event) => isMutation(event.mutation),
  cost_update: (event) => typeof event.spent === "number",
  execution_complete: (event) => event.status == null || isOneOf(FINAL_STATUSES, event.status),
  human_gate_waiting: (event) => isId(event.node_id) && isObject(event.presentation),
  human_gate_resolved: (event) => isId(event.node_id) && isId(event.gate_id),
  error: (event) => typeof event.message === "string",
  execution_state: (event) => isOneOf(LIVE_STATUSES, event.status),
  node_log: (event) => isId(event.node_id) && Array.isArray(event.lines),
};
const CONTROL: Readonly<Record<ControlMessage["type"], Check>> = {
  welcome: (message) => typeof message.protocol === "number" && isObject(message.limits),
  // Without an epoch where the run has not begun.
  sync: (message) =>
    typeof message.epoch === "string" && typeof message.seq === "number" && typeof message.reset === "boolean",
  synced: (message) => typeof message.seq === "number",
  ping: (message) => typeof message.head === "number",
  command_ack: (message) => isId(message.id) && typeof message.ok === "boolean",
  engine: (message) => isOneOf(ENGINE_STATES, message.state),
  runs: (message) =>
    typeof message.total === "number" &&
    typeof message.live === "number" &&
    typeof message.waiting === "number" &&
    Array.isArray(message.runs) &&
    message.runs.every(isRun) &&
    (message.removed == null || Array.isArray(message.removed)),
  bye: (message) => typeof message.code === "number" && typeof message.retry === "boolean",
};

/** Whether it is an event that this version knows, and well-formed: `decode` renames what is not. */
export function isEvent(message: Received): message is Event {
  return Object.hasOwn(EVENTS, message.type);
}

export function isControl(message: Received): message is ControlMessage {
  return Object.hasOwn(CONTROL, message.type);
}

/**
 * The messages of a frame. One that can't be used is given a type that nobody knows: an event then moves the cursor on,
 * is counted, and changes nothing; a plain server's own `welcome` or `ping` is not taken for ours.
 *
 * @throws Error where the frame is not JSON, or holds something other than messages.
 */
export function decode(data: unknown): Received[] {
  if (typeof data !== "string") throw new Error("the server sent a binary frame, expected text");
  const frame = parse(data);
  return (Array.isArray(frame) ? frame : [frame]).map((message) => checked(message, data));
}

/** A part of a run's log: events that follow `after` without a gap, and the seq of the run's newest. */
export interface LogPage {
  after: number;
  head: number;
  events: readonly AnyEvent[];
  /** Characters that it had. */
  size: number;
}

/**
 * A page of a log as it comes over HTTP, its events checked as those of a frame are.
 *
 * @throws Error where it is no such page.
 */
export function decodePage(text: string): LogPage {
  const page = parse(text);
  if (
    !isObject(page) ||
    typeof page.after !== "number" ||
    typeof page.head !== "number" ||
    !Array.isArray(page.events)
  ) {
    throw new Error(`the server sent an invalid log page: ${text.slice(0, 200)}`);
  }
  const events = page.events.map((event: unknown) => checked(event, text));
  return { after: page.after, head: page.head, events, size: text.length };
}

function checked(value: unknown, data: string): Received {
  if (!isTyped(value)) throw new Error(`the server sent a message without a type: ${data.slice(0, 200)}`);
  const message = value as Received;
  if (!isWellFormed(message, value)) message.type = `malformed ${message.type}`;
  return message;
}

/** Whether the fields are as the type wants them; of an unknown type any fields are. */
function isWellFormed(message: Received, fields: Json): boolean {
  if (isEvent(message)) return EVENTS[message.type](fields);
  if (isControl(message)) return CONTROL[message.type](fields);
  return true;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`the server sent invalid JSON: ${text.slice(0, 200)}`);
  }
}

/** A status that this version does not know leaves the rest of the list usable. */
function isRun(value: unknown): boolean {
  return (
    isObject(value) && isId(value.run_id) && typeof value.status === "string" && typeof value.started_at === "number"
  );
}

function isMutation(value: unknown): boolean {
  if (!isObject(value)) return false;
  const every = (name: string, test: (item: unknown) => boolean) => {
    const list = value[name];
    return list == null || (Array.isArray(list) && list.every(test));
  };
  const isNode = (item: unknown) => isObject(item) && isId(item.id) && Boolean(named(item));
  const isEdge = (item: unknown) => isObject(item) && isId(item.from) && isId(item.to);
  return (
    every("add_nodes", isNode) &&
    every("update_nodes", isNode) &&
    every("remove_nodes", isId) &&
    every("add_edges", isEdge) &&
    every("remove_edges", isEdge)
  );
}

/** A node without those of its words that are no text: the layout and the search would fail on them. */
export function named<T extends object>(node: T): T {
  const words = node as Json;
  for (const name of ["label", "kind", "group", "description"]) {
    if (words[name] != null && typeof words[name] !== "string") delete words[name];
  }
  return node;
}

function isId(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function isOneOf(names: Every<string>, value: unknown): boolean {
  return typeof value === "string" && Object.hasOwn(names, value);
}

function isTyped(value: unknown): value is Json & { type: string } {
  return isObject(value) && typeof value.type === "string";
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
