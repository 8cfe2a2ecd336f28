// What the connection means to someone who looks at the picture: how much of it can be believed, and what to do.

import type { Connection } from "../../stream/stream";
import { ago, timeOfDay } from "./format";

export interface Freshness {
  /** `live`: true now. `busy`: being made true. `stale`: was true. `refused`: won't come back by itself. */
  tone: "live" | "busy" | "stale" | "refused" | "off";
  /** In a few words. */
  text: string;
  /** In a sentence. */
  happened: string;
  /** What happens next, or what a person can do about it; empty where there is nothing to say. */
  next: string;
}

/** Without a frame for this long, what is seen is called stale: heartbeats come every 15 s. */
const STALE_AFTER_MS = 25_000;

const RECONNECT = "Run this cell again to reconnect.";

/** What to do where a server has refused the connection, by its code. */
const ADVICE: Readonly<Record<number, string>> = {
  4400: "Reload the page. If that does not help, install the same version of dagwidget in the kernel and on the server.",
  4401: "Pass the server's token as DAGStreamWidget(…, token=…), or set DAGWIDGET_TOKEN. Then run this cell again.",
  4403: "Use a token that permits viewing this DAG. Then run this cell again.",
  4409: "Install the same version of dagwidget in the kernel and on the server, restart the kernel, and reload the page.",
};
const NOT_KEPT = 4410;

/** Put `connection` into words, as of `now` (Unix ms). */
export function freshness(connection: Connection, now: number): Freshness {
  switch (connection.phase) {
    case "live":
      return connection.resumable === false
        ? {
            tone: "live",
            text: "live · no resume on this server",
            happened: "Connected.",
            next: "This server keeps no log: what happens while the connection is down is lost.",
          }
        : { tone: "live", text: "live", happened: "Connected.", next: "" };
    case "greeting":
    case "syncing":
      if (connection.resumable === undefined) {
        return { tone: "busy", text: "connecting…", happened: `Connecting${server(connection, " to ")}…`, next: "" };
      }
      return { tone: "busy", text: "catching up…", happened: "Loading the run…", next: "" };
    case "connecting":
      if (connection.attempt > 1) return away(connection, now);
      return { tone: "busy", text: "connecting…", happened: `Connecting${server(connection, " to ")}…`, next: "" };
    case "waiting":
      return away(connection, now);
    case "stopped":
      if (connection.code === NOT_KEPT) {
        const next = "Pick another run in the header.";
        return { tone: "off", text: "removed by retention", happened: "The server has deleted this run.", next };
      }
      return stopped(connection);
    case "idle":
      return {
        tone: "off",
        text: "not connected",
        happened: "Waiting for the kernel.",
        next: "The kernel sends the server's address as soon as it can. If it was restarted, run this cell again.",
      };
  }
}

/** How old what is seen is, in a sentence; empty where it is live, or nothing has come. */
export function ageText({ phase, seenAt }: Connection, now: number): string {
  return phase === "live" || seenAt === undefined ? "" : `What you see is from ${ago(now - seenAt)}.`;
}

/**
 * The moment that the picture shows, by the server's clock (Unix ms): now while it is live, else when the last frame
 * came, so that clocks stop rather than tell of a run that may have ended.
 */
export function asOf(connection: Connection, now: number): number {
  return (connection.phase === "live" ? now : (connection.seenAt ?? now)) + (connection.ahead ?? 0);
}

/** There is no connection, and it is tried again by itself. */
function away(connection: Connection, now: number): Freshness {
  const { seenAt, retryAt, code, reason } = connection;
  const seconds = Math.max(0, Math.ceil(((retryAt ?? now) - now) / 1000));
  const next = seconds > 0 ? `Next attempt in ${seconds} s.` : "Trying again…";
  if (seenAt === undefined) {
    return {
      tone: "stale",
      text: `server unreachable · ${seconds > 0 ? `retry in ${seconds} s` : "retrying…"}`,
      happened: `Cannot reach the server${server(connection, " at ")}. ${reason ? sentence(reason) : ""}`.trim(),
      next: `${next} Check that the server is running (dagwidget serve), that its address is right, and that it accepts this page (--allow-origin).`,
    };
  }
  const stale = now - seenAt >= STALE_AFTER_MS;
  const text = seconds > 0 ? `reconnecting in ${seconds} s` : "reconnecting…";
  // Any other code is a network's or a proxy's word.
  const ended = code !== undefined && code >= 4000;
  return {
    tone: stale ? "stale" : "busy",
    text: stale ? `stale since ${timeOfDay(seenAt, now)} · ${text}` : text,
    happened: `${ended ? "The server ended the connection" : "The connection was lost"}${because(connection)}`,
    next,
  };
}

/** There is no connection, and there will be none. */
function stopped(connection: Connection): Freshness {
  const { code, reason, seenAt } = connection;
  if (code === undefined || code === 1000) {
    const text = reason ?? "disconnected";
    return { tone: "off", text, happened: sentence(text), next: RECONNECT };
  }
  // Where the server has not said a word, something is wrong on this side of it.
  if (code === 4400 && seenAt === undefined) {
    const text = `not connected: ${words(connection)}`;
    return { tone: "refused", text, happened: sentence(text), next: "Correct this, then run this cell again." };
  }
  return {
    tone: "refused",
    text: `refused: ${words(connection)}`,
    happened: `The server refused the connection${because(connection)}`,
    next: ADVICE[code] ?? RECONNECT,
  };
}

function words({ code, reason }: Connection): string {
  return reason || `code ${code}`;
}

/** `: the server restarts (code 4000).`, or just the full stop where nobody said why. */
function because({ code, reason }: Connection): string {
  const number = code === undefined ? "" : `code ${code}`;
  const said = reason ? reason + (number && ` (${number})`) : number;
  return `${said && `: ${said}`}.`;
}

/** The address of the server that has a stream. */
export function serverOf(url: string): string {
  return url.replace(/\/api\/dags\/.*/, "");
}

/** The server's address after `before`; empty where there is none yet. */
function server({ url }: Connection, before: string): string {
  return url === undefined ? "" : before + serverOf(url);
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.?!…]$/.test(text) ? "" : "."}`;
}
