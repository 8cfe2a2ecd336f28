// The same stream for React dashboards.

import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import type { Command } from "./protocol/messages";
import { uuid } from "./protocol/uuid";
import type { Store } from "./state/store";
import { type Ack, type Connection, type Endpoint, Stream } from "./stream/stream";
import { onWake } from "./stream/wake";

export interface DAGStreamOptions {
  /** Base URL of the stream server, such as `wss://example.org/team`; by default where the page came from. */
  url?: string;
  /** What the server asks for; a function is asked before each attempt, so that it can be renewed. */
  token?: string | (() => Promise<string>);
  /** Watches this run alone; by default the DAG is followed from run to run. */
  run?: string;
}

/** A command without its id, which `send` makes. */
type Unsent<T> = T extends Command ? Omit<T, "id"> & { id?: string } : never;

export interface DAGStream {
  /** Send a command, now or as soon as there is a connection; resolves with the server's answer. */
  send(command: Unsent<Command>): Promise<Ack>;
  connection: Connection;
  /** Whether the engine of the run is there; undefined where the server does not say. */
  engine: Stream["engine"];
  /** The DAG's runs; undefined where the server does not list them. */
  runs: Stream["runs"];
}

type Standing = Omit<DAGStream, "send">;
const IDLE: Standing = { connection: { phase: "idle", attempt: 0 }, engine: undefined, runs: undefined };

/**
 * Follow a DAG for as long as the component is mounted, reducing what comes into `store`.
 *
 * Make the store once (`useState(() => new Store())`), and read it with `useSyncExternalStore` or `store.subscribe`.
 */
export function useDAGStream(dagId: string, store: Store, options: DAGStreamOptions = {}): DAGStream {
  const { url, run } = options;
  const token = useRef(options.token);
  token.current = options.token;
  const pinned = useRef(run);
  pinned.current = run;
  const [stream, setStream] = useState<Stream>();

  useEffect(() => {
    const endpoint = async (): Promise<Endpoint> => ({
      url: streamUrl(url, dagId),
      token: typeof token.current === "function" ? await token.current() : token.current,
    });
    const wanted = pinned.current === undefined ? undefined : { run: pinned.current };
    const opened = new Stream({ store, endpoint, wanted });
    const leave = opened.attend();
    const sleep = onWake(opened.probe);
    setStream(opened);
    return () => {
      sleep();
      leave();
      opened.close();
    };
  }, [url, dagId, store]);

  useEffect(() => stream?.watch(run ?? null), [stream, run]);

  const standing = useStanding(stream);
  const send = useCallback(
    async (command: Unsent<Command>): Promise<Ack> => {
      const whole = { ...command, id: command.id ?? uuid() } as Command;
      if (stream) return stream.send(whole);
      return { type: "command_ack", id: whole.id, ok: false, code: "not_connected", message: "not mounted yet" };
    },
    [stream],
  );
  return { send, ...standing };
}

function useStanding(stream: Stream | undefined): Standing {
  const last = useRef(IDLE);
  const subscribe = useCallback(
    (changed: () => void) => {
      if (!stream) return () => {};
      const take = () => {
        last.current = { connection: stream.connection, engine: stream.engine, runs: stream.runs };
        changed();
      };
      take();
      return stream.subscribe(take);
    },
    [stream],
  );
  return useSyncExternalStore(subscribe, () => last.current);
}

function streamUrl(base: string | undefined, dagId: string): string {
  const here = base ?? globalThis.location?.origin ?? "";
  return `${here.replace(/^http/, "ws").replace(/\/+$/, "")}/api/dags/${encodeURIComponent(dagId)}/stream`;
}
