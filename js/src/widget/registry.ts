// Streams are shared: all models and views of a page that watch the same DAG on the same server have one connection.
// Each cell that runs evaluates this module anew, so what they share must live outside of it.

import { Store } from "../state/store";
import { type Endpoint, Stream } from "../stream/stream";
import { onWake } from "../stream/wake";

export type Renew = () => Promise<Endpoint>;

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

const KEY = Symbol.for("dagwidget.streams.1");

function shared(): Map<string, Shared> {
  const world = globalThis as { [KEY]?: Map<string, Shared> };
  world[KEY] ??= new Map();
  return world[KEY];
}

/** A share in the stream at `endpoint`, opened if nobody has one; `renew` tells where the server is later on. */
export function acquire(endpoint: Endpoint, renew: Renew): Lease {
  const streams = shared();
  const { url } = endpoint;
  const known = streams.get(url);
  // One that was refused stays so; a cell that is run again may bring a better token.
  const found = known && known.stream.connection.phase !== "stopped" ? known : open(endpoint);
  streams.set(url, found);
  // A holder may come twice with the same function.
  const holder: Renew = () => renew();
  found.holders.add(holder);
  found.stream.start();
  return {
    stream: found.stream,
    store: found.store,
    release(reason) {
      if (!found.holders.delete(holder) || found.holders.size > 0) return;
      if (streams.get(url) === found) streams.delete(url);
      found.sleep();
      found.stream.close(reason);
    },
  };
}

function open(first: Endpoint): Shared {
  const store = new Store();
  const holders = new Set<Renew>();
  let known: Endpoint | undefined = first;
  const endpoint = async () => {
    const given = known ?? (await [...holders].at(-1)?.()) ?? first;
    known = undefined;
    return given;
  };
  const stream = new Stream({ store, endpoint });
  return { stream, store, holders, sleep: onWake(stream.probe) };
}
