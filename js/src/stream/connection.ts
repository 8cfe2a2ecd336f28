// How a stream stands, and where it is looked for.

import type { AnyEvent } from "../protocol/decode";
import type { Welcome } from "../protocol/messages";
import type { Store } from "../state/store";

/** The run that the server is asked for; `follow`: only to begin at. A stream that asks for none follows the DAG. */
export interface Wanted {
  run: string;
  follow?: true;
}

/** Where a DAG's stream is: `ws(s)://…/api/dags/{id}/stream`. */
export interface Endpoint {
  url: string;
  token?: string | null;
}

/** Which may follow which is in tests/vectors/phases.json. */
export type Phase = "idle" | "connecting" | "greeting" | "syncing" | "live" | "waiting" | "stopped";

export interface Connection {
  /** `waiting`: until `retryAt`. `idle`: not asked for, or given up as nobody looks. `stopped`: for good. */
  phase: Phase;
  /** False on a plain server: what happens during a cut is lost. Undefined until known. */
  resumable?: boolean;
  role?: Welcome["role"];
  url?: string;
  /** When the next attempt starts, Unix ms. */
  retryAt?: number;
  /** How many attempts there were. */
  attempt: number;
  /** How many messages, or parts of messages, were not understood, in all connections. */
  ignored?: number;
  /** Why the last connection ended. */
  code?: number;
  reason?: string;
  /** When the last frame came, Unix ms: how old what you see is. */
  seenAt?: number;
  /** How far the server's clock is ahead of ours, in ms, where that is more than the way here. */
  ahead?: number;
}

/** What `endpoint` throws where no later attempt could do better. */
export interface Refusal extends Error {
  code: number;
}

export interface StreamOptions {
  /** Asked before each attempt, as the server may have moved, and for another token before the old one expires. */
  endpoint: () => Promise<Endpoint>;
  store: Store;
  /** What it watches at first. */
  wanted?: Wanted;
  WebSocket?: typeof WebSocket;
  random?: () => number;
}

/** Catching up: what arrives between `sync` and `synced` is held until it is whole. */
export interface CatchUp {
  epoch: string;
  reset: boolean;
  log?: string | null;
  events: AnyEvent[];
}

/** What is new in the protocol goes only to clients that ask for it. */
export const FEATURES = ["runs", "engine", "lost"];
