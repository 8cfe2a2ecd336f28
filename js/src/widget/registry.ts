// Streams are shared: all models and views of a page that watch the same run of a DAG on the same server have one connection.
// Each cell that runs evaluates this module anew, so what they share must live outside of it.

import { Store } from "../state/store";
import { type Endpoint, Stream, type Wanted } from "../stream/stream";
import { onWake } from "../stream/wake";

/** Where the server is; `challenge`: what to ask there before a token is sent, and what a server that knows it answers. */
export interface Located extends Endpoint {
  challenge?: readonly [url: string, proof: string];
}

export type Renew = () => Promise<Located>;

/** A share in a stream and its store. */
export interface Lease {
  readonly stream: Stream;
  readonly store: Store;
  /** Give it back; the connection is closed with the last one, for a reason that its views show. */
  release(reason?: string): void;
}

interface Shared {
  stream: Stream;
  store: Store;
  /** Whoever holds it can be asked where the server is; the last to come knows best. */
  holders: Set<Renew>;
  sleep: () => void;
}

const KEY = Symbol.for("dagwidget.streams.2");

function shared(scope: object): Map<string, Shared> {
  const world = globalThis as { [KEY]?: WeakMap<object, Map<string, Shared>> };
  world[KEY] ??= new WeakMap();
  const streams = world[KEY].get(scope) ?? new Map<string, Shared>();
  world[KEY].set(scope, streams);
  return streams;
}

/**
 * A share in the stream at `endpoint` that watches the run `wanted`, or follows the DAG; opened if nobody has one. `renew`
 * tells where the server is later on. Followers share it within their kernel, since they move to the runs that this begins.
 */
export function acquire(endpoint: Located, renew: Renew, wanted?: Wanted, kernel: object = globalThis): Lease {
  const streams = shared(wanted && !wanted.follow ? globalThis : kernel);
  const key = JSON.stringify([endpoint.url, wanted]);
  const known = streams.get(key);
  // One that was refused stays so; a cell that is run again may bring a better token.
  const found = known && known.stream.connection.phase !== "stopped" ? known : open(endpoint, wanted);
  streams.set(key, found);
  // A holder may come twice with the same function.
  const holder: Renew = () => renew();
  found.holders.add(holder);
  found.stream.start();
  return {
    stream: found.stream,
    store: found.store,
    release(reason) {
      if (!found.holders.delete(holder)) return;
      // What a person has decided outlives the view that they decided it in.
      const unsubscribe = found.stream.subscribe(close);
      close();
      function close() {
        if (found.holders.size === 0 && found.stream.pending.length > 0 && reason === undefined) return;
        unsubscribe();
        if (found.holders.size > 0) return;
        if (streams.get(key) === found) streams.delete(key);
        found.sleep();
        found.stream.close(reason);
      }
    },
  };
}

export type Acquire = typeof acquire;

function open(first: Located, wanted: Wanted | undefined): Shared {
  const store = new Store();
  const holders = new Set<Renew>();
  let known: Located | undefined = first;
  const endpoint = async () => {
    const given = known ?? (await [...holders].at(-1)?.()) ?? first;
    known = undefined;
    if (given.challenge) await check(...given.challenge);
    return given;
  };
  const stream = new Stream({ store, endpoint, wanted });
  return { stream, store, holders, sleep: onWake(stream.probe) };
}

/** On this machine another program may have taken the port of a server that is gone. */
async function check(url: string, proof: string): Promise<void> {
  const answer = await (await fetch(url, { signal: AbortSignal.timeout(5_000) })).text();
  // Whoever says so has not proven to be the server, so it is asked again.
  if (!answer.includes(proof)) {
    throw new Error("what answers there does not know the token: it is wrong, or another program has the port");
  }
}
