// What a server says, checked as far as the reducer relies on it. A plain server may be anybody's, and may say anything.

import type { Event, ServerMessage } from "./messages";

type Json = Record<string, unknown>;

const NODE_STATUSES = ["pending", "running", "waiting", "completed", "failed", "skipped", "cancelled"];
const LIVE_STATUSES = ["running", "pausing", "paused", "resuming", "cancelling"];
const FINAL_STATUSES = ["completed", "failed", "cancelled"];

const WELL_FORMED: Record<ServerMessage["type"], (event: Json) => boolean> = {
  node_state: (event) => isId(event.node_id) && NODE_STATUSES.includes(event.status as string),
  edge_active: (event) => isId(event.from) && isId(event.to),
  dag_mutated: (event) => isMutation(event.mutation),
  cost_update: (event) => typeof event.spent === "number",
  execution_complete: (event) => event.status == null || FINAL_STATUSES.includes(event.status as string),
  human_gate_waiting: (event) => isId(event.node_id) && isObject(event.presentation),
  human_gate_resolved: (event) => isId(event.node_id) && isId(event.gate_id),
  error: (event) => typeof event.message === "string",
  execution_state: (event) => LIVE_STATUSES.includes(event.status as string),
  node_log: (event) => isId(event.node_id) && Array.isArray(event.lines),
  welcome: (message) => typeof message.protocol === "number" && isObject(message.limits),
  sync: (message) => isId(message.epoch) && typeof message.seq === "number" && typeof message.reset === "boolean",
  synced: (message) => typeof message.seq === "number",
  ping: (message) => typeof message.head === "number",
  command_ack: (message) => isId(message.id) && typeof message.ok === "boolean",
  bye: (message) => typeof message.code === "number" && typeof message.retry === "boolean",
};

/**
 * The messages of a frame. One that can't be used is given a type that nobody knows: an event then moves the cursor on,
 * is counted, and changes nothing; a plain server's own `welcome` or `ping` is not taken for ours.
 *
 * @throws Error where the frame is not JSON, or holds something other than messages.
 */
export function decode(data: unknown): ServerMessage[] {
  if (typeof data !== "string") throw new Error("the server sent a binary frame; a message is text");
  const frame: unknown = parse(data);
  return (Array.isArray(frame) ? frame : [frame]).map((message) => checked(message, data));
}

/** A part of a run's log: events that follow `after` without a gap, and the seq of the run's newest. */
export interface LogPage {
  after: number;
  head: number;
  events: readonly Event[];
  /** Characters that it had. */
  size: number;
}

/**
 * A page of a log as it comes over HTTP, its events checked as those of a frame are.
 *
 * @throws Error where it is no such page.
 */
export function decodePage(text: string): LogPage {
  const page: unknown = parse(text);
  if (
    !isObject(page) ||
    typeof page.after !== "number" ||
    typeof page.head !== "number" ||
    !Array.isArray(page.events)
  ) {
    throw new Error(`the server sent what is no page of a log: ${text.slice(0, 200)}`);
  }
  const events = page.events.map((event) => checked(event, text) as Event);
  return { after: page.after, head: page.head, events, size: text.length };
}

function checked(message: unknown, data: string): ServerMessage {
  if (!isObject(message) || typeof message.type !== "string") {
    throw new Error(`the server sent something without a type: ${data.slice(0, 200)}`);
  }
  const wellFormed = Object.hasOwn(WELL_FORMED, message.type) && WELL_FORMED[message.type as ServerMessage["type"]];
  if (wellFormed && !wellFormed(message)) message.type = `malformed ${message.type}`;
  return message as unknown as ServerMessage;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`the server sent what is not JSON: ${text.slice(0, 200)}`);
  }
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

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
