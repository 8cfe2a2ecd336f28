// What a server says, as far as it is understood. A plain server may be anybody's, and may say anything.

import { event, type Fits, fitsWhole, isObject } from "./fits";
import type { Event, ServerMessage } from "./messages";
import { CONTROL, EVENTS, NodeSpec } from "./shapes";

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

/** Whether it is an event that this version knows, and well-formed: `decode` renames what is not. */
export function isEvent(message: Received): message is Event {
  return Object.hasOwn(EVENTS, message.type);
}

export function isControl(message: Received): message is ControlMessage {
  return Object.hasOwn(CONTROL, message.type);
}

/**
 * The messages of a frame. Parts that are not understood are taken out, and counted (`unfitParts`). A message that can't be
 * used at all is given a type that nobody knows: an event then moves the cursor on, and changes nothing; a plain server's own
 * `welcome` or `ping` is not taken for ours.
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
  const events = page.events.map((each: unknown) => checked(each, text));
  return { after: page.after, head: page.head, events, size: text.length };
}

function checked(value: unknown, data: string): Received {
  if (!isObject(value) || typeof value.type !== "string") {
    throw new Error(`the server sent a message without a type: ${data.slice(0, 200)}`);
  }
  const message = value as unknown as Received;
  const fits = Object.hasOwn(SHAPES, message.type) ? SHAPES[message.type] : undefined;
  if (fitsWhole(fits, value)) return message;
  const unknown = { ...value, type: fits ? `malformed ${value.type}` : value.type };
  stamp(unknown);
  return unknown;
}

const SHAPES: Readonly<Record<string, Fits>> = { ...EVENTS, ...CONTROL };
const stamp = event({});

/** A saved node without those of its words that are no text: the layout and the search would fail on them. */
export function named<T extends object>(node: T): T {
  NodeSpec(node);
  return node;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`the server sent invalid JSON: ${text.slice(0, 200)}`);
  }
}
