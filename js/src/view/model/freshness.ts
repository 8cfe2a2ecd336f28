// What the connection means to someone who looks at the picture: how much of it can be believed.

import { CLOSE_CODES } from "../../protocol/messages";
import type { Connection } from "../../stream/stream";
import { ago, timeOfDay } from "./format";

export interface Freshness {
  /** `live`: true now. `busy`: being made true. `stale`: was true. `refused`: won't come back by itself. */
  tone: "live" | "busy" | "stale" | "refused" | "off";
  text: string;
  /** The whole story: since when, why, what is being done about it. */
  detail: string;
}

/** Without a frame for this long, what is seen is called stale: heartbeats come every 15 s. */
const STALE_AFTER_MS = 25_000;

const NOT_KEPT = 4410;

/** Put `connection` into words, as of `now` (Unix ms). */
export function freshness(connection: Connection, now: number): Freshness {
  const age = connection.seenAt === undefined ? undefined : now - connection.seenAt;
  const seen = age === undefined ? "Nothing has arrived yet." : `What you see is from ${ago(age)}.`;
  const why = reason(connection);
  switch (connection.phase) {
    case "live":
      return connection.resumable === false
        ? {
            tone: "live",
            text: "live · no resume on this server",
            detail: "After a cut, what happened meanwhile is lost: this server keeps no log.",
          }
        : { tone: "live", text: "live", detail: "What you see is what is happening." };
    case "greeting":
    case "syncing":
      if (connection.resumable === undefined) return { tone: "busy", text: "connecting…", detail: seen };
      return { tone: "busy", text: "catching up…", detail: seen };
    case "connecting":
      return connection.attempt > 1
        ? {
            tone: lost(age) ? "stale" : "busy",
            text: `${since(connection, now, age)}reconnecting…`,
            detail: `${seen}${why}`,
          }
        : { tone: "busy", text: "connecting…", detail: seen };
    case "waiting": {
      const seconds = Math.max(0, Math.ceil(((connection.retryAt ?? now) - now) / 1000));
      const text = seconds > 0 ? `reconnecting in ${seconds} s` : "reconnecting…";
      return {
        tone: lost(age) ? "stale" : "busy",
        text: `${since(connection, now, age)}${text}`,
        detail: `${seen}${why}`,
      };
    }
    case "stopped":
      if (connection.code === NOT_KEPT) {
        return { tone: "off", text: "removed by retention", detail: `The server has deleted this run. ${seen}` };
      }
      if (connection.code === undefined || connection.code === 1000 || connection.code === 1001) {
        return { tone: "off", text: "disconnected", detail: `Closed on purpose. ${seen}` };
      }
      return {
        tone: "refused",
        text: `refused: ${words(connection)}`,
        detail: `The server will not let us back in. ${seen}${why}`,
      };
    case "idle":
      return { tone: "off", text: "not connected", detail: "Nothing has been asked of the server yet." };
  }
}

/**
 * The moment that the picture shows, by the server's clock (Unix ms): now while it is live, else when the last frame
 * came, so that clocks stop rather than tell of a run that may have ended.
 */
export function asOf(connection: Connection, now: number): number {
  return (connection.phase === "live" ? now : (connection.seenAt ?? now)) + (connection.ahead ?? 0);
}

function lost(age: number | undefined): boolean {
  return age !== undefined && age >= STALE_AFTER_MS;
}

function since(connection: Connection, now: number, age: number | undefined): string {
  return lost(age) && connection.seenAt !== undefined ? `stale since ${timeOfDay(connection.seenAt, now)} · ` : "";
}

function words(connection: Connection): string {
  const known = connection.code === undefined ? undefined : CLOSE_CODES[connection.code];
  return connection.reason || known?.meaning || `code ${connection.code}`;
}

function reason(connection: Connection): string {
  if (!connection.reason && connection.code === undefined) return "";
  const where = connection.url ? ` at ${connection.url}` : "";
  const code = connection.code === undefined ? "" : ` (code ${connection.code})`;
  return ` Last word of the server${where}: ${words(connection)}${code}.`;
}
